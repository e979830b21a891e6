"""What providers say of tokens and cost, in one sense, and what of it is believed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from router.catalog.prices import Usage
from router.translate.gemini.answers import chat_usage
from router.translate.usage import (
    reported_cost_usd,
    usage_from_anthropic,
    usage_from_anthropic_stream,
    usage_from_gemini,
    usage_from_openai,
    usage_from_openai_responses,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = Usage(
    tokens_input=100, tokens_output=50, tokens_cached_input=60, tokens_cache_write=10, tokens_reasoning=30
)
READERS = [usage_from_openai, usage_from_openai_responses, usage_from_anthropic, usage_from_gemini]
READER_IDS = ["openai", "responses", "anthropic", "gemini"]


@pytest.mark.smoke
def test_a_chat_completion_tells_the_details_of_its_input_and_output() -> None:
    """Cached, cache-write and reasoning tokens come from the details, the cost from beside them."""
    body = {
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 30},
            "cost": 0.00123,
        }
    }
    assert usage_from_openai(body) == WHOLE
    assert reported_cost_usd(body) == Decimal("0.00123")


@pytest.mark.smoke
def test_a_response_tells_the_same_under_other_names() -> None:
    """The responses API's figures mean what chat's mean, streamed or not."""
    body = {
        "usage": {
            "input_tokens": 100,
            "output_tokens": 50,
            "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
            "output_tokens_details": {"reasoning_tokens": 30},
        }
    }
    assert usage_from_openai_responses(body) == WHOLE
    assert usage_from_openai_responses({"type": "response.completed", "response": body}) == WHOLE


def test_reasoning_beside_the_completion_is_output() -> None:
    """Where the total says that reasoning is not in the completion, it is added to the output."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 35,
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert usage_from_openai({"usage": usage}).tokens_output == 25
    assert usage_from_openai({"usage": usage | {"total_tokens": 15}}).tokens_output == 5


@pytest.mark.parametrize("name", ["prompt_cache_hit_tokens", "cache_read_input_tokens"])
def test_a_cache_hit_beside_the_details_counts(name: str) -> None:
    """DeepSeek and gateways tell cache hits at the top, with or without a 0 in the details."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, name: 8}
    assert usage_from_openai({"usage": usage}).tokens_cached_input == 8
    details = {"prompt_tokens_details": {"cached_tokens": 0}}
    assert usage_from_openai({"usage": usage | details}).tokens_cached_input == 8


def test_anthropic_s_input_excludes_what_the_cache_held() -> None:
    """Input is what Anthropic calls input and the cache reads and writes beside it."""
    body = {
        "usage": {
            "input_tokens": 30,
            "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 3},
            "output_tokens": 50,
        }
    }
    expected = Usage(
        tokens_input=100,
        tokens_output=50,
        tokens_cached_input=60,
        tokens_cache_write=10,
        tokens_cache_write_1h=3,
    )
    assert usage_from_anthropic(body) == expected
    del body["usage"]["cache_creation_input_tokens"]
    assert usage_from_anthropic(body) == expected


def test_a_streamed_message_ends_with_its_last_figures() -> None:
    """`message_start` tells the input; each `message_delta` replaces the output told so far."""
    events = [
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 4, "cache_read_input_tokens": 90, "output_tokens": 1}},
        },
        {"type": "ping"},
        {"type": "message_delta", "usage": {"output_tokens": 7, "input_tokens": None}},
        {"type": "message_delta", "usage": {"output_tokens": 23}},
    ]
    assert usage_from_anthropic_stream(events) == Usage(
        tokens_input=94, tokens_output=23, tokens_cached_input=90
    )


def test_gemini_s_thoughts_are_output_and_its_tool_use_input() -> None:
    """Both stand beside the figures they belong to."""
    metadata = {
        "promptTokenCount": 90,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 10,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
    }
    assert usage_from_gemini({"usageMetadata": metadata}) == Usage(
        tokens_input=100, tokens_output=50, tokens_cached_input=60, tokens_reasoning=30
    )


@pytest.mark.parametrize("reader", READERS, ids=READER_IDS)
@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"usage": None}, {"usage": {"prompt_tokens_details": None}}, {"usage": "5"}]
)
def test_what_is_absent_is_unknown(reader: Callable[[object], Usage], body: Any) -> None:
    """No usage is no usage, not zero tokens."""
    assert reader(body) == Usage()
    assert reported_cost_usd(body) is None


@pytest.mark.parametrize("value", [-1, 1.5, True, "12", None, 10**13])
def test_an_impossible_count_is_unknown(value: Any) -> None:
    """A figure that cannot be a token count does not reach the warehouse."""
    assert usage_from_openai({"usage": {"prompt_tokens": value}}).tokens_input is None


AUDIO, TEXT, IMAGE = ({"modality": kind, "tokenCount": 0} for kind in ("AUDIO", "TEXT", "IMAGE"))
METADATA: dict[str, Any] = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 50,
    "thoughtsTokenCount": 10,
    "toolUsePromptTokenCount": 5,
    "totalTokenCount": 165,
    "cachedContentTokenCount": 40,
    "promptTokensDetails": [
        {**TEXT, "tokenCount": 50},
        {**AUDIO, "tokenCount": 30},
        {**IMAGE, "tokenCount": 20},
    ],
    "toolUsePromptTokensDetails": [{**AUDIO, "tokenCount": 2}],
    "cacheTokensDetails": [{**AUDIO, "tokenCount": 12}],
    "candidatesTokensDetails": [{**IMAGE, "tokenCount": 40}, {**AUDIO, "tokenCount": 4}],
    "serviceTier": "FLEX",
}


def test_gemini_counts_sound_of_the_input_and_media_of_the_output() -> None:
    """Images of the input have the rate of text, and so they are no count of their own."""
    usage = usage_from_gemini({"usageMetadata": METADATA})
    assert usage == Usage(
        tokens_input=105,
        tokens_output=60,
        tokens_cached_input=40,
        tokens_reasoning=10,
        tokens_audio_input=32,
        tokens_cached_audio_input=12,
        tokens_audio_output=4,
        tokens_image_output=40,
        service_tier="flex",
    )


def test_gemini_s_usage_is_the_same_in_chat_s_shape() -> None:
    """A streamed answer is priced by its chunks, and a whole one by its own usage."""
    assert usage_from_openai({"usage": chat_usage({"usageMetadata": METADATA})}) == usage_from_gemini(
        {"usageMetadata": METADATA}
    )


@pytest.mark.parametrize(
    ("members", "tier"),
    [
        ({"serviceTier": "standard"}, "standard"),
        ({"serviceTier": "unspecified"}, None),
        ({"trafficType": "ON_DEMAND"}, "on_demand"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}, None),
    ],
)
def test_gemini_s_tier_is_that_of_its_api_or_of_vertex(members: dict[str, str], tier: str | None) -> None:
    """Both say under which rates the answer was served."""
    assert usage_from_gemini({"usageMetadata": members}).service_tier == tier


def test_gemini_s_total_above_its_parts_is_a_charge_without_a_price() -> None:
    """A count of a future kind shows in the total first."""
    usage = usage_from_gemini({"usageMetadata": {**METADATA, "totalTokenCount": 200}})
    assert usage.unpriced == ("totalTokenCount",)
