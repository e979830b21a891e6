"""The shim's application: every endpoint in one table, over one open router."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.server.api import accounts, administration, chat, embeddings, messages, operations, responses
from router.server.api.endpoints import Endpoint
from router.server.api.openapi import openapi_of
from router.server.auth import Keys
from router.server.dispatch import App
from router.server.guard import InFlight
from router.server.http import json_response
from router.server.metrics import Metrics
from router.server.observe import RecentDecisions
from router.server.refusals import Refusals
from router.server.shim import Shim
from router.sessions.usage import SessionUsage

if TYPE_CHECKING:
    from router.router import Router
    from router.server.api.endpoints import Handler
    from router.server.http import HttpRequest, HttpResponse
    from router.server.process.group import Group


def create_app(router: Router, keys: Keys | None = None, group: Group | None = None) -> App:
    """Build the shim over an open router. The application closes the router when it shuts down.

    If `keys` is None, it uses the keys of the router's data folder. `group` is the group of worker
    processes that this process belongs to.
    """
    shim = Shim(
        router=router,
        keys=keys or Keys.open(router.settings),
        in_flight=InFlight(router.settings.max_in_flight),
        metrics=Metrics(),
        decisions=RecentDecisions(router.settings.recent_decisions),
        refusals=Refusals(
            router.sink.append,
            environment=router.settings.environment,
            key_file=router.settings.features_key_file,
        ),
        session_usage=SessionUsage(router.settings.home, hours=router.settings.session_usage_hours),
        group=group,
    )
    if group is not None:
        group.begin(shim.metrics, shim.own_health)
    router.observe(shim.see)
    router.before_close(shim.refusals.close)
    router.before_close(shim.session_usage.close)
    return App(shim, ENDPOINTS)


async def _openapi(_: Shim, __: HttpRequest) -> HttpResponse:
    return json_response(openapi_of(ENDPOINTS))


OUR_HEADERS = (
    "x-intellirouter-task",
    "x-intellirouter-policy",
    "x-intellirouter-tags",
    "x-session-id",
    "openai-organization",
)


def _recorded(
    path: str, handler: Handler, summary: str, body: str, answer: str = "Object", *, is_streaming: bool = True
) -> Endpoint:
    """An API whose requests are routed to a provider and recorded."""
    return Endpoint(
        method="POST",
        path=path,
        handler=handler,
        summary=summary,
        scopes=("route",),
        body=body,
        answer=answer,
        parameters=OUR_HEADERS,
        is_calling=True,
        is_recorded=True,
        is_streaming=is_streaming,
    )


ENDPOINTS = (
    _recorded(
        chat.PATH,
        chat.chat_completions,
        "OpenAI's chat completions, answered by the model that is chosen.",
        "ChatCompletionRequest",
    ),
    _recorded(
        responses.PATH,
        responses.responses,
        "OpenAI's responses, answered by the model that is chosen.",
        "ResponsesRequest",
        "ResponseObject",
    ),
    _recorded(
        embeddings.PATH,
        embeddings.embeddings,
        "OpenAI's embeddings, by a model that gives the vectors asked for.",
        "EmbeddingsRequest",
        "Embeddings",
        is_streaming=False,
    ),
    _recorded(
        messages.PATH,
        messages.messages,
        "Anthropic's messages, answered by the model that is chosen.",
        "MessagesRequest",
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
        handler=operations.route,
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
        handler=operations.feedback,
        summary="Judge an answer from 0 (worst) to 1 (best).",
        scopes=("feedback",),
        body="Feedback",
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        handler=operations.models,
        summary="The models that may be asked for.",
        scopes=("route",),
        answer="Models",
    ),
    Endpoint(
        method="GET",
        path="/v1/models/{model}",
        handler=operations.model,
        summary="One model that may be asked for.",
        scopes=("route",),
        answer="Model",
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/v1/decisions/{id}",
        handler=operations.decision,
        summary="Why a recent request went where it went.",
        scopes=("route", "report"),
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/v1/usage",
        handler=accounts.usage,
        summary="The organisation's requests, tokens and money by day, model, task and user.",
        scopes=("usage",),
        query=("from", "to", "by"),
        parameters=("openai-organization",),
        errors=(400,),
    ),
    Endpoint(
        method="GET",
        path="/v1/sessions/{session}/usage",
        handler=accounts.session_usage,
        summary="The cost, tokens, models and cache share of a session of the caller's key so far.",
        scopes=("route", "usage"),
        answer="SessionUsage",
        parameters=("openai-organization",),
        errors=(400, 404),
    ),
    Endpoint(
        method="GET",
        path="/reports",
        handler=accounts.report,
        summary="The organisation's reports, as pages of HTML.",
        scopes=("report",),
        answer="Text",
        media_type="text/html",
        parameters=("openai-organization",),
        errors=(400, 404),
    ),
    Endpoint(
        method="GET",
        path="/reports/{id}",
        handler=accounts.report,
        summary="One of the organisation's reports.",
        scopes=("report",),
        answer="Text",
        media_type="text/html",
        parameters=("openai-organization",),
        errors=(400, 404),
    ),
    Endpoint(
        method="GET",
        path="/v1/budgets",
        handler=accounts.budgets,
        summary="The caller's budgets: limit, spent, reserved and the end of the period, now.",
        scopes=("budgets",),
        query=("user",),
        parameters=("openai-organization",),
        errors=(400, 503),
    ),
    Endpoint(
        method="GET",
        path=administration.KEYS_PATH,
        handler=administration.list_keys,
        summary="The keys, without their secrets.",
        scopes=("keys",),
    ),
    Endpoint(
        method="POST",
        path=administration.KEYS_PATH,
        handler=administration.create_key,
        summary="Make a key. The answer holds its token, this once.",
        scopes=("keys",),
        body="NewKey",
        status=201,
    ),
    Endpoint(
        method="POST",
        path=f"{administration.KEYS_PATH}/{{id}}/rotate",
        handler=administration.rotate_key,
        summary="Make a new token for a key. Older ones work for a while longer.",
        scopes=("keys",),
        body="Rotation",
        errors=(404,),
    ),
    Endpoint(
        method="POST",
        path=f"{administration.KEYS_PATH}/{{id}}/revoke",
        handler=administration.revoke_key,
        summary="Make a key useless.",
        scopes=("keys",),
        errors=(400, 404),
    ),
    Endpoint(
        method="GET",
        path=administration.CONFIG_PATH,
        handler=administration.get_document,
        summary="A document of the configuration, with its `etag`.",
        scopes=("config",),
        errors=(400, 404),
    ),
    Endpoint(
        method="PUT",
        path=administration.CONFIG_PATH,
        handler=administration.put_document,
        summary="Put a document into force, if it is still the one of `if-match`.",
        scopes=("config",),
        body="DocumentChange",
        parameters=("if-match",),
        errors=(404, 412, 428),
    ),
    Endpoint(
        method="GET",
        path="/livez",
        handler=operations.livez,
        summary="Whether the process answers.",
        scopes=(),
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=operations.readyz,
        summary="Whether requests are welcome.",
        scopes=(),
        errors=(503,),
    ),
    Endpoint(
        method="GET",
        path="/health",
        handler=operations.health,
        summary="How everything is.",
        scopes=("report",),
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        handler=operations.metrics,
        summary="Counters and gauges for Prometheus.",
        scopes=("report",),
        answer="Text",
        media_type="text/plain",
    ),
    Endpoint(method="GET", path="/openapi.json", handler=_openapi, summary="This document.", scopes=()),
)
"""Everything the shim serves."""
