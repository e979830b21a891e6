"""A bounded pool of connections to one origin, which stay open between requests."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import httpx

from router.providers.http.wire import ResponseReader

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from router.providers.http.wire import Head

MAX_HELD_BYTES = 256 << 10
"""Bytes of a body that arrived before they were read. Above this, the server must wait."""


class Pool:
    """Lends connections. A request that finds none free waits its turn. Belongs to one event loop."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, max_connections: int, idle_expiry_s: float
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle_expiry_s = idle_expiry_s
        self._free = max_connections
        """Connections that may still be opened. Every open one, idle or lent, holds a place."""
        self._idle: dict[Connection, float] = {}
        """Idle since when. The last one used is lent first, so that unneeded ones expire in a quiet hour."""
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    async def borrow(self, connect_timeout_s: float) -> Connection:
        """Borrow an open connection. Pass it to `give_back` or `drop` afterwards. Errors are httpx's."""
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
        handed = await self._wait()
        return handed or await self._connect(connect_timeout_s)

    async def renew(self, connection: Connection, connect_timeout_s: float) -> Connection:
        """Open a new connection in place of a closed one."""
        connection.is_borrowed = False
        self._open.discard(connection)
        connection.abort()
        return await self._connect(connect_timeout_s)

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for another request, if its response allows that."""
        if not connection.is_borrowed:
            return
        if not connection.may_be_reused:
            self.drop(connection)
            return
        connection.rest()
        self._hand_on(connection)

    def drop(self, connection: Connection) -> None:
        """Close the connection and free its place. You can call it twice."""
        if connection.is_borrowed:
            connection.is_borrowed = False
            self._open.discard(connection)
            connection.abort()
            self._hand_on(None)

    async def aclose(self) -> None:
        """Close every connection, including lent ones."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        connections = list(self._open)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.lost

    async def _connect(self, timeout_s: float) -> Connection:
        """Open a connection in a reserved place, and free the place if that fails."""
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

    async def _wait(self) -> Connection | None:
        """Wait for a connection, or for None, which means a place to open one."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._hand_on(waiter.result())  # it was handed over just when the request was cancelled
            else:
                self._waiters.remove(waiter)
            raise

    def _hand_on(self, connection: Connection | None) -> None:
        """Give it to the request that has waited longest. If none waits, keep it idle or free its place."""
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
        """Remove an idle connection that has ended."""
        if self._idle.pop(connection, None) is not None:
            self._open.discard(connection)
            self._hand_on(None)

    def _sweep(self) -> None:
        """Close connections that have been idle for too long. The oldest come first."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        now = loop.time()
        for connection, since in list(self._idle.items()):
            if now - since < self._idle_expiry_s:
                self._sweeper = loop.call_later(since + self._idle_expiry_s - now, self._sweep)
                return
            connection.abort()  # this calls `_forget`


class Connection(asyncio.Protocol):
    """A connection and the response that it is reading, if any."""

    def __init__(self, on_idle_lost: Callable[[Connection], None]) -> None:
        """`on_idle_lost` is called if the connection ends, or receives data, while it is idle."""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_borrowed = True
        self.requests = 0
        self._on_idle_lost = on_idle_lost
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._is_paused = False
        self._has_received = False
        self._failure: httpx.TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        reader = self._reader
        if reader is None:
            self.abort()  # no request is open: later data would look like the next one's answer
            return
        self._has_received = True
        try:
            parts = reader.feed(data)
        except httpx.RemoteProtocolError as error:
            self._fail(error)
            self.abort()
            return
        if parts:
            self._parts += parts
            self._held_bytes += sum(map(len, parts))
            if self._held_bytes > MAX_HELD_BYTES and not self._is_paused and not reader.is_complete:
                self._is_paused = True
                self._open_transport().pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """See asyncio.Protocol."""
        self._end()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if error is None:
            self._end()
        elif self._reader is not None and not self._reader.is_complete:
            self._fail(httpx.ReadError(type(error).__name__))
        if not self.lost.done():
            self.lost.set_result(None)
        if not self.is_borrowed:
            self._on_idle_lost(self)

    # called by the pool

    @property
    def is_open(self) -> bool:
        """Whether a request can be written."""
        return self._transport is not None and not self._transport.is_closing() and not self.lost.done()

    @property
    def may_be_reused(self) -> bool:
        """Whether the response has ended in a way that allows another request."""
        return (
            self.is_open
            and self._reader is not None
            and self._reader.may_be_reused
            and self._open_transport().get_write_buffer_size() == 0
        )

    def rest(self) -> None:
        """Forget the response, and make the connection idle."""
        self._reader = None
        self._parts = []
        self._held_bytes = 0
        self._failure = None
        if self._is_paused:
            self._is_paused = False
            self._open_transport().resume_reading()

    def abort(self) -> None:
        """Close at once, even during a request."""
        if self._transport is not None:
            self._transport.abort()

    # called by a request

    @property
    def has_received(self) -> bool:
        """Whether a byte of the response has arrived."""
        return self._has_received

    async def ask(self, method: bytes, content: bytes) -> Head:
        """Write a request, and read the head of its response."""
        self._reader = reader = ResponseReader(method)
        self._has_received = False
        self.requests += 1
        if not self.is_open:
            raise httpx.WriteError("the connection was closed while it was idle")
        self._open_transport().write(content)
        while reader.head is None:
            if self._failure is not None:
                raise self._failure
            await self._wait()
        return reader.head

    async def read(self) -> bytes:
        """The next bytes of the body, or b"" at its end."""
        reader = self._reader
        assert reader is not None  # noqa: S101 - only a borrower reads, after its request
        while not self._parts:
            if reader.is_complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait()
        part = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._held_bytes = 0
        if self._is_paused:
            self._is_paused = False
            if self.is_open:
                self._open_transport().resume_reading()
        return part

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _open_transport(self) -> asyncio.Transport:
        assert self._transport is not None  # noqa: S101 - set before anything else is called
        return self._transport

    def _end(self) -> None:
        if self._reader is None or self._reader.is_complete:
            return
        try:
            self._reader.end()
        except httpx.RemoteProtocolError as error:
            self._fail(error)
        self._wake()

    def _fail(self, error: httpx.TransportError) -> None:
        if self._failure is None:
            self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
