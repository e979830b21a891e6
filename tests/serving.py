"""The shim on a real socket, in this process, for tests."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from router.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router import Router


@contextmanager
def served(router: Router) -> Iterator[str]:
    """The base URL of a running shim over `router`, which is closed at the end."""
    server = uvicorn.Server(uvicorn.Config(create_app(router), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
