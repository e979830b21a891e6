"""The shim: its endpoints, and what they share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.errors import RequestError
from router.records import RequestRecord
from router.request.request import AUTO
from router.server import health
from router.server.api import embeddings, messages, responses
from router.server.api.chat import name_model, request_of, response_headers
from router.server.api.endpoints import Endpoint
from router.server.api.openapi import openapi_of
from router.server.auth import Keys, admitted
from router.server.dispatch import App
from router.server.errors import error_body
from router.server.guard import InFlight
from router.server.http import HttpResponse, json_response
from router.server.metrics import CONTENT_TYPE, Metrics
from router.server.observe import RecentDecisions, described, may_see
from router.server.sse import EventStream

if TYPE_CHECKING:
    from router.keys.keys import Caller
    from router.records import Record
    from router.request.request import Request
    from router.router import Router
    from router.server.http import Answer, HttpRequest
    from router.server.process.group import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """What the endpoints share."""

    router: Router
    keys: Keys
    in_flight: InFlight
    metrics: Metrics
    decisions: RecentDecisions
    group: Group | None = None
    """The other processes that serve the port; None when there are none."""

    def see(self, record: Record, *, is_written: bool) -> None:  # noqa: ARG002 - it happened all the same
        """Count a request, and keep its decision."""
        if isinstance(record, RequestRecord):
            self.metrics.observe(record)
            self.decisions.keep(record)

    async def decision(self, request_id: str, caller: Caller) -> RequestRecord | None:
        """The record of a recent request, when it is the caller's to see.

        Another worker's is not in this one's memory: it is looked for where every record lies.
        """
        record = self.decisions.find(request_id, caller)
        if record is None and self.group is not None:
            stored = await self.group.find_record(self.router.settings.home, request_id.lower())
            record = stored if stored is not None and may_see(caller, stored) else None
        return record

    def own_health(self) -> dict[str, Any]:
        """How this process is."""
        return health.report(self.router, keys=self.keys, in_flight=self.in_flight)

    def health(self) -> dict[str, Any]:
        """The report behind `/health`."""
        return self.own_health() if self.group is None else self.group.health(self)

    def metrics_text(self) -> str:
        """The text behind `/metrics`."""
        return self.metrics.text(self.own_health()) if self.group is None else self.group.metrics(self)


def create_app(router: Router, keys: Keys | None = None, group: Group | None = None) -> App:
    """The shim over an open router; the router is closed when the application shuts down.

    `keys` None: those of the router's data folder. `group` are the processes it is one of.
    """
    shim = Shim(
        router=router,
        keys=keys or Keys.open(router.settings),
        in_flight=InFlight(router.settings.max_in_flight),
        metrics=Metrics(),
        decisions=RecentDecisions(router.settings.recent_decisions),
        group=group,
    )
    if group is not None:
        group.begin(shim.metrics)
    router.observe(shim.see)
    return App(shim, ENDPOINTS)


async def _chat_completions(http: HttpRequest) -> Answer:
    router, request = http.shim.router, _request(http)
    if request.is_streaming:
        return EventStream(router, request)
    response = await router.complete(request)
    return HttpResponse(response.raw, headers=response_headers(response))


async def _route(http: HttpRequest) -> HttpResponse:
    decision = http.shim.router.route(_request(http))
    return json_response(decision, headers={"x-intellirouter-model": decision.model})


async def _feedback(http: HttpRequest) -> HttpResponse:
    body = http.body
    known = {"request_id", "metric", "value", "source", "comment"}
    if unknown := sorted(body.keys() - known):
        raise RequestError(f"unknown member `{unknown[0]}`; feedback takes {sorted(known)}", param=unknown[0])
    for name in ("request_id", "value"):
        if name not in body:
            raise RequestError(f"`{name}` is missing", param=name)
    feedback_id = await asyncio.to_thread(  # it waits for the disk
        http.shim.router.feedback,
        body["request_id"],
        body.get("metric", "quality"),
        body["value"],
        source=body.get("source", "user"),
        comment=body.get("comment"),
    )
    return json_response({"feedback_id": feedback_id, "request_id": body["request_id"]}, status=201)


async def _models(http: HttpRequest) -> HttpResponse:
    router, allowed = http.shim.router, http.caller.models
    created = int(router.opened_at.timestamp())
    models = [model for model in router.catalog.models.values() if allowed is None or model.id in allowed]
    listed = [(AUTO, "intellirouter"), *((model.id, model.provider) for model in models)]
    data = [{"id": name, "object": "model", "created": created, "owned_by": owner} for name, owner in listed]
    return json_response({"object": "list", "data": data})


async def _decision(http: HttpRequest) -> HttpResponse:
    request_id = http.parameters["id"]
    record = await http.shim.decision(request_id, http.caller)
    if record is None:
        message = (
            f"request `{request_id:.80}` is not among the latest that were answered for this key;"
            " `intellirouter explain REQUEST-ID` explains any that is stored"
        )
        return json_response(error_body(404, message, code="decision_not_found", param="id"), status=404)
    return json_response(described(record))


async def _health(http: HttpRequest) -> HttpResponse:
    return json_response(http.shim.health())


async def _livez(_: HttpRequest) -> HttpResponse:
    return json_response({"status": "alive"})


async def _readyz(http: HttpRequest) -> HttpResponse:
    # A shim that answers has its configuration: without one the router does not open.
    http.shim.router.sink.check_writable()
    return json_response({"status": "ready"})


async def _metrics(http: HttpRequest) -> HttpResponse:
    return HttpResponse(http.shim.metrics_text().encode(), media_type=CONTENT_TYPE)


async def _openapi(_: HttpRequest) -> HttpResponse:
    return json_response(openapi_of(ENDPOINTS))


def _request(http: HttpRequest) -> Request:
    """The request of an OpenAI body, as its caller's key binds it."""
    body = http.body
    name_model(body, http.shim.router.catalog)
    return admitted(request_of(body, http.headers, ip_address=http.ip_address), http)


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
        is_calling=True,
        is_recorded=True,
        is_streaming=True,
    ),
    Endpoint(
        method="POST",
        path=responses.PATH,
        handler=responses.responses,
        summary="OpenAI's responses, answered by the model that is chosen.",
        scopes=("route",),
        body="ResponsesRequest",
        answer="ResponseObject",
        parameters=OUR_HEADERS,
        is_calling=True,
        is_recorded=True,
        is_streaming=True,
    ),
    Endpoint(
        method="POST",
        path=embeddings.PATH,
        handler=embeddings.embeddings,
        summary="OpenAI's embeddings, by a model that gives the vectors asked for.",
        scopes=("route",),
        body="EmbeddingsRequest",
        answer="Embeddings",
        parameters=OUR_HEADERS,
        is_calling=True,
        is_recorded=True,
    ),
    Endpoint(
        method="POST",
        path=messages.PATH,
        handler=messages.messages,
        summary="Anthropic's messages, answered by the model that is chosen.",
        scopes=("route",),
        body="MessagesRequest",
        parameters=OUR_HEADERS,
        is_calling=True,
        is_recorded=True,
        is_streaming=True,
    ),
    Endpoint(
        method="POST",
        path=f"{messages.PATH}/count_tokens",
        handler=messages.count_tokens,
        summary="Input tokens of a messages request: Anthropic's count, else an estimate.",
        scopes=("route",),
        body="MessagesRequest",
        parameters=OUR_HEADERS,
        is_calling=True,
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
        errors=(404, 429),
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
        errors=(404,),
    ),
    Endpoint(method="GET", path="/livez", handler=_livez, summary="Whether the process answers.", scopes=()),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=_readyz,
        summary="Whether requests are welcome.",
        scopes=(),
        errors=(503,),
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
