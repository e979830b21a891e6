"""Gemini's generateContent, as a provider with requests and answers in OpenAI's shape.

Source: Google's API reference (generateContent, streamGenerateContent, countTokens, batchEmbedContents).
"""

from __future__ import annotations

import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from router.errors import InexpressibleError, RequestError
from router.providers.base import Answer, Asked, EventSource
from router.providers.http.sse import StreamEvent
from router.providers.openai import HEADERS, OpenAIProvider, traced
from router.providers.reading.refusals import Refusal, said_by
from router.providers.reading.vectors import fault_of_vectors
from router.request.request import chat_body, ignored_of
from router.translate.anthropic.portable import portable
from router.translate.gemini.answers import PortionsToChunks, block_reason, completion_of, is_failure
from router.translate.gemini.embeddings import batch_request, vectors_of
from router.translate.gemini.requests import generate_request
from router.translate.members import LeftOut
from router.translate.names import LONGEST_CHAT_NAME, ToolNames, rename_chat
from router.translate.returned import marked_id
from router.translate.usage import usage_from_embeddings, usage_from_gemini

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.catalog import Model
    from router.request.request import Body

COUNTED = ("contents", "systemInstruction", "tools")
"""Members of a request that affect its token count."""


class GeminiProvider(OpenAIProvider):
    """A Provider for Google's own API. `base_url` must end with the version (`…/v1beta`)."""

    async def count_tokens(self, model: Model, body: Body) -> int:
        """See Provider."""
        asked = self._asked(model, chat_body(body))
        counted = {name: asked.request[name] for name in COUNTED if name in asked.request}
        request = {"generateContentRequest": {"model": f"models/{model.provider_model}", **counted}}
        raw = await self._send(self._method(model, "countTokens"), request, asked.headers, model)
        count = self._object(raw, model).get("totalTokens")
        if not isinstance(count, int):
            raise self._broken("bad_response", "sent no `totalTokens`", model)
        return count

    async def embed(self, model: Model, body: Body) -> Answer:
        """See Provider."""
        given, left = chat_body(body), LeftOut(drops_wishes=model.drop_params)
        try:
            request = batch_request(given, left, name=model.provider_model)
        except RequestError as error:
            raise InexpressibleError(error, provider=self.name, model=model.id) from error
        headers = {**HEADERS, **model.headers}
        raw, trace = await self._sent(self._method(model, "batchEmbedContents"), request, headers, model)
        answered, _ = self._answered(raw, "embeddings", model)
        try:
            is_base64 = given.get("encoding_format") == "base64"
            vectors = vectors_of(answered, model=model.provider_model, is_base64=is_base64)
        except (RequestError, struct.error, OverflowError) as error:
            raise self._broken("bad_response", "sent no vectors of Gemini's", model) from error
        if (fault := fault_of_vectors(vectors["data"], len(request["requests"]))) is not None:
            raise self._broken("bad_response", fault, model)
        answer = Answer(
            body=vectors,
            raw=orjson.dumps(vectors),
            status_code=200,
            usage=usage_from_embeddings(vectors),
            provider_cost_usd=None,
            finish_reason=None,
            ignored=frozenset(left.names),
        )
        return traced(answer, trace)

    def stream(self, model: Model, body: Body) -> EventSource:
        """See Provider: Gemini's portions as OpenAI's chunks, always with the usage."""
        asked = self._asked(model, chat_body(body))
        chunks = PortionsToChunks(created=int(time.time()))
        address = self._method(model, "streamGenerateContent") + "?alt=sse"
        post = self._post(address, orjson.dumps(asked.request), asked.headers, model)
        take = partial(self._take_portion, chunks, asked.names, model)
        events = self._events(post, model, take, lambda: chunks.is_finished)
        return EventSource(events, asked.ignored | ignored_of(body))

    def _take_portion(
        self,
        chunks: PortionsToChunks,
        names: ToolNames | None,
        model: Model,
        _: bytes,
        data: bytes | None,
        events: list[StreamEvent],
    ) -> None:
        """Add OpenAI's chunks of a portion. ProviderError if it reports an error."""
        if data is None:
            events.append(StreamEvent(b": keep-alive\n\n", None))
            return
        portion = self._object(data, model)
        if portion.get("error"):
            raise self._said(said_by(portion), "in its stream", model)
        self._check(portion, model)
        try:
            found = chunks.feed(portion)
        except (RequestError, KeyError, TypeError, AttributeError) as error:
            raise self._broken("bad_response", "sent a portion that is not Gemini's", model) from error
        for chunk in found:
            self._mark(chunk)
            if names:
                names.restore_chat(chunk)
            events.append(StreamEvent(b"data: " + orjson.dumps(chunk) + b"\n\n", chunk))

    def _mark(self, body: Mapping[str, Any]) -> None:
        """Put thought signatures into the ids of calls too, because many clients keep only those."""
        for choice in body["choices"]:
            for call in (choice.get("message") or choice.get("delta") or {}).get("tool_calls", ()):
                kept = {name: call[name] for name in ("extra_content",) if name in call}
                call["id"] = marked_id(call["id"], self.name, kept)

    def _address(self, model: Model) -> str:
        return self._method(model, "generateContent")

    def _method(self, model: Model, name: str) -> str:
        return f"{self._base_url}/models/{quote(model.provider_model, safe='')}:{name}"

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def _request(self, model: Model, body: Mapping[str, Any]) -> Asked:
        left, name = LeftOut(drops_wishes=model.drop_params), model.provider_model
        chat = dict(portable(body, left, provider=self.name, name=name))
        names = ToolNames(LONGEST_CHAT_NAME)
        if chat.get("tools"):
            rename_chat(chat, names)
        request = generate_request(chat, left, name=name)
        return Asked(request, HEADERS, frozenset(left.names), names or None)

    def _check(self, answer: Mapping[str, Any], model: Model) -> None:
        """ProviderError for a refused prompt, and for an answer that its model could not finish."""
        if (reason := block_reason(answer)) is not None:
            message, names = f"the prompt was blocked ({reason})", frozenset({"content_filter"})
            raise self._failure(400, Refusal(message=message, code="content_filter", names=names), model)
        candidates = answer.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else []:
            reason = candidate.get("finishReason") if isinstance(candidate, dict) else None
            if is_failure(reason):
                raise self._broken("bad_response", f"ended its answer with `{reason!s:.60}`", model)

    def _parse(self, raw: bytes, model: Model) -> Answer:
        answer = self._object(raw, model)
        if block_reason(answer) is None:
            answer, _ = self._answered(raw, "candidates", model)
        self._check(answer, model)
        try:
            body = completion_of(answer, created=int(time.time()))
            self._mark(body)
        except (RequestError, KeyError, TypeError, AttributeError) as error:
            raise self._broken("bad_response", "sent no answer of Gemini's", model) from error
        return Answer(
            body=body,
            raw=orjson.dumps(body),
            status_code=200,
            usage=usage_from_gemini(answer),
            provider_cost_usd=None,
            finish_reason=body["choices"][0]["finish_reason"] if body["choices"] else None,
        )
