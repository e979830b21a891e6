"""Every session store behind one name: in memory, in a file, on a Redis of the tests' own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from router.sessions import shared
from router.sessions.sessions import Sessions, SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.sessions.remote import RedisSessions
    from tests.router.limits.servers import RedisServer

    class Open(Protocol):
        """Opens a store with these bounds."""

        def __call__(self, *, ttl_s: float = 60, max_sessions: int = 3) -> SessionStore: ...

    class OpenMachine(Protocol):
        """Opens the store of another machine on the same Redis."""

        def __call__(self, name: str, **bounds: Any) -> RedisSessions: ...


@pytest.fixture
def open_machine(redis_server: RedisServer, tmp_path: Path) -> Iterator[OpenMachine]:
    """Stores of several machines, each with a data folder of its own."""
    from router.sessions.remote import RedisSessions

    opened: list[SessionStore] = []
    prefix = f"{{test-{secrets.token_hex(4)}}}:"

    def open_one(name: str, *, url: str = redis_server.url, **bounds: Any) -> RedisSessions:
        kept = {"ttl_s": 60, "max_sessions": 10_000, **bounds}
        copy = shared.SharedSessions(tmp_path / name / "sessions.db", **kept)
        opened.append(copy)  # a wrong URL leaves it open
        machine = RedisSessions(url, copy, prefix=prefix, **kept)
        opened.append(machine)
        return machine

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture(params=["memory", "file", "redis"])
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Opens a store of one kind; the file is swept after each new session, and not after some."""
    monkeypatch.setattr(shared, "SWEEP_EVERY", 1)
    if request.param == "redis":
        machines: OpenMachine = request.getfixturevalue("open_machine")
        yield lambda *, ttl_s=60, max_sessions=3: machines("one", ttl_s=ttl_s, max_sessions=max_sessions)
        return
    opened: list[SessionStore] = []

    def open_one(*, ttl_s: float = 60, max_sessions: int = 3) -> SessionStore:
        if request.param == "memory":
            opened.append(Sessions(ttl_s=ttl_s, max_sessions=max_sessions))
        else:
            path = tmp_path / "sessions.db"
            opened.append(shared.SharedSessions(path, ttl_s=ttl_s, max_sessions=max_sessions))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()
