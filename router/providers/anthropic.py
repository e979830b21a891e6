"""Anthropic's messages API, as a provider with requests and answers in OpenAI's shape.

Source: Anthropic's API reference (messages, count tokens, errors, versions).
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import ProviderError, RequestError
from router.providers.base import Answer, Asked, EventSource
from router.providers.http.sse import StreamEvent
from router.providers.openai import HEADERS, OpenAIProvider, is_done
from router.providers.reading.refusals import is_refusal, said_by
from router.providers.reading.texts import Halves
from router.request.request import chat_body, ignored_of
from router.translate.anthropic.answers import completion_of
from router.translate.anthropic.requests_out import BETA, BETAS, DEFAULT_MAX_TOKENS, messages_request
from router.translate.anthropic.streams import EventsToChunks
from router.translate.anthropic.thinking import takes_of
from router.translate.members import NATIVE, LeftOut
from router.translate.names import ToolNames, rename_messages
from router.translate.usage import usage_from_anthropic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.catalog import Model
    from router.request.request import Body

VERSION = "2023-06-01"
COUNTED = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
)
"""Members of a request that affect its token count."""
LONGEST_NAME = 128
"""The most characters of a tool's name."""
_BETA = re.compile(r"[A-Za-z0-9._-]{1,100}")


class AnthropicProvider(OpenAIProvider):
    """A Provider for the messages API. `base_url` must end with the version (`…/v1`)."""

    async def count_tokens(self, model: Model, body: Body) -> int:
        """See Provider."""
        asked = self._asked(model, chat_body(body))
        counted = {name: asked.request[name] for name in COUNTED if name in asked.request}
        raw = await self._send(f"{self._address(model)}/count_tokens", counted, asked.headers, model)
        count = self._object(raw, model).get("input_tokens")
        if not isinstance(count, int):
            raise self._broken("bad_response", "sent no `input_tokens`", model)
        return count

    def stream(self, model: Model, body: Body) -> EventSource:
        """See Provider: Anthropic's events as OpenAI's chunks, always with the usage."""
        chat = chat_body(body)
        asked = self._asked(model, chat)
        chunks = EventsToChunks(created=int(time.time()), keep_native=NATIVE in chat)
        content = orjson.dumps({**asked.request, "stream": True})
        post = self._post(self._address(model), content, asked.headers, model)
        take = partial(self._take_message, chunks, Halves(), asked.names, model)
        ignored = asked.ignored | ignored_of(body)
        return EventSource(self._events(post, model, take, lambda: chunks.is_finished), ignored)

    def _take_message(
        self,
        chunks: EventsToChunks,
        halves: Halves,
        names: ToolNames | None,
        model: Model,
        raw: bytes,
        data: bytes | None,
        events: list[StreamEvent],
    ) -> None:
        """Add OpenAI's chunks of an event. ProviderError if the event reports an error."""
        if data is None:
            events.append(StreamEvent(b": keep-alive\n\n", None))
            return
        if is_done(data):
            return  # some gateways add OpenAI's end to Anthropic's
        try:
            event, _ = self._event(raw, data, model, halves)
        except ProviderError:
            events.clear()  # if nothing else came before, another model may still answer
            raise
        if event.get("type") == "ping":
            events.append(StreamEvent(b": ping\n\n", None))
            return
        if "type" not in event and is_refusal(event):
            raise self._said(said_by(event), "in its stream", model)
        if names:
            names.restore_messages(event)
        try:
            found = chunks.feed(event)
        except (KeyError, TypeError, AttributeError) as error:
            raise self._broken("bad_response", "sent an event that is not Anthropic's", model) from error
        if event.get("type") == "message_stop" and not chunks.has_stop_reason:
            raise self._broken("bad_response", "ended its message without a `stop_reason`", model)
        for chunk in found:
            if chunk.get("error"):
                events.clear()
                raise self._said(said_by(chunk), "in its stream", model)
            events.append(StreamEvent(b"data: " + orjson.dumps(chunk) + b"\n\n", chunk))

    def _address(self, model: Model) -> str:  # noqa: ARG002 - see OpenAIProvider
        return f"{self._base_url}/messages"

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

    def _request(self, model: Model, body: Mapping[str, Any]) -> Asked:
        left = LeftOut(drops_wishes=model.drop_params)
        request = messages_request(
            body,
            default_max_tokens=model.max_output_tokens or DEFAULT_MAX_TOKENS,
            takes=takes_of(model.provider_model, model.thinking),
            left=left,
        )
        request["model"] = model.provider_model
        names = ToolNames(LONGEST_NAME)
        rename_messages(request, names)
        headers = {**HEADERS, "anthropic-version": VERSION}
        betas = [*((body.get(NATIVE) or {}).get(BETAS) or ()), *_betas(body.get(BETA))]
        if betas:
            headers["anthropic-beta"] = ",".join(dict.fromkeys(_checked(beta) for beta in betas))
        return Asked(request, headers, frozenset(left.names), names or None)

    def _renamed(self, answer: Answer, names: ToolNames) -> Answer:
        restored = super()._renamed(answer, names)
        for holder in (restored.body, restored.body["choices"][0]["message"]):
            names.restore_messages(holder.get(NATIVE) or {})
        return replace(restored, raw=orjson.dumps(restored.body))

    def _parse(self, raw: bytes, model: Model) -> Answer:
        message, _ = self._answered(raw, "content", model)
        try:
            body = completion_of(message, created=int(time.time()))
        except RequestError as error:
            raise self._broken("bad_response", f"sent no Anthropic message ({error})", model) from error
        return Answer(
            body=body,
            raw=orjson.dumps(body),
            status_code=200,
            usage=usage_from_anthropic(message),
            provider_cost_usd=None,
            finish_reason=body["choices"][0]["finish_reason"],
        )


def _betas(given: object) -> list[object]:
    """The betas of a request: a list, or names with commas."""
    if isinstance(given, str):
        return [name.strip() for name in given.split(",") if name.strip()]
    return list(given) if isinstance(given, list) else []


def _checked(beta: object) -> str:
    if not isinstance(beta, str) or not _BETA.fullmatch(beta):
        raise RequestError(f"`anthropic-beta` holds `{beta!s:.40}`, which is not a beta's name", param=BETAS)
    return beta
