"""What providers post with: bytes over `router.providers.transport`, whose errors are httpx's."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import httpx

from router.providers.http.transport import Transport, request_head, send

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from router.providers.http.pool import Pool
    from router.providers.http.transport import Reply

CONNECT_TIMEOUT_S = 10.0
"""A host that drops packets must not use up the time that other models could answer in."""


class Client:
    """Posts to one provider; redirects are not followed, proxies and cookies not known."""

    def __init__(self, *, max_connections: int, tls: ssl.SSLContext | None = None) -> None:
        """`tls` None: certificates are checked against certifi's authorities."""
        self._max_connections = max_connections
        self._tls = tls
        # Connections belong to the event loop that opened them; `Router.complete_sync` has its own.
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connections] = WeakKeyDictionary()

    async def post(self, url: str, *, headers: Mapping[str, str], content: bytes) -> Reply:
        """The reply, its body still to be read; close it.

        Errors are httpx's, while the body is read too. No deadline but that of connecting: the
        caller owns it and cancels, which must close the reply.
        """
        pool, host, target = self._here().way_to(url)
        head = _head(host, target, tuple(headers.items()))
        asked = b"%sContent-Length: %d\r\n\r\n%s" % (head, len(content), content)
        return await send(pool, b"POST", asked, connect_timeout_s=CONNECT_TIMEOUT_S)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        connections = self._connections.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.transport.aclose()

    def _here(self) -> _Connections:
        loop = asyncio.get_running_loop()
        connections = self._connections.get(loop)
        if connections is None:
            transport = Transport(max_connections=self._max_connections, tls=self._tls)
            connections = self._connections[loop] = _Connections(transport)
        return connections


class _Connections:
    """Those of one event loop."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._ways: dict[str, tuple[Pool, bytes, bytes]] = {}

    def way_to(self, address: str) -> tuple[Pool, bytes, bytes]:
        """Pool, host and target of an address; taking one apart costs 20 µs. Errors are httpx's."""
        way = self._ways.get(address)
        if way is None:
            url = httpx.URL(address)
            way = self._ways[address] = self.transport.pool_of(url), url.netloc, url.raw_path
        return way


@lru_cache(maxsize=256)  # a provider's requests differ in their bodies, and their keys
def _head(host: bytes, target: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The head of a request as far as its length; LocalProtocolError for what would end it early."""
    named = [(b"Host", host)]
    named += [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
    return request_head(b"POST", target, named).removesuffix(b"\r\n")
