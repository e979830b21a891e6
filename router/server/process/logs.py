"""The server's log: one line for each event, as text for people or as JSON for programs.

    2026-11-27T09:30:01.123Z INFO    router.server: listening on http://127.0.0.1:8080

`Router` as a library never sets up logging: that is the program's choice. Lines go to standard error.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.catalog.catalog import unpriced, unpriced_line
from router.errors import masked

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable

    from router.config import Settings
    from router.readiness.faults import Fault
    from router.server.dispatch import App
    from router.server.http import AsgiScope, Message, Receive, Send

    Application = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

OURS = ("router", "pipelines")
access_logger = logging.getLogger("router.access")
logger = logging.getLogger("router.server")

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""The attributes of every record. The others are an event's own fields."""


def set_up_logs(settings: Settings) -> None:
    """Send every line to standard error, in LOG_FORMAT, from LOG_LEVEL on. Call it again to change both.

    Other packages' lines are shown from WARNING on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level)


class TextLines(logging.Formatter):
    """Time in UTC, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the lines of a traceback."""
        line = f"{_moment(record)} {record.levelname:7} {record.name}: {masked(record.getMessage())}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class JsonLines(logging.Formatter):
    """An object for each line: `timestamp`, `level`, `logger`, `message`, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line. A traceback is the member `exception`."""
        line: dict[str, Any] = {
            "timestamp": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        line.update({name: value for name, value in vars(record).items() if name not in _KNOWN})
        if record.exc_info is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def announce(url: str, faults: Iterable[Fault]) -> None:
    """Print the address, then whether a request can succeed now, with each reason against it."""
    found = list(faults)
    state = "not ready" if any(fault.is_blocking for fault in found) else "degraded"
    lines = [f"intellirouter is {state}: {fault}" for fault in found] or ["intellirouter is ready"]
    print("\n".join([f"intellirouter listening on {url}", *lines]), flush=True)  # noqa: T201


def url_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def log_start(app: App, url: str) -> None:
    """Log the address, the models that can be served, and the reason of each one that cannot."""
    router = app.shim.router
    models, left_out = router.catalog.models, router.health()["models"]["excluded"]
    counts: dict[str, int] = {}
    for model in models.values():
        if model.id not in left_out:
            counts[model.provider] = counts.get(model.provider, 0) + 1
    served = ", ".join(f"{provider} {number}" for provider, number in counts.items()) or "none"
    logger.info(
        "listening on %s; data folder `%s`; %d of %d models can be served (%s)",
        url,
        router.settings.home,
        sum(counts.values()),
        len(models),
        served,
    )
    by_reason: dict[str, list[str]] = {}
    for model_id, reason in left_out.items():
        by_reason.setdefault(str(reason), []).append(f"`{model_id}`")
    for reason, names in by_reason.items():
        logger.warning("%s cannot be served: %s", ", ".join(names), reason)
    if lacking := unpriced(models.values(), datetime.now(UTC)):
        # Models without any price are a choice, such as those of one's own machines.
        is_late = any(model.prices for model in lacking)
        logger.log(logging.WARNING if is_late else logging.INFO, "%s", unpriced_line(lacking))


def with_access_log(app: Application) -> Application:
    """The application with a line for each request: method, path, status, milliseconds, request id.

    It shows neither the query nor a header of the client, since these may hold a key.
    """

    async def serve(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started, seen = time.perf_counter(), _Seen()

        async def noting(message: Message) -> None:
            seen.note(message)
            await send(message)

        method, path = scope["method"], scope["path"]
        try:
            await app(scope, receive, noting)
        finally:
            took_ms = round(1000 * (time.perf_counter() - started), 1)
            access_logger.info(
                "%s %.200s %s %.1f ms%s",
                method,
                path,
                seen.status or "no answer",
                took_ms,
                f" {seen.request_id}" if seen.request_id else "",
                extra={
                    "method": method,
                    "path": path[:200],
                    "status": seen.status,
                    "duration_ms": took_ms,
                    "request_id": seen.request_id,
                },
            )

    return serve


class _Seen:
    """The parts of an answer that the access log shows."""

    __slots__ = ("request_id", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.request_id: str | None = None

    def note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message.get("headers", ()):
                if name.lower() == b"x-request-id":
                    self.request_id = value.decode("latin-1")
