"""Connections to Redis, one pool for each event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from router.errors import ConfigError

if TYPE_CHECKING:
    import redis.asyncio

PREFIX = "{intellirouter}:"
"""Starts every key. The braces keep them in one slot of a cluster."""
MAX_CONNECTIONS = 64
"""Connections to Redis from one event loop. A request beyond them waits for one."""


class RedisConnections:
    """Clients of the server in REDIS_URL."""

    def __init__(self, url: str, *, timeout_s: float, pool_timeout_s: float, thread_timeout_s: float) -> None:
        """`timeout_s` bounds the connecting and each operation, `pool_timeout_s` the wait for a connection.

        ConfigError if the package is missing or the URL is not one.
        """
        try:
            import redis.asyncio
        except ImportError as error:
            raise ConfigError(
                "REDIS_URL is set and the package `redis` is missing: `pip install 'intellirouter[redis]'`"
            ) from error
        self._redis = redis
        self._url = url
        self._timeout_s = timeout_s
        self._pool_timeout_s = pool_timeout_s
        self._thread_timeout_s = thread_timeout_s
        # A connection belongs to the event loop that opened it.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()
        self.failures: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        """Errors of an operation that did not succeed."""
        self.refusals: tuple[type[Exception], ...] = (redis.exceptions.ResponseError,)
        """Those among them that a server sent, so it answers."""
        self.silences: tuple[type[Exception], ...] = (redis.exceptions.TimeoutError, TimeoutError)
        """Those of a server that does not answer at all."""
        self.unknown_script: type[Exception] = redis.exceptions.NoScriptError
        try:
            self.client_of_thread().close()
        except ValueError:
            # Neither the URL nor its parts: it may hold a password.
            raise ConfigError(
                "REDIS_URL is not a `redis://`, `rediss://` or `unix://` URL: write `redis://HOST:6379/0`,"
                " with `:PASSWORD@` before HOST, or leave it out"
            ) from None

    def client(self) -> redis.asyncio.Redis:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            pool = self._redis.asyncio.BlockingConnectionPool.from_url(
                self._url,
                max_connections=MAX_CONNECTIONS,
                timeout=self._pool_timeout_s,
                socket_timeout=self._timeout_s,
                socket_connect_timeout=self._timeout_s,
                # Once: a pooled connection that Redis closed meanwhile is replaced.
                retry=Retry(NoBackoff(), 1),
            )
            client = self._clients[loop] = self._redis.asyncio.Redis.from_pool(pool)
        return client

    def client_of_thread(self, *, is_short: bool = False) -> Any:
        """A client for a thread without an event loop. Close it. `is_short`: with a loop's time limits."""
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return self._redis.Redis.from_url(
            self._url,
            socket_timeout=self._timeout_s if is_short else self._thread_timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0 if is_short else 1),
        )

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
