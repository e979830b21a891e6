"""The ASGI application: routes, error bodies and the health report."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from router.errors import IntelliRouterError, ProviderError, RequestError
from router.request import AUTO
from router.server import messages
from router.server.chat import body_of, request_of, response_headers

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
            Route(messages.PATH, messages.messages, methods=["POST"]),
            Route(f"{messages.PATH}/count_tokens", messages.count_tokens, methods=["POST"]),
            Route("/v1/feedback", _feedback, methods=["POST"]),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/health", _health, methods=["GET"]),
        ],
        exception_handlers={
            IntelliRouterError: messages.in_shape(_on_error),
            HTTPException: messages.in_shape(_on_http_exception),
            Exception: messages.in_shape(_on_crash),
        },
        lifespan=lifespan,
    )
    app.state.router = router
    return app


async def _chat_completions(http: HttpRequest) -> HttpResponse:
    router: Router = http.app.state.router
    request = request_of(
        await body_of(http, router.settings.max_body_bytes),
        http.headers,
        ip_address=http.client.host if http.client else None,
    )
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
    status = error.http_status
    if isinstance(error, ProviderError):
        # A 400 or 429 of the provider is the client's to act on; anything else is a bad gateway.
        status = error.status_code if error.status_code in (400, 413, 422, 429) else error.http_status
        if error.error_type == "timeout":
            status = 504
    request_id = getattr(error, "request_id", None)
    if request_id is not None:
        headers["x-request-id"] = request_id
    if error.is_retryable:
        seconds = getattr(error, "retry_after_s", None)
        headers["retry-after"] = str(RETRY_AFTER_S if seconds is None else max(1, round(seconds)))
    headers.update(getattr(error, "headers", {}))
    code = error.error_type if isinstance(error, ProviderError) else error.code
    return _error(
        status,
        str(error),
        code=code,
        kind=getattr(error, "openai_type", None),
        param=getattr(error, "param", None),
        headers=headers,
    )


async def _on_http_exception(http: HttpRequest, error: Exception) -> HttpResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for it
    known = "POST /v1/chat/completions, POST /v1/messages, POST /v1/feedback, GET /v1/models, GET /health"
    message = f"{http.method} `{http.url.path}` is not served here ({error.detail}); known are {known}"
    return _error(error.status_code, message, code="not_found", headers=dict(error.headers or {}))


async def _on_crash(_: HttpRequest, __: Exception) -> HttpResponse:
    return _error(500, "internal error; the server's log has the details", code="internal_error")


def _error(
    status: int,
    message: str,
    *,
    code: str,
    kind: str | None = None,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """An error in the shape of OpenAI's API."""
    default = "invalid_request_error" if 400 <= status < 500 and status != 429 else "api_error"
    body = {"error": {"message": message, "type": kind or default, "param": param, "code": code}}
    return _json(body, status=status, headers=headers)


def _json(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(content), status_code=status, headers=headers, media_type="application/json"
    )
