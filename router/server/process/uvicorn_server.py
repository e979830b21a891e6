"""uvicorn, set up to serve the shim and to stop in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from router.server.process.logs import with_access_log
from router.server.protocol import protocol_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from router.config import Settings
    from router.server.dispatch import App

logger = logging.getLogger("router.server")

LAST_WORDS_S = 0.25
"""The time between closing the listeners and closing idle connections."""


class Server(uvicorn.Server):
    """A server that reports a graceful stop as a success.

    uvicorn's own server raises the signal again at the end, so that a process manager sees a crash after
    an orderly SIGTERM. It also ends connections before their first request arrives.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _rest_collector()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        in_flight, patience_s = len(self.server_state.tasks), self.config.timeout_graceful_shutdown
        logger.info("stopping: %d requests in flight have %s s to finish", in_flight, patience_s)
        for server in self.servers:
            server.close()
        await asyncio.sleep(LAST_WORDS_S)
        await super().shutdown(sockets)
        logger.info("stopped")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        stops = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in stops}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def config_of(app: App, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the shim."""
    options: dict[str, Any] = {"loop": "uvloop", "http": protocol_of(settings.body_timeout_s), "ws": "none"}
    return uvicorn.Config(
        with_access_log(app) if settings.access_log else app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # `router.server.process.logs` formats uvicorn's lines too
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # they would replace the socket's address by any address in a header
        timeout_graceful_shutdown=settings.drain_timeout_s,
        **options,
    )


def _rest_collector() -> None:
    """Run the garbage collector less often, and exclude the objects that exist from the start.

    Requests need no collector to free their objects. By default it runs after every 700 objects, a few
    times a request, and walks permanent objects again, which took a sixth of the CPU of a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)
