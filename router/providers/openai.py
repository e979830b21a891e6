"""Any server that speaks OpenAI's chat completions, over httpx."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx
import orjson

from router.errors import InexpressibleError, ProviderError, RequestError
from router.providers.base import Answer, failure_of_status
from router.translate.portable import portable
from router.usage import reported_cost_usd, usage_from_openai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog import Model

# httpx logs every URL at INFO; URLs may carry keys.
logging.getLogger("httpx").setLevel(logging.WARNING)

MAX_DETAIL_LENGTH = 300
_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|AIza|AKIA)[-_]?[\w-]{12,}")
"""What providers' keys look like: they quote them in their errors."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
"""An identifier: what else stands where an error has its code could quote the request."""


class OpenAIProvider:
    """A Provider for an OpenAI-compatible base URL; the base of those that speak another format."""

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
        self._base_url = base_url.rstrip("/")
        self._headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if api_key is not None:
            self._headers.update(self._key_headers(api_key))
        self._limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=30
        )
        self._max_response_bytes = max_response_bytes
        # An httpx client belongs to the event loop that first used it; `complete_sync` has its own.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    async def complete(self, model: Model, body: Mapping[str, Any]) -> Answer:
        """See Provider."""
        try:
            request, headers = self._request(model, body)
        except RequestError as error:
            raise InexpressibleError(error, provider=self.name, model=model.id) from error
        return self._parse(await self._send(self._address(model), request, headers, model), model)

    def _address(self, model: Model) -> str:  # noqa: ARG002 - other kinds have one for each model
        return f"{self._base_url}/chat/completions"

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def _request(self, model: Model, body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The provider's own request for `body`, and its headers; RequestError where it has none."""
        return {**portable(body)[0], "model": model.provider_model}, self._headers

    async def _send(
        self, address: str, request: Mapping[str, Any], headers: Mapping[str, str], model: Model
    ) -> bytes:
        """The body of a successful answer."""
        content = orjson.dumps(request)
        try:
            async with self._client().stream("POST", address, content=content, headers=headers) as response:
                raw = await self._read(response, model)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
        ) as error:
            raise self._broken(
                "connection", f"cannot be reached ({type(error).__name__})", model, may_be_billed=False
            ) from error
        except httpx.TimeoutException as error:
            raise self._broken("timeout", "did not answer in time", model) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._broken("connection", f"cannot be reached ({type(error).__name__})", model) from error
        if response.status_code != 200:
            said = _error_of(raw)
            raise failure_of_status(
                response.status_code,
                provider=self.name,
                model=model.id,
                detail=self._without_keys(_error_message(said))[:MAX_DETAIL_LENGTH],
                provider_code=self._error_code(said),
                retry_after_s=_retry_after_s(response.headers),
            )
        return raw

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

    def _object(self, raw: bytes, model: Model) -> dict[str, Any]:
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise self._broken("bad_response", "sent a body that is not JSON", model) from error
        return body if isinstance(body, dict) else {}

    def _parse(self, raw: bytes, model: Model) -> Answer:
        body = self._object(raw, model)
        if not isinstance(body.get("choices"), list):
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
