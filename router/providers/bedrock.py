"""Amazon Bedrock's Converse API, as a provider with requests and answers in OpenAI's shape.

It needs `botocore`, from the extra `bedrock`, for signatures and for the binary event stream. The
credentials are those of every Amazon client: environment variables, a profile, or the machine's role. With
`api_key_env`, a Bedrock API key is sent instead.

Source: the API reference of Amazon Bedrock Runtime (Converse, ConverseStream, CountTokens, errors).
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from router.errors import ConfigError, ProviderError, RequestError
from router.providers.anthropic import AnthropicProvider
from router.providers.base import Answer, Asked, EventSource
from router.providers.http.sse import StreamEvent
from router.providers.openai import HEADERS
from router.providers.reading.refusals import is_refusal, said_by
from router.request.request import chat_body, ignored_of
from router.translate.anthropic.answers import completion_of
from router.translate.anthropic.requests_out import BETA, BETAS
from router.translate.anthropic.streams import EventsToChunks
from router.translate.bedrock.converse import FAILURES, ConverseEvents, converse_request, message_of
from router.translate.members import NATIVE, LeftOut
from router.translate.usage import usage_from_anthropic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.catalog import Model
    from router.providers.http.client import Reply
    from router.request.request import Body
    from router.translate.names import ToolNames

ERROR_STATUS = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}
"""The HTTP status of an error that comes within a stream."""
COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""Members of a request that affect its token count."""
_REGION = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.")


