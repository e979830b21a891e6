"""What every session store promises: those in memory, in a file and on Redis run the same suite."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from router.request.preferences import Preferences
from router.router import Router
from router.sessions.sessions import (
    Session,
    SessionStore,
    close_connections,
    fetch_session,
    owned_session,
    save_session,
)
from router.sessions.shared import SharedSessions
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.router.sessions.conftest import Open

WISHES = Preferences(
    order=("b", "a"),
    only=frozenset({"a", "b"}),
    max_cost_usd=Decimal("0.25"),
    regions=frozenset({"eu"}),
    min_quality=0.5,
    allow_fallbacks=False,
)


def run(store: SessionStore, work: Callable[[], Awaitable[Any]]) -> Any:
    """Run requests' calls in an event loop of their own."""

    async def main() -> Any:
        try:
            return await work()
        finally:
            await close_connections(store)

    return asyncio.run(main())


@pytest.mark.smoke
def test_a_change_keeps_the_other_fields(open_store: Open) -> None:
    """An update replaces the fields that it names and no other one."""
    store = open_store()
    store.update("a", model="small", policy="cheapest")
    store.update("a", model="large")
    assert store.get("a") == Session(model="large", policy="cheapest")
    assert store.get("b") is None


def test_requests_read_what_requests_wrote(open_store: Open) -> None:
    """Every field of a session comes back as it was, one change after the other."""
    store = open_store()

    async def turns() -> list[Session | None]:
        seen = [await fetch_session(store, "a")]
        await save_session(store, "a", {"model": "small", "treated_as": ("exp", "b")})
        seen.append(await fetch_session(store, "a"))
        await save_session(store, "a", {"preferences": WISHES, "tokens_per_estimate": 1.25})
        await save_session(store, "a", {"treated_as": None, "policy": "cheapest"})
        return [*seen, await fetch_session(store, "a")]

    assert run(store, turns) == [
        None,
        Session(model="small", treated_as=("exp", "b")),
        Session(model="small", policy="cheapest", preferences=WISHES, tokens_per_estimate=1.25),
    ]


@pytest.mark.smoke
def test_the_number_of_sessions_is_bounded(open_store: Open) -> None:
    """One session too many removes the idlest one."""
    store = open_store(max_sessions=3)
    for name in "abcd":
        store.update(name, model=name)
    found = run(store, lambda: asyncio.gather(*(fetch_session(store, name) for name in "abcd")))
    assert [session is None for session in found] == [True, False, False, False]


@pytest.mark.smoke
def test_an_idle_session_is_forgotten(open_store: Open) -> None:
    """A session that was idle for longer than the bound begins again."""
    store = open_store(ttl_s=-1)
    store.update("a", model="small", policy="cheapest")
    assert store.get("a") is None
    store.update("a", model="large")
    assert run(store, lambda: fetch_session(store, "a")) is None


@pytest.mark.smoke
def test_a_session_belongs_to_its_key_and_organization() -> None:
    """The same id under another key or organisation is another conversation."""
    owners = [(None, None), ("k1", None), ("k2", None), ("k1", "acme"), (None, "acme")]
    assert len({owned_session("chat", key, organization) for key, organization in owners}) == len(owners)


def test_a_router_closes_the_store_it_was_opened_with(tmp_path: Path) -> None:
    """The file of shared sessions is released when the router closes."""
    write_catalog(tmp_path, ["small"])
    store = SharedSessions(tmp_path / "sessions.db", ttl_s=60, max_sessions=3)
    connection = store._connection
    assert connection is not None
    Router.open(home=tmp_path, sessions=store).close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("select 1")
    assert store.get("a") is None
