"""Anthropic's messages API: a provider that is asked and answers in OpenAI's shape.

Source: Anthropic's API reference (messages, count tokens, errors, versions).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import InexpressibleError, RequestError
from router.providers.base import Answer
from router.providers.openai import OpenAIProvider
from router.translate.answers import completion_of
from router.translate.members import NATIVE
from router.translate.messages import BETAS, DEFAULT_MAX_TOKENS, messages_request
from router.usage import usage_from_anthropic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog import Model

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
"""Members of a request that the count of its tokens depends on."""
_BETA = re.compile(r"[A-Za-z0-9._-]{1,100}")


class AnthropicProvider(OpenAIProvider):
    """A Provider for the messages API; `base_url` ends with the version (`…/v1`)."""

    async def count_tokens(self, model: Model, body: Mapping[str, Any]) -> int:
        """Input tokens of a chat completion in OpenAI's shape, counted by the provider.

        ProviderError as of `complete`.
        """
        try:
            request, headers = self._request(model, body)
        except RequestError as error:
            raise InexpressibleError(error, provider=self.name, model=model.id) from error
        counted = {name: request[name] for name in COUNTED if name in request}
        raw = await self._send(f"{self._address(model)}/count_tokens", counted, headers, model)
        count = self._object(raw, model).get("input_tokens")
        if not isinstance(count, int):
            raise self._broken("bad_response", "sent no `input_tokens`", model)
        return count

    def _address(self, model: Model) -> str:  # noqa: ARG002 - see OpenAIProvider
        return f"{self._base_url}/messages"

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

    def _request(self, model: Model, body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        default = model.max_output_tokens or DEFAULT_MAX_TOKENS
        request = {**messages_request(body, default_max_tokens=default), "model": model.provider_model}
        headers = {**self._headers, "anthropic-version": VERSION}
        betas = (body.get(NATIVE) or {}).get(BETAS)
        if betas:
            headers["anthropic-beta"] = ",".join(_checked(beta) for beta in betas)
        return request, headers

    def _parse(self, raw: bytes, model: Model) -> Answer:
        message = self._object(raw, model)
        try:
            body = completion_of(message, created=int(time.time()))
        except RequestError as error:
            raise self._broken("bad_response", f"sent no message of Anthropic's ({error})", model) from error
        return Answer(
            body=body,
            raw=orjson.dumps(body),
            status_code=200,
            usage=usage_from_anthropic(message),
            provider_cost_usd=None,
            finish_reason=body["choices"][0]["finish_reason"],
        )


def _checked(beta: object) -> str:
    if not isinstance(beta, str) or not _BETA.fullmatch(beta):
        raise RequestError(f"`anthropic-beta` holds `{beta!s:.40}`, which is no name of a beta", param=BETAS)
    return beta
