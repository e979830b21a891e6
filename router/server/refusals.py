"""Security events: refusals, counted exactly within bounds, and slowed down while they flood.

Equal refusals within FLUSH_S become one event with their number. In each minute at most MAX_ROWS events
for known keys, and as many for unknown ones, have all their facts. Later ones in that minute are counted
by kind, code and path only. So the bytes of an attack are bounded, and the counts stay exact. A kill
loses the counts of the last FLUSH_S at most.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from router.documents import hidden
from router.errors import ConfigError, InvalidKeyError, JournalError
from router.keys.keys import NOBODY
from router.records import SecurityEvent, new_id
from router.server.auth import tokens_of
from router.server.errors import status_of
from router.server.http import Headers
from router.tasks.features import load_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.errors import IntelliRouterError
    from router.keys.keys import Caller
    from router.records import Refused
    from router.server.http import AsgiScope

logger = logging.getLogger("router.server")

FLUSH_S = 1.0
WINDOW_S = 60.0
MAX_ROWS = 200
"""Events with all facts in WINDOW_S, for callers with a known key and for others."""
MAX_AGENT = 200
"""Characters that are kept of a client's user agent."""
FINGERPRINT_CHARS = 16
BURST = 100
"""Wrong keys that are answered at once."""
ANSWERS_PER_S = 50
"""Wrong keys that are answered in a second, once the burst is over."""
LONGEST_PAUSE_S = 5.0


class _Facts(NamedTuple):
    """Refusals with equal facts are one event."""

    kind: Refused
    code: str
    status_code: int
    path: str | None
    organization_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    key_fingerprint: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(slots=True)
class _Count:
    refusals: int
    first_at: datetime
    last_at: datetime


class Refusals:
    """Counts the refusals of one process, and writes them once a second while there are any."""

    def __init__(
        self,
        write: Callable[[SecurityEvent], None],
        *,
        environment: str,
        key_file: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`write` puts an event on disk, or raises JournalError. `key_file` keys the fingerprints."""
        self._write = write
        self._environment = environment
        self._key_file = key_file
        self._clock = clock
        self._key: bytes | None = None
        self._lock = threading.Lock()  # guards the counts
        self._counts: dict[_Facts, _Count] = {}
        self._rows = {True: 0, False: 0}
        self._window_at = clock()
        self._next_answer_at = 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, error: IntelliRouterError, scope: AsgiScope, caller: Caller, path: str) -> None:
        """Count a refusal. `path` is the endpoint's."""
        assert error.refused is not None  # noqa: S101 - the caller asked
        facts = _Facts(error.refused, error.code, status_of(error), path)
        now = datetime.now(UTC)
        with self._lock:
            full = self._with_all(facts, error, scope, caller)
            self._add(full if self._has_room(full) else facts, 1, now, now)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._flush_forever, name="security-events", daemon=True
                )
                self._thread.start()

    async def pause(self, error: IntelliRouterError) -> None:
        """Let a wrong key wait for its answer while too many come, so that others keep the processor."""
        if not isinstance(error, InvalidKeyError):
            return
        now = self._clock()
        at = max(self._next_answer_at, now - BURST / ANSWERS_PER_S) + 1 / ANSWERS_PER_S
        if at - now > LONGEST_PAUSE_S:
            at = now + LONGEST_PAUSE_S  # beyond this, waiting costs more than answering
        else:
            self._next_answer_at = at
        if at > now:
            await asyncio.sleep(at - now)

    def flush(self) -> None:
        """Write the counts. Those that cannot be written now are kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, {}
        failed = None
        for facts, count in counts.items():
            try:
                if failed is None:
                    self._write(self._event(facts, count))
                    continue
            except (JournalError, OSError) as error:
                failed = error
            with self._lock:  # in few rows, since the disk may stay full for long
                self._add(_Facts(*facts[:4]), count.refusals, count.first_at, count.last_at)
        if failed is not None:
            logger.error("security events cannot be written yet, and are kept: %s", failed)

    def close(self) -> None:
        """Write the last counts. You can call it twice."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.flush()

    def _flush_forever(self) -> None:
        while not self._closing.wait(FLUSH_S):
            self.flush()

    def _with_all(self, facts: _Facts, error: IntelliRouterError, scope: AsgiScope, caller: Caller) -> _Facts:
        owner = error if isinstance(error, InvalidKeyError) else None
        key_id = caller.key_id if owner is None else owner.key_id
        tokens = tokens_of(scope) if key_id is None and caller is NOBODY else []
        agent = Headers(scope["headers"]).get("user-agent")
        client = scope.get("client")
        return facts._replace(
            organization_id=caller.organization_id if owner is None else owner.organization_id,
            user_id=caller.user_id if owner is None else owner.user_id,
            api_key_id=key_id,
            key_fingerprint=self._fingerprint(tokens[0]) if tokens else None,
            ip_address=client[0] if client else None,
            user_agent=None if agent is None else hidden(agent[:MAX_AGENT]),
        )

    def _has_room(self, facts: _Facts) -> bool:
        """Whether an event with all its facts may be written in this minute."""
        now = self._clock()
        if now - self._window_at >= WINDOW_S:
            self._window_at = now
            self._rows = {True: 0, False: 0}
        if facts in self._counts:
            return True
        is_known = facts.api_key_id is not None
        if self._rows[is_known] >= MAX_ROWS:
            return False
        self._rows[is_known] += 1
        return True

    def _add(self, facts: _Facts, refusals: int, first_at: datetime, last_at: datetime) -> None:
        count = self._counts.get(facts)
        if count is None:
            self._counts[facts] = _Count(refusals, first_at, last_at)
        else:
            count.refusals += refusals
            count.first_at = min(count.first_at, first_at)
            count.last_at = max(count.last_at, last_at)

    def _event(self, facts: _Facts, count: _Count) -> SecurityEvent:
        return SecurityEvent(
            id=new_id()[0],
            timestamp=count.first_at,
            last_at=count.last_at,
            environment=self._environment,
            refusals=count.refusals,
            **facts._asdict(),
        )

    def _fingerprint(self, token: str) -> str | None:
        if self._key is None:
            try:
                self._key = load_key(self._key_file)
            except (ConfigError, OSError) as error:
                logger.warning("keys that are refused have no fingerprint: %s", error)
                return None
        return hmac.new(self._key, token.encode(), hashlib.sha256).hexdigest()[:FINGERPRINT_CHARS]
