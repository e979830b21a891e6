"""Read providers' token counts in one sense: input includes cached, output includes reasoning.

A figure that is absent or not a whole number stays None. It is never guessed from the text.

| wire format | input | cached | reasoning |
| --- | --- | --- | --- |
| OpenAI chat, responses | includes cached | part of input | part of output |
| Anthropic messages | excludes cache reads and cache writes | not in input | part of output |
| Gemini | includes cached, excludes tool use | part of input | not in output |
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from router.catalog.prices import Usage, money, tier_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TICKS = 10**10
"""xAI's units of a dollar."""

UNPRICED = "unpriced"
"""Member of a usage in OpenAI's chat shape: the items that are charged in addition to tokens."""
SEARCHES = "file_search_requests"
"""Member of a usage in OpenAI's chat shape: the searches in files at the provider."""
MAX_TOKENS = 10**12
"""A count above this is a provider's mistake, and counts as unknown."""

KNOWN = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens",
     "reasoning_tokens", "thinking_tokens", "cached_tokens", "text_tokens", "audio_tokens",
     "image_tokens", "video_tokens", "cache_write_tokens", "cache_creation_tokens",
     "cache_write_1h_tokens", "cache_read_tokens", "cache_read_input_tokens",
     "cache_creation_input_tokens", "cached_input_tokens", "prompt_cache_hit_tokens",
     "prompt_cache_miss_tokens", "num_cached_tokens", "prompt_tokens_cached",
     "accepted_prediction_tokens", "rejected_prediction_tokens", "uncached_tokens",
     "input_text_tokens", "output_text_tokens", "web_search_requests", "web_fetch_requests",
     "tool_search_requests", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", SEARCHES}
)  # fmt: skip
"""Counts that a cost covers: they have a rate, are parts of a count that has one, or cost nothing."""
_COUNTED = re.compile(
    r"(?:^num_.*|.*_(?:tokens|requests|queries|searches|seconds|units|sources|sources_used|pages|characters))"
)
"""Names of counts that may be charged."""
_TIMES = re.compile(r".*(?:time|latency|duration).*|total_seconds")
_OF_USAGE: Mapping[str, str] = {
    "reasoning_tokens": "tokens_reasoning",
    "prompt_cache_hit_tokens": "tokens_cached_input",
    "cache_read_input_tokens": "tokens_cached_input",
    "cached_tokens": "tokens_cached_input",
    "cache_creation_input_tokens": "tokens_cache_write",
}
"""Members of a usage in OpenAI's chat shape, and the counts of ours that they are."""
_OF_DETAILS: Mapping[str, Mapping[str, str]] = {
    "prompt_tokens_details": {
        "cached_tokens": "tokens_cached_input",
        "cache_write_tokens": "tokens_cache_write",
        "cache_creation_tokens": "tokens_cache_write",
        "cache_write_1h_tokens": "tokens_cache_write_1h",
        "audio_tokens": "tokens_audio_input",
        "image_tokens": "tokens_image_input",
        "video_tokens": "tokens_video_input",
    },
    "completion_tokens_details": {
        "reasoning_tokens": "tokens_reasoning",
        "audio_tokens": "tokens_audio_output",
        "image_tokens": "tokens_image_output",
        "video_tokens": "tokens_video_output",
    },
    "server_tool_use": {"web_search_requests": "web_searches", SEARCHES: "file_searches"},
}
_OF_CACHED: Mapping[str, str] = {
    "audio_tokens": "tokens_cached_audio_input",
    "image_tokens": "tokens_cached_image_input",
}
STANDARD_PLACES = frozenset({"global", "not_available", "default", ""})


