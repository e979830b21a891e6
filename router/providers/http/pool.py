"""The connections to one origin: as many as allowed, kept open between requests."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import httpx

from router.providers.http.connection import Connection

if TYPE_CHECKING:
    import ssl


class Pool:
    """Lends connections; a request that finds none free waits its turn. Belongs to one event loop."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, max_connections: int, idle_expiry_s: float
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle_expiry_s = idle_expiry_s
        self._free = max_connections
        """Connections that may still be opened; every open one, idle or lent, holds a place."""
        self._idle: dict[Connection, float] = {}
        """Since when; the last one used is lent first, so that those a quiet hour needs not expire."""
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    async def borrow(self, *, connect_timeout_s: float | None, pool_timeout_s: float | None) -> Connection:
        """An open connection, to be given to `give_back` or `drop`. Errors are httpx's."""
        if not self._waiters:
            while self._idle:
                connection, _ = self._idle.popitem()
                connection.is_borrowed = True
                if connection.is_open:
                    return connection
                self.drop(connection)
            if self._free > 0:
                self._free -= 1
                return await self._connect(connect_timeout_s)
        handed = await self._wait(pool_timeout_s)
        return handed or await self._connect(connect_timeout_s)

    async def renew(self, connection: Connection, *, connect_timeout_s: float | None) -> Connection:
        """A new connection in the place of one that turned out to be closed."""
        connection.is_borrowed = False
        self._open.discard(connection)
        connection.abort()
        return await self._connect(connect_timeout_s)

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for another request, where its response allows that."""
        if not connection.is_borrowed:
            return
        if not connection.may_be_reused:
            self.drop(connection)
            return
        connection.rest()
        self._hand_on(connection)

    def drop(self, connection: Connection) -> None:
        """Close the connection and free its place; twice is once."""
        if connection.is_borrowed:
            connection.is_borrowed = False
            self._open.discard(connection)
            connection.abort()
            self._hand_on(None)

    async def aclose(self) -> None:
        """Close every connection, lent ones too."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        connections = list(self._open)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.lost

    async def _connect(self, timeout_s: float | None) -> Connection:
        """Open a connection in a place that is held; the place is free again when that fails."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._forget),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except BaseException as error:
            self._hand_on(None)
            if isinstance(error, TimeoutError):
                raise httpx.ConnectTimeout("the server did not accept the connection in time") from error
            if isinstance(error, OSError | UnicodeError):
                raise httpx.ConnectError(str(error)) from error
            raise
        self._open.add(connection)
        return connection

    async def _wait(self, timeout_s: float | None) -> Connection | None:
        """A connection, or None for a place to open one in."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._hand_on(waiter.result())  # handed over in the moment the request was given up
            else:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise httpx.PoolTimeout("every connection is in use") from error
            raise

    def _hand_on(self, connection: Connection | None) -> None:
        """To the request that has waited longest; else the connection rests, or its place is free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is None:
            self._free += 1
            return
        loop = asyncio.get_running_loop()
        connection.is_borrowed = False
        self._idle[connection] = loop.time()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._idle_expiry_s, self._sweep)

    def _forget(self, connection: Connection) -> None:
        """An idle connection has ended."""
        if self._idle.pop(connection, None) is not None:
            self._open.discard(connection)
            self._hand_on(None)

    def _sweep(self) -> None:
        """Close what has been idle for too long; the oldest stand first."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        now = loop.time()
        for connection, since in list(self._idle.items()):
            if now - since < self._idle_expiry_s:
                self._sweeper = loop.call_later(since + self._idle_expiry_s - now, self._sweep)
                return
            connection.abort()  # `_forget` hears of it
