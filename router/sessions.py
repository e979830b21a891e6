"""Sessions: a conversation stays with its model, and keeps the policy and preferences it began with."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.preferences import Preferences


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is remembered of a conversation."""

    model: str | None = None
    """The model that answered last."""
    policy: str | None = None
    """The last policy one of its requests named."""
    preferences: Preferences | None = None
    treated_as: tuple[str, str] | None = None
    """(experiment, variant) under which `model` was chosen; another variant chooses for itself."""
    tokens_per_estimate: float = 1.0
    """Input tokens the provider counted, per token estimated from the length of the text: the next
    request's context is checked against windows with it."""


class Sessions:
    """Sessions by id, bounded in number and in idle time; safe to use from several threads."""

    def __init__(self, *, ttl_s: float, max_sessions: int) -> None:
        self._ttl_s = ttl_s
        self._max_sessions = max_sessions
        self._entries: OrderedDict[str, tuple[Session, float]] = OrderedDict()
        self._lock = threading.Lock()  # guards _entries

    def get(self, session_id: str) -> Session | None:
        """The session, None when it is new or idle for too long."""
        with self._lock:
            entry = self._entries.get(session_id)
            if entry is None:
                return None
            if time.monotonic() - entry[1] > self._ttl_s:
                del self._entries[session_id]
                return None
            return entry[0]

    def update(self, session_id: str, **changes: Any) -> None:
        """Change fields of the session, new or not, and remember that it is alive."""
        with self._lock:
            now = time.monotonic()
            session, touched = self._entries.get(session_id) or (Session(), now)
            if now - touched > self._ttl_s:
                session = Session()
            self._entries[session_id] = (replace(session, **changes), now)
            self._entries.move_to_end(session_id)
            while len(self._entries) > self._max_sessions:
                self._entries.popitem(last=False)
