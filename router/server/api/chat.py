"""OpenAI's chat completions: HTTP to `Request`, `Response` to HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from router.errors import RequestError
from router.request.request import AUTO, Request
from router.server.api.labels import labels_of, name_model, response_headers
from router.server.auth import admitted
from router.server.http import HttpResponse
from router.server.sse import EventStream
from router.translate.anthropic.requests_out import BETA

if TYPE_CHECKING:
    from router.server.http import Answer, Headers, HttpRequest
    from router.server.shim import Shim

AnyRequest = TypeVar("AnyRequest", bound=Request)
PATH = "/v1/chat/completions"


async def chat_completions(shim: Shim, http: HttpRequest) -> Answer:
    """`POST /v1/chat/completions`."""
    request = request_of(shim, http)
    if request.is_streaming:
        return EventStream(shim.router, request)
    response = await shim.router.complete(request)
    return HttpResponse(response.raw, headers=response_headers(response))


def request_of(shim: Shim, http: HttpRequest) -> Request:
    """The request of an OpenAI body, bound to its caller's key."""
    name_model(http.body, shim.router.catalog)
    if (betas := betas_of(http.headers)) and BETA not in http.body:
        http.body[BETA] = betas
    request = parsed(http.body, http.headers, ip_address=http.ip_address, kind=Request)
    return admitted(request, http.caller)


def betas_of(headers: Headers) -> list[str]:
    """The names in the header `anthropic-beta`, which clients of OpenAI's API send for Anthropic's models."""
    named = ",".join(headers.all("anthropic-beta"))
    return [beta.strip() for beta in named.split(",") if beta.strip()]


def parsed(
    body: dict[str, Any], headers: Headers, *, ip_address: str | None, kind: type[AnyRequest]
) -> AnyRequest:
    """The request that an OpenAI body and our headers describe.

    Every member of the body reaches the provider untouched, except `model` and `provider`, which choose
    the model and the provider (`router.request.preferences`).
    """
    if "messages" not in body:
        raise RequestError("`messages` is missing: send a list of message objects", param="messages")
    parameters = {
        name: value for name, value in body.items() if name not in ("model", "messages", "provider")
    }
    return kind(
        messages=body["messages"],
        model=body.get("model", AUTO),
        parameters=parameters,
        **labels_of(body, headers, ip_address=ip_address),
    )
