"""A LimitStore in a file: limits and budgets that the processes of one machine share without a server.

An operation is one SQLite transaction of some 20 microseconds. It waits for another process's by
trying again, and never inside SQLite: the event loop goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from array import array
from functools import partial
from typing import TYPE_CHECKING

from router.errors import LimitsUnavailableError
from router.limits.counter_file import MAX_BYTES, BusyError, CounterFile, FullError, LostError
from router.limits.counters import GRACE_S, SLOTS, Reserved, Taken
from router.limits.periods import DAY_S, TOTAL_DAYS
from router.limits.windows import Window

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from router.limits.counter_file import Answer, Work
    from router.limits.counters import Account, Rate

TIMEOUT_S = 1.0
"""An operation may wait this long for other processes. They take microseconds unless one is stopped."""
SPINS = 50
"""Tries before the event loop goes on meanwhile."""
RETRY_S = 0.0005
"""Wait between later tries."""
MAX_REOPENINGS = 3
"""Reopenings in one operation at most. The file is lost each time."""
MAX_TOKENS = 1 << 50
"""One request adds at most this to a window, whatever a provider says: the file holds 64 bits."""
SWEPT_AT_ONCE = 4
"""Counters that are checked, in turn, with each new one, and removed where they are over."""
SWEPT_WHEN_FULL = 4000
"""Counters that are checked when a new one finds no room."""

_LOOK = "select began_at from facts"
_GET_WINDOW = "select slots from windows where key = ?"
_PUT_WINDOW = (
    "insert into windows (key, kept_until, slots) values (?, ?, ?)"
    " on conflict (key) do update set kept_until = excluded.kept_until, slots = excluded.slots"
)
_GET_ACCOUNT = "select charged from accounts where key = ?"
_ADD_ACCOUNT = "insert into accounts (key, kept_until, charged) values (?, ?, ?)"
_PUT_ACCOUNT = "update accounts set charged = ? where key = ?"
_KEEP_ACCOUNT = "update accounts set kept_until = ? where key = ?"
_SWEEPS = {
    table: (
        f"select key, kept_until from {table} where key > ? order by key limit ?",  # noqa: S608
        f"delete from {table} where key = ?",  # noqa: S608
    )
    for table in ("windows", "accounts")
}


class FileStore:
    """A LimitStore for the processes of one machine."""

    name = "file"
    is_remote = False
    serves_away = False

    def __init__(
        self,
        folder: Path,
        opening: Callable[[Account], int] = lambda _: 0,
        *,
        begin: Callable[[], None] = lambda: None,
        read: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`opening` returns the charges to an account before anything was counted in the file.

        `read` updates it whenever the file is a new one. `begin` is called where no other process
        counts. `clock` is the same for all processes.
        """
        self.opening = opening
        self._read = read
        self._clock = clock
        self._swept = dict.fromkeys(_SWEEPS, "")
        self._file = CounterFile(folder, clock=clock, max_bytes=max_bytes)
        self._file.join(begin=begin, read=read)

    async def take(self, rates: Sequence[Rate], accounts: Sequence[Account], tokens: int) -> Taken:
        """See LimitStore."""
        return await self._run(partial(self._take, rates, accounts, tokens))

    async def reserve(
        self,
        request_id: str,  # noqa: ARG002 - the caller knows the amount held
        accounts: Sequence[Account],
        amount: int,
        held: int,
    ) -> Reserved:
        """See LimitStore."""
        return await self._run(partial(self._reserve, accounts, amount, held))

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
        await self._run(partial(self._settle, accounts, cost, held, corrections, at))

    def holds(self, request_id: str) -> bool:  # noqa: ARG002
        """See LimitStore."""
        return True

    def peek(self, accounts: Sequence[Account]) -> tuple[int, ...] | None:
        """See LimitStore. None while the file is lost or busy."""
        try:
            return self._file.transact(lambda db: tuple([self._charged(db, item) for item in accounts]))
        except (BusyError, LostError, FullError, LimitsUnavailableError):
            return None

    def check(self) -> None:
        """See LimitStore. A file that is busy counts."""
        with contextlib.suppress(BusyError, FullError):
            try:
                self._file.transact(lambda db: db.execute(_LOOK).fetchone())
            except LostError:
                self._file.reopen(self._read)

    def watch(self) -> None:
        """See LimitStore."""

    async def aclose(self) -> None:
        """See LimitStore."""

    def close(self) -> None:
        """See LimitStore."""
        self._file.close()

    async def _run(self, work: Work[Answer]) -> Answer:
        started, tries, reopenings, is_swept = time.monotonic(), 0, 0, False
        while True:
            try:
                return self._file.transact(work)
            except BusyError:
                tries += 1
                if tries < SPINS:
                    os.sched_yield()
                    continue
                if time.monotonic() - started > TIMEOUT_S:
                    raise LimitsUnavailableError(
                        f"another process has counted limits in `{self._file.folder}` for {TIMEOUT_S:.0f} s:"
                        " look for one that is stopped"
                    ) from None
                await asyncio.sleep(RETRY_S)
            except FullError:
                if is_swept:
                    raise LimitsUnavailableError(
                        f"no room for more limits and budgets in `{self._file.folder}`: free space on its"
                        " disk, or name fewer subjects",
                        retry_after_s=60.0,
                    ) from None
                is_swept = True
                with contextlib.suppress(BusyError, LostError, FullError):
                    self._file.transact(partial(self._sweep, most=SWEPT_WHEN_FULL))
            except LostError:
                reopenings += 1
                if reopenings > MAX_REOPENINGS:
                    raise LimitsUnavailableError(
                        f"the counters in `{self._file.folder}` are lost again and again. See the log"
                    ) from None
                await asyncio.to_thread(self._file.reopen, self._read)  # it reads the recorded spend

    def _take(
        self, rates: Sequence[Rate], accounts: Sequence[Account], tokens: int, db: sqlite3.Connection
    ) -> Taken:
        now = self._clock()
        windows = [self._window(db, rate, now) for rate in rates]
        for index, (rate, window) in enumerate(zip(rates, windows, strict=True)):
            amount = 1 if rate.unit == "requests" else tokens
            if window.total + amount > rate.limit:
                left = [max(item.limit - other.total, 0) for item, other in zip(rates, windows, strict=True)]
                return Taken(index, window.wait_s(amount, rate.limit, now), tuple(left), (), now)
        for rate, window in zip(rates, windows, strict=True):
            window.add(1 if rate.unit == "requests" else tokens)
            self._put(db, rate, window)
        left = [rate.limit - window.total for rate, window in zip(rates, windows, strict=True)]
        return Taken(None, None, tuple(left), tuple([self._charged(db, item) for item in accounts]), now)

    def _reserve(
        self, accounts: Sequence[Account], amount: int, held: int, db: sqlite3.Connection
    ) -> Reserved:
        more = amount - held
        charged = [self._charged(db, account) for account in accounts]
        if more > 0:
            for index, account in enumerate(accounts):
                if account.is_hard and charged[index] + more > account.limit:
                    return Reserved(index, tuple(charged))
        for index, account in enumerate(accounts):
            charged[index] += more
            db.execute(_PUT_ACCOUNT, (str(charged[index]), account.key))
            if not account.starts_s:  # a session's total lasts as long as the session
                db.execute(_KEEP_ACCOUNT, (self._kept_until(account), account.key))
        return Reserved(None, tuple(charged))

    def _settle(
        self,
        accounts: Sequence[Account],
        cost: int | None,
        held: int,
        corrections: Sequence[tuple[Rate, int]],
        at: float,
        db: sqlite3.Connection,
    ) -> None:
        if 0 < at < self._file.began_at:
            # Admitted in a file that is lost. This one was begun with the request's reservation or, if it
            # had its record by then, with its cost: neither must be taken off.
            return
        if cost is not None and cost != held:
            for account in accounts:
                charged = self._charged(db, account)
                db.execute(_PUT_ACCOUNT, (str(charged + cost - held), account.key))
        for rate, correction in corrections:
            row = db.execute(_GET_WINDOW, (rate.key,)).fetchone()
            if row is not None:
                window = _unpacked(row[0], rate)
                window.correct(int(at * SLOTS / rate.window_s), min(correction, MAX_TOKENS))
                self._put(db, rate, window)

    def _window(self, db: sqlite3.Connection, rate: Rate, now: float) -> Window:
        """A rate's window as of now. A window that moved because the clock was set back is written."""
        slot = int(now * SLOTS / rate.window_s)
        row = db.execute(_GET_WINDOW, (rate.key,)).fetchone()
        if row is None:
            self._sweep(db)
            window = Window(rate.window_s)
            window.newest = slot
            return window
        window = _unpacked(row[0], rate)
        if slot != window.newest:  # within a slot nothing is forgotten
            is_set_back = slot < window.newest
            window.advance(slot)
            if is_set_back:
                self._put(db, rate, window)
        return window

    def _put(self, db: sqlite3.Connection, rate: Rate, window: Window) -> None:
        db.execute(_PUT_WINDOW, (rate.key, (window.newest + SLOTS + 1) * rate.slot_s, _packed(window)))

    def _charged(self, db: sqlite3.Connection, account: Account) -> int:
        row = db.execute(_GET_ACCOUNT, (account.key,)).fetchone()
        if row is not None:
            return int(row[0])
        self._sweep(db)
        charged = self.opening(account)
        db.execute(_ADD_ACCOUNT, (account.key, self._kept_until(account), str(charged)))
        return charged

    def _kept_until(self, account: Account) -> float:
        length_s = account.ends_s - account.starts_s if account.starts_s else TOTAL_DAYS * DAY_S
        return self._clock() + length_s + GRACE_S

    def _sweep(self, db: sqlite3.Connection, *, most: int = SWEPT_AT_ONCE) -> None:
        now = self._clock()
        for table, (look, delete) in _SWEEPS.items():
            found = db.execute(look, (self._swept[table], most)).fetchall()
            self._swept[table] = found[-1][0] if len(found) == most else ""  # from the start again
            db.executemany(delete, [(key,) for key, kept_until in found if kept_until < now])


def _packed(window: Window) -> bytes:
    """64-bit integers: the newest slot, then each slot and its count."""
    flat = [window.newest]
    for item in window.slots.items():
        flat += item
    return array("q", flat).tobytes()


def _unpacked(content: bytes, rate: Rate) -> Window:
    flat = array("q", content)
    window = Window(rate.window_s)
    window.newest = flat[0]
    window.slots = dict(zip(flat[1::2], flat[2::2], strict=True))
    window.total = sum(flat[2::2])
    return window
