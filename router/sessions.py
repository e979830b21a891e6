"""Sticky sessions: a conversation stays with its model while it remains eligible."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict


class Sessions:
    """Session to model, bounded in number and in idle time; safe to use from several threads."""

    def __init__(self, *, ttl_s: float, max_sessions: int) -> None:
        self._ttl_s = ttl_s
        self._max_sessions = max_sessions
        self._models: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()  # guards _models

    def get(self, session_id: str) -> str | None:
        """The session's model, None when it is new or idle for too long."""
        with self._lock:
            entry = self._models.get(session_id)
            if entry is None:
                return None
            if time.monotonic() - entry[1] > self._ttl_s:
                del self._models[session_id]
                return None
            return entry[0]

    def put(self, session_id: str, model: str) -> None:
        """Remember the session's model and that it is alive."""
        with self._lock:
            self._models[session_id] = (model, time.monotonic())
            self._models.move_to_end(session_id)
            while len(self._models) > self._max_sessions:
                self._models.popitem(last=False)
