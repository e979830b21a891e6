"""OpenAI's other APIs: responses and embeddings, in addition to chat completions.

Source: OpenAI's API reference (responses, streaming events, embeddings).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import RequestError
from router.providers.base import Answer, EventSource
from router.providers.http.sse import StreamEvent
from router.providers.openai import HEADERS, OpenAIProvider, is_done, traced
from router.providers.reading.refusals import is_refusal, said_by
from router.providers.reading.texts import Halves
from router.providers.reading.vectors import count_of, fault_of_vectors
from router.request.request import ResponsesBody, chat_body
from router.translate.members import RESPONSES, optional
from router.translate.responses.answers import completion_of
from router.translate.responses.requests import native_of
from router.translate.responses.streams import EventsToChunks, to_sse
from router.translate.usage import reported_cost_usd, usage_from_embeddings, usage_from_openai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.catalog import Model
    from router.errors import ProviderError
    from router.request.request import Body


class ApisProvider(OpenAIProvider):
    """A Provider for a server that may speak more of OpenAI's APIs than chat completions."""

    async def _respond(self, model: Model, body: ResponsesBody) -> Answer:
        if RESPONSES not in model.apis:
            return await super()._respond(model, body)
        native, left = native_of(body.responses)
        request = {**native, "model": model.provider_model}
        headers = {**HEADERS, **model.headers}
        raw, trace = await self._sent(self._responses_address(), request, headers, model)
        answer = traced(self._response(raw, model), trace)
        return replace(answer, ignored=left) if left else answer

    def stream(self, model: Model, body: Body) -> EventSource:
        """See Provider: the `native` of each chunk is the responses API's event that the chunk translates."""
        if not isinstance(body, ResponsesBody) or RESPONSES not in model.apis:
            return super().stream(model, body)
        native, left = native_of(body.responses)
        content = orjson.dumps({**native, "model": model.provider_model, "stream": True})
        chunks = EventsToChunks()
        post = self._post(self._responses_address(), content, {**HEADERS, **model.headers}, model)
        take = partial(self._take_response, chunks, Halves(), model)
        return EventSource(self._events(post, model, take, lambda: chunks.is_finished), left)

    async def embed(self, model: Model, body: Body) -> Answer:
        """See Provider."""
        request = {**chat_body(body), "model": model.provider_model}
        headers = {**HEADERS, **model.headers}
        raw, trace = await self._sent(self._embeddings_address(model), request, headers, model)
        answered, raw = self._answered(raw, "data", model)
        if (fault := fault_of_vectors(answered["data"], count_of(request.get("input")))) is not None:
            raise self._broken("bad_response", fault, model)
        answer = Answer(
            body=answered,
            raw=raw,
            status_code=200,
            usage=usage_from_embeddings(answered),
            provider_cost_usd=reported_cost_usd(answered),
            finish_reason=None,
        )
        return traced(answer, trace)

    def _responses_address(self) -> str:
        return f"{self._base_url}/responses"

    def _embeddings_address(self, model: Model) -> str:  # noqa: ARG002 - other kinds have one for each model
        return f"{self._base_url}/embeddings"

    def _response(self, raw: bytes, model: Model) -> Answer:
        response = self._object(raw, model)
        self._check(response, model)
        response, raw = self._answered(raw, "output", model)
        try:
            body = completion_of(response)
        except RequestError as error:
            raise self._broken("bad_response", f"sent no OpenAI response ({error})", model) from error
        return Answer(
            body=body,
            raw=raw,
            status_code=200,
            usage=usage_from_openai(body),
            provider_cost_usd=reported_cost_usd(response),
            finish_reason=body["choices"][0]["finish_reason"],
        )

    def _check(self, response: Mapping[str, Any], model: Model) -> None:
        """ProviderError for a failed response, even if its HTTP status is a success."""
        if response.get("status") in ("failed", "cancelled"):
            raise self._failed(response.get("error"), model)

    def _failed(self, error: object, model: Model) -> ProviderError:
        return self._said(said_by(error), "in its response", model)

    def _take_response(
        self,
        chunks: EventsToChunks,
        halves: Halves,
        model: Model,
        raw: bytes,
        data: bytes | None,
        events: list[StreamEvent],
    ) -> None:
        """Add the chunk of an event. ProviderError if the event reports a failure."""
        if data is None:
            events.append(StreamEvent(raw + b"\n\n", None))
            return
        if is_done(data):
            return
        event, is_portable = self._event(raw, data, model, halves)
        kind = event.get("type")
        if kind is None and is_refusal(event):
            raise self._said(said_by(event), "in its stream", model)
        try:
            if kind == "error":
                raise self._failed(event, model)
            if kind == "response.failed":
                raise self._failed(optional(event.get("response"), "response").get("error"), model)
            chunk = chunks.feed(event)
        except RequestError as error:
            raise self._broken(
                "bad_response", f"sent an event that is not OpenAI's ({error})", model
            ) from error
        whole = raw + b"\n\n" if is_portable else to_sse(event)
        events.append(StreamEvent(whole, chunk, event))
