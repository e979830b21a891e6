"""Anthropic's messages API: HTTP to `Request`, `Response` to HTTP, and errors in its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.errors import ProviderError
from router.request.messages import MessagesRequest
from router.request.request import AUTO, CHARACTERS_PER_TOKEN, INPUT_PARAMETERS
from router.server.api.chat import betas_of, parsed
from router.server.api.labels import name_model, response_headers
from router.server.auth import admitted
from router.server.http import HttpResponse, json_response
from router.server.sse import EventStream
from router.translate.anthropic.answers import message_of
from router.translate.anthropic.requests_in import chat_request
from router.translate.anthropic.requests_out import BETAS
from router.translate.anthropic.streams import ChunksToEvents, to_sse
from router.translate.members import NATIVE

if TYPE_CHECKING:
    from router.providers.http.sse import StreamEvent
    from router.request.request import Request
    from router.router import Router
    from router.server.http import Answer, HttpRequest
    from router.server.shim import Shim
    from router.serving.streaming import Stream

PATH = "/v1/messages"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's name of each status. Others are `invalid_request_error` below 500, and `api_error` from 500."""
OVERLOADED = 529
"""Anthropic's status for a provider without capacity, which clients know."""
ESTIMATED = "x-intellirouter-estimated"
REFUSED_COUNTS = frozenset({"bad_request"})
"""Errors of a count that an estimate must not hide, because the completion would fail too."""


async def messages(shim: Shim, http: HttpRequest) -> Answer:
    """`POST /v1/messages`."""
    router, request = shim.router, _request_of(shim, http)
    if request.is_streaming:
        return EventStream(router, request, AnthropicShape(_estimated(request)))
    response = await router.complete(request)
    message = message_of(response.body, maker=response.provider, tokens_input=_estimated(request))
    headers = {**response_headers(response), "request-id": response.request_id}
    return json_response(message, headers=headers)


async def count_tokens(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`POST /v1/messages/count_tokens`: Anthropic's count for its models, else an estimate.

    An estimate (`auto`, other providers, a count that fails) sets `x-intellirouter-estimated`. If the
    provider refuses the request itself, its error is the answer. Nothing is recorded, because no completion
    is made.
    """
    router, request = shim.router, _request_of(shim, http)
    count = await _counted(router, request)
    headers = {} if count is not None else {ESTIMATED: "true"}
    content = {"input_tokens": _estimated(request) if count is None else count}
    return json_response(content, headers=headers)


class AnthropicShape:
    """A Shape: OpenAI's chunks as Anthropic's events."""

    def __init__(self, tokens_input: int) -> None:
        """`tokens_input` is the estimate that clients read until the answer ends."""
        self._events = ChunksToEvents(tokens_input=tokens_input)

    def begin(self, stream: Stream) -> None:
        """See Shape."""
        self._events.maker = stream.provider

    def pieces(self, batch: list[StreamEvent]) -> bytes:
        """See Shape."""
        events = [event for item in batch if item.data is not None for event in self._events.feed(item.data)]
        return b"".join(map(to_sse, events))

    def end(self) -> bytes:
        """See Shape."""
        return b"".join(map(to_sse, self._events.finish()))

    def error(self, body: dict[str, Any], status: int) -> bytes:
        """See Shape."""
        error = body["error"]
        _, kind = kind_of(error["code"], status)
        return b"".join(map(to_sse, self._events.fail(kind, error["message"])))


def is_own(path: str) -> bool:
    """Whether a path is Anthropic's."""
    return path == PATH or path.startswith(f"{PATH}/")


def in_shape(response: HttpResponse, path: str) -> HttpResponse:
    """Translate an error from OpenAI's shape to Anthropic's, on Anthropic's paths only."""
    if not is_own(path):
        return response
    error = orjson.loads(response.body)["error"]
    status, kind = kind_of(error["code"], response.status)
    body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": error["message"]}}
    headers = dict(response.headers)
    if "x-request-id" in headers:
        body["request_id"] = headers["request-id"] = headers["x-request-id"]
    return json_response(body, status=status, headers=headers)


def kind_of(code: str, status: int) -> tuple[int, str]:
    """Anthropic's status and name of an error, by our code and status."""
    if code == "overloaded":
        status = OVERLOADED
    return status, ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def _request_of(shim: Shim, http: HttpRequest) -> Request:
    body = http.body
    name_model(body, shim.router.catalog)
    chat = chat_request(body)
    if body.get("stream"):  # Anthropic's streams always report the usage
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    if betas := betas_of(http.headers):
        chat[NATIVE][BETAS] = betas
    request = parsed(chat, http.headers, ip_address=http.ip_address, kind=MessagesRequest)
    return admitted(request, http.caller)


async def _counted(router: Router, request: Request) -> int | None:
    if request.model not in router.catalog.models:
        if request.model != AUTO:
            router.route(request)  # raises the error that completing it would raise
        return None
    try:
        return await router.count_tokens(request)
    except ProviderError as error:
        if error.error_type in REFUSED_COUNTS:
            raise
        return None


def _estimated(request: Request) -> int:
    described = [request.parameters[name] for name in INPUT_PARAMETERS if name in request.parameters]
    return max(request.estimated_input_tokens() + len(orjson.dumps(described)) // CHARACTERS_PER_TOKEN, 1)
