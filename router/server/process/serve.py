"""Run the shim on uvicorn, in this process or in several."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from router.router import Router
from router.server.app import create_app
from router.server.auth import Keys
from router.server.process.logs import announce, log_start, set_up_logs, url_of
from router.server.process.supervisor import Supervisor, bound
from router.server.process.uvicorn_server import Server, config_of

if TYPE_CHECKING:
    import socket

    import uvicorn

    from router.config import Settings
    from router.server.dispatch import App


class _OnlyServer(Server):
    """Prints its URL once it accepts connections, because port 0 picks a free one, and its readiness."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            url = url_of(server.sockets[0])
            log_start(self._app, url)
            announce(url, self._app.shim.faults())


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in flight and seal the journal.

    ConfigError if other machines can call and there is no active key, or if the port cannot be bound.
    """
    set_up_logs(settings)
    keys = Keys.open(settings)
    try:
        keys.check_host()
        if settings.workers == 1:
            listener = bound(settings.host, settings.port)
            with contextlib.closing(listener):
                app = create_app(Router.open(settings, is_server=True), keys)
                _OnlyServer(config_of(app, settings), app).run(sockets=[listener])
    finally:
        keys.close()
    if settings.workers > 1:
        sys.exit(Supervisor(settings).run())