class BedrockProvider(AnthropicProvider):
    """A Provider for Bedrock Runtime. `base_url` is `https://bedrock-runtime.REGION.amazonaws.com`."""

    def __init__(self, name: str, *, region: str | None = None, **arguments: Any) -> None:
        """`region` None: the one in the address. `arguments` go to OpenAIProvider.

        ConfigError if botocore is not installed.
        """
        super().__init__(name, **arguments)
        found = _REGION.search(urlsplit(self._base_url).netloc)
        self._region = region or (found[1] if found else None)
        if self._region is None:
            raise ConfigError(f"provider `{name}` needs `region`, because its `base_url` names none")
        self._has_key = arguments["keys"].take() is not None
        self._signer: Any = None
        try:
            import botocore.eventstream  # noqa: F401 - a check
        except ImportError:
            raise ConfigError(
                f"provider `{name}` of `kind: bedrock` needs botocore: install `intellirouter[bedrock]`"
            ) from None

    async def count_tokens(self, model: Model, body: Body) -> int:
        """See Provider. Amazon counts for some models only, and refuses the others."""
        asked = self._asked(model, chat_body(body))
        counted = {name: asked.request[name] for name in COUNTED if name in asked.request}
        address = f"{self._address(model).removesuffix('/converse')}/count-tokens"
        raw = await self._send(address, {"input": {"converse": counted}}, asked.headers, model)
        count = self._object(raw, model).get("inputTokens")
        if not isinstance(count, int):
            raise self._broken("bad_response", "sent no `inputTokens`", model)
        return count

    def stream(self, model: Model, body: Body) -> EventSource:
        """See Provider: the events of ConverseStream as OpenAI's chunks, always with the usage."""
        chat = chat_body(body)
        asked = self._asked(model, chat)
        chunks = EventsToChunks(created=int(time.time()), keep_native=NATIVE in chat)
        events = ConverseEvents(model=model.provider_model)
        address = f"{self._address(model)}-stream"
        post = self._post(address, orjson.dumps(asked.request), asked.headers, model)
        take = partial(self._take_event, events, chunks, asked.names, model)
        stream = self._events(post, model, take, lambda: chunks.is_finished)
        return EventSource(stream, asked.ignored | ignored_of(body))

    def _splitter(self) -> EventStreamSplitter:
        return EventStreamSplitter()

    def _take_event(
        self,
        converse: ConverseEvents,
        chunks: EventsToChunks,
        names: ToolNames | None,
        model: Model,
        raw: bytes,
        data: bytes | None,
        events: list[StreamEvent],
    ) -> None:
        """Add OpenAI's chunks of an event. ProviderError if it reports an error."""
        kind, event = raw.decode(), self._object(data or b"{}", model)
        if kind.endswith("Exception") or kind == "error":
            raise self._failure(ERROR_STATUS.get(kind, 500), said_by({**event, "code": kind}), model)
        if kind == "messageStop" and event.get("stopReason") in FAILURES:
            raise self._broken("bad_response", f"ended its answer with `{event['stopReason']}`", model)
        try:
            for made in converse.feed(kind, event):
                if names:
                    names.restore_messages(made)
                events.extend(
                    StreamEvent(b"data: " + orjson.dumps(chunk) + b"\n\n", chunk)
                    for chunk in chunks.feed(made)
                )
        except (RequestError, KeyError, TypeError, AttributeError) as error:
            raise self._broken("bad_response", "sent an event that is not Converse's", model) from error

    def _address(self, model: Model) -> str:
        return f"{self._base_url}/model/{quote(model.provider_model, safe='')}/converse"

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    async def _replied(self, address: str, content: bytes, headers: Mapping[str, str], model: Model) -> Reply:
        if not self._has_key:
            # Credentials may come from a file or from the machine's role, so that this may wait.
            headers = await asyncio.to_thread(self._signed, address, content, headers)
        return await super()._replied(address, content, headers, model)

    def _signed(self, address: str, content: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with Amazon's signature, version 4."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.session import Session

        if self._signer is None:
            self._signer = Session().get_credentials()
        if self._signer is None:
            raise ProviderError(
                f"provider `{self.name}` has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                " name a profile in AWS_PROFILE, or give `api_key_env` in catalog.yaml",
                provider=self.name,
                model="",
                error_type="authentication",
                is_retryable=True,
            )
        request = AWSRequest(method="POST", url=address, data=content, headers=dict(headers))
        SigV4Auth(self._signer.get_frozen_credentials(), "bedrock", self._region).add_auth(request)
        return dict(request.headers.items())

    def _request(self, model: Model, body: Mapping[str, Any]) -> Asked:
        asked = super()._request(model, {**body, "service_tier": None})
        left = LeftOut(drops_wishes=model.drop_params)
        request = converse_request(asked.request, left, tier=body.get("service_tier"))
        betas = [*((body.get(NATIVE) or {}).get(BETAS) or ()), *(body.get(BETA) or ())]
        if betas:
            fields = request.setdefault("additionalModelRequestFields", {})
            fields["anthropic_beta"] = [str(beta) for beta in betas]
        return Asked(request, HEADERS, asked.ignored | left.names, asked.names)

    def _parse(self, raw: bytes, model: Model) -> Answer:
        answer = self._object(raw, model)
        if "output" not in answer and is_refusal(answer):
            raise self._said(said_by(answer), "under status 200", model)
        if answer.get("stopReason") in FAILURES:
            raise self._broken("bad_response", f"ended its answer with `{answer['stopReason']}`", model)
        try:
            message = message_of(answer, model=model.provider_model)
            body = completion_of(message, created=int(time.time()))
        except RequestError as error:
            raise self._broken("bad_response", f"sent no answer of Converse ({error})", model) from error
        return Answer(
            body=body,
            raw=orjson.dumps(body),
            status_code=200,
            usage=usage_from_anthropic(message),
            provider_cost_usd=None,
            finish_reason=body["choices"][0]["finish_reason"],
        )


class EventStreamSplitter:
    """Cuts the binary event stream into (name of the event, its JSON)."""

    stray = b""
    """Nothing can be between the events."""

    def __init__(self) -> None:
        from botocore.eventstream import EventStreamBuffer

        self._buffer = EventStreamBuffer()

    def feed(self, part: bytes) -> list[tuple[bytes, bytes | None]]:
        """The events that are complete now."""
        from botocore.eventstream import ParserError

        if part == b"\n\n":  # the end of a text stream, which this is not
            return []
        self._buffer.add_data(part)
        found: list[tuple[bytes, bytes | None]] = []
        try:
            for event in self._buffer:
                kinds = (":exception-type", ":event-type", ":error-code")
                kind = next((event.headers[name] for name in kinds if name in event.headers), "error")
                found.append((str(kind).encode(), event.payload))
        except ParserError:
            found.append((b"error", b'{"message": "the event stream is damaged"}'))
        return found
