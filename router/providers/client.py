"""What providers post with: httpx's requests, responses and errors over `router.providers.transport`.

`httpx.AsyncClient` itself is left out: cookies, redirects and authentication flows are not wanted,
and cost as much again as the transport.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import httpx

from router.providers.transport import Transport

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

CONNECT_TIMEOUT_S = 10.0
"""A host that drops packets must not use up the time that other models could answer in."""


class Client:
    """Posts to one provider; redirects are not followed, proxies and cookies not known."""

    def __init__(self, *, max_connections: int, tls: ssl.SSLContext | None = None) -> None:
        """`tls` None: certificates are checked against certifi's authorities."""
        self._max_connections = max_connections
        self._tls = tls
        # Connections belong to the event loop that opened them; `Router.complete_sync` has its own.
        self._transports: WeakKeyDictionary[asyncio.AbstractEventLoop, Transport] = WeakKeyDictionary()

    @asynccontextmanager
    async def post(
        self, url: httpx.URL, *, headers: Mapping[str, str], content: bytes
    ) -> AsyncIterator[httpx.Response]:
        """The response, its body still to be read: `response.aiter_bytes()`.

        Errors are httpx's. No deadline but that of connecting: the caller owns it and cancels,
        which closes the connection.
        """
        request = httpx.Request(
            "POST",
            url,
            headers=headers,
            content=content,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}},
        )
        response = await self._transport().handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        transport = self._transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.aclose()

    def _transport(self) -> Transport:
        loop = asyncio.get_running_loop()
        transport = self._transports.get(loop)
        if transport is None:
            transport = self._transports[loop] = Transport(
                max_connections=self._max_connections, tls=self._tls
            )
        return transport