def usage_from_openai(body: object) -> Usage:
    """Usage of a chat completion, or of the last chunk of a streamed one.

    A count above its parts shows what the parts leave out: Gemini counts its thoughts in the total only.
    Every request pays for this, so that it reads the members that are there and tries no list of names.
    """
    raw = _member(body, "usage")
    if raw is None:
        return Usage(service_tier=price_tier_of(body))
    given, answered, total = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens"), None
    counts: dict[str, int] = {}
    parts: list[tuple[Mapping[str, str], Mapping[str, object]]] = [(_OF_USAGE, raw)]
    for name, fields in _OF_DETAILS.items():
        if details := _member(raw, name):
            parts.append((fields, details))
            if kept := _member(details, "cached_tokens_details"):
                parts.append((_OF_CACHED, kept))
    for fields, holder in parts:
        for name in holder.keys() & fields.keys():
            count, counted = _count(holder, name), fields[name]
            # One quantity has several names, and a gateway that fills in all of them may leave some at 0.
            if count is not None and count >= counts.get(counted, 0):
                counts[counted] = count
    total = _count(raw, "total_tokens")
    unpriced = _unpriced(raw)
    if given is not None and answered is not None and total:
        excess = total - given - answered
        reasoning = counts.get("tokens_reasoning")
        if excess == 0:
            pass
        elif excess > 0 and excess == reasoning:
            answered += excess  # reasoning is counted separately from the completion
        elif excess > 0 and excess == counts.get("tokens_cached_input", 0) + counts.get(
            "tokens_cache_write", 0
        ):
            given += excess  # cached tokens are counted separately from the prompt
        elif excess > 0 and not reasoning:
            answered += excess
            counts["tokens_reasoning"] = excess
        else:
            unpriced = (*unpriced, "total_tokens")
    return Usage(
        tokens_input=given,
        tokens_output=answered,
        service_tier=price_tier_of(body),
        unpriced=unpriced,
        **counts,
    )


def service_tier_of(body: object) -> str | None:
    """The service tier in the provider's word. None if the answer names none."""
    for holder in (_member(body, "usage"), body):
        tier = holder.get("service_tier") if isinstance(holder, dict) else None
        if isinstance(tier, str) and tier:
            return tier
    return None


def price_tier_of(body: object) -> str | None:
    """The name under which prices hold the rates of the answer: its tier, its speed, its place.

    Anthropic charges more for fast answers, and for those that stay in a country.
    """
    raw = _member(body, "usage") or {}
    served, speed, place = service_tier_of(body), raw.get("speed"), raw.get("inference_geo")
    if served is None and speed is None and place is None:
        return None
    named = [tier_name(served)]
    named.append(tier_name(speed) if isinstance(speed, str) else "")
    named.append(place.lower() if isinstance(place, str) and place.lower() not in STANDARD_PLACES else "")
    return "+".join(name for name in named if name) or None


def _unpriced(raw: Mapping[str, object] | None) -> tuple[str, ...]:
    """The counts of a usage that a cost does not cover, and the items that our translation named."""
    if raw is None:
        return ()
    found: list[str] = []
    for name, value in raw.items():
        if isinstance(value, dict):
            if name not in ("cost_details", "cost"):
                found += [inner for inner, count in value.items() if count and _is_charged(inner, count)]
        elif isinstance(value, list | tuple):
            if name == UNPRICED:
                found += [str(item) for item in value]
            elif name == "iterations" and any(
                isinstance(item, dict) and item.get("type") != "message" for item in value
            ):
                found.append(name)  # Anthropic's, when it compacts: the totals leave that round out
        elif value and name not in KNOWN and _is_charged(name, value):
            found.append(name)
    return tuple(found)


