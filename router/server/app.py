"""The ASGI application: endpoints, error bodies, and who may call what."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response as HttpResponse

from router.errors import IntelliRouterError, RequestError
from router.request import AUTO
from router.server import health, messages
from router.server.auth import Keys, admitted, caller_of
from router.server.chat import request_of, response_headers
from router.server.endpoints import Endpoint, openapi_of, routes_of
from router.server.errors import body_of_error, error_body, status_of
from router.server.guard import InFlight, body_of
from router.server.metrics import CONTENT_TYPE, Metrics
from router.server.observe import RecentDecisions, Tap, described
from router.server.sse import EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request as HttpRequest

    from router.request import Request
    from router.router import Router

RETRY_AFTER_S = 1
"""Advice of an error that may pass by itself and carries no better one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """What the endpoints share."""

    router: Router
    keys: Keys
    in_flight: InFlight
    metrics: Metrics
    decisions: RecentDecisions

    def health(self) -> dict[str, Any]:
        """The report behind `/health` and `/metrics`."""
        return health.report(self.router, keys=self.keys, in_flight=self.in_flight)


def create_app(router: Router, keys: Keys | None = None) -> Starlette:
    """The shim over an open router; the router is closed when the application shuts down.

    `keys` None: those of the router's data folder.
    """
    shim = Shim(
        router=router,
        keys=keys or Keys.open(router.settings),
        in_flight=InFlight(router.settings.max_in_flight),
        metrics=Metrics(),
        decisions=RecentDecisions(router.settings.recent_decisions),
    )
    router.sink = Tap(router.sink, shim.metrics.observe, shim.decisions.keep)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await router.aclose_connections()
        await run_in_threadpool(router.close)

    app = Starlette(
        routes=routes_of(ENDPOINTS, keys=shim.keys, in_flight=shim.in_flight, settings=router.settings),
        exception_handlers={
            IntelliRouterError: messages.in_shape(_on_error),
            HTTPException: messages.in_shape(_on_http_exception),
            ClientDisconnect: _on_disconnect,
            Exception: messages.in_shape(_on_crash),
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would send callers wherever their Host header says
    app.state.router = router
    app.state.shim = shim
    return app


def _shim(http: HttpRequest) -> Shim:
    shim: Shim = http.app.state.shim
    return shim


async def _chat_completions(http: HttpRequest) -> HttpResponse | EventStream:
    router, request = _shim(http).router, await _request(http)
    if request.is_streaming:
        return EventStream(router, request)
    response = await router.complete(request)
    return HttpResponse(response.raw, headers=response_headers(response), media_type="application/json")


async def _route(http: HttpRequest) -> HttpResponse:
    router: Router = http.app.state.router
    decision = router.route(await _request(http))
    return _json(decision, headers={"x-intellirouter-model": decision.model})


async def _feedback(http: HttpRequest) -> HttpResponse:
    router: Router = http.app.state.router
    body = await body_of(http, router.settings.max_body_bytes)
    known = {"request_id", "metric", "value", "source", "comment"}
    if unknown := sorted(body.keys() - known):
        raise RequestError(f"unknown member `{unknown[0]}`; feedback takes {sorted(known)}", param=unknown[0])
    for name in ("request_id", "value"):
        if name not in body:
            raise RequestError(f"`{name}` is missing", param=name)
    feedback_id = await run_in_threadpool(  # it waits for the disk
        router.feedback,
        body["request_id"],
        body.get("metric", "quality"),
        body["value"],
        source=body.get("source", "user"),
        comment=body.get("comment"),
    )
    return _json({"feedback_id": feedback_id, "request_id": body["request_id"]}, status=201)


async def _models(http: HttpRequest) -> HttpResponse:
    router: Router = http.app.state.router
    allowed = caller_of(http).models
    created = int(router.opened_at.timestamp())
    models = [model for model in router.catalog.models.values() if allowed is None or model.id in allowed]
    listed = [(AUTO, "intellirouter"), *((model.id, model.provider) for model in models)]
    data = [{"id": name, "object": "model", "created": created, "owned_by": owner} for name, owner in listed]
    return _json({"object": "list", "data": data})


async def _decision(http: HttpRequest) -> HttpResponse:
    request_id = http.path_params["id"]
    record = _shim(http).decisions.find(request_id, caller_of(http))
    if record is None:
        message = (
            f"request `{request_id:.80}` is not among the latest that this process answered for this key;"
            " `intellirouter explain REQUEST-ID` explains any that is stored"
        )
        return _json(error_body(404, message, code="decision_not_found", param="id"), status=404)
    return _json(described(record))


async def _health(http: HttpRequest) -> HttpResponse:
    return _json(_shim(http).health())


async def _livez(_: HttpRequest) -> HttpResponse:
    return _json({"status": "alive"})


async def _readyz(http: HttpRequest) -> HttpResponse:
    # A shim that answers has its configuration: without one the router does not open.
    http.app.state.router.sink.check_writable()
    return _json({"status": "ready"})


async def _metrics(http: HttpRequest) -> HttpResponse:
    shim = _shim(http)
    return HttpResponse(shim.metrics.text(shim.health()), headers={"content-type": CONTENT_TYPE})


async def _openapi(_: HttpRequest) -> HttpResponse:
    return _json(openapi_of(ENDPOINTS))


async def _request(http: HttpRequest) -> Request:
    """The request of an OpenAI body, as its caller's key binds it."""
    router: Router = http.app.state.router
    body = await body_of(http, router.settings.max_body_bytes)
    if isinstance(body.get("model"), str):
        body["model"] = router.catalog.named(body["model"])
    request = request_of(body, http.headers, ip_address=http.client.host if http.client else None)
    return admitted(request, http)


OUR_HEADERS = (
    "x-intellirouter-task",
    "x-intellirouter-policy",
    "x-intellirouter-tags",
    "x-session-id",
    "openai-organization",
)
ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        handler=_chat_completions,
        summary="OpenAI's chat completions, answered by the model that is chosen.",
        scopes=("route",),
        body="ChatCompletionRequest",
        parameters=OUR_HEADERS,
    ),
    Endpoint(
        method="POST",
        path=messages.PATH,
        handler=messages.messages,
        summary="Anthropic's messages, answered by the model that is chosen.",
        scopes=("route",),
        body="MessagesRequest",
        parameters=OUR_HEADERS,
    ),
    Endpoint(
        method="POST",
        path=f"{messages.PATH}/count_tokens",
        handler=messages.count_tokens,
        summary="Input tokens of a messages request: Anthropic's count, else an estimate.",
        scopes=("route",),
        body="MessagesRequest",
        parameters=OUR_HEADERS,
    ),
    Endpoint(
        method="POST",
        path="/v1/route",
        handler=_route,
        summary="Which model would answer, and why; nothing is called or recorded.",
        scopes=("route",),
        body="ChatCompletionRequest",
        answer="Decision",
        parameters=OUR_HEADERS,
    ),
    Endpoint(
        method="POST",
        path="/v1/feedback",
        handler=_feedback,
        summary="Judge an answer from 0 (worst) to 1 (best).",
        scopes=("feedback",),
        body="Feedback",
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        handler=_models,
        summary="The models that may be asked for.",
        scopes=("route",),
        answer="Models",
    ),
    Endpoint(
        method="GET",
        path="/v1/decisions/{id}",
        handler=_decision,
        summary="Why a recent request went where it went.",
        scopes=("route", "report"),
    ),
    Endpoint(method="GET", path="/livez", handler=_livez, summary="Whether the process answers.", scopes=()),
    Endpoint(
        method="GET", path="/readyz", handler=_readyz, summary="Whether requests are welcome.", scopes=()
    ),
    Endpoint(method="GET", path="/health", handler=_health, summary="How everything is.", scopes=("report",)),
    Endpoint(
        method="GET",
        path="/metrics",
        handler=_metrics,
        summary="Counters and gauges for Prometheus.",
        scopes=("report",),
        answer="Text",
        media_type="text/plain",
    ),
    Endpoint(method="GET", path="/openapi.json", handler=_openapi, summary="This document.", scopes=()),
)
"""Everything the shim serves."""


