"""Leases: the part of each budget that a process may spend while the shared store is away.

A lease is a reservation without a request: the store counts it as charged from before its first use, and
gives it to no other process. Its size follows the account's recent worst cases and the amount left. While
the store answers, every request is reserved there. While it does not, requests draw on the leases of their
accounts. Afterwards the process takes a new lease, and settles the old one at the amount drawn.

A lease ends with its epoch (see `epochs`): a store that lost its data knows nothing of it, and the requests
that drew on it are reported with the others.

No clock gives a lease to another process. The lease of a killed process stays charged until the period
ends, as its reservations do, because the store cannot know how much of it was spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from router.errors import LimitsUnavailableError
from router.limits.counters import LimitStore, Reserved, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.limits.counters import Account, Rate

LARGEST_PART = 4
"""A lease is at most this part of what the budget has left: it is small near the end."""
PACE_S = 60
"""Seconds over which an account's worst cases are added up."""
COVERED = 5
"""A lease covers the busiest recent minute this many times."""
IDLE_S = 300
"""A lease is given back after so long without a request."""
RENEW_S = 3600
"""A lease is renewed at least this often: the store forgets a reservation after a day."""
TENDED = 2
"""Most leases that one request gives back: it bounds what a request does for others."""


class EpochStore(LimitStore, Protocol):
    """A LimitStore that may lose its data."""

    @property
    def epoch(self) -> str:
        """The epoch in which this process counts. Empty while it is in none."""

    def epoch_of(self, request_id: str) -> str:
        """The epoch of a reservation that is not settled. Empty without one."""


