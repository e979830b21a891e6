"""`Provider`: the seam between the router and the servers that answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from router.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from decimal import Decimal

    from router.catalog.catalog import Model
    from router.catalog.prices import Usage
    from router.providers.http.sse import StreamEvent
    from router.request.request import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A usable answer, with usage in OpenAI's sense for every wire format."""

    body: Mapping[str, Any]
    raw: bytes
    """The provider's body, for passing on untouched."""
    status_code: int
    usage: Usage
    provider_cost_usd: Decimal | None
    finish_reason: str | None


class Provider(Protocol):
    """One configured provider."""

    async def complete(self, model: Model, body: Body) -> Answer:
        """Answer a chat completion in OpenAI's shape, or raise ProviderError.

        If OpenAI's responses API serves the model, a ResponsesBody is sent in that API's own shape. Then
        `raw` is the unchanged response, and `body` is its translation to a completion, with the response
        in the member `responses`.

        `body` lacks `model`, because the provider writes its own name for it. The caller owns the
        deadline, and must cancel when it passes.
        """

    async def embed(self, model: Model, body: Body) -> Answer:
        """Answer a request for embeddings in OpenAI's shape. ProviderError as for `complete`."""

    async def count_tokens(self, model: Model, body: Body) -> int | None:
        """Input tokens of a chat completion by the provider's count, or None if it does not count.

        ProviderError as for `complete`.
        """

    def stream(self, model: Model, body: Body) -> AsyncGenerator[list[StreamEvent], None]:
        """Answer a chat completion in OpenAI's chunks. It yields the events in the portions that arrive.

        It asks for usage even if the body does not. The last event is DONE if the provider sends it.
        Without it, the caller must judge whether the answer is whole. ProviderError for a refusal, for an
        error in the stream and for a stream that breaks. `aclose` ends the call.
        """

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""


def failure_of_status(
    status: int,
    *,
    provider: str,
    model: str,
    detail: str,
    provider_code: str | None,
    retry_after_s: float | None,
) -> ProviderError:
    """The error of an HTTP status that is not a success.

    Retryable means that another try, or another model, may succeed. A 401, 402 or 403 rejects our key
    and not the request, so that another provider may still serve it.
    """
    error_type, is_retryable = {
        400: ("bad_request", False),
        401: ("authentication", True),
        402: ("authentication", True),
        403: ("authentication", True),
        404: ("bad_request", True),
        408: ("timeout", True),
        409: ("server_error", True),
        413: ("bad_request", False),
        422: ("bad_request", False),
        429: ("rate_limited", True),
        503: ("overloaded", True),
        529: ("overloaded", True),
    }.get(status) or _kind_of(status)
    return ProviderError(
        f"provider `{provider}` answered {status} for model `{model}`: {detail}",
        provider=provider,
        model=model,
        error_type=error_type,
        status_code=status,
        provider_code=provider_code,
        retry_after_s=retry_after_s,
        is_retryable=is_retryable,
    )


def _kind_of(status: int) -> tuple[str, bool]:
    if status < 400:  # a redirect or a success without an answer: the address or the server is wrong
        return "bad_response", True
    return ("server_error", True) if status >= 500 else ("bad_request", False)
