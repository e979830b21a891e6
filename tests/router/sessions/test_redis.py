"""Sessions on Redis: machines agree on them, and go on without it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from router.errors import ConfigError
from router.sessions import remote
from router.sessions.sessions import Session
from tests.router.limits.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.sessions.remote import RedisSessions
    from tests.router.sessions.conftest import OpenMachine


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that this test may stop. A start after a stop finds it empty."""
    if reason := RedisServer.missing():
        pytest.skip(reason)
    with RedisServer(tmp_path) as server:
        yield server


async def _settled(store: RedisSessions) -> None:
    while store._sending:
        await asyncio.gather(*store._sending)


def test_two_machines_agree_on_every_session(open_machine: OpenMachine) -> None:
    """What one machine saved, the other one fetches, in turns."""
    first, second = open_machine("first"), open_machine("second")

    async def turns() -> None:
        for number in range(50):
            name = f"chat-{number}"
            await first.save(name, model=f"m-{number}", policy="cheapest")
            assert await second.fetch(name) == Session(model=f"m-{number}", policy="cheapest")
            await second.save(name, model="other")
            assert await first.fetch(name) == Session(model="other", policy="cheapest")
        for store in (first, second):
            await store.aclose_connections()

    asyncio.run(turns())


def test_changes_of_two_machines_at_once_are_both_kept(open_machine: OpenMachine) -> None:
    """A change replaces the fields that it names, also where the machine's copy is older."""
    first, second = open_machine("first"), open_machine("second")

    async def turns() -> None:
        await first.save("a", model="small")
        await second.fetch("a")
        await first.save("a", policy="cheapest")
        await second.save("a", model="large")  # its copy has no policy
        assert await first.fetch("a") == Session(model="large", policy="cheapest")
        for store in (first, second):
            await store.aclose_connections()

    asyncio.run(turns())


def test_a_session_that_was_set_without_a_request_is_shared(open_machine: OpenMachine) -> None:
    """`update`, which needs no event loop, reaches the other machines too."""
    first, second = open_machine("first"), open_machine("second")
    first.update("a", policy="cheapest")

    async def look() -> Session | None:
        found = await second.fetch("a")
        await second.aclose_connections()
        return found

    assert asyncio.run(look()) == Session(policy="cheapest")


def test_without_redis_a_machine_has_the_sessions_it_knows(
    open_machine: OpenMachine, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that it answered or fetched; when Redis is back and empty, others get them from there."""
    monkeypatch.setattr(remote, "PROBE_INTERVAL_S", 0.0)
    first, second = (open_machine(name, url=own_redis.url) for name in ("first", "second"))

    async def turns() -> None:
        await first.save("before", model="small")
        await second.fetch("before")
        own_redis.stop()
        assert await second.fetch("before") == Session(model="small")
        assert "Redis" in str(second.health()["error"])
        await first.save("during", model="large")
        assert await first.fetch("during") == Session(model="large")
        own_redis.start()
        await first.fetch("during")
        await _settled(first)
        assert await second.fetch("during") == Session(model="large")
        assert await second.fetch("before") == Session(model="small")
        assert second.health() == {"store": "redis", "error": None}
        for store in (first, second):
            await store.aclose_connections()

    asyncio.run(turns())


def test_the_newest_answer_wins_after_an_absence(
    open_machine: OpenMachine, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that a machine answered meanwhile is not replaced by the older one on Redis."""
    monkeypatch.setattr(remote, "PROBE_INTERVAL_S", 0.0)
    first = open_machine("first", url=own_redis.url)

    async def turns() -> None:
        await first.save("a", model="old")
        first._probed_at, first.error = float("inf"), "away"
        monkeypatch.setattr(remote, "PROBE_INTERVAL_S", 1.0)
        first._away_since = 1.0
        await first.save("a", model="new")
        first.error = None
        assert await first.fetch("a") == Session(model="new")
        await _settled(first)
        other = open_machine("second", url=own_redis.url)
        assert await other.fetch("a") == Session(model="new")
        for store in (first, other):
            await store.aclose_connections()

    asyncio.run(turns())


def test_a_new_machine_fills_an_empty_redis(
    open_machine: OpenMachine, own_redis: RedisServer, redis_server: RedisServer
) -> None:
    """Sessions in the machine's own file reach the others, whoever answers next."""
    lone = open_machine("first", url=own_redis.url)

    async def save(store: RedisSessions, **changes: Any) -> None:
        for number in range(250):
            await store.save(f"chat-{number}", **changes)
        await store.aclose_connections()

    asyncio.run(save(lone, model="small"))
    lone.close()

    async def look() -> None:
        again, other = open_machine("first"), open_machine("second")  # on another, empty Redis
        await again.fetch("any")
        await _settled(again)
        found = [await other.fetch(f"chat-{number}") for number in range(250)]
        assert found == [Session(model="small")] * 250
        for store in (again, other):
            await store.aclose_connections()

    asyncio.run(look())


def test_names_are_not_on_redis(open_machine: OpenMachine, redis_server: RedisServer) -> None:
    """Keys and values hold digests in place of the client's ids."""
    import redis

    open_machine("first").update("ada-lovelace", model="small")
    with redis.Redis.from_url(redis_server.url) as client:
        keys = client.keys("*")
        index = [name for key in keys if client.type(key) == b"zset" for name in client.zrange(key, 0, -1)]
    assert keys
    assert not [name for name in [*keys, *index] if b"lovelace" in name]


def test_a_url_that_is_none_is_refused_without_its_text(open_machine: OpenMachine) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError, match="REDIS_URL") as failure:
        open_machine("first", url="http://:hunter2@host")
    assert "hunter2" not in str(failure.value)
