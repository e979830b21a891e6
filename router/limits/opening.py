"""The charges to the budgets' accounts before this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from router.limits.book import account_of
from router.limits.periods import DAY_S
from router.limits.reservations import read_held
from router.limits.spend import Spend, find_costs, read_spend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router.limits.book import LimitBook
    from router.limits.counters import Account
    from router.limits.reservations import ReservationLog


class Opening:
    """Settled spend of lake and journals, and the reservations of dead processes."""

    def __init__(self, home: Path, book: LimitBook) -> None:
        self._home = home
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

    def charges(self, accounts: Sequence[Account]) -> dict[str, int]:
        """Spend by account key, read again, of every subject of these accounts' budgets and periods."""
        with self._read_lock:
            spend = read_spend(self._home, {(account.scope, account.period) for account in accounts})
        wanted = {(account.budget_id, account.starts_s) for account in accounts}
        return {
            account_of(entry, subject, starts_s // DAY_S).key: pico
            for (scope, period, starts_s, subject), pico in spend.amounts.items()
            for entry in self._book.budgets_of(scope, subject)
            if entry.period == period and (entry.id, starts_s) in wanted
        }
