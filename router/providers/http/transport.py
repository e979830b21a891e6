"""HTTP/1.1 for httpx, over a pool of our own.

httpx's pool walks every connection for every request: at 256 in flight it took 13 ms of CPU a call
where this takes a tenth of one. What it does not do: proxies, environment variables, HTTP/2, and
redirects or cookies, which belong to `httpx.AsyncClient`.
"""

from __future__ import annotations

import asyncio
import zlib
from functools import cache
from typing import TYPE_CHECKING

import httpx

from router.providers.http.pool import Pool

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from router.providers.http.connection import Connection
    from router.providers.http.wire import Head

STALE_WITHIN_S = 1.0
"""A reused connection that closes this soon, without a byte, is taken for one that the server had
given up while it was idle, and the request is sent once more. Later the server was at work on it."""
MAX_DECODED_PART_BYTES = 64 << 10
"""Decompressed at a time: whoever reads counts the parts, and stops in good time."""
COMPRESSED_HEADERS = (b"content-encoding", b"content-length")
_COMPRESSED = frozenset({b"gzip", b"x-gzip", b"deflate"})


class Transport(httpx.AsyncBaseTransport):
    """Connections to any number of origins, `max_connections` to each. Belongs to one event loop.

    Bodies arrive decompressed, in parts of bounded size: 292 KB of gzip may be 300 MB.
    """

    def __init__(
        self, *, max_connections: int, idle_expiry_s: float = 30.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """`tls` None: certificates are checked against certifi's authorities."""
        self._max_connections = max_connections
        self._idle_expiry_s = idle_expiry_s
        self._tls = tls
        self._pools: dict[tuple[str, str, int], Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response's body is read as it is asked for, and must be closed."""
        timeouts: dict[str, float | None] = request.extensions.get("timeout") or {}
        reply = await send(
            self.pool_of(request.url),
            request.method.encode("ascii"),
            _to_bytes(request, await request.aread()),
            connect_timeout_s=timeouts.get("connect"),
            read_timeout_s=timeouts.get("read"),
            pool_timeout_s=timeouts.get("pool"),
        )
        return httpx.Response(
            reply.status_code,
            headers=reply.headers,
            stream=_Body(reply),
            extensions={"http_version": b"HTTP/" + reply.head.version, "reason_phrase": reply.head.reason},
        )

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    def pool_of(self, url: httpx.URL) -> Pool:
        """The connections to the origin of `url`; UnsupportedProtocol when that is no HTTP server."""
        scheme, host = url.scheme, url.raw_host.decode("ascii")
        port = url.port or (443 if scheme == "https" else 80)
        pool = self._pools.get((scheme, host, port))
        if pool is None:
            if scheme not in ("http", "https") or not host:
                raise httpx.UnsupportedProtocol("the URL must begin with http:// or https:// and name a host")
            pool = self._pools[scheme, host, port] = Pool(
                host,
                port,
                (self._tls or _default_tls()) if scheme == "https" else None,
                max_connections=self._max_connections,
                idle_expiry_s=self._idle_expiry_s,
            )
        return pool


async def send(
    pool: Pool,
    method: bytes,
    content: bytes,
    *,
    connect_timeout_s: float | None,
    read_timeout_s: float | None = None,
    pool_timeout_s: float | None = None,
) -> Reply:
    """The reply to `content`, a request as it goes over the wire; errors are httpx's.

    httpx's own requests and responses, and what they wrap a body in, cost more than all of this: who
    sends every request of a gateway does without them.
    """
    connection = await pool.borrow(connect_timeout_s=connect_timeout_s, pool_timeout_s=pool_timeout_s)
    try:
        started = asyncio.get_running_loop().time()
        try:
            head = await connection.ask(method, content, read_timeout_s)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            took_s = asyncio.get_running_loop().time() - started
            if connection.requests == 1 or connection.has_received or took_s > STALE_WITHIN_S:
                raise
            connection = await pool.renew(connection, connect_timeout_s=connect_timeout_s)
            head = await connection.ask(method, content, read_timeout_s)
        return Reply(head, pool, connection, read_timeout_s)
    except BaseException:
        pool.drop(connection)
        raise


class Reply:
    """A response whose head is here; its body is read part by part, decompressed."""

    def __init__(self, head: Head, pool: Pool, connection: Connection, timeout_s: float | None) -> None:
        """Use `send`."""
        self.head = head
        self.status_code = head.status_code
        self._pool, self._connection, self._timeout_s = pool, connection, timeout_s
        self._is_closed = False
        encoding = _encoding(head)
        self.is_compressed = encoding is not None
        self._inflated = None if encoding is None else self._inflate()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """As they were sent, but for those that tell of a compressed body."""
        if not self.is_compressed:
            return self.head.headers
        return [item for item in self.head.headers if item[0].lower() not in COMPRESSED_HEADERS]

    async def read(self) -> bytes:
        """The next part of the body; b"" at its end."""
        if self._is_closed:
            return b""
        if self._inflated is not None:
            part = await anext(self._inflated, b"")
        else:
            part = await self._connection.read(self._timeout_s)
        if not part:
            self.close()
        return part

    def close(self) -> None:
        """Give the connection back, or end it where the body is not read to its end."""
        # It cannot wait, so that a cancelled request closes as well.
        if not self._is_closed:
            self._is_closed = True
            self._pool.give_back(self._connection)

    async def _inflate(self) -> AsyncIterator[bytes]:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, as its first bytes say
        while rest := await self._connection.read(self._timeout_s):
            while rest:
                try:
                    plain = inflater.decompress(rest, MAX_DECODED_PART_BYTES)
                except zlib.error as error:
                    raise httpx.DecodingError("the body is not compressed as its headers say") from error
                rest = inflater.unconsumed_tail
                if plain:
                    yield plain
                if rest:
                    await asyncio.sleep(0)  # a bomb must not hold up the other requests
        plain = inflater.flush()
        if plain:
            yield plain


class _Body(httpx.AsyncByteStream):
    """The body of a reply, for httpx."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while part := await self._reply.read():
                yield part
        finally:
            self._reply.close()

    async def aclose(self) -> None:
        """See AsyncByteStream."""
        self._reply.close()


def _encoding(head: Head) -> bytes | None:
    """How a body is compressed; DecodingError when it is so in a way that was not asked for."""
    values = head.all(b"content-encoding")
    if not values:
        return None
    encodings = [part.strip() for value in values for part in value.split(b",")]
    encodings = [encoding for encoding in encodings if encoding not in (b"", b"identity")]
    if not encodings:
        return None
    if len(encodings) > 1 or encodings[0] not in _COMPRESSED:
        raise httpx.DecodingError("the server compressed the body in a way it was not asked for")
    return encodings[0]


def _to_bytes(request: httpx.Request, body: bytes) -> bytes:
    """The request as it goes over the wire."""
    head = request_head(request.method.encode("ascii"), request.url.raw_path, request.headers.raw)
    if "transfer-encoding" in request.headers:  # httpx's sign of a body whose length it did not know
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return head + body


def request_head(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Request line and headers; LocalProtocolError for what would end them early."""
    lines = [b"%s %s HTTP/1.1" % (method, target)]
    lines += [name + b": " + value for name, value in headers]
    head = b"\r\n".join(lines)
    ends = len(headers)
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise httpx.LocalProtocolError("a header or the method holds a line break")
    return head + b"\r\n\r\n"


@cache
def _default_tls() -> ssl.SSLContext:
    """Reading the authorities takes 20 ms and half a megabyte: once a process."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context
