"""What the budgets' accounts had been charged before this process."""

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
    """Settled spend of lake and journals, and what dead processes held."""

    def __init__(self, home: Path, book: LimitBook) -> None:
        self._home = home
        self._book = book
        self._spend = Spend()
        self._inherited: dict[str, int] = {}
        self._read_lock = threading.Lock()  # one reading of the lake at a time

    @property
    def unreadable(self) -> list[str]:
        """Damaged segments: what they hold is not counted."""
        return self._spend.unreadable

    def use(self, book: LimitBook) -> None:
        """Know another book's budgets."""
        self._book = book

    def read(self) -> None:
        """Read what the book's budgets need; nothing without budgets."""
        self._spend = read_spend(self._home, {(entry.scope, entry.period) for entry in self._book.budgets})

    def read_shared(self, logs: Path) -> None:
        """Read what the records and every process's reservations charge.

        Reservations first: one that has its record meanwhile is counted by it, or twice, and never missed.
        """
        self._inherited = read_held(logs, lambda ids: find_costs(self._home, ids))
        self.read()

    def adopt(self, log: ReservationLog) -> None:
        """Count what dead processes held."""
        self._inherited = log.adopt(lambda ids: find_costs(self._home, ids))

    def __call__(self, account: Account) -> int:
        """What an account that is new to this process had been charged."""
        spent = self._spend.amounts.get((account.scope, account.period, account.starts_s, account.subject), 0)
        return spent + self._inherited.get(account.key, 0)

    def charges(self, accounts: Sequence[Account]) -> dict[str, int]:
        """Spend by account key, read anew, of every subject of these accounts' budgets and periods."""
        with self._read_lock:
            spend = read_spend(self._home, {(account.scope, account.period) for account in accounts})
        wanted = {(account.budget_id, account.starts_s) for account in accounts}
        return {
            account_of(entry, subject, starts_s // DAY_S).key: pico
            for (scope, period, starts_s, subject), pico in spend.amounts.items()
            for entry in self._book.budgets_of(scope, subject)
            if entry.period == period and (entry.id, starts_s) in wanted
        }
