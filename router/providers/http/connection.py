"""One connection to a provider: a request is written, its response is read as it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httpx

from router.providers.http.wire import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.providers.http.wire import Head

MAX_HELD_BYTES = 256 << 10
"""Of a body that nobody has asked for yet; above it the server is made to wait."""


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

    async def ask(self, method: bytes, content: bytes, timeout_s: float | None) -> Head:
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
            await self._wait(timeout_s)
        return reader.head

    async def read(self, timeout_s: float | None) -> bytes:
        """The next bytes of the body; b"" at its end."""
        reader = self._reader
        assert reader is not None  # noqa: S101 - only a borrower reads, and it has asked
        while not self._parts:
            if reader.is_complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait(timeout_s)
        part = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._held_bytes = 0
        if self._is_paused:
            self._is_paused = False
            if self.is_open:
                self._open_transport().resume_reading()
        return part

    async def _wait(self, timeout_s: float | None) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            if timeout_s is None:
                await self._waiter
            else:
                async with asyncio.timeout(timeout_s):
                    await self._waiter
        except TimeoutError:
            raise httpx.ReadTimeout(f"nothing came for {timeout_s:g} s") from None
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
