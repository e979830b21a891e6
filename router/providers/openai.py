"""Any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from router.errors import InexpressibleError, ProviderError, RequestError
from router.providers.base import Answer, Asked, EventSource, failure_of_status
from router.providers.http.authorities import refusal_of as refused_certificate
from router.providers.http.client import Client
from router.providers.http.retry_after import retry_after_s
from router.providers.http.sse import DONE, MAX_EVENT_BYTES, EventSplitter, OversizedEventError, StreamEvent
from router.providers.reading.endings import settle
from router.providers.reading.refusals import (
    Refusal,
    first_object,
    is_error_event,
    is_refusal,
    refusal_of,
    said_by,
)
from router.providers.reading.texts import Halves, NotJsonError, clean, loads
from router.providers.reading.traces import NO_TRACE, Trace, answered_model, id_of, region_of
from router.providers.reading.usages import settle_usage
from router.request.request import ResponsesBody, chat_body, ignored_of
from router.translate.anthropic.portable import portable
from router.translate.members import RESPONSES, LeftOut
from router.translate.mending import Mender
from router.translate.names import LONGEST_CHAT_NAME, ToolNames, rename_chat
from router.translate.usage import reported_cost_usd, service_tier_of, usage_from_openai

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Mapping
    from types import TracebackType

    from router.catalog.catalog import Model
    from router.catalog.entries import OutputLimit
    from router.providers.base import Splitter
    from router.providers.http.client import Reply
    from router.providers.key_ring import ProviderKeyRing
    from router.request.request import Body

    Take = Callable[[bytes, bytes | None, list[StreamEvent]], None]

HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
MAX_DETAIL_LENGTH = 300
MAX_REFUSAL_BYTES = 64 << 10
REFUSAL_TIMEOUT_S = 2.0
"""Bounds in time and size for the body of an error, because the status says most of it."""
SHOULD_RETRY = {"true": True, "false": False}
"""Values of `x-should-retry`, which OpenAI's and Anthropic's own clients prefer to the status."""
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
)
"""Errors of calls that were never sent, so that no provider bills them."""
OVERSIZED_EVENT = f"sent an event of more than {MAX_EVENT_BYTES} bytes"
HEAD = ("id", "created", "model", "system_fingerprint", "service_tier")
"""Members that a completion and each chunk of it share."""
NO_SENTENCE = "no readable error message"


class OpenAIProvider:
    """A Provider for an OpenAI-compatible base URL, and the base class for other formats."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        keys: ProviderKeyRing,
        max_connections: int,
        max_response_bytes: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """If `tls` is None, certificates are checked against certifi's authorities."""
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._keys = keys
        self._max_response_bytes = max_response_bytes
        self._client = Client(max_connections=max_connections, tls=tls)

    async def complete(self, model: Model, body: Body) -> Answer:
        """See Provider."""
        if isinstance(body, ResponsesBody):
            return await self._respond(model, body)
        asked = self._asked(model, body)
        raw, trace = await self._sent(self._address(model), asked.request, asked.headers, model)
        answer = traced(self._parse(raw, model), trace)
        if asked.names:
            answer = self._renamed(answer, asked.names)
        return replace(answer, ignored=asked.ignored) if asked.ignored else answer

    async def embed(self, model: Model, body: Body) -> Answer:  # noqa: ARG002 - other kinds do
        """See Provider. The catalog refuses `vectors` for a provider without embeddings."""
        without = RequestError(f"provider `{self.name}` has no embeddings; ask another model")
        raise InexpressibleError(without, provider=self.name, model=model.id)

    async def count_tokens(self, model: Model, body: Body) -> int | None:  # noqa: ARG002 - other kinds do
        """See Provider."""
        return None

    def stream(self, model: Model, body: Body) -> EventSource:
        """See Provider."""
        chat, halves = chat_body(body), Halves()
        asked = self._asked(model, _streamed(chat, model))
        post = self._post(self._address(model), orjson.dumps(asked.request), asked.headers, model)
        take = partial(self._take_chat, Mender(self.name, model.provider_model), asked.names, halves, model)
        ignored = asked.ignored | ignored_of(body)
        if chat.get("stream_options") and not model.stream_usage:
            ignored |= {"stream_options"}
        return EventSource(self._events(post, model, take), ignored)

    async def aclose(self) -> None:
        """See Provider."""
        await self._client.aclose()

    async def _respond(self, model: Model, body: ResponsesBody) -> Answer:
        """Serve a request of the responses API as a chat completion."""
        answer = await self.complete(model, body.chat)
        if body.ignored:
            answer = replace(answer, ignored=answer.ignored | body.ignored)
        if RESPONSES not in answer.body:
            return answer
        # This member is the server's own, and not a response.
        plain = {name: value for name, value in answer.body.items() if name != RESPONSES}
        return replace(answer, body=plain)

    def _address(self, model: Model) -> str:  # noqa: ARG002 - other kinds have one for each model
        return f"{self._base_url}/chat/completions"

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def _asked(self, model: Model, body: Mapping[str, Any]) -> Asked:
        """Call `_request`. ProviderError, before a call, if the provider's API cannot express the request."""
        try:
            return with_headers(self._request(model, body), model)
        except RequestError as error:
            raise InexpressibleError(error, provider=self.name, model=model.id) from error

    def _request(self, model: Model, body: Mapping[str, Any]) -> Asked:
        """The provider's own request for `body`. RequestError if it cannot express it."""
        left = LeftOut(drops_wishes=model.drop_params)
        name, is_known = model.provider_model, model.developer_as != "system"
        chat = portable(body, left, provider=self.name, name=name, has_developers=is_known)
        request = {**chat, "model": name}
        if model.max_tokens_as is not None:
            _name_limit(request, model.max_tokens_as)
        names = ToolNames(LONGEST_CHAT_NAME)
        if request.get("tools"):
            rename_chat(request, names)
        return Asked(request, HEADERS, frozenset(left.names), names or None)

    async def _send(
        self, address: str, request: Mapping[str, Any], headers: Mapping[str, str], model: Model
    ) -> bytes:
        """The body of a successful answer."""
        raw, _ = await self._sent(address, request, headers, model)
        return raw

    async def _sent(
        self, address: str, request: Mapping[str, Any], headers: Mapping[str, str], model: Model
    ) -> tuple[bytes, Trace]:
        """The body of a successful answer, and the facts in its headers."""
        async with self._post(address, orjson.dumps(request), headers, model) as reply:
            return await self._read(reply, model), Trace.of(reply.headers)

    def _post(self, address: str, content: bytes, headers: Mapping[str, str], model: Model) -> _Post:
        """Post with the key's header, and give a reply of status 200. Read its body inside `async with`.

        ProviderError for any other status and for a broken connection, also while the body is read.
        """
        return _Post(self, address, content, headers, model)

    async def _replied(self, address: str, content: bytes, headers: Mapping[str, str], model: Model) -> Reply:
        key = self._keys.take()
        if key is not None:
            headers = {**headers, **self._key_headers(key)}
        reply = await self._client.request(b"POST", address, headers=headers, content=content)
        if reply.status_code == 200:
            return reply
        try:
            raise self._refusal(reply, await _read_refusal(reply), model, key)
        finally:
            reply.close()

    def _unanswered(self, error: Exception, model: Model) -> ProviderError:
        """The error of a call without a complete response. `error` is httpx's."""
        if why := refused_certificate(error):
            refused = self._broken("connection", why, model, may_be_billed=False)
            refused.should_retry = False  # another try meets the same certificate
            return refused
        what = type(error).__name__
        if isinstance(error, NEVER_SENT):
            return self._broken("connection", f"cannot be reached ({what})", model, may_be_billed=False)
        if isinstance(error, httpx.TimeoutException):
            return self._broken("timeout", "did not answer in time", model)
        if isinstance(error, httpx.DecodingError):
            return self._broken("bad_response", "sent a body that cannot be decompressed", model)
        return self._broken("connection", f"broke off the connection ({what})", model)

    def _refusal(self, reply: Reply, raw: bytes, model: Model, key: str | None) -> ProviderError:
        """The error of a reply that is not a 200."""
        headers = httpx.Headers(reply.headers)
        wait_s = retry_after_s(headers)
        failure = self._failure(reply.status_code, refusal_of(raw), model, wait_s)
        advice = SHOULD_RETRY.get(headers.get("x-should-retry", "").lower())
        failure.should_retry = failure.should_retry if advice is None else advice
        if failure.should_retry:
            failure.is_retryable = True
        failure.has_other_key = self._keys.refused(key, reply.status_code, wait_s)
        return failure

    def _failure(
        self, status: int, said: Refusal, model: Model, wait_s: float | None = None
    ) -> ProviderError:
        """The error of a status, and of what the provider says with it."""
        return failure_of_status(
            status,
            provider=self.name,
            model=model.id,
            said=self._safe(said),
            detail=self._sentence(said),
            retry_after_s=wait_s,
        )

    def _said(self, said: Refusal, where: str, model: Model) -> ProviderError:
        """The error that a provider reports under status 200. `where`: `in its stream`."""
        if said.status is not None:
            return self._failure(said.status, said, model)
        if said.is_filtered or said.is_gone:
            return self._failure(400, said, model)
        error = self._broken("server_error", f"sent an error {where} ({self._sentence(said)})", model)
        said = self._safe(said)
        error.provider_code, error.param = said.name, said.param
        error.said_code, error.said_type = said.code, said.kind
        return error

    def _sentence(self, said: Refusal) -> str:
        return self._keys.without_keys(said.message or NO_SENTENCE)[:MAX_DETAIL_LENGTH]

    def _safe(self, said: Refusal) -> Refusal:
        """The same error without a code that holds one of our keys."""
        names = (said.code, said.kind, said.param)
        if all(name is None or self._keys.without_keys(name) == name for name in names):
            return said
        return replace(said, code=None, kind=None, param=None)

    async def _read(self, reply: Reply, model: Model) -> bytes:
        parts, size = [], 0
        while part := await reply.read():
            size += len(part)
            if size > self._max_response_bytes:
                raise self._oversized(model)
            parts.append(part)
        return b"".join(parts)

    def _oversized(self, model: Model) -> ProviderError:
        return self._broken("bad_response", f"sent more than {self._max_response_bytes} bytes", model)

    async def _events(
        self, post: _Post, model: Model, take: Take, is_finished: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """The events of a stream, portion by portion, until one reports an error.

        `take` translates an event of the provider and adds the result to a portion. DONE is added to a
        stream that `is_finished` at its end.
        """
        splitter, size, part = self._splitter(), 0, b" "
        async with post as reply:
            if (trace := Trace.of(reply.headers)) is not NO_TRACE:
                yield [StreamEvent(b"", None, trace=trace)]
            if is_json(reply):
                for events in self._whole(await self._read(reply, model), model):
                    yield events
                return
            while part:
                part = await reply.read()
                size += len(part)
                events = []
                failure = self._oversized(model) if size > self._max_response_bytes else None
                try:
                    for raw, data in splitter.feed(part or b"\n\n"):  # the last line may be missing
                        take(raw, data, events)
                except OversizedEventError:
                    failure = failure or self._broken("bad_response", OVERSIZED_EVENT, model)
                except ProviderError as error:
                    failure = failure or error
                if failure is None and not part and splitter.stray:
                    failure = self._stray(splitter.stray, model)
                if events:
                    yield events
                if failure is not None:
                    raise failure
        if is_finished():
            yield [DONE]

    def _whole(self, raw: bytes, model: Model) -> list[list[StreamEvent]]:
        """The events of an answer that came whole, though a stream was asked for."""
        body = self._parse(raw, model).body
        choices = [
            {"index": place, "delta": _delta_of(choice), "finish_reason": choice.get("finish_reason")}
            for place, choice in enumerate(body["choices"])
            if isinstance(choice, dict)
        ]
        head = {name: body[name] for name in HEAD if name in body}
        chunk = {**head, "object": "chat.completion.chunk"}
        chunks = [{**chunk, "choices": choices}]
        if isinstance(body.get("usage"), dict):
            chunks.append({**chunk, "choices": [], "usage": body["usage"]})
        return [[StreamEvent(_event_of(item), item) for item in chunks], [DONE]]

    def _stray(self, text: bytes, model: Model) -> ProviderError | None:
        """The error in lines between the events that are no fields of events, if they hold one."""
        with suppress(NotJsonError):
            value = loads(text).value
            if is_refusal(first_object(value)):
                return self._said(said_by(value), "in its stream", model)
        return None

    def _splitter(self) -> Splitter:
        return EventSplitter()

    def _take(
        self, halves: Halves, model: Model, raw: bytes, data: bytes | None, events: list[StreamEvent]
    ) -> None:
        if data is None:
            events.append(StreamEvent(raw + b"\n\n", None))
            return
        if is_done(data):
            events.append(DONE)
            return
        chunk, is_portable = self._event(raw, data, model, halves)
        is_portable = not settle_usage(chunk) and is_portable
        choices = chunk.get("choices")
        if isinstance(choices, list):
            failed, is_reworded = settle(choices, in_pieces=True)
            if failed is not None:
                raise self._said(said_by(failed), "in its stream", model)
            is_portable = is_portable and not is_reworded
        elif not isinstance(chunk.get("usage"), dict):
            if is_refusal(chunk):
                raise self._said(said_by(chunk), "in its stream", model)
            return  # it is no part of an answer, and no client could read it
        events.append(StreamEvent(raw + b"\n\n" if is_portable else _event_of(chunk), chunk))

    def _event(self, raw: bytes, data: bytes, model: Model, halves: Halves) -> tuple[dict[str, Any], bool]:
        """(the object of an event, whether its bytes can be passed on). ProviderError if it is an error."""
        if is_error_event(raw):
            raise self._said(refusal_of(data), "in its stream", model)
        try:
            value, is_plain, is_portable = loads(data)
        except NotJsonError as error:
            if not data.strip():
                return {}, True
            raise self._broken("bad_response", "sent an event that is not JSON", model) from error
        if not isinstance(value, dict):
            raise self._broken("bad_response", "sent an event that is not an object", model)
        if not (is_plain and halves.is_empty):
            value = halves.joined(value)
        if value.get("error"):
            raise self._said(said_by(value), "in its stream", model)
        return value, is_portable

    def _renamed(self, answer: Answer, names: ToolNames) -> Answer:
        """The answer with the client's names of tools."""
        body = copy.deepcopy(dict(answer.body))
        names.restore_chat(body)
        return replace(answer, body=body, raw=orjson.dumps(body))

    def _take_chat(
        self,
        mender: Mender,
        names: ToolNames | None,
        halves: Halves,
        model: Model,
        raw: bytes,
        data: bytes | None,
        events: list[StreamEvent],
    ) -> None:
        """As `_take`, with tool calls that every client can read, under the client's names of tools."""
        start = len(events)
        self._take(halves, model, raw, data, events)
        for at, event in enumerate(events[start:], start):
            if event.data is None or not mender.has_work(event.raw):
                continue
            chunk: Any = event.data
            is_changed = bool(names)
            with suppress(RequestError):  # a malformed chunk is for the reader to refuse
                is_changed |= mender.chunk(chunk)
            if names:
                names.restore_chat(chunk)
            if is_changed:
                events[at] = StreamEvent(_event_of(chunk), chunk)

    def _object(self, raw: bytes, model: Model) -> dict[str, Any]:
        """The object in a body. ProviderError if it is not JSON, an empty object if it is another value."""
        try:
            read = loads(raw)
        except NotJsonError as error:
            raise self._broken("bad_response", "sent a body that is not JSON", model) from error
        value = read.value if read.is_plain else clean(read.value)
        return value if isinstance(value, dict) else {}

    def _answered(self, raw: bytes, member: str, model: Model) -> tuple[dict[str, Any], bytes]:
        """(the object with a list in `member`, bytes to pass on). ProviderError if it says or is an error."""
        try:
            value, is_plain, is_portable = loads(raw)
        except NotJsonError as error:
            raise self._broken("bad_response", "sent a body that is not JSON", model) from error
        value = value if is_plain else clean(value)
        body = value if isinstance(value, dict) else {}
        items = body.get(member)
        if body.get("error") or not isinstance(items, list):
            if is_refusal(first_object(value)):
                raise self._said(said_by(value), "under status 200", model)
            raise self._broken("bad_response", f"sent a body without `{member}`", model)
        return body, raw if is_portable else orjson.dumps(body)

    def _parse(self, raw: bytes, model: Model) -> Answer:
        body, raw = self._answered(raw, "choices", model)
        choices = body["choices"]
        failed, is_reworded = settle(choices)
        if failed is not None:
            error = self._said(said_by(failed), "in its answer", model)
            error.may_be_billed = True  # it may have written tokens before it failed
            raise error
        first = choices[0] if choices else None
        if not isinstance(first, dict) or not isinstance(first.get("message"), dict):
            raise self._broken("bad_response", "sent no message in `choices`", model)
        is_reworded |= settle_usage(body)
        mender = Mender(self.name, model.provider_model)
        if mender.has_work(raw):
            with suppress(RequestError):  # malformed calls are for the reader to refuse
                is_reworded |= mender.whole(body)
        if is_reworded:
            raw = orjson.dumps(body)
        return Answer(
            body=body,
            raw=raw,
            status_code=200,
            usage=usage_from_openai(body),
            provider_cost_usd=reported_cost_usd(body),
            finish_reason=first.get("finish_reason"),
        )

    def _broken(
        self, error_type: str, what: str, model: Model, *, may_be_billed: bool | None = None
    ) -> ProviderError:
        return ProviderError(
            f"provider `{self.name}` {what} for model `{model.id}`",
            provider=self.name,
            model=model.id,
            error_type=error_type,
            is_retryable=True,
            may_be_billed=may_be_billed,
        )


class _Post:
    """One call inside `async with`. A generator would cost as much as the connection."""

    __slots__ = ("_arguments", "_model", "_provider", "_reply")

    def __init__(
        self, provider: OpenAIProvider, address: str, content: bytes, headers: Mapping[str, str], model: Model
    ) -> None:
        self._provider, self._model = provider, model
        self._arguments = address, content, headers, model
        self._reply: Reply | None = None

    async def __aenter__(self) -> Reply:
        try:
            self._reply = await self._provider._replied(*self._arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._provider._unanswered(error, self._model) from error
        return self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._reply is not None  # noqa: S101 - it was entered
        self._reply.close()
        if isinstance(error, httpx.HTTPError):
            raise self._provider._unanswered(error, self._model) from error


def with_headers(asked: Asked, model: Model) -> Asked:
    """The request with the headers that the model's catalog entry states."""
    if not model.headers:
        return asked
    headers = {**asked.headers, **model.headers}
    for name in asked.headers.keys() & model.headers.keys():  # a list of betas
        headers[name] = f"{asked.headers[name]},{model.headers[name]}"
    return asked._replace(headers=headers)


def _streamed(body: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The request for a stream. It asks for usage, unless the model's `stream_usage` is off."""
    request = {**body, "stream": True}
    options = request.pop("stream_options", None)
    if model.stream_usage:
        request["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return request


def _name_limit(request: dict[str, Any], name: OutputLimit) -> None:
    """Give the output limit the name that the provider knows. If both are set, the newer name's holds."""
    limits = [request.pop(known) for known in ("max_completion_tokens", "max_tokens") if known in request]
    if limits:
        request[name] = next((limit for limit in limits if limit is not None), None)


async def _read_refusal(reply: Reply) -> bytes:
    """Read the body, or the part of it that arrives in time."""
    content = b""
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(REFUSAL_TIMEOUT_S):
            while part := await reply.read():
                content += part
                if len(content) > MAX_REFUSAL_BYTES:
                    break
    return content


def traced(answer: Answer, trace: Trace) -> Answer:
    """The answer with what its body and the headers of its reply say about the request."""
    body = answer.body
    return replace(
        answer,
        model_answered=answer.model_answered or answered_model(body),
        service_tier=answer.service_tier or service_tier_of(body),
        provider_request_id=trace.request_id or answer.provider_request_id or id_of(body),
        provider_region=trace.region or answer.provider_region or region_of(body),
    )


def is_json(reply: Reply) -> bool:
    """Whether a reply is one JSON body, and no stream of events."""
    kinds = [value for name, value in reply.headers if name.lower() == b"content-type"]
    return any(kind.partition(b";")[0].strip().lower() == b"application/json" for kind in kinds)


def is_done(data: bytes) -> bool:
    """Whether an event ends the stream. OpenAI's own client reads only how its text begins."""
    return data.lstrip().startswith(b"[DONE]")


def _delta_of(choice: Mapping[str, Any]) -> object:
    """The message of a whole answer as a delta: clients of streams need the index of a call."""
    said = choice.get("message")
    if not isinstance(said, dict) or not isinstance(said.get("tool_calls"), list):
        return said
    calls = [
        {"index": at, **call} if isinstance(call, dict) else call
        for at, call in enumerate(said["tool_calls"])
    ]
    return {**said, "tool_calls": calls}


def _event_of(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