def _is_charged(name: str, count: object) -> bool:
    if name in KNOWN or (type(count) is not int and type(count) is not float):
        return False
    return count > 0 and bool(_COUNTED.fullmatch(name)) and not _TIMES.fullmatch(name)


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
    raw = _member(body, "usage")
    given = _count(raw, "prompt_tokens")
    return Usage(
        tokens_input=given,
        tokens_output=None if given is None else 0,
        service_tier=price_tier_of(body),
        unpriced=_unpriced(raw),
    )


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
        web_searches=_count(_member(raw, "server_tool_use"), "web_search_requests"),
        service_tier=price_tier_of(body),
        unpriced=_unpriced(raw),
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
    """Usage of Gemini's `generateContent`, or of the last chunk of a streamed one.

    Google's rate of input is for text, images and videos alike, so that only sound is counted apart. Of the
    output, images, sound and videos have rates of their own.
    """
    raw = _member(body, "usageMetadata")
    given, answered = _count(raw, "promptTokenCount"), _count(raw, "candidatesTokenCount")
    tools, reasoning = _count(raw, "toolUsePromptTokenCount"), _count(raw, "thoughtsTokenCount")
    total = _count(raw, "totalTokenCount")
    heard, kept, said = (
        _modalities(raw, names)
        for names in (
            ("promptTokensDetails", "toolUsePromptTokensDetails"),
            ("cacheTokensDetails",),
            ("candidatesTokensDetails",),
        )
    )
    parts = (given or 0) + (tools or 0) + (answered or 0) + (reasoning or 0)
    return Usage(
        tokens_input=None if given is None else given + (tools or 0),
        tokens_output=None if answered is None and reasoning is None else (answered or 0) + (reasoning or 0),
        tokens_cached_input=_count(raw, "cachedContentTokenCount"),
        tokens_reasoning=reasoning,
        tokens_audio_input=heard.get("AUDIO"),
        tokens_cached_audio_input=kept.get("AUDIO"),
        tokens_audio_output=said.get("AUDIO"),
        tokens_image_output=said.get("IMAGE"),
        tokens_video_output=said.get("VIDEO"),
        service_tier=_gemini_tier(raw),
        unpriced=("totalTokenCount",) if total is not None and total > parts else (),
    )


def _modalities(raw: Mapping[str, object] | None, names: tuple[str, ...]) -> dict[str, int]:
    """Gemini's tokens by modality, in the rows of these members together."""
    counts: dict[str, int] = {}
    for name in names:
        rows = None if raw is None else raw.get(name)
        for row in rows if isinstance(rows, list) else ():
            kind, count = (
                (row.get("modality"), _count(row, "tokenCount")) if isinstance(row, dict) else (0, 0)
            )
            if isinstance(kind, str) and count is not None:
                counts[kind] = counts.get(kind, 0) + count
    return counts


def _gemini_tier(raw: Mapping[str, object] | None) -> str | None:
    """The service tier that Gemini's API states, or Vertex's type of traffic as a tier."""
    tier, traffic = (None if raw is None else raw.get(name) for name in ("serviceTier", "trafficType"))
    if isinstance(tier, str) and tier.lower() != "unspecified":
        return tier.lower()
    if isinstance(traffic, str) and traffic != "TRAFFIC_TYPE_UNSPECIFIED":
        return traffic.lower().removeprefix("on_demand_")
    return None


def reported_cost_usd(body: object) -> Decimal | None:
    """The cost that some OpenAI-compatible providers report next to the tokens.

    With a key of one's own at OpenRouter, `cost` is its fee, and the model's provider charges the rest.
    """
    raw = _member(body, "usage")
    if raw is None:
        return None
    cost = raw.get("cost")
    if isinstance(cost, dict):  # Perplexity's, in parts
        cost = cost.get("total_cost")
    if cost is None:
        cost = raw.get("estimated_cost")  # DeepInfra's
    if cost is None and (ticks := _count(raw, "cost_in_usd_ticks")) is not None:
        cost = Decimal(ticks) / TICKS  # xAI's
    paid = money(cost)
    upstream = money((_member(raw, "cost_details") or {}).get("upstream_inference_cost"))
    if raw.get("is_byok") is True:
        return None if paid is None or upstream is None else paid + upstream
    if raw.get("is_byok") is None and paid == 0 and upstream:
        return None  # whether the fee of 0 includes it is not stated
    return paid


def _member(raw: object, name: str) -> Mapping[str, object] | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else None


def _count(raw: object, name: str) -> int | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _largest(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)
