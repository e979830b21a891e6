"""The SQLite file in which the processes of one machine count: how it is begun, lost and replaced.

    counters.lock         held, shared, by every process that counts: the first one begins a new file
    counters.db           a link to the file in use
    counters-<random>.db  a file, not used again once the link leads elsewhere

The file is a cache of the records and the reservation logs. It is never synced: it survives the kill of
a process, and is not used again once no process is left. A power cut can therefore not make it wrong,
nor can changes while no process runs. Each file has a name of its own because SQLite removes a file's
write-ahead log by name when its last connection closes.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from router.errors import LimitsUnavailableError
from router.files import TEMPORARY_PREFIX, make_folder, open_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answer = TypeVar("Answer")
    Work = Callable[[sqlite3.Connection], Answer]

logger = logging.getLogger("router.limits")

PAGE_BYTES = 1024
"""A transaction writes whole pages."""
CHECKPOINT_PAGES = 8000
"""Pages in the log before they are copied into the file: by then most have been written many times."""
MAX_BYTES = 512 << 20
"""About two million windows and accounts. A subject beyond them is refused."""
START_POLL_S = 0.01
"""Interval at which a process checks whether another one has begun the file."""
_SCHEMA = """
create table windows (key text primary key, kept_until real not null, slots blob not null) without rowid;
create table accounts (key text primary key, kept_until real not null, charged text not null) without rowid;
create table facts (began_at real not null);
"""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""SQLITE_ERROR: a table is missing."""


class BusyError(Exception):
    """Another process is in the middle of a transaction."""


class LostError(Exception):
    """The file is gone, damaged or replaced: see `CounterFile.reopen`."""


class FullError(Exception):
    """Nothing more fits: into the file's bound, or on the disk."""


class CounterFile:
    """This process's connection to the file. It is safe to use from several threads."""

    def __init__(self, folder: Path, *, clock: Callable[[], float], max_bytes: int = MAX_BYTES) -> None:
        make_folder(folder)
        self.folder = folder
        self.began_at = 0.0
        """When the file in use was begun, by `clock`."""
        self._clock = clock
        self._max_bytes = max_bytes
        self._link = folder / "counters.db"
        self._presence = os.open(folder / "counters.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()  # guards the connection and its file's inode
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._damaged: int | None = None
        self._reopen_lock = threading.Lock()  # one reopening at a time in this process

    def join(self, *, begin: Callable[[], None], read: Callable[[], None]) -> None:
        """Join the processes that count. The first one calls `begin` before any other joins.

        `read` is called before anything is counted in a file that is new to this process.
        """
        while True:
            if self._try_lock(fcntl.LOCK_EX):
                self._link.unlink(missing_ok=True)
                for path in self.folder.glob("counters-*"):
                    path.unlink()
                begin()
                self._create()
                fcntl.flock(self._presence, fcntl.LOCK_SH)
                break
            if self._try_lock(fcntl.LOCK_SH):
                break
            time.sleep(START_POLL_S)  # the first one reads the recorded spend
        self.reopen(read)

    def transact(self, work: Work[Answer]) -> Answer:
        """Run `work` in one transaction and return its result.

        BusyError at once when another process is in a transaction, LostError when `reopen` must come
        first, FullError when room must be made.
        """
        with self._lock:
            if self._connection is None:
                raise LostError
            try:
                with self._transaction(self._connection):
                    if self._inode_now() != self._inode:
                        raise LostError
                    return work(self._connection)
            except sqlite3.DatabaseError as error:
                raise self._judged(error) from error

    def reopen(self, read: Callable[[], None]) -> None:
        """Use the file that the link leads to, or begin one. `read` is called before it is used."""
        with self._reopen_lock:
            if self._connection is not None and self._inode_now() == self._inode != self._damaged:
                return  # another thread was quicker
            while True:
                inode = self._ensure()
                read()
                with self._lock:
                    try:
                        self._open()
                    except (sqlite3.DatabaseError, OSError) as error:
                        logger.error("limits are counted in a new file: `%s`: %s", self._link, error)
                        self._damaged = inode
                        continue
                    if self._inode == inode:
                        return

    def close(self) -> None:
        """Leave. The last process to leave leaves a file that is not used again."""
        with self._lock:
            self._disconnect()
            if self._presence >= 0:
                os.close(self._presence)
                self._presence = -1

    def _ensure(self) -> int | None:
        """The inode of a file to use: the link's, or a new one's where that is lost or damaged."""
        guard = os.open(self.folder / "counters.begin", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)  # of several processes that find it damaged one replaces it
            inode = self._inode_now()
            if inode is None or inode == self._damaged:
                logger.error(
                    "the counters of limits and budgets, `%s`, are %s: counting restarts from the records",
                    self._link,
                    "missing" if inode is None else "damaged",
                )
                self._create()
            return self._inode_now()
        finally:
            os.close(guard)

    def _create(self) -> None:
        path = self.folder / f"counters-{secrets.token_hex(6)}.db"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection = open_cache(path, f"page_size={PAGE_BYTES}", "journal_mode=wal")
        try:
            connection.executescript(_SCHEMA)
            connection.execute("insert into facts (began_at) values (?)", (self._clock(),))
        finally:
            connection.close()
        temporary = self.folder / f"{TEMPORARY_PREFIX}counters-{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(path.name)
        temporary.replace(self._link)

    def _open(self) -> None:
        self._disconnect()
        path = self._link.resolve(strict=True)
        inode = path.stat().st_ino
        bounds = (
            f"wal_autocheckpoint={CHECKPOINT_PAGES}",
            f"max_page_count={self._max_bytes // PAGE_BYTES}",
        )
        connection = open_cache(path, *bounds, must_exist=True, busy_s=0)
        try:
            (self.began_at,) = connection.execute("select began_at from facts").fetchone()
        except BaseException:
            connection.close()
            raise
        self._connection, self._inode = connection, inode

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        connection.execute("begin immediate")
        try:
            yield
            connection.execute("commit")
        except BaseException:
            connection.rollback()
            raise

    def _judged(self, error: sqlite3.DatabaseError) -> Exception:
        code = error.sqlite_errorcode & 0xFF
        if code in _BUSY:
            return BusyError()
        if code == sqlite3.SQLITE_FULL:
            return FullError()
        if code in _DAMAGED:
            self._damaged = self._inode
            return LostError()
        if self._inode_now() != self._inode:
            return LostError()
        return LimitsUnavailableError(
            f"limits and budgets cannot be counted in `{self._link}`: {error}; check the data folder and"
            " its disk. Serving resumes by itself"
        )

    def _inode_now(self) -> int | None:
        try:
            return os.stat(self._link).st_ino  # noqa: PTH116 - asked with every transaction
        except FileNotFoundError:
            return None

    def _try_lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._presence, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
