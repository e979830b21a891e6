"""Sessions that a server's workers share, so that a conversation stays with its model on any worker.

They are in a SQLite file that ends with the server, under digests of their names. If the file cannot be
used, a worker uses the sessions that it answered itself.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from dataclasses import asdict, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from router.files import open_cache
from router.request.preferences import Preferences
from router.sessions.sessions import Session, Sessions

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("router")

BUSY_S = 0.05
"""Longest wait for another worker. Its transaction takes microseconds."""
SWEEP_EVERY = 256
"""New sessions between two checks of their number."""
_SCHEMA = """
create table if not exists sessions (name text primary key, used_at real not null, content blob not null)
    without rowid;
create index if not exists sessions_by_use on sessions (used_at);
"""
_PUT = (
    "insert into sessions (name, used_at, content) values (?, ?, ?)"
    " on conflict (name) do update set used_at = excluded.used_at, content = excluded.content"
)
_SWEEP = (
    "delete from sessions where name in (select name from sessions order by used_at"
    " limit max(0, (select count(*) from sessions) - ?))"
)
_SETS = ("only", "ignore", "data_policy", "regions", "allowed_models")
_AMOUNTS = ("max_prompt_usd_per_mtok", "max_completion_usd_per_mtok", "max_cost_usd")


class SharedSessions:
    """A SessionStore of every process that opens the file."""

    def __init__(self, path: Path, *, ttl_s: float, max_sessions: int) -> None:
        self._ttl_s = ttl_s
        self._max_sessions = max_sessions
        self._alone = Sessions(ttl_s=ttl_s, max_sessions=max_sessions)
        self._lock = threading.Lock()  # guards the connection and the number of new sessions
        self._new = 0
        self._connection = open_cache(path, "journal_mode=wal")
        self._connection.executescript(_SCHEMA)
        self._connection.execute(f"pragma busy_timeout={BUSY_S * 1000:.0f}")

    def get(self, owned: str) -> Session | None:
        """See SessionStore."""
        try:
            with self._lock:
                return self._read(_digest(owned))
        except sqlite3.Error as error:
            logger.warning("sessions are not shared at the moment: %s", error)
            return self._alone.get(owned)

    def update(self, owned: str, **changes: Any) -> None:
        """See SessionStore."""
        self._alone.update(owned, **changes)
        name = _digest(owned)
        try:
            with self._lock, self._connection:
                self._connection.execute("begin immediate")
                session = self._read(name)
                self._new += session is None
                content = _packed(replace(session or Session(), **changes))
                self._connection.execute(_PUT, (name, time.time(), content))
                if self._new >= SWEEP_EVERY:
                    self._new = 0
                    self._connection.execute(_SWEEP, (self._max_sessions,))
        except sqlite3.Error as error:
            logger.warning("a session is not shared: %s", error)

    def close(self) -> None:
        """See SessionStore."""
        with self._lock:
            self._connection.close()

    def _read(self, name: str) -> Session | None:
        row = self._connection.execute(
            "select content from sessions where name = ? and used_at >= ?", (name, time.time() - self._ttl_s)
        ).fetchone()
        return None if row is None else _unpacked(row[0])


def _digest(owned: str) -> str:
    return hashlib.sha256(owned.encode(errors="surrogatepass")).hexdigest()


def _packed(session: Session) -> bytes:
    return orjson.dumps(asdict(session), default=_as_json)


def _as_json(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _unpacked(content: bytes) -> Session:
    members = orjson.loads(content)
    if members["treated_as"] is not None:
        members["treated_as"] = tuple(members["treated_as"])
    wished = members["preferences"]
    if wished is not None:
        wished["order"] = tuple(wished["order"])
        wished |= {name: frozenset(wished[name]) for name in _SETS if wished[name] is not None}
        wished |= {name: Decimal(wished[name]) for name in _AMOUNTS if wished[name] is not None}
        members["preferences"] = Preferences(**wished)
    return Session(**members)
