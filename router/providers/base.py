"""`Provider`: the seam between the router and the servers that answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from router.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
    from decimal import Decimal

    from router.catalog.catalog import Model
    from router.catalog.prices import Usage
    from router.errors import RequestError
    from router.providers.http.sse import StreamEvent
    from router.providers.reading.refusals import Refusal
    from router.request.request import Body
    from router.translate.names import ToolNames


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
    model_answered: str | None = None
    """The provider's name of the model that answered. None: it does not say."""
    service_tier: str | None = None
    """The tier that served the answer, in the provider's words. None: it does not say."""
    provider_request_id: str | None = None
    """The provider's id of the request, for its support and its bills."""
    provider_region: str | None = None
    """Where the answer was computed. None: the provider does not say."""
    ignored: frozenset[str] = frozenset()
    """The members of the request that the provider did not get."""


class EventSource:
    """The events of one stream in the portions that arrive, and the members that the provider did not get."""

    __slots__ = ("_events", "ignored")

    def __init__(
        self, events: AsyncGenerator[list[StreamEvent], None], ignored: frozenset[str] = frozenset()
    ) -> None:
        self.ignored = ignored
        self._events = events

    def __aiter__(self) -> AsyncIterator[list[StreamEvent]]:
        """Iterate over the portions."""
        return self._events

    def __anext__(self) -> Awaitable[list[StreamEvent]]:
        """The next portion."""
        return self._events.__anext__()

    async def aclose(self) -> None:
        """End the call."""
        await self._events.aclose()


class Splitter(Protocol):
    """Cuts the bytes of a stream into events."""

    stray: bytes
    """Bytes between the events that belong to none of them."""

    def feed(self, part: bytes) -> list[tuple[bytes, bytes | None]]:
        """The events that are complete now, each with its data. A blank line is the end of the bytes."""


class Asked(NamedTuple):
    """A request in the provider's own words."""

    request: dict[str, Any]
    headers: Mapping[str, str]
    ignored: frozenset[str] = frozenset()
    """The members of the caller's request that it leaves out."""
    names: ToolNames | None = None
    """The tool names that it replaces; None if it replaces none."""


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

    def stream(self, model: Model, body: Body) -> EventSource:
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
    said: Refusal,
    detail: str,
    retry_after_s: float | None = None,
) -> ProviderError:
    """The error of an HTTP status that is not a success, and of what the provider `said`.

    `detail` is the sentence for the caller. Every such failure lets another model try, because a model
    may refuse a request that the next one serves. Retryable means that the same request may succeed
    later: a 401, 402 or 403 rejects our key and not the request.
    """
    error_type, is_retryable = _kind_of(status, said)
    failure = ProviderError(
        f"provider `{provider}` answered {status} for model `{model}`: {detail}",
        provider=provider,
        model=model,
        error_type=error_type,
        status_code=status,
        provider_code=said.name,
        retry_after_s=retry_after_s,
        is_retryable=is_retryable,
    )
    failure.said_code, failure.said_type, failure.param = said.code, said.kind, said.param
    if said.is_used_up:
        failure.should_retry = False  # a quota that is used up does not come back within a request
    return failure


def unreadable(error: RequestError, model: Model) -> ProviderError:
    """The error of an answer that the caller's API cannot express."""
    return ProviderError(
        f"the answer of model `{model.id}` at provider `{model.provider}` cannot be read: {error}",
        provider=model.provider,
        model=model.id,
        error_type="bad_response",
        status_code=200,
        is_retryable=True,
    )


_KINDS: Mapping[int, tuple[str, bool]] = {
    401: ("authentication", True),
    402: ("authentication", True),
    403: ("authentication", True),
    404: ("model_gone", False),
    408: ("timeout", True),
    409: ("server_error", True),
    410: ("model_gone", False),
    429: ("rate_limited", True),
    498: ("overloaded", True),  # Groq's, when its flex tier has no capacity
    503: ("overloaded", True),
    529: ("overloaded", True),
}


def _kind_of(status: int, said: Refusal) -> tuple[str, bool]:
    """(error type, whether the same request may succeed later)."""
    if said.is_filtered and 400 <= status < 500:
        return "content_filter", False
    if status in (400, 422) and said.is_gone:
        return "model_gone", False
    if status in _KINDS:
        return _KINDS[status]
    if status < 400:  # a redirect or a success without an answer: the address or the server is wrong
        return "bad_response", True
    return ("server_error", True) if status >= 500 else ("bad_request", False)
