"""One of the processes that serve a port under `router.server.process.supervisor`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from router.errors import IntelliRouterError
from router.router import Router
from router.server.app import create_app
from router.server.auth import Keys
from router.server.process.group import Group
from router.server.process.logs import log_start, set_up_logs, url_of
from router.server.process.uvicorn_server import Server, config_of

if TYPE_CHECKING:
    import socket
    from multiprocessing.connection import Connection
    from pathlib import Path

    from router.config import Settings


def work(*, settings: Settings, listener: socket.socket, link: Connection, folder: Path, slot: int) -> None:
    """Serve from the supervisor's socket until SIGTERM, or until the supervisor is gone.

    The worker sends to `link` once it accepts connections. `folder` is the folder that the workers share,
    and `slot` is this worker's number among those that run.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor handles it
    threading.Thread(target=_stop_with, args=(link,), name="supervisor-watch", daemon=True).start()
    set_up_logs(settings)
    try:
        _serve(settings, listener, link, folder, slot)
    except IntelliRouterError as error:
        sys.exit(f"intellirouter: {error}")
    except KeyboardInterrupt:  # Ctrl-C reaches the whole group, even before it has handlers
        sys.exit(0)


def _serve(settings: Settings, listener: socket.socket, link: Connection, folder: Path, slot: int) -> None:
    if settings.seed is not None:  # workers with the same random numbers would choose the same models
        settings = settings.model_copy(update={"seed": settings.seed + slot})
    router = Router.open(settings, is_server=True)
    group = Group(folder, slot=slot, workers=settings.workers)
    keys = Keys.open(settings)
    app = create_app(router, keys, group)

    class WorkerServer(Server):
        """Reports its readiness to the supervisor, and its health to the other workers."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.publishing = asyncio.create_task(group.publish_forever())
            if slot == 0:  # the others serve the same
                log_start(app, url_of(listener))
            link.send(app.shim.faults())

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            self.publishing.cancel()
            group.leave()

    server = WorkerServer(config_of(app, settings))
    server.run(sockets=[listener])
    keys.close()
    if not server.started:
        sys.exit(3)


def _stop_with(link: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        link.recv()  # the supervisor sends nothing, so this ends when the supervisor ends
    os.kill(os.getpid(), signal.SIGTERM)
