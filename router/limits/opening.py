"""The charges to the budgets' accounts before this process."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from router.files import locked, write_atomically
from router.limits.book import account_of
from router.limits.counters import GRACE_S
from router.limits.periods import DAY_S
from router.limits.reservations import read_apart, read_held
from router.limits.spend import Sharing, Spend, find_costs, read_spend

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from router.limits.book import LimitBook
    from router.limits.counters import Account, BudgetKey
    from router.limits.reservations import ReservationLog

SHARED_S = 540
"""Records of an hour that ended so long ago are in every host's lake, if `intellirouter sync` runs on it.

It is a minute less than compaction waits, after which one segment holds the records of several hosts.
"""
MAX_WRITERS = 5000
"""Names of this host's journals that are remembered."""


class Opening:
    """Settled spend of lake and journals, and the reservations of dead processes."""

    def __init__(self, home: Path, book: LimitBook, *, lake_url: str | None = None) -> None:
        """`lake_url` is that of the lake that this host shares with others."""
        self._home = home
        self._lake = None if lake_url is None else hashlib.sha256(lake_url.encode()).hexdigest()[:16]
        self._book = book
        self._spend = Spend()
        self._inherited: dict[str, int] = {}
        self._read_lock = threading.Lock()  # one reading of the lake at a time

    @property
    def unreadable(self) -> list[str]:
        """Damaged segments. Their records are not counted."""
        return self._spend.unreadable

    def use(self, book: LimitBook) -> None:
        """Know another book's budgets."""
        self._book = book

    def read(self) -> None:
        """Read the data that the book's budgets need: nothing without budgets."""
        self._spend = read_spend(self._home, {(entry.scope, entry.period) for entry in self._book.budgets})

    def read_shared(self, logs: Path) -> None:
        """Read the charges of the records and of every process's reservations.

        Reservations come first: one that gets its record meanwhile may count twice, but is never missed.
        """
        self._inherited = read_held(logs, lambda ids: find_costs(self._home, ids))
        self.read()

    def adopt(self, log: ReservationLog) -> None:
        """Count the reservations of dead processes."""
        self._inherited = log.adopt(lambda ids: find_costs(self._home, ids))

    def __call__(self, account: Account) -> int:
        """The earlier charges to an account that is new to this process."""
        spent = self._spend.amounts.get((account.scope, account.period, account.starts_s, account.subject), 0)
        return spent + self._inherited.get(account.key, 0)

    def write_as(self, writer_id: str) -> None:
        """Note a writer of this host. Its name marks the host's records in a shared lake."""
        if self._lake is None:
            return
        path = self._home / "budgets" / "writers"
        with locked(path):
            known = path.read_text().split() if path.exists() else []
            names = [*known[-MAX_WRITERS:], writer_id]
            write_atomically(path, "".join(f"{name}\n" for name in names).encode())

    def report(self, budgets: Collection[BudgetKey], *, born_s: float = 0.0, is_whole: bool = True) -> Report:
        """Read again what this data folder has spent and holds, of these budgets.

        Logs come first: a request in flight that gets its record meanwhile counts as in flight, and not
        by the record. `is_whole` False: without requests in flight, since the budgets are new to them.
        `born_s` is when the epoch began, the same for all hosts.
        """
        with self._read_lock:
            held, in_flight = read_apart(self._home / "budgets", lambda ids: find_costs(self._home, ids))
            in_flight = in_flight if is_whole else {}
            wanted = {(scope, period) for _, scope, period in budgets}
            spend = read_spend(self._home, wanted, without=in_flight, sharing=self._sharing(born_s))
        self._spend = spend
        report = Report(lake=self._lake or "")
        ids = {budget_id for budget_id, _, _ in budgets}
        now = time.time()
        today = int(now // DAY_S)

        def is_current(key: str, ends_s: int) -> bool:
            return key.rsplit(":", 2)[0] in ids and ends_s + GRACE_S > now

        for amounts, total in ((spend.amounts, report.amounts), (spend.shared, report.shared)):
            for (scope, period, starts_s, subject), pico in amounts.items():
                for entry in self._book.budgets_of(scope, subject):
                    if (entry.id, scope, period) in budgets and entry.period == period:
                        account = account_of(entry, subject, starts_s // DAY_S or today)
                        _add(total, account.key, pico, account.ends_s)
        for key, charge in held.items():
            if is_current(key, charge.ends_s):
                _add(report.amounts, key, charge.amount, charge.ends_s)
        for name, (amount, accounts) in in_flight.items():
            current = tuple([(key, ends_s) for ends_s, key in accounts if is_current(key, ends_s)])
            if current:
                report.in_flight[name] = amount, current
        return report

    def _sharing(self, born_s: float) -> Sharing | None:
        if self._lake is None:
            return None
        path = self._home / "budgets" / "writers"
        writers = frozenset(path.read_text().split() if path.exists() else ())
        return Sharing(since=datetime.fromtimestamp(born_s - SHARED_S, UTC), writers=writers)

    def budgets(self) -> set[BudgetKey]:
        """The budgets of a whole report."""
        return {(entry.id, entry.scope, entry.period) for entry in self._book.budgets}


@dataclass(slots=True)
class Report:
    """The spend of a host, and the amounts that its requests in flight hold."""

    amounts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Pico-dollars that stay charged, and the end of the period, by account."""
    shared: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The same by the records that every host of the shared lake has: they count once for all."""
    lake: str = ""
    """The shared lake."""
    in_flight: dict[str, tuple[int, tuple[tuple[str, int], ...]]] = field(default_factory=dict)
    """By request the pico-dollars that it holds, and the key and end of each account."""


def _add(total: dict[str, tuple[int, int]], key: str, pico: int, ends_s: int) -> None:
    before, end = total.get(key, (0, 0))
    total[key] = before + pico, max(end, ends_s)
