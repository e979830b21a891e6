"""Endpoints that call no provider."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from router.errors import NotReadyError, RequestError, UnknownModelError
from router.request.request import AUTO
from router.server.api.chat import request_of
from router.server.errors import error_body
from router.server.http import HttpResponse, json_response
from router.server.metrics import CONTENT_TYPE
from router.server.observe import described

if TYPE_CHECKING:
    from router.server.http import HttpRequest
    from router.server.shim import Shim


async def route(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`POST /v1/route`: the decision that a chat completion would get."""
    decision = shim.router.route(request_of(shim, http))
    return json_response(decision, headers={"x-intellirouter-model": decision.model})


async def feedback(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`POST /v1/feedback`."""
    body = http.body
    known = {"request_id", "metric", "value", "source", "comment"}
    if unknown := sorted(body.keys() - known):
        raise RequestError(f"unknown member `{unknown[0]}`; feedback takes {sorted(known)}", param=unknown[0])
    for name in ("request_id", "value"):
        if name not in body:
            raise RequestError(f"`{name}` is missing", param=name)
    feedback_id = await asyncio.to_thread(  # it waits for the disk
        shim.router.feedback,
        body["request_id"],
        body.get("metric", "quality"),
        body["value"],
        source=body.get("source", "user"),
        comment=body.get("comment"),
    )
    return json_response({"feedback_id": feedback_id, "request_id": body["request_id"]}, status=201)


async def models(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/models`: the models that the caller's key may use, in the shape of the caller's API."""
    data = _listed(shim, http)
    if not _is_anthropic(http):
        return json_response({"object": "list", "data": data})
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return json_response({"data": data, "has_more": False, **ends})


async def model(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/models/{model}`: one of them, by its id, an alias or its provider's name."""
    asked = http.parameters["model"]
    name, listed = shim.router.catalog.named(asked), _listed(shim, http)
    found = next((row for row in listed if row["id"] == name), None)
    if found is None:
        raise UnknownModelError(asked, [row["id"] for row in listed])
    return json_response(found)


def _listed(shim: Shim, http: HttpRequest) -> list[dict[str, Any]]:
    router, allowed = shim.router, http.caller.models
    models = [model for model in router.catalog.models.values() if allowed is None or model.id in allowed]
    if _is_anthropic(http):
        created_at = router.opened_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        named = [(AUTO, "IntelliRouter's choice"), *((model.id, model.name or model.id) for model in models)]
        return [
            {"type": "model", "id": name, "display_name": shown, "created_at": created_at}
            for name, shown in named
        ]
    created = int(router.opened_at.timestamp())
    owned = [(AUTO, "intellirouter"), *((model.id, model.provider) for model in models)]
    return [{"id": name, "object": "model", "created": created, "owned_by": owner} for name, owner in owned]


def _is_anthropic(http: HttpRequest) -> bool:
    """Whether the caller is a client of Anthropic's API, which always names its version."""
    return http.headers.get("anthropic-version") is not None


async def decision(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/decisions/{id}`."""
    request_id = http.parameters["id"]
    record = await shim.decision(request_id, http.caller)
    if record is None:
        message = (
            f"request `{request_id:.80}` is not among the latest that were answered for this key;"
            " `intellirouter explain REQUEST-ID` explains any that is stored"
        )
        return json_response(error_body(404, message, code="decision_not_found", param="id"), status=404)
    return json_response(described(record))


async def health(shim: Shim, _: HttpRequest) -> HttpResponse:
    """`GET /health`."""
    return json_response(shim.health())


async def livez(_: Shim, __: HttpRequest) -> HttpResponse:
    """`GET /livez`."""
    return json_response({"status": "alive"})


async def readyz(shim: Shim, _: HttpRequest) -> HttpResponse:
    """`GET /readyz`. JournalError if no record can be written, NotReadyError if no request can succeed."""
    shim.router.sink.check_writable()
    blocking = [str(fault) for fault in shim.faults() if fault.is_blocking]
    if blocking:
        raise NotReadyError("; ".join(blocking))
    return json_response({"status": "ready"})


async def metrics(shim: Shim, _: HttpRequest) -> HttpResponse:
    """`GET /metrics`."""
    return HttpResponse(shim.metrics_text().encode(), media_type=CONTENT_TYPE)
