"""Sessions in a file of the data folder: a restart keeps them, and every process of the machine has them.

They lie in SQLite under digests of their names. An answered request changes them in one transaction of
some 30 microseconds, which survives kill -9. After a power cut the file may be damaged. It is then
replaced, and filled from the records. If it cannot be used, a process has the sessions that it answered
itself.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from router.files import locked, make_folder, open_cache
from router.sessions.packing import digest, pack, unpack
from router.sessions.sessions import Session, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger("router")

OPEN_S = 30.0
"""Longest wait for another process that opens the file and fills it from the records."""
BUSY_S = 0.05
"""Longest wait for another process later. Its transaction takes microseconds."""
SWEEP_EVERY = 256
"""New sessions between two sweeps."""
REPAIR_INTERVAL_S = 60.0
"""A file that cannot be used is opened again after this time."""
PAGE = 500
"""Sessions that one statement reads when many are copied elsewhere."""
_FILLED = 1
_TABLE = (
    "create table if not exists sessions"
    " (name text primary key, used_at real not null, content blob not null) without rowid"
)
_INDEX = "create index if not exists sessions_by_use on sessions (used_at)"
_PUT = (
    "insert into sessions (name, used_at, content) values (?, ?, ?)"
    " on conflict (name) do update set used_at = excluded.used_at, content = excluded.content"
)
_FORGET = "delete from sessions where used_at < ?"
_SWEEP = (
    "delete from sessions where name in (select name from sessions order by used_at"
    " limit max(0, (select count(*) from sessions) - ?))"
)
_SINCE = (
    "select name, used_at, content from sessions where (used_at, name) > (?, ?)"
    " order by used_at, name limit ?"
)


class SharedSessions:
    """A SessionStore of every process that opens the file."""

    def __init__(
        self,
        path: Path,
        *,
        ttl_s: float,
        max_sessions: int,
        recorded: Callable[[], Mapping[str, tuple[Session, float]]] = dict,
    ) -> None:
        """`recorded` gives the sessions of the records, by name, for a file that is new."""
        self._path = path
        self._ttl_s = ttl_s
        self._max_sessions = max_sessions
        self._recorded = recorded
        self._alone = Sessions(ttl_s=ttl_s, max_sessions=max_sessions)
        self._lock = threading.Lock()  # guards the connection and the number of new sessions
        self._new = 0
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False
        self._opened_at = 0.0
        self.error: str | None = None
        """The reason why sessions are not shared; None while they are."""
        with self._lock:
            self._open()

    def get(self, owned: str) -> Session | None:
        """See SessionStore."""
        try:
            with self._lock:
                found = self._read(digest(owned))
        except sqlite3.Error as error:
            self._fail(error)
            return self._alone.get(owned)
        return None if found is None else found[0]

    def update(self, owned: str, **changes: Any) -> None:
        """See SessionStore."""
        self.change(owned, changes)

    def change(self, owned: str, changes: Mapping[str, Any]) -> Session:
        """Update the session, and return the whole of it."""
        own = self._alone.change(owned, changes)
        name = digest(owned)
        try:
            with self._lock:
                found = self._read(name)
                session = replace(found[0] if found else Session(), **changes)
                self._write(name, session, time.time(), is_new=found is None)
        except sqlite3.Error as error:
            self._fail(error)
            return own
        return session

    def find(self, name: str) -> tuple[Session, float] | None:
        """The session under a digest and the time of its last use; None if there is none."""
        try:
            with self._lock:
                return self._read(name)
        except sqlite3.Error as error:
            self._fail(error)
            return None

    def put(self, owned: str, session: Session) -> None:
        """Replace a session by the one that another machine has."""
        self._alone.put(owned, session)
        try:
            with self._lock:
                self._write(digest(owned), session, time.time(), is_new=True)
        except sqlite3.Error as error:
            self._fail(error)

    def since(self, moment: float) -> Iterator[tuple[str, Session, float]]:
        """Digest, session and last use of every session that was used after a moment, oldest first."""
        at, last = max(moment, time.time() - self._ttl_s), ""
        while True:
            try:
                with self._lock:
                    rows = self._use().execute(_SINCE, (at, last, PAGE)).fetchall()
            except sqlite3.Error as error:
                self._fail(error)
                return
            for last, at, content in rows:
                yield last, unpack(content), at
            if len(rows) < PAGE:
                return

    def health(self) -> dict[str, Any]:
        """Where the sessions are, and why they are not shared at the moment."""
        return {"store": "file" if self.error is None else "memory", "error": self.error}

    def close(self) -> None:
        """See SessionStore."""
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _use(self) -> sqlite3.Connection:
        """The connection. The caller holds the lock."""
        if self._connection is None and time.monotonic() - self._opened_at > REPAIR_INTERVAL_S:
            self._open()
        if self._connection is None:
            raise sqlite3.OperationalError(self.error or "the file is closed")
        return self._connection

    def _read(self, name: str) -> tuple[Session, float] | None:
        row = (
            self._use()
            .execute(
                "select content, used_at from sessions where name = ? and used_at >= ?",
                (name, time.time() - self._ttl_s),
            )
            .fetchone()
        )
        if row is None:
            return None
        try:
            return unpack(row[0]), row[1]
        except (ValueError, TypeError, KeyError):
            return None  # another version's

    def _write(self, name: str, session: Session, used_at: float, *, is_new: bool) -> None:
        connection = self._use()
        with connection:
            connection.execute("begin immediate")
            connection.execute(_PUT, (name, used_at, pack(session)))
            self._new += is_new
            if self._new >= SWEEP_EVERY:
                self._new = 0
                connection.execute(_FORGET, (time.time() - self._ttl_s,))
                connection.execute(_SWEEP, (self._max_sessions,))

    def _open(self) -> None:
        """Open the file, or replace a damaged one. The caller holds the lock."""
        if self._is_closed:
            return
        self._opened_at = time.monotonic()
        for is_second in (False, True):
            try:
                self._connection = self._connect()
                self.error = None
                return
            except (sqlite3.Error, OSError) as error:
                self.error = f"`{self._path}` cannot be used ({error}): sessions are not shared or kept"
                is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
                    error, sqlite3.OperationalError
                )
                if is_second or not is_damaged:
                    break
                logger.warning("`%s` is damaged (%s): sessions come from the records", self._path, error)
                self._remove()
        logger.warning("%s", self.error)

    def _connect(self) -> sqlite3.Connection:
        make_folder(self._path.parent)
        connection = open_cache(self._path, "journal_mode=wal", busy_s=OPEN_S)
        try:
            self._path.chmod(0o600)
            with connection:
                connection.execute("begin immediate")
                for statement in (_TABLE, _INDEX):
                    connection.execute(statement)
                if connection.execute("pragma user_version").fetchone()[0] < _FILLED:
                    connection.executemany(_PUT, self._rows_of_records())
                    connection.execute(f"pragma user_version={_FILLED}")
                now = time.time()
                # A clock that was ahead must not keep a session for longer.
                connection.execute("update sessions set used_at = ? where used_at > ?", (now, now))
            connection.execute(f"pragma busy_timeout={BUSY_S * 1000:.0f}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _rows_of_records(self) -> list[tuple[str, float, bytes]]:
        try:
            recorded = self._recorded()
        except Exception as error:  # no session is worth a router that does not start
            logger.warning("sessions cannot be restored from the records: %s", error)
            return []
        return [(digest(owned), used_at, pack(session)) for owned, (session, used_at) in recorded.items()]

    def _remove(self) -> None:
        with locked(self._path):
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _fail(self, error: sqlite3.Error) -> None:
        logger.warning("sessions are not shared at the moment: %s", error)
        if isinstance(error, sqlite3.OperationalError):
            return  # busy, or without space: the next one may succeed
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._open()
