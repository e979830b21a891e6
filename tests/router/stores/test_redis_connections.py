"""Connections to Redis: refused URLs, missing packages, one pool for each event loop."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from router.errors import ConfigError
from router.stores.redis_connections import RedisConnections

if TYPE_CHECKING:
    from tests.router.limits.servers import RedisServer


def connections(url: str) -> RedisConnections:
    """Connections with short waits."""
    return RedisConnections(url, timeout_s=1, pool_timeout_s=1, thread_timeout_s=1)


@pytest.mark.smoke
def test_a_url_of_another_kind_is_refused_without_its_text() -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError, match="REDIS_URL is not a") as failure:
        connections("http://:hunter2@localhost")
    assert "hunter2" not in str(failure.value)


@pytest.mark.smoke
def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "redis.asyncio", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'intellirouter\[redis\]'"):
        connections("redis://localhost")


def test_every_event_loop_has_its_own_client(redis_server: RedisServer) -> None:
    """A client stays for its loop until it is closed there."""
    opened = connections(redis_server.url)

    async def use() -> int:
        client = opened.client()
        assert opened.client() is client
        assert await client.ping()
        await opened.aclose()
        return id(client)

    asyncio.run(use())
    asyncio.run(use())
    with opened.client_of_thread() as client:
        assert client.ping()
