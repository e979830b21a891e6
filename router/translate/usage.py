"""Read providers' token counts in one sense: input includes cached, output includes reasoning.

A figure that is absent or not a whole number stays None. It is never guessed from the text.

| wire format | input | cached | reasoning |
| --- | --- | --- | --- |
| OpenAI chat, responses | includes cached | part of input | part of output |
| Anthropic messages | excludes cache reads and cache writes | not in input | part of output |
| Gemini | includes cached, excludes tool use | part of input | not in output |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.catalog.prices import Usage, money

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

UNPRICED = "unpriced"
"""Member of a usage in OpenAI's chat shape: the items that are charged in addition to tokens."""
MAX_TOKENS = 10**12
"""A count above this is a provider's mistake, and counts as unknown."""


def usage_from_openai(body: object) -> Usage:
    """Usage of a chat completion, or of the last chunk of a streamed one."""
    raw = _member(body, "usage")
    input_details = _member(raw, "prompt_tokens_details")
    given, answered = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    reasoning = _count(_member(raw, "completion_tokens_details"), "reasoning_tokens")
    if given is not None and answered is not None and reasoning:
        # Some servers count reasoning separately from the completion. Only their total shows it.
        beside = given + answered + reasoning
        answered = answered + reasoning if _count(raw, "total_tokens") == beside else answered
    return Usage(
        tokens_input=given,
        tokens_output=answered,
        # One quantity has several names, and a gateway that fills in all of them may leave some at 0.
        tokens_cached_input=_largest(
            _count(input_details, "cached_tokens"),
            _count(raw, "prompt_cache_hit_tokens"),
            _count(raw, "cache_read_input_tokens"),
        ),
        tokens_cache_write=_largest(
            _count(input_details, "cache_write_tokens"),
            _count(input_details, "cache_creation_tokens"),
            _count(raw, "cache_creation_input_tokens"),
        ),
        tokens_cache_write_1h=_count(input_details, "cache_write_1h_tokens"),
        tokens_reasoning=reasoning,
    )


def usage_from_openai_responses(body: object) -> Usage:
    """Usage of a response of OpenAI's responses API, or of the event that completes a streamed one."""
    raw = _member(_member(body, "response") or body, "usage")
    input_details = _member(raw, "input_tokens_details")
    return Usage(
        tokens_input=_count(raw, "input_tokens"),
        tokens_output=_count(raw, "output_tokens"),
        tokens_cached_input=_count(input_details, "cached_tokens"),
        tokens_cache_write=_count(input_details, "cache_write_tokens"),
        tokens_reasoning=_count(_member(raw, "output_tokens_details"), "reasoning_tokens"),
    )


def usage_from_embeddings(body: object) -> Usage:
    """Usage of a request for embeddings, which has no output."""
    given = _count(_member(body, "usage"), "prompt_tokens")
    return Usage(tokens_input=given, tokens_output=None if given is None else 0)


def usage_from_anthropic(body: object) -> Usage:
    """Usage of a message. Cache reads and writes are added to the input that Anthropic reports."""
    raw = _member(body, "usage")
    fresh = _count(raw, "input_tokens")
    cached = _count(raw, "cache_read_input_tokens")
    by_duration = _member(raw, "cache_creation")
    written_5m, written_1h = (
        _count(by_duration, f"ephemeral_{duration}_input_tokens") for duration in ("5m", "1h")
    )
    written = _largest(
        _count(raw, "cache_creation_input_tokens"),
        None if written_5m is None and written_1h is None else (written_5m or 0) + (written_1h or 0),
    )
    return Usage(
        tokens_input=None if fresh is None else fresh + (cached or 0) + (written or 0),
        tokens_output=_count(raw, "output_tokens"),
        tokens_cached_input=cached,
        tokens_cache_write=written,
        tokens_cache_write_1h=written_1h,
        tokens_reasoning=_count(_member(raw, "output_tokens_details"), "thinking_tokens"),
    )


def usage_from_anthropic_stream(events: Iterable[object]) -> Usage:
    """Usage of a streamed message. `message_start` has the input, and `message_delta` the output so far.

    Every figure is a running total, so that the last one holds.
    """
    told: dict[str, object] = {}
    for event in events:
        for holder in (_member(event, "message"), event):
            raw = _member(holder, "usage")
            if raw is not None:
                told.update({name: value for name, value in raw.items() if value is not None})
    return usage_from_anthropic({"usage": told})


def usage_from_gemini(body: object) -> Usage:
    """Usage of Gemini's `generateContent`, or of the last chunk of a streamed one."""
    raw = _member(body, "usageMetadata")
    given, answered = _count(raw, "promptTokenCount"), _count(raw, "candidatesTokenCount")
    tools, reasoning = _count(raw, "toolUsePromptTokenCount"), _count(raw, "thoughtsTokenCount")
    return Usage(
        tokens_input=None if given is None else given + (tools or 0),
        tokens_output=None if answered is None and reasoning is None else (answered or 0) + (reasoning or 0),
        tokens_cached_input=_count(raw, "cachedContentTokenCount"),
        tokens_reasoning=reasoning,
    )


def reported_cost_usd(body: object) -> Decimal | None:
    """The cost that some OpenAI-compatible providers report next to the tokens."""
    raw = _member(body, "usage")
    return None if raw is None else money(raw.get("cost"))


def _member(raw: object, name: str) -> Mapping[str, object] | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else None


def _count(raw: object, name: str) -> int | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _largest(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if known else None
