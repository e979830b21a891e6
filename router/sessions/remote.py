"""Sessions on Redis, so that a conversation stays with its model on any machine.

    {intellirouter}:s:<digest>       the fields of a session, and the time of its last use
    {intellirouter}:sessions         digests by their last use, to keep their number within a bound
    {intellirouter}:sessions-kept    there from the first router on; missing where Redis lost its data

Each machine also has a copy of the sessions that it answered (`router.sessions.shared`). While Redis is
away, or has lost its data, that copy answers. When Redis is back, sessions that it misses or has in an
older form are sent to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Any

from router.sessions.packing import digest, fields_of, pack_fields, unpack_fields
from router.stores.redis_connections import PREFIX, RedisConnections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.sessions.sessions import Session
    from router.sessions.shared import SharedSessions

logger = logging.getLogger("router")

TIMEOUT_S = 0.25
"""Longest wait of a request for one operation. Then the machine's own copy answers."""
PROBE_INTERVAL_S = 0.5
"""Time between tries while Redis does not answer. Requests in between use the copy at once."""
SENT_AT_ONCE = 100
"""Sessions of the copy that are sent to Redis together."""

SAVE = """
-- keys: the session, all sessions by last use. arguments: the name, its life in ms, the most sessions,
-- used_at ('' for now; else nothing changes unless the stored one is older), the number of arguments
-- with changed fields, these fields, all fields
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local used_at = tonumber(ARGV[4]) or now
local is_there = redis.call('EXISTS', KEYS[1]) == 1
if ARGV[4] ~= '' and is_there and tonumber(redis.call('HGET', KEYS[1], 'used_at')) >= used_at then
    return string.format('%.0f', used_at)
end
local left = math.floor(tonumber(ARGV[2]) - (now - used_at) / 1000)
if left <= 0 then
    return string.format('%.0f', used_at)
end
local changed = tonumber(ARGV[5])
local first, last = 6, 5 + changed
if not is_there or ARGV[4] ~= '' then
    first, last = 6 + changed, #ARGV
end
for place = first, last, 2 do
    redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
end
redis.call('HSET', KEYS[1], 'used_at', string.format('%.0f', used_at))
redis.call('PEXPIRE', KEYS[1], left)
redis.call('ZADD', KEYS[2], used_at, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - tonumber(ARGV[2]) * 1000))
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
if over > 0 then
    local stem = string.sub(KEYS[1], 1, -1 - string.len(ARGV[1]))
    local oldest = redis.call('ZPOPMIN', KEYS[2], over)
    for place = 1, #oldest, 2 do
        redis.call('UNLINK', stem .. oldest[place])
    end
end
return string.format('%.0f', used_at)
"""
_SAVE_DIGEST = hashlib.sha1(SAVE.encode()).hexdigest()  # noqa: S324 - EVALSHA's, not ours


class AwayError(Exception):
    """Redis does not answer at the moment."""


