"""A LimitStore in this process's memory: for one router, at a few microseconds a request."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from router.errors import LimitsUnavailableError
from router.limits.counters import GRACE_S, SLOTS, Account, Rate, Reserved, Taken
from router.limits.periods import DAY_S, TOTAL_DAYS
from router.limits.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_COUNTERS = 1_000_000
"""Windows, and accounts, that are kept at once: about 300 MB. A subject beyond them is refused."""
SWEEP_INTERVAL_S = 1.0
"""Time between searches for room while they are all in use."""
_FIRST_SWEEP = 10_000


class _Balance:
    """The amount charged to one account."""

    __slots__ = ("charged", "kept_until")

    def __init__(self, charged: int, kept_until: float) -> None:
        self.charged = charged
        self.kept_until = kept_until


class MemoryStore:
    """A LimitStore for the threads and event loops of one process."""

    name = "memory"
    is_remote = False
    serves_away = False

    def __init__(
        self,
        opening: Callable[[Account], int] = lambda _: 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_counters: int = MAX_COUNTERS,
    ) -> None:
        """`opening` returns the charges to an account before this process."""
        self.opening = opening
        self._clock = clock
        self._max_counters = max_counters
        self._lock = threading.Lock()  # guards everything below
        self._windows: dict[str, Window] = {}
        self._balances: dict[str, _Balance] = {}
        self._sweep_at = _FIRST_SWEEP
        self._swept_at = 0.0
        self._is_full = False

    async def take(self, rates: Sequence[Rate], accounts: Sequence[Account], tokens: int) -> Taken:
        """See LimitStore."""
        now = self._clock()
        with self._lock:
            windows = []
            for index, rate in enumerate(rates):
                window = self._windows.get(rate.key) or self._new_window(rate)
                slot = int(now * SLOTS / rate.window_s)
                if slot != window.newest:  # within a slot nothing is forgotten
                    window.advance(slot)
                amount = 1 if rate.unit == "requests" else tokens
                if window.total + amount > rate.limit:
                    remaining = tuple(max(item.limit - self._total(item), 0) for item in rates)
                    return Taken(index, window.wait_s(amount, rate.limit, now), remaining, (), now)
                windows.append((window, amount, rate.limit))
            left = []
            for window, amount, limit in windows:
                window.add(amount)
                left.append(limit - window.total)
            charged = tuple([balance.charged for balance in self._balances_of(accounts)])
        return Taken(None, None, tuple(left), charged, now)

    async def reserve(
        self,
        request_id: str,  # noqa: ARG002 - the caller knows the amount held
        accounts: Sequence[Account],
        amount: int,
        held: int,
    ) -> Reserved:
        """See LimitStore."""
        more = amount - held
        with self._lock:
            balances = self._balances_of(accounts)
            refused_by = None
            if more > 0:
                for index, account in enumerate(accounts):
                    if account.is_hard and balances[index].charged + more > account.limit:
                        refused_by = index
                        break
            if refused_by is None:
                for account, balance in zip(accounts, balances, strict=True):
                    balance.charged += more
                    if not account.starts_s:  # a session's total lasts as long as the session
                        balance.kept_until = self._clock() + TOTAL_DAYS * DAY_S + GRACE_S
            return Reserved(refused_by, tuple([balance.charged for balance in balances]))

    async def settle(
        self,
        request_id: str,  # noqa: ARG002
        accounts: Sequence[Account],
        cost: int | None,
        held: int,
        corrections: Sequence[tuple[Rate, int]],
        at: float,
    ) -> None:
        """See LimitStore."""
        with self._lock:
            if cost is not None and cost != held:
                for account in accounts:
                    balance = self._balances.get(account.key)
                    if balance is not None:
                        balance.charged += cost - held
            for rate, correction in corrections:
                window = self._windows.get(rate.key)
                if window is not None:
                    window.correct(int(at * SLOTS / rate.window_s), correction)

    def holds(self, request_id: str) -> bool:  # noqa: ARG002
        """See LimitStore."""
        return True

    def peek(self, accounts: Sequence[Account]) -> tuple[int, ...]:
        """See LimitStore."""
        with self._lock:
            return tuple([balance.charged for balance in self._balances_of(accounts)])

    def check(self) -> None:
        """See LimitStore. Memory always counts."""

    def watch(self) -> None:
        """See LimitStore."""

    async def aclose(self) -> None:
        """See LimitStore."""

    def close(self) -> None:
        """See LimitStore."""

    def _total(self, rate: Rate) -> int:
        window = self._windows.get(rate.key)
        return 0 if window is None else window.total

    def _new_window(self, rate: Rate) -> Window:
        self._make_room()
        window = self._windows[rate.key] = Window(rate.window_s)
        return window

    def _balances_of(self, accounts: Sequence[Account]) -> list[_Balance]:
        return [self._balances.get(account.key) or self._open(account) for account in accounts]

    def _open(self, account: Account) -> _Balance:
        self._make_room()
        length_s = account.ends_s - account.starts_s if account.starts_s else TOTAL_DAYS * DAY_S
        balance = _Balance(self.opening(account), self._clock() + length_s + GRACE_S)
        self._balances[account.key] = balance
        return balance

    def _make_room(self) -> None:
        if len(self._windows) + len(self._balances) < self._sweep_at:
            return
        now = self._clock()
        if self._is_full and now < self._swept_at + SWEEP_INTERVAL_S:
            raise self._no_room()
        self._swept_at = now
        self._windows = {
            key: window
            for key, window in self._windows.items()
            if now < (window.newest + SLOTS + 1) * window.window_s / SLOTS
        }
        # By a monotonic clock: an account outlives its period however often the calendar jumps.
        self._balances = {key: item for key, item in self._balances.items() if now < item.kept_until}
        kept = len(self._windows) + len(self._balances)
        self._is_full = kept >= self._max_counters
        if self._is_full:
            raise self._no_room()
        self._sweep_at = min(max(_FIRST_SWEEP, 2 * kept), self._max_counters)

    def _no_room(self) -> LimitsUnavailableError:
        return LimitsUnavailableError(
            f"limits are kept for no more than {self._max_counters} subjects at once."
            " Name fewer subjects, or set REDIS_URL",
            retry_after_s=60.0,
        )
