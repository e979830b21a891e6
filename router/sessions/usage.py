"""The use of one session so far, from its records: requests, tokens and money.

Records are read where the router wrote them: in the journals of this machine, then in the lake's segments.
So the figures include the last reply, count each record once, survive a restart, and are equal in every
worker. They cover the last hours (SESSION_USAGE_HOURS).
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from router.journal.places import hour_of
from router.journal.reading import LISTINGS, unsealed_of_session
from router.records import moment_of
from router.sessions.records_index import RecordsIndex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

AHEAD = timedelta(hours=1)
"""Records of a machine whose clock is ahead count up to this."""
TOKENS = (
    "tokens_input",
    "tokens_output",
    "tokens_cached_input",
    "tokens_cache_write",
    "tokens_reasoning",
)
COUNTS = ("requests", "successes", "requests_with_cost", "requests_with_tokens")
_COLUMNS = (
    "id",
    "session_id",
    "api_key_id",
    "organization_id",
    "model_selected",
    "success",
    "cost_usd",
    *TOKENS,
)


@dataclass(slots=True)
class Sums:
    """Sums over some requests. None means that no request reported the quantity."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    tokens: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(TOKENS))
    cost_usd: Decimal | None = None
    cached: int = 0
    cacheable: int = 0
    """Cached and whole input of the requests that report both."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a request's record."""
        whole, cached, cost = row["tokens_input"], row["tokens_cached_input"], row["cost_usd"]
        found = (1, bool(row["success"]), cost is not None, whole is not None)
        for name, count in zip(COUNTS, found, strict=True):
            self.counts[name] += count
        for name in TOKENS:
            if row[name] is not None:
                self.tokens[name] = (self.tokens[name] or 0) + row[name]
        if cost is not None:
            self.cost_usd = (self.cost_usd or Decimal(0)) + Decimal(cost)
        if whole is not None and cached is not None:
            self.cached += cached
            self.cacheable += whole

    def facts(self) -> dict[str, Any]:
        """The sums by name. Money is Decimal US dollars of the requests whose cost is known."""
        return {
            **self.counts,
            "requests_without_cost": self.counts["requests"] - self.counts["requests_with_cost"],
            "cost_usd": self.cost_usd,
            **self.tokens,
            "cached_share": self.cached / self.cacheable if self.cacheable else None,
        }


class SessionUsage:
    """Reads the use of sessions. Safe for threads, one of which reads at a time."""

    def __init__(self, home: Path, *, hours: int) -> None:
        """`hours` is how far back requests count."""
        self._home = home
        self._hours = timedelta(hours=hours)
        self._turn = asyncio.Lock()  # keeps waiting reads out of the threads
        self._lock = threading.Lock()  # guards the index
        self._index: RecordsIndex | None = None

    async def find(
        self, session_id: str, api_key_id: str | None, organization_id: str | None
    ) -> dict[str, Any] | None:
        """`read` without holding up the event loop."""
        async with self._turn:
            return await asyncio.to_thread(self.read, session_id, api_key_id, organization_id)

    def read(
        self, session_id: str, api_key_id: str | None, organization_id: str | None
    ) -> dict[str, Any] | None:
        """The session's use, as its owner sees it; None if no request of it is recorded."""
        with self._lock:
            try:
                return self._read(session_id, (api_key_id, organization_id))
            except BaseException:
                self._forget()  # the index may take a segment for read that it lacks
                raise

    def close(self) -> None:
        """Drop the index. Reading again starts a new one."""
        with self._lock:
            self._forget()

    def _read(self, session_id: str, owner: tuple[str | None, str | None]) -> dict[str, Any] | None:
        if self._index is None:
            self._index = RecordsIndex(self._home / "lake", _COLUMNS)
        since = hour_of(datetime.now(UTC) - self._hours)
        total, models, moments = Sums(), dict[str, Sums](), list[datetime]()
        for row in self._records(self._index, session_id, since):
            if (row["api_key_id"], row["organization_id"]) != owner:
                continue
            moments.append(moment_of(row["id"]))
            total.add(row)
            if row["model_selected"] is not None:
                models.setdefault(row["model_selected"], Sums()).add(row)
        if not moments:
            return None
        return {
            "counted_since": since,
            "is_complete": self._index.is_complete,
            "first_at": min(moments),
            "last_at": max(moments),
            **total.facts(),
            "models": [{"model": model, **sums.facts()} for model, sums in sorted(models.items())],
        }

    def _records(self, index: RecordsIndex, session_id: str, since: datetime) -> Iterator[Mapping[str, Any]]:
        """Each record with the session's id, once."""
        # Journals first: a record that is sealed meanwhile is seen twice, and told apart by its journal.
        unsealed = list(unsealed_of_session(self._home, session_id))
        yield from self._sealed(index, session_id, since)
        for journal, row in unsealed:
            try:
                hour = hour_of(moment_of(row["id"]))
                is_wanted = row["session_id"] == session_id and hour >= since
                found = {name: row[name] for name in _COLUMNS}
            except (KeyError, TypeError, ValueError):
                continue  # a line that is not a request's
            if is_wanted and not index.covers(hour, journal):
                yield found

    def _sealed(self, index: RecordsIndex, session_id: str, since: datetime) -> list[Mapping[str, Any]]:
        for attempt in range(LISTINGS):
            index.catch_up(since, hour_of(datetime.now(UTC) + AHEAD))
            try:
                return list(index.records(session_id))
            except FileNotFoundError:  # a segment was replaced meanwhile: its replacement is listed next
                if attempt == LISTINGS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _forget(self) -> None:
        if self._index is not None:
            self._index.close()
        self._index = None