@dataclass(slots=True, eq=False)
class _Lease:
    """A lease on one account. Amounts are pico-dollars."""

    account: Account
    epoch: str
    """It is worth nothing in another."""
    id: str = field(default_factory=lambda: f"lease-{secrets.token_hex(8)}")
    amount: int = 0
    """The least that the store can have charged for this lease."""
    used: int = 0
    """Drawn by requests in flight, and spent by those that are settled."""
    in_flight: int = 0
    is_busy: bool = False
    """Its size is being changed. Two changes at once could reach the store in either order."""
    is_followed: bool = False
    """Another lease is being taken in its place."""
    is_doubtful: bool = False
    """A change of its size failed, and may reach the store late: its size must not change again."""
    renewed_at: float = 0.0
    used_at: float = 0.0
    minute: int = 0
    pace: tuple[int, int] = (0, 0)
    """The worst cases of this minute, and of the busiest before it: halved with every minute."""

    def note(self, amount: int, now: float) -> None:
        """Count a request's worst case."""
        passed = int(now // PACE_S) - self.minute
        this, busiest = self.pace
        if passed > 0:
            this, busiest = 0, max(this, busiest // 2) >> min(passed - 1, 64)
        self.minute, self.pace, self.used_at = self.minute + passed, (this + amount, busiest), now

    @property
    def is_worn(self) -> bool:
        """Whether another lease must follow: the size of this one can no longer change."""
        return bool(self.used or self.in_flight) or self.is_doubtful

    def successor(self, epoch: str) -> _Lease:
        """A lease for the time after this one."""
        return _Lease(self.account, epoch, used_at=self.used_at, minute=self.minute, pace=self.pace)


class LeasedStore:
    """A LimitStore that keeps serving, within its leases, while the store that it uses is away."""

    is_remote = True

    def __init__(self, inner: EpochStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`inner` counts for all processes, and knows a repeated reservation by its id. Seconds."""
        self.name = inner.name
        self._inner = inner
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        self._leases: dict[str, _Lease] = {}
        self._closing: list[_Lease] = []
        """Leases that no request draws on any more, until the store knows what they spent."""
        self._draws: dict[str, list[tuple[tuple[_Lease, ...], int]]] = {}

    @property
    def serves_away(self) -> bool:
        """See LimitStore."""
        epoch = self._inner.epoch
        with self._lock:
            return any(lease.used < lease.amount and lease.epoch == epoch for lease in self._leases.values())

    async def take(self, rates: Sequence[Rate], accounts: Sequence[Account], tokens: int) -> Taken:
        """See LimitStore. Only the store counts rates, so they need it."""
        try:
            taken = await self._inner.take(rates, accounts, tokens)
        except LimitsUnavailableError:
            charged = None if rates else self.peek(accounts)
            if charged is None or not self._can_draw(accounts, 0):
                raise
            return Taken(None, None, (), charged, 0.0, is_leased=True)
        await self._tend()
        return taken._replace(charged=self._of_others(accounts, taken.charged)) if taken.charged else taken

    async def reserve(self, request_id: str, accounts: Sequence[Account], amount: int, held: int) -> Reserved:
        """See LimitStore. What the request drew from leases stays drawn; the rest is the store's."""
        with self._lock:
            drawn = sum(part for _, part in self._draws_of(request_id))
        try:
            wanted, stored = max(amount - drawn, 0), max(held - drawn, 0)
            reserved = await self._inner.reserve(request_id, accounts, wanted, stored)
            if reserved.refused_by is not None and await self._give_up(accounts):
                reserved = await self._inner.reserve(request_id, accounts, wanted, stored)
        except LimitsUnavailableError:
            charged = self.peek(accounts)
            if charged is None or not self._draw(request_id, accounts, max(amount - held, 0)):
                raise
            return Reserved(None, charged)
        charged = self._of_others(accounts, reserved.charged)
        if reserved.refused_by is None:
            for account, others in zip(accounts, charged, strict=True):
                if account.is_hard:
                    await self._renew(account, account.limit - others, amount)
        return Reserved(reserved.refused_by, charged)

    async def settle(
        self,
        request_id: str,
        accounts: Sequence[Account],
        cost: int | None,
        held: int,
        corrections: Sequence[tuple[Rate, int]],
        at: float,
    ) -> None:
        """See LimitStore. The store is charged up to its own part, and the leases the rest."""
        is_drawn = False
        with self._lock:
            draws = self._draws_of(request_id)
            self._draws.pop(request_id, None)
            if draws:
                drawn = sum(part for _, part in draws)
                stored = max(held - drawn, 0)
                rest = drawn if cost is None else max(cost - stored, 0)
                is_drawn = not stored
                cost, held = None if cost is None else min(cost, stored), stored
                for index, (leases, part) in enumerate(draws):
                    spent = rest if index == len(draws) - 1 else min(rest, part)
                    rest -= spent
                    for lease in leases:
                        lease.used += spent - part
                        lease.in_flight -= 1
        # Also for a request that drew everything: a reservation without an answer may have been made.
        try:
            await self._inner.settle(request_id, accounts, cost, held, corrections, at)
        except LimitsUnavailableError:
            if not is_drawn:
                raise

    def holds(self, request_id: str) -> bool:
        """See LimitStore."""
        with self._lock:
            if request_id in self._draws and not self._draws_of(request_id):
                return False
        return self._inner.holds(request_id)

    def peek(self, accounts: Sequence[Account]) -> tuple[int, ...] | None:
        """See LimitStore. The store's last answer, with leases counted at what was drawn."""
        charged = self._inner.peek(accounts)
        return None if charged is None else self._of_others(accounts, charged)

    def check(self) -> None:
        """See LimitStore. An idle process also gives back its leases here."""
        self._inner.check()
        if self._has_idle():
            self._run_apart(self._return_idle)

    def watch(self) -> None:
        """See LimitStore."""
        self._inner.watch()

    async def aclose(self) -> None:
        """See LimitStore."""
        await self._inner.aclose()

    def close(self) -> None:
        """Give back every lease, unless the store is away: then they stay charged."""
        with self._lock:
            self._closing += self._leases.values()
            self._leases.clear()
            is_needed = bool(self._closing)
        if is_needed:
            self._run_apart(self._close_all)
        self._inner.close()

    def _of_others(self, accounts: Sequence[Account], charged: Sequence[int]) -> tuple[int, ...]:
        """Charges without what this process's leases hold for later."""
        with self._lock:
            leases = [self._lease_of(account.key) for account in accounts]
            return tuple(
                amount if lease is None else max(amount - max(lease.amount - lease.used, 0), 0)
                for amount, lease in zip(charged, leases, strict=True)
            )

    def _lease_of(self, key: str) -> _Lease | None:
        """An account's lease, without one of an earlier epoch. The lock is held."""
        lease = self._leases.get(key)
        if lease is None or lease.epoch == self._inner.epoch:
            return lease
        if not lease.is_busy:
            del self._leases[key]
            if lease.is_doubtful:  # this epoch may have charged it
                self._closing.append(lease)
        return None

    def _use_lease(self, account: Account) -> _Lease:
        """An account's lease, or a new one that has nothing yet. The lock is held."""
        if self._lease_of(account.key) is None and account.key not in self._leases:
            self._leases[account.key] = _Lease(account, self._inner.epoch)
        return self._leases[account.key]

    def _draws_of(self, request_id: str) -> list[tuple[tuple[_Lease, ...], int]]:
        """The draws of a request on leases of this epoch. The lock is held."""
        draws = self._draws.get(request_id, [])
        epoch = self._inner.epoch
        is_current = all(lease.epoch == epoch for leases, _ in draws for lease in leases)
        return draws if is_current else []

    def _can_draw(self, accounts: Sequence[Account], amount: int) -> bool:
        """Whether each hard account has a lease with room for more than nothing."""
        with self._lock:
            return all(self._has_room(account, max(amount, 1)) for account in accounts if account.is_hard)

    def _has_room(self, account: Account, amount: int) -> bool:
        lease = self._lease_of(account.key)
        return lease is not None and lease.used + amount <= lease.amount

    def _draw(self, request_id: str, accounts: Sequence[Account], amount: int) -> bool:
        """Draw on the lease of every account, or on none. A soft account needs none to be drawn on."""
        now = self._clock()
        with self._lock:
            if not all(self._has_room(account, amount) for account in accounts if account.is_hard):
                return False
            leases = tuple([self._use_lease(item) for item in accounts])
            if not self._inner.epoch or any(lease.epoch != self._inner.epoch for lease in leases):
                return False
            for lease in leases:
                lease.used += amount
                lease.in_flight += 1
                lease.note(amount, now)
            self._draws.setdefault(request_id, []).append((leases, amount))
            return True

    async def _renew(self, account: Account, left: int, amount: int) -> None:
        """Fit the account's lease to its pace and to what is left, or replace one that was drawn on.

        It never fails: a request is served without a lease too, as long as the store answers.
        """
        now = self._clock()
        with self._lock:
            self._use_lease(account).note(amount, now)
        # Requests that came meanwhile found the lease busy: it must fit them too.
        while await self._fit(account, left, amount, now):
            pass

    async def _fit(self, account: Account, left: int, amount: int, now: float) -> bool:
        """Change the lease once, if it does not fit. Whether the store holds another amount now."""
        with self._lock:
            lease = self._use_lease(account)
            size = min(COVERED * max(lease.pace), left // LARGEST_PART)
            size = size if size >= amount else 0
            is_worn = lease.is_worn
            is_fit = lease.amount <= 2 * size and 2 * size <= 3 * lease.amount
            if (
                lease.is_busy
                or lease.is_followed
                or (not is_worn and is_fit and now - lease.renewed_at < RENEW_S)
            ):
                return False
            if not is_worn and not size and not lease.amount:
                return False
            lease.is_busy, lease.is_followed = not is_worn, is_worn
            target = lease.successor(self._inner.epoch) if is_worn else lease
        is_held = False
        try:
            with contextlib.suppress(LimitsUnavailableError):
                is_held = await self._resize(target, size, now)
        finally:
            with self._lock:
                lease.is_busy = lease.is_followed = False
                if target is not lease:
                    # The new one is there before the old one ends.
                    if is_held and self._leases.get(account.key) is lease:
                        target.minute, target.pace, target.used_at = lease.minute, lease.pace, lease.used_at
                        self._leases[account.key], target = target, lease
                    self._closing.append(target)
        return is_held

    async def _resize(self, lease: _Lease, size: int, now: float) -> bool:
        """Let the store hold `size` for the lease. False when it refuses."""
        with self._lock:
            if lease.is_worn:  # drawn on meanwhile
                return False
            before = lease.amount
            lease.amount = min(before, size)  # before the store gives the rest to others
        try:
            reserved = await self._inner.reserve(lease.id, [lease.account], size, before)
        except BaseException:
            lease.is_doubtful = True
            raise
        with self._lock:
            is_held = reserved.refused_by is None
            # A store that refuses may have lost its data, and this lease with it.
            lease.amount, lease.is_doubtful, lease.renewed_at = size if is_held else 0, not is_held, now
            if is_held:
                lease.epoch = self._inner.epoch_of(lease.id)
        return is_held

    async def _give_up(self, accounts: Sequence[Account]) -> bool:
        """Give the process's leases back to the budgets. Whether that made room."""
        keys = {account.key for account in accounts if account.is_hard}
        with self._lock:
            leases = [lease for key in keys if (lease := self._lease_of(key)) is not None]
            given = [lease for lease in leases if lease.amount and not (lease.is_worn or lease.is_busy)]
            for lease in given:
                lease.is_busy = True
            for lease in leases:
                if lease.is_worn and not (lease.is_busy or lease.in_flight):
                    self._leases[lease.account.key] = lease.successor(self._inner.epoch)
                    self._closing.append(lease)
            # Also those that another request settles just now: this one must know that they are settled.
            ended = [lease for lease in self._closing if lease.account.key in keys and not lease.in_flight]
        try:
            settled = await self._settle_leases(ended)
            return any([await self._resize(lease, 0, self._clock()) for lease in given]) or bool(settled)
        finally:
            with self._lock:
                for lease in given:
                    lease.is_busy = False

    def _has_idle(self) -> bool:
        limit = self._clock() - IDLE_S
        with self._lock:
            return bool(self._closing) or any(lease.used_at < limit for lease in self._leases.values())

    async def _return_idle(self) -> None:
        while self._has_idle() and await self._tend():
            pass

    async def _tend(self) -> int:
        """Settle a few leases that ended or are idle, and return how many."""
        limit = self._clock() - IDLE_S
        with self._lock:
            # The dictionary is in order of first use: its head is what may be idle.
            for key in list(islice(self._leases, TENDED)):
                lease = self._leases.pop(key)
                if lease.used_at < limit and not lease.is_busy:
                    self._closing.append(lease)
                else:
                    self._leases[key] = lease
            ended = [lease for lease in self._closing if not (lease.in_flight or lease.is_busy)][:TENDED]
            for lease in ended:
                lease.is_busy = True
        return await self._settle_leases(ended)

    async def _close_all(self) -> None:
        with self._lock:
            # A request in flight may yet spend what it drew, and counts as spent.
            ended = list(self._closing)
        await self._settle_leases(ended)

    async def _settle_leases(self, ended: list[_Lease]) -> int:
        """Tell the store the spend of ended leases, and return how many it knows. Twice is as once."""
        for done, lease in enumerate(ended):
            try:
                if lease.amount or lease.used or lease.is_doubtful:
                    # What was drawn in an earlier epoch is reported by the requests.
                    used = lease.used if lease.epoch == self._inner.epoch else 0
                    await self._inner.settle(lease.id, [lease.account], used, lease.amount, (), 0.0)
            except LimitsUnavailableError:
                with self._lock:
                    for unsettled in ended[done:]:
                        unsettled.is_busy, unsettled.is_doubtful = False, True
                return done
            with self._lock:
                self._closing = [item for item in self._closing if item is not lease]
        return len(ended)

    def _run_apart(self, work: Callable[[], object]) -> None:
        """Run a coroutine function from code that may or may not run under an event loop."""

        async def main() -> None:
            with contextlib.suppress(LimitsUnavailableError):
                await work()  # type: ignore[misc]
            await self._inner.aclose()

        thread = threading.Thread(target=lambda: asyncio.run(main()), name="leases")
        thread.start()
        thread.join()
