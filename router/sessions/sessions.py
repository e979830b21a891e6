"""Sessions: a conversation stays with its model, and keeps its policy and preferences.

Clients make up their session ids, so an id identifies a conversation only together with its owner: the
caller's key and the organisation.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.request.preferences import Preferences


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The remembered state of a conversation."""

    model: str | None = None
    """The model that answered last."""
    policy: str | None = None
    """The last policy that one of its requests named."""
    preferences: Preferences | None = None
    treated_as: tuple[str, str] | None = None
    """(experiment, variant) under which `model` was chosen. Under another variant a new choice is made."""
    tokens_per_estimate: float = 1.0
    """Input tokens that the provider counted, per token estimated from the length of the text. The next
    request's context is checked against windows with this correction."""


def owned_session(session_id: str, api_key_id: str | None, organization_id: str | None) -> str:
    """A name for the session that is unique over all owners: only the id if it has no owner."""
    if api_key_id is None and organization_id is None and "\n" not in session_id:
        return session_id
    return f"{api_key_id or ''}\n{organization_id or ''}\n{session_id}"


def session_id_of(owned: str) -> str:
    """The client's own id in a name from `owned_session`."""
    return owned.split("\n", 2)[-1]


class SessionStore(Protocol):
    """A store of sessions, by the name from `owned_session`."""

    def get(self, owned: str) -> Session | None:
        """The session; None if it is new or was idle for too long."""

    def update(self, owned: str, **changes: Any) -> None:
        """Change fields of the session, create it if needed, and reset its idle time."""

    def close(self) -> None:
        """Release the files; the router that was opened with the store calls it when it closes."""


class RemoteSessionStore(SessionStore, Protocol):
    """A SessionStore on another machine. Requests wait for it without keeping the event loop."""

    async def fetch(self, owned: str) -> Session | None:
        """`get` as every machine knows it."""

    async def save(self, owned: str, **changes: Any) -> None:
        """`update` for every machine."""

    async def aclose_connections(self) -> None:
        """Close the connections of the running event loop."""


async def fetch_session(store: SessionStore, owned: str) -> Session | None:
    """The session, from another machine if the store is there."""
    fetch = getattr(store, "fetch", None)
    if fetch is None:
        return store.get(owned)
    found: Session | None = await fetch(owned)
    return found


async def save_session(store: SessionStore, owned: str, changes: Mapping[str, Any]) -> None:
    """Change the session, on another machine if the store is there."""
    save = getattr(store, "save", None)
    if save is None:
        store.update(owned, **changes)
    else:
        await save(owned, **changes)


async def close_connections(store: SessionStore) -> None:
    """Close the store's connections of the running event loop, if it has any."""
    if (aclose := getattr(store, "aclose_connections", None)) is not None:
        await aclose()


class Sessions:
    """A SessionStore of one process, bounded in number and in idle time.

    Safe to use from several threads.
    """

    def __init__(self, *, ttl_s: float, max_sessions: int) -> None:
        self._ttl_s = ttl_s
        self._max_sessions = max_sessions
        self._entries: OrderedDict[str, tuple[Session, float]] = OrderedDict()
        self._lock = threading.Lock()  # guards _entries

    def get(self, owned: str) -> Session | None:
        """See SessionStore."""
        with self._lock:
            entry = self._entries.get(owned)
            if entry is None:
                return None
            if time.monotonic() - entry[1] > self._ttl_s:
                del self._entries[owned]
                return None
            return entry[0]

    def update(self, owned: str, **changes: Any) -> None:
        """See SessionStore."""
        self.change(owned, changes)

    def change(self, owned: str, changes: Mapping[str, Any]) -> Session:
        """Update the session, and return the whole of it."""
        with self._lock:
            now = time.monotonic()
            session, touched = self._entries.get(owned) or (Session(), now)
            if now - touched > self._ttl_s:
                session = Session()
            session = replace(session, **changes)
            self._keep(owned, session, now)
        return session

    def put(self, owned: str, session: Session) -> None:
        """Replace the session, and reset its idle time."""
        with self._lock:
            self._keep(owned, session, time.monotonic())

    def health(self) -> dict[str, Any]:
        """Where the sessions are."""
        return {"store": "memory", "error": None}

    def close(self) -> None:
        """See SessionStore; there is nothing to release."""

    def _keep(self, owned: str, session: Session, now: float) -> None:
        self._entries[owned] = (session, now)
        self._entries.move_to_end(owned)
        while len(self._entries) > self._max_sessions:
            self._entries.popitem(last=False)
