"""Send a streamed answer over HTTP, as server-sent events.

It uses raw ASGI and sends each portion of events as one message. Starlette's StreamingResponse costs
four times as much. A failure before the first byte is an ordinary HTTP error. After it, the stream ends
with an error event and without `[DONE]`. The first byte is the first content's, or a comment's: where no
other model can be asked, the provider's comments pass at once, and a long silence is broken by ours.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from router.errors import IntelliRouterError
from router.providers.http.sse import DONE
from router.server.api.labels import response_headers
from router.server.errors import body_of_error, error_body, status_of

if TYPE_CHECKING:
    from router.providers.http.sse import StreamEvent
    from router.request.request import Request
    from router.router import Router
    from router.server.http import AsgiScope, Receive, Send
    from router.serving.streaming import Stream

logger = logging.getLogger("router.server")

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
]
SILENCE_S = 15.0
"""A comment is sent after so long without a byte, since load balancers close silent connections."""
KEEP_ALIVE = b": keep-alive\n\n"
SLOW_CLIENT_S = 10.0
"""The time that a client may take to read its answer after the request's own deadline."""


class Shape(Protocol):
    """How an API writes a stream. Each API has its own class."""

    def begin(self, stream: Stream) -> None:
        """Take note of the model that answers."""

    def pieces(self, batch: list[StreamEvent]) -> bytes:
        """Translate `batch` to the API's events."""

    def end(self) -> bytes:
        """The events that end a complete answer."""

    def error(self, body: dict[str, Any], status: int) -> bytes:
        """The events that end an incomplete answer. `body` has OpenAI's shape."""


class OpenAIShape:
    """Passes on OpenAI's chunks unchanged."""

    def begin(self, stream: Stream) -> None:
        """See Shape."""

    def pieces(self, batch: list[StreamEvent]) -> bytes:
        """See Shape."""
        return batch[0].raw if len(batch) == 1 else b"".join([event.raw for event in batch])

    def end(self) -> bytes:
        """See Shape."""
        return DONE.raw

    def error(self, body: dict[str, Any], status: int) -> bytes:  # noqa: ARG002 - the body says it
        """See Shape."""
        return b"data: " + orjson.dumps(body) + b"\n\n"


class EventStream:
    """An ASGI application that answers one streaming request."""

    def __init__(self, router: Router, request: Request, shape: Shape | None = None) -> None:
        """If `shape` is None, it is OpenAI's."""
        self._router = router
        self._request = request
        self._shape = shape or OpenAIShape()
        self._is_abandoned = False
        self._is_started = False
        """Whether the status 200 was sent."""
        self._is_over = False
        self._sent_at = 0.0
        self._comments: set[asyncio.Task[None]] = set()

    async def __call__(self, _: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve the request. A client that leaves ends the provider's call, and the record says so."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - servers run applications in tasks
        watcher = asyncio.ensure_future(self._watch(receive, task))
        self._send = send
        self._listen()
        try:
            async with asyncio.timeout(self._router.settings.request_timeout_s + SLOW_CLIENT_S):
                async with self._router.stream(self._request, on_comment=self._comment) as stream:
                    self._shape.begin(stream)
                    await self._send_all(stream, watcher)
        except IntelliRouterError as error:
            if not self._is_started or self._is_over:
                raise
            await self._end(self._shape.error(body_of_error(error), status_of(error)), watcher)
        except asyncio.CancelledError:
            if not self._is_abandoned:
                raise
            task.uncancel()
        except TimeoutError:  # the server closes the connection of an incomplete answer
            logger.warning("a client did not read its stream in time, so its connection is closed")
        finally:
            self._is_over = True
            self._timer.cancel()
            watcher.cancel()

    def _listen(self) -> None:
        """Wait for a silence, and send a comment into it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._sent_at == 0.0:
            self._sent_at = now
        elif now - self._sent_at >= SILENCE_S and not self._is_over:
            comment = asyncio.ensure_future(self._comment(KEEP_ALIVE))
            self._comments.add(comment)
            comment.add_done_callback(self._comments.discard)
        self._timer = loop.call_at(max(self._sent_at, now - SILENCE_S / 2) + SILENCE_S, self._listen)

    async def _comment(self, comment: bytes) -> None:
        """Send a comment. Before the first content it commits to nothing but the status 200."""
        if self._is_over:
            return
        await self._start([])
        await self._send_events(comment)

    async def _start(self, names: list[tuple[bytes, bytes]]) -> None:
        if not self._is_started:
            self._is_started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *names]})

    async def _send_events(self, events: bytes) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def _end(self, last: bytes, watcher: asyncio.Future[None]) -> None:
        self._is_over = True
        watcher.cancel()  # after the last event the server always sends "disconnect"
        await self._send({"type": "http.response.body", "body": last})

    async def _watch(self, receive: Receive, task: asyncio.Task[Any]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._is_abandoned = True
        task.cancel()

    async def _send_all(self, stream: Stream, watcher: asyncio.Future[None]) -> None:
        names = [(name.encode(), value.encode()) for name, value in response_headers(stream).items()]
        await self._start(names)
        try:
            while (batch := await stream.next_batch()) is not None:
                try:
                    events = self._shape.pieces(batch)
                except Exception as error:
                    raise await stream.reject(error) from error
                if events:
                    await self._send_events(events)
            last = self._shape.end()
        except IntelliRouterError as error:
            last = self._shape.error(body_of_error(error), status_of(error))
        except Exception:
            logger.exception("the stream of request `%s` broke", stream.request_id)
            internal = "internal error; the server's log has the details"
            last = self._shape.error(error_body(500, internal, code="internal_error"), 500)
        await self._end(last, watcher)
