"""Any server that speaks OpenAI's chat completions, over httpx."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx
import orjson

from router.errors import ProviderError
from router.providers.base import Answer, failure_of_status
from router.providers.sse import DONE, MAX_EVENT_BYTES, EventSplitter, StreamEvent
from router.usage import reported_cost_usd, usage_from_openai

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from router.catalog import Model

# httpx logs every URL at INFO; URLs may carry keys.
logging.getLogger("httpx").setLevel(logging.WARNING)

MAX_DETAIL_LENGTH = 300
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Failures before the request left: no provider can charge for it."""
_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|AIza|AKIA)[-_]?[\w-]{12,}")
"""What providers' keys look like: they quote them in their errors."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
"""An identifier: what else stands where an error has its code could quote the request."""


class OpenAIProvider:
    """A Provider for an OpenAI-compatible base URL."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: str | None,
        max_connections: int,
        max_response_bytes: int,
    ) -> None:
        self.name = name
        self._api_key = api_key
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=30
        )
        self._max_response_bytes = max_response_bytes
        # An httpx client belongs to the event loop that first used it; `complete_sync` has its own.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    async def complete(self, model: Model, body: Mapping[str, Any]) -> Answer:
        """See Provider."""
        content = orjson.dumps({**body, "model": model.provider_model})
        try:
            async with self._client().stream(
                "POST", self._url, content=content, headers=self._headers
            ) as response:
                raw = await self._read(response, model)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unanswered(error, model) from error
        if response.status_code != 200:
            raise self._refusal(response, raw, model)
        return self._parse(raw, model)

    async def stream(self, model: Model, body: Mapping[str, Any]) -> AsyncGenerator[list[StreamEvent], None]:
        """See Provider."""
        options = body.get("stream_options")
        asked = {**options, "include_usage": True} if isinstance(options, dict) else {"include_usage": True}
        named = {**body, "model": model.provider_model, "stream": True, "stream_options": asked}
        splitter, size = EventSplitter(), 0
        try:
            async with self._client().stream(
                "POST", self._url, content=orjson.dumps(named), headers=self._headers
            ) as response:
                if response.status_code != 200:
                    raise self._refusal(response, await self._read(response, model), model)
                is_plain = "content-encoding" not in response.headers  # raw bytes cost less
                async for part in response.aiter_raw() if is_plain else response.aiter_bytes():
                    size += len(part)
                    events, failure = self._events(splitter, part, model)
                    if events:
                        yield events
                    if size > self._max_response_bytes:
                        what = f"sent more than {self._max_response_bytes} bytes"
                        failure = self._broken("bad_response", what, model)
                    if failure is not None:
                        raise failure
                events, failure = self._events(splitter, b"\n\n", model)  # it may be missing at the end
                if events:
                    yield events
                if failure is not None:
                    raise failure
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unanswered(error, model) from error

    async def aclose(self) -> None:
        """See Provider."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = httpx.AsyncClient(
                limits=self._limits,
                timeout=None,  # noqa: S113 - the router owns the total deadline and cancels
                trust_env=False,
                follow_redirects=False,
            )
        return client

    async def _read(self, response: httpx.Response, model: Model) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > self._max_response_bytes:
                raise self._broken("bad_response", f"sent more than {self._max_response_bytes} bytes", model)
            parts.append(part)
        return b"".join(parts)

    def _events(
        self, splitter: EventSplitter, part: bytes, model: Model
    ) -> tuple[list[StreamEvent], ProviderError | None]:
        """The events that `part` completes, up to the one that is an error."""
        events: list[StreamEvent] = []
        try:
            for raw, data in splitter.feed(part):
                events.append(self._event(raw, data, model))
        except ProviderError as error:
            return events, error
        except ValueError:
            what = f"sent an event of more than {MAX_EVENT_BYTES} bytes"
            return events, self._broken("bad_response", what, model)
        return events, None

    def _event(self, raw: bytes, data: bytes | None, model: Model) -> StreamEvent:
        if data is None:
            return StreamEvent(raw + b"\n\n", None)
        if data == b"[DONE]":
            return DONE
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise self._broken("bad_response", "sent an event that is not JSON", model) from error
        if not isinstance(chunk, dict):
            raise self._broken("bad_response", "sent an event that is no object", model)
        if chunk.get("error"):
            raise self._error_event(chunk["error"], model)
        return StreamEvent(raw + b"\n\n", chunk)

    def _error_event(self, said: object, model: Model) -> ProviderError:
        """The error that a provider sends in a stream, in the place of an HTTP status."""
        status = said.get("code") if isinstance(said, dict) else None
        if isinstance(status, int) and 400 <= status < 600:
            return self._failure(status, said, None, model)
        detail = self._without_keys(_error_message(said))[:MAX_DETAIL_LENGTH]
        error = self._broken("server_error", f"sent an error in its stream ({detail})", model)
        error.provider_code = self._error_code(said)
        return error

    def _parse(self, raw: bytes, model: Model) -> Answer:
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise self._broken("bad_response", "sent a body that is not JSON", model) from error
        if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
            raise self._broken("bad_response", "sent a body without `choices`", model)
        first = body["choices"][0] if body["choices"] else None
        finish = first.get("finish_reason") if isinstance(first, dict) else None
        return Answer(
            body=body,
            raw=raw,
            status_code=200,
            usage=usage_from_openai(body),
            provider_cost_usd=reported_cost_usd(body),
            finish_reason=finish if isinstance(finish, str) else None,
        )

    def _refusal(self, response: httpx.Response, raw: bytes, model: Model) -> ProviderError:
        """The error of an answer that is not a success."""
        retry_after_s = _retry_after_s(response.headers)
        return self._failure(response.status_code, _error_of(raw), retry_after_s, model)

    def _failure(self, status: int, said: object, retry_after_s: float | None, model: Model) -> ProviderError:
        return failure_of_status(
            status,
            provider=self.name,
            model=model.id,
            detail=self._without_keys(_error_message(said))[:MAX_DETAIL_LENGTH],
            provider_code=self._error_code(said),
            retry_after_s=retry_after_s,
        )

    def _unanswered(self, error: Exception, model: Model) -> ProviderError:
        """The error of a call that broke."""
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, NEVER_SENT):
            return self._broken("timeout", "did not answer in time", model)
        what = f"cannot be reached ({type(error).__name__})"
        may_be_billed = False if isinstance(error, NEVER_SENT) else None
        return self._broken("connection", what, model, may_be_billed=may_be_billed)

    def _error_code(self, error: object) -> str | None:
        named = [error.get(name) for name in ("code", "type")] if isinstance(error, dict) else []
        codes = (self._without_keys(code) for code in named if isinstance(code, str))
        return next((code for code in codes if _CODE.fullmatch(code)), None)

    def _without_keys(self, message: str) -> str:
        """The message goes to callers and may be recorded; some providers quote the key they were sent."""
        if self._api_key:
            message = message.replace(self._api_key, "[key]")
        return _KEY.sub("[key]", message)

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


def _error_of(raw: bytes) -> object:
    """The `error` member of an answer that is not a success; None when there is none to read."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return body.get("error") if isinstance(body, dict) else None


def _error_message(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else "no readable error message"


def _retry_after_s(headers: httpx.Headers) -> float | None:
    for name, unit in (("retry-after-ms", 1000.0), ("x-ms-retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < 86_400:
            return seconds
    return None
