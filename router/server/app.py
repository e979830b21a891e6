"""The ASGI application: routes, error handlers and the health report."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from router.errors import IntelliRouterError, RequestError
from router.request import AUTO
from router.server.chat import body_of, request_of, response_headers
from router.server.errors import body_of_error, error_body, status_of
from router.server.sse import EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request as HttpRequest

    from router.router import Router

RETRY_AFTER_S = 1
"""Advice of an error that may pass by itself and carries no better one."""


def create_app(router: Router) -> Starlette:
    """The shim over an open router; the router is closed when the application shuts down."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await router.aclose_connections()
        await run_in_threadpool(router.close)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", _chat_completions, methods=["POST"]),
            Route("/v1/feedback", _feedback, methods=["POST"]),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/health", _health, methods=["GET"]),
        ],
        exception_handlers={
            IntelliRouterError: _on_error,
            HTTPException: _on_http_exception,
            Exception: _on_crash,
        },
        lifespan=lifespan,
    )
    app.state.router = router
    return app


async def _chat_completions(http: HttpRequest) -> HttpResponse | EventStream:
    router: Router = http.app.state.router
    request = request_of(
        await body_of(http, router.settings.max_body_bytes),
        http.headers,
        ip_address=http.client.host if http.client else None,
    )
    if request.is_streaming:
        return EventStream(router, request)
    response = await router.complete(request)
    return HttpResponse(response.raw, headers=response_headers(response), media_type="application/json")


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
    created = int(router.opened_at.timestamp())
    listed = [
        (AUTO, "intellirouter"),
        *((model.id, model.provider) for model in router.catalog.models.values()),
    ]
    data = [{"id": name, "object": "model", "created": created, "owned_by": owner} for name, owner in listed]
    return _json({"object": "list", "data": data})


async def _health(http: HttpRequest) -> HttpResponse:
    router: Router = http.app.state.router
    return _json(router.health())


async def _on_error(_: HttpRequest, error: Exception) -> HttpResponse:
    assert isinstance(error, IntelliRouterError)  # noqa: S101 - the handler is registered for it
    headers = {}
    request_id = getattr(error, "request_id", None)
    if request_id is not None:
        headers["x-request-id"] = request_id
    if error.is_retryable:
        seconds = getattr(error, "retry_after_s", None)
        headers["retry-after"] = str(RETRY_AFTER_S if seconds is None else max(1, round(seconds)))
    headers.update(getattr(error, "headers", {}))
    return _json(body_of_error(error), status=status_of(error), headers=headers)


async def _on_http_exception(http: HttpRequest, error: Exception) -> HttpResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for it
    known = "POST /v1/chat/completions, POST /v1/feedback, GET /v1/models, GET /health"
    message = f"{http.method} `{http.url.path}` is not served here ({error.detail}); known are {known}"
    body = error_body(error.status_code, message, code="not_found")
    return _json(body, status=error.status_code, headers=dict(error.headers or {}))


async def _on_crash(_: HttpRequest, __: Exception) -> HttpResponse:
    body = error_body(500, "internal error; the server's log has the details", code="internal_error")
    return _json(body, status=500)


def _json(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(content), status_code=status, headers=headers, media_type="application/json"
    )