async def _on_error(http: HttpRequest, error: Exception) -> HttpResponse:
    assert isinstance(error, IntelliRouterError)  # noqa: S101 - the handler is registered for it
    headers = {}
    request_id = getattr(error, "request_id", None)
    if request_id is not None:
        headers["x-request-id"] = request_id
    if error.is_retryable:
        seconds = getattr(error, "retry_after_s", None)
        headers["retry-after"] = str(RETRY_AFTER_S if seconds is None else max(1, round(seconds)))
    headers.update(getattr(error, "headers", {}))
    _shim(http).metrics.count_error(error.code)
    return _json(body_of_error(error), status=status_of(error), headers=headers)


async def _on_http_exception(http: HttpRequest, error: Exception) -> HttpResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for it
    known = ", ".join(endpoint.label for endpoint in ENDPOINTS)
    message = (
        f"{http.method} `{http.scope['path']:.200}` is not served here ({error.detail}); known are {known}"
    )
    body = error_body(error.status_code, message, code="not_found")
    return _json(body, status=error.status_code, headers=dict(error.headers or {}))


async def _on_disconnect(_: HttpRequest, __: Exception) -> HttpResponse:
    return HttpResponse(status_code=499)  # nobody reads it; it keeps the log free of what is no failure


async def _on_crash(_: HttpRequest, __: Exception) -> HttpResponse:
    body = error_body(500, "internal error; the server's log has the details", code="internal_error")
    return _json(body, status=500)


def _json(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(content, default=_as_text),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


def _as_text(value: object) -> str:
    """Money, exact."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"`{type(value).__name__}` has no JSON form")
