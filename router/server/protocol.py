"""uvicorn's HTTP protocol, with bounds on the size of a request's head and on the time a request takes.

uvicorn accepts a head of any size, and waits for a head or a body without a timeout. Most requests
come in one piece and need no timer here. An asyncio timeout around the reading of a body would cost
ten microseconds. An answer leaves in one write. uvicorn writes head and body apart, in two packets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.server.guard import MAX_HEADER_BYTES

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle, Transport

HEAD_TIMEOUT_S = 15.0
"""Counts from a connection's start, or from the first byte of a later head, to the head's end."""
MAX_HEAD_BYTES = 2 * MAX_HEADER_BYTES
"""Bounds headers, request line and any bytes that came with them. `guard.check_headers` is exact."""


def protocol_of(body_timeout_s: float) -> type[Protocol]:
    """The protocol that waits at most `body_timeout_s` for a body."""
    return type("Protocol", (Protocol,), {"body_timeout_s": body_timeout_s})


class Protocol(HttpToolsProtocol):
    """One connection."""

    body_timeout_s = 30.0
    """Counts from a head's end to the body's end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_head_pending = True
        self._is_body_pending = False
        self._head_bytes = 0
        self._timer: TimerHandle | None = None
        self._timed: Literal["head", "body"] = "head"
        self._idle_since: float | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(cast("Transport", _JoiningTransport(transport, self.loop)))
        self._watch("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        super().connection_lost(exc)
        self._stop_waiting()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_head_pending = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """A head ends, and a body begins, which may be empty."""
        self._is_head_pending = False
        super().on_headers_complete()  # raises if the target is not a path: then no body follows
        self._is_body_pending = True

    def on_message_complete(self) -> None:
        """A body ends."""
        self._is_body_pending = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse the data, then start or stop the timer of the part that is still incomplete."""
        super().data_received(data)
        if self._is_head_pending:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, "headers_too_large", "the request's head is larger than what is read")
            else:
                self._watch("head")
        elif self._is_body_pending:
            self._watch("body")
        elif self._timer is not None:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Read the next request, or wait for it.

        This differs from uvicorn only in the timer. uvicorn makes and cancels one timer for each answer.
        Here one timer serves every wait of a connection, because it checks the clock when it goes off.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._rest(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # busy: the next wait begins when the answer ends
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._rest(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _rest(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        """Answer data that is not HTTP in the shape of every other error."""
        self._refuse(400, "invalid_http", msg)

    def _watch(self, part: Literal["head", "body"]) -> None:
        """Start the timer for the end of a head or a body, unless it runs already."""
        if self._timer is not None:
            if self._timed == part:
                return
            self._timer.cancel()
        self._timed = part
        seconds = HEAD_TIMEOUT_S if part == "head" else self.body_timeout_s
        self._timer = self.loop.call_later(seconds, self._on_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_slow(self) -> None:
        self._timer = None
        if self.pipeline or (self._timed == "head" and self._is_answering()):
            self._watch(self._timed)  # a pipelined request is not read before the previous one is served
        elif self._timed == "body":
            advice = "send it faster or raise BODY_TIMEOUT_S"
            message = f"the body did not arrive within `{self.body_timeout_s:g}` s; {advice}"
            self._refuse(408, "request_timeout", message)
        elif self._head_bytes:
            self._refuse(408, "request_timeout", "the request's head did not arrive in time; send it faster")
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer with the error and close. An application that still waits for the body gets a disconnect."""
        self._stop_waiting()
        is_answered = self.cycle.response_started if self._is_body_pending else self._is_answering()
        if not self.transport.is_closing() and not is_answered:
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
            content = orjson.dumps({"error": error})
            head = (
                f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\n"
                f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + content)
        self.transport.close()


class _JoiningTransport:
    """A transport that sends all writes of one turn of the event loop together."""

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """See asyncio.Transport."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._transport.is_closing()

    def close(self) -> None:
        """See asyncio.Transport."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            if not self._transport.is_closing():
                self._transport.write(data)
