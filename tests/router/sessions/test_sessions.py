"""Sessions: what is remembered of a conversation, in one process and in a file that processes share."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Protocol

import pytest

from router.router import Router
from router.sessions import shared
from router.sessions.sessions import Session, Sessions, SessionStore, owned_session
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    class Open(Protocol):
        """Opens a store with these bounds."""

        def __call__(self, *, ttl_s: float = 60, max_sessions: int = 3) -> SessionStore: ...


@pytest.fixture(params=["memory", "file"])
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Opens a store of one kind; the file is swept after each new session, and not after some."""
    monkeypatch.setattr(shared, "SWEEP_EVERY", 1)

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


@pytest.mark.smoke
def test_a_change_keeps_the_other_fields(open_store: Open) -> None:
    """An update replaces the fields that it names and no other one."""
    store = open_store()
    store.update("a", model="small", policy="cheapest")
    store.update("a", model="large")
    assert store.get("a") == Session(model="large", policy="cheapest")
    assert store.get("b") is None


@pytest.mark.smoke
def test_the_number_of_sessions_is_bounded(open_store: Open) -> None:
    """One session too many removes the idlest one."""
    store = open_store(max_sessions=3)
    for name in "abcd":
        store.update(name, model=name)
    assert [store.get(name) is None for name in "abcd"] == [True, False, False, False]


@pytest.mark.smoke
def test_an_idle_session_is_forgotten(open_store: Open) -> None:
    """A session that was idle for longer than the bound begins again."""
    store = open_store(ttl_s=-1)
    store.update("a", model="small", policy="cheapest")
    assert store.get("a") is None
    store.update("a", model="large")
    assert store.get("a") is None


@pytest.mark.smoke
def test_a_session_belongs_to_its_key_and_organization() -> None:
    """The same id under another key or organisation is another conversation."""
    owners = [(None, None), ("k1", None), ("k2", None), ("k1", "acme"), (None, "acme")]
    assert len({owned_session("chat", key, organization) for key, organization in owners}) == len(owners)


def test_a_router_closes_the_store_it_was_opened_with(tmp_path: Path) -> None:
    """The file of shared sessions is released when the router closes, and stays readable for others."""
    write_catalog(tmp_path, ["small"])
    path = tmp_path / "sessions.db"
    store = shared.SharedSessions(path, ttl_s=60, max_sessions=3)
    Router.open(home=tmp_path, sessions=store).close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        store._connection.execute("select 1")
    with contextlib.closing(shared.SharedSessions(path, ttl_s=60, max_sessions=3)) as other:
        assert other.get("a") is None
