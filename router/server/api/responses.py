"""OpenAI's responses API: HTTP to `ResponsesRequest`, `Response` to HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from router.request.responses import ResponsesRequest, new_response_id
from router.server.api.labels import labels_of, name_model, response_headers
from router.server.auth import admitted
from router.server.http import HttpResponse, json_response
from router.server.sse import EventStream
from router.translate.members import RESPONSES
from router.translate.responses.streams import ChunksToEvents, to_sse

if TYPE_CHECKING:
    from router.providers.http.sse import StreamEvent
    from router.server.http import Answer, HttpRequest
    from router.server.shim import Shim
    from router.serving.streaming import Stream

PATH = "/v1/responses"


async def responses(shim: Shim, http: HttpRequest) -> Answer:
    """`POST /v1/responses`."""
    router, request = shim.router, _request_of(shim, http)
    if request.is_streaming:
        return EventStream(router, request, ResponsesShape(request))
    response = await router.complete(request)
    headers = response_headers(response)
    if RESPONSES in response.body:
        return HttpResponse(response.raw, headers=headers)
    return json_response(request.answer(response.body, maker=response.provider), headers=headers)


class ResponsesShape:
    """A Shape: chat's chunks as the responses API's events. It passes on such events unchanged."""

    def __init__(self, request: ResponsesRequest) -> None:
        self._events = ChunksToEvents(
            request.asked(), response_id=new_response_id(), created=int(time.time())
        )

    def begin(self, stream: Stream) -> None:
        """See Shape."""
        self._events.maker = stream.provider

    def pieces(self, batch: list[StreamEvent]) -> bytes:
        """See Shape."""
        written: list[bytes] = []
        for item in batch:
            if item.data is None:
                written.append(item.raw)
                continue
            events = self._events.feed(item.data, item.native)
            is_untouched = len(events) == 1 and events[0] is item.native
            written += [item.raw] if is_untouched else map(to_sse, events)
        return b"".join(written)

    def end(self) -> bytes:
        """See Shape."""
        return b"".join(map(to_sse, self._events.finish()))

    def error(self, body: dict[str, Any], status: int) -> bytes:  # noqa: ARG002 - the body says it
        """See Shape."""
        error = body["error"]
        return b"".join(map(to_sse, self._events.fail(error["code"], error["message"])))


def _request_of(shim: Shim, http: HttpRequest) -> ResponsesRequest:
    body = http.body
    name_model(body, shim.router.catalog)
    labels = labels_of(body, http.headers, ip_address=http.ip_address)
    return admitted(ResponsesRequest.parse(body, **labels), http.caller)