class RedisSessions:
    """A SessionStore of every machine on one Redis, with a copy on each."""

    def __init__(
        self, url: str, copy: SharedSessions, *, ttl_s: float, max_sessions: int, prefix: str = PREFIX
    ) -> None:
        """`copy` holds the machine's own sessions. ConfigError if the URL or the package is not usable."""
        self._connections = RedisConnections(
            url, timeout_s=TIMEOUT_S, pool_timeout_s=TIMEOUT_S, thread_timeout_s=TIMEOUT_S
        )
        self._copy = copy
        self._ttl_ms = max(int(ttl_s * 1000), 0)
        self._max_sessions = max_sessions
        self._prefix = prefix
        self._index = f"{prefix}sessions"
        self._kept = f"{prefix}sessions-kept"
        self._probed_at = float("-inf")
        self._away_since: float | None = None
        """When Redis stopped to answer. Sessions that were used later are sent to it."""
        self._sending: set[asyncio.Task[None]] = set()
        self.error: str | None = None
        """The reason why machines do not agree on sessions; None while they do."""

    def get(self, owned: str) -> Session | None:
        """See SessionStore: the machine's own copy, without a call."""
        return self._copy.get(owned)

    async def fetch(self, owned: str) -> Session | None:
        """The session as the machine that answered last left it."""
        name = digest(owned)
        try:
            texts, is_kept = await self._call(self._read, name)
        except AwayError:
            return self._copy.get(owned)
        self._mend(is_kept=bool(is_kept))
        own = self._copy.find(name)
        if texts:
            try:
                used_at, session = int(texts[b"used_at"]) / 1e6, unpack_fields(texts)
            except (ValueError, TypeError, KeyError):
                return own[0] if own else None  # another version's
            is_behind = self._away_since is not None or bool(self._sending)
            if own is not None and is_behind and own[1] > used_at:
                return own[0]  # it was answered here while Redis was away
            if own is None or own[0] != session:
                self._copy.put(owned, session)
            return session
        return own[0] if own else None

    def update(self, owned: str, **changes: Any) -> None:
        """See SessionStore. It blocks: requests use `save`."""
        session = self._copy.change(owned, changes)
        try:
            with self._connections.client_of_thread() as client:
                client.eval(SAVE, 2, *self._arguments(digest(owned), session, changes))
        except self._connections.failures as error:
            self._fail(error)

    async def save(self, owned: str, **changes: Any) -> None:
        """`update` for requests. Another machine has the change once this returns."""
        session = self._copy.change(owned, changes)
        try:
            await self._call(self._run, self._arguments(digest(owned), session, changes))
        except AwayError:
            return

    def health(self) -> dict[str, Any]:
        """Where the sessions are, and why machines do not agree on them at the moment."""
        copy = self._copy.health()
        if self.error is None:
            return {"store": "redis", "error": None}
        return {"store": copy["store"], "error": self.error}

    async def aclose_connections(self) -> None:
        """Close the connections of the running event loop."""
        loop = asyncio.get_running_loop()
        for task in [item for item in self._sending if item.get_loop() is loop]:
            task.cancel()
        await self._connections.aclose()

    def close(self) -> None:
        """See SessionStore."""
        self._copy.close()

    async def _call(self, operation: Any, *arguments: Any) -> Any:
        if self.error is not None and time.monotonic() - self._probed_at < PROBE_INTERVAL_S:
            raise AwayError
        try:
            answer = await operation(*arguments)
        except self._connections.failures as error:
            self._fail(error)
            raise AwayError from None
        if self.error is not None:
            logger.warning("sessions are on Redis again")
            self.error = None
        return answer

    async def _read(self, name: str) -> Any:
        pipeline = self._connections.client().pipeline(transaction=False)
        pipeline.hgetall(f"{self._prefix}s:{name}")
        pipeline.exists(self._kept)
        return await pipeline.execute()

    async def _run(self, arguments: list[Any]) -> Any:
        client = self._connections.client()
        try:
            return await client.evalsha(_SAVE_DIGEST, 2, *arguments)
        except self._connections.unknown_script:
            return await client.eval(SAVE, 2, *arguments)

    def _arguments(
        self,
        name: str,
        session: Session,
        changes: Mapping[str, Any] | None = None,
        used_at: float | None = None,
    ) -> list[Any]:
        changed = _flat(changes or {})
        return [
            f"{self._prefix}s:{name}",
            self._index,
            name,
            self._ttl_ms,
            self._max_sessions,
            "" if used_at is None else f"{used_at * 1e6:.0f}",
            len(changed),
            *changed,
            *_flat(fields_of(session)),
        ]

    def _mend(self, *, is_kept: bool) -> None:
        """Send Redis the sessions that it lacks: all if it lost its data, else those of its absence."""
        if is_kept and self._away_since is None:
            return
        since = self._away_since if is_kept and self._away_since is not None else 0.0
        if not any(not task.done() for task in self._sending):
            task = asyncio.get_running_loop().create_task(self._send(since))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, since: float) -> None:
        began = self._away_since
        try:
            batch: list[tuple[str, Session, float]] = []
            for item in self._copy.since(since):
                batch.append(item)
                if len(batch) >= SENT_AT_ONCE:
                    await self._send_batch(batch)
                    batch = []
            await self._send_batch(batch)
            await self._connections.client().set(self._kept, 1)
        except self._connections.failures as error:
            self._fail(error)
        else:
            if self._away_since == began:
                self._away_since = None

    async def _send_batch(self, batch: list[tuple[str, Session, float]]) -> None:
        if batch:
            pipeline = self._connections.client().pipeline(transaction=False)
            for name, session, used_at in batch:
                pipeline.eval(SAVE, 2, *self._arguments(name, session, used_at=used_at))
            await pipeline.execute()

    def _fail(self, error: Exception) -> None:
        self._probed_at = time.monotonic()
        if self._away_since is None:
            self._away_since = time.time() - TIMEOUT_S
        if self.error is None:
            # The kind of error and not its text, which may quote the URL.
            self.error = (
                f"Redis does not answer about sessions ({type(error).__name__}): each machine has those that"
                " it answered itself. Check that REDIS_URL's server runs"
            )
            logger.warning("%s", self.error)


def _flat(values: Mapping[str, Any]) -> list[Any]:
    return [part for item in pack_fields(values).items() for part in item]
