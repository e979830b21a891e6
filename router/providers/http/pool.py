"""The connections to one origin: as many as allowed, kept open between requests."""

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
"""Of a body that nobody has asked for yet; above it the server is made to wait."""


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

    async def borrow(self, connect_timeout_s: float) -> Connection:
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
        handed = await self._wait()
        return handed or await self._connect(connect_timeout_s)

    async def renew(self, connection: Connection, connect_timeout_s: float) -> Connection:
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

    async def _connect(self, timeout_s: float) -> Connection:
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

    async def _wait(self) -> Connection | None:
        """A connection, or None for a place to open one in."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._hand_on(waiter.result())  # handed over in the moment the request was given up
            else:
                self._waiters.remove(waiter)
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


class Connection(asyncio.Protocol):
    """A connection and the response that it is reading, if any."""

    def __init__(self, on_idle_lost: Callable[[Connection], None]) -> None:
        """`on_idle_lost` hears of a connection that ends, or is spoken on, while nobody uses it."""
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

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        reader = self._reader
        if reader is None:
            self.abort()  # an answer to no request: whatever follows would be taken for the next one's
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

    # what the pool calls

    @property
    def is_open(self) -> bool:
        """Whether a request may be written."""
        return self._transport is not None and not self._transport.is_closing() and not self.lost.done()

    @property
    def may_be_reused(self) -> bool:
        """Whether the response has ended so that another request may follow."""
        return (
            self.is_open
            and self._reader is not None
            and self._reader.may_be_reused
            and self._open_transport().get_write_buffer_size() == 0
        )

    def rest(self) -> None:
        """Forget the response; the connection is idle from now on."""
        self._reader = None
        self._parts = []
        self._held_bytes = 0
        self._failure = None
        if self._is_paused:
            self._is_paused = False
            self._open_transport().resume_reading()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # what a request calls

    @property
    def has_received(self) -> bool:
        """Whether a byte of the response has come."""
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
        """The next bytes of the body; b"" at its end."""
        reader = self._reader
        assert reader is not None  # noqa: S101 - only a borrower reads, and it has asked
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
