"""A running HTTP shim for tests."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from router.server.app import create_app
from router.server.protocol import protocol_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router import Router


@contextmanager
def serving(router: Router) -> Iterator[str]:
    """The URL of a shim over the router, as `intellirouter serve` runs it; the router is closed with it."""
    config = uvicorn.Config(
        create_app(router),
        port=0,
        log_level="warning",
        http=protocol_of(router.settings.body_timeout_s),
        ws="none",
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
