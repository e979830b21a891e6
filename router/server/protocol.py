"""uvicorn's HTTP protocol with bounds on a request's head, which it has none of its own for.

The parser keeps a head of any size, and waits for the end of one for ever; an application hears of
neither. Bodies are bounded by `router.server.guard`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.server.guard import MAX_HEADER_BYTES

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

HEAD_TIMEOUT_S = 15.0
"""From a connection's start, or a head's first byte, to the head's end."""
MAX_HEAD_BYTES = 2 * MAX_HEADER_BYTES
"""Headers, request line and what arrived with them; `guard.check_headers` is exact."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_head_pending = True
        self._head_bytes = 0
        self._head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._stop_waiting()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_head_pending = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """A head ends."""
        self._is_head_pending = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse, then look whether a head is still open."""
        super().data_received(data)
        if not self._is_head_pending:
            self._stop_waiting()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "headers_too_large", "the request's head is larger than what is read")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_slow_head)

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP is answered in the shape of every other error."""
        self._refuse(400, "invalid_http", msg)

    def _on_slow_head(self) -> None:
        self._head_timer = None
        if self._is_answering():  # a pipelined request waits for the one before it
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_slow_head)
        elif self._head_bytes:
            self._refuse(408, "request_timeout", "the request's head did not arrive in time")
        else:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._stop_waiting()
        if not self.transport.is_closing() and not self._is_answering():
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
            content = orjson.dumps({"error": error})
            head = (
                f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\n"
                f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + content)
        self.transport.close()
