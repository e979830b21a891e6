"""Costs that other routers got wrong in public, as specifications.

Each case holds the usage and the rates that the report states, read in the provider's own wire format.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from router.catalog.prices import Price, Usage, cost
from router.translate.usage import usage_from_anthropic, usage_from_anthropic_stream, usage_from_openai

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def row(input_rate: str, output_rate: str, **rates: str) -> Price:
    """A price row of these dollars per million tokens."""
    return Price(
        price_id="golden",
        start=datetime(2025, 1, 1, tzinfo=UTC),
        input_usd_per_mtok=Decimal(input_rate),
        output_usd_per_mtok=Decimal(output_rate),
        **{f"{name}_usd_per_mtok": Decimal(rate) for name, rate in rates.items()},  # type: ignore[arg-type]
    )


CACHED_GEMINI = usage_from_openai(
    {
        "usage": {
            "total_tokens": 264704,
            "prompt_tokens": 262960,
            "completion_tokens": 1744,
            "prompt_tokens_details": {"text_tokens": 262960, "cached_tokens": 257955},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
    }
)
CACHE_CREATION = usage_from_anthropic(
    {
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 12304,
            "cache_read_input_tokens": 0,
            "output_tokens": 550,
        }
    }
)
STREAMED_READ = usage_from_anthropic_stream(
    [
        {
            "type": "message_start",
            "message": {
                "usage": {
                    "input_tokens": 4,
                    "cache_read_input_tokens": 2455,
                    "cache_creation_input_tokens": 0,
                    "output_tokens": 1,
                }
            },
        },
        {"type": "message_delta", "usage": {"output_tokens": 23}},
    ]
)
STREAMED_READ_BY_A_GATEWAY = usage_from_openai(
    {
        "usage": {
            "total_tokens": 2482,
            "prompt_tokens": 2459,
            "completion_tokens": 23,
            "prompt_tokens_details": {"audio_tokens": None, "cached_tokens": 0},
            "cache_read_input_tokens": 2455,
            "cache_creation_input_tokens": 0,
        }
    }
)
STREAMED_CREATION = usage_from_anthropic_stream(
    [
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 6, "cache_creation_input_tokens": 159217}},
        },
        {"type": "message_delta", "usage": {"output_tokens": 2745}},
    ]
)
HAIKU_3_5 = row("0.8", "4", cached_input="0.08", cache_write="1")


@pytest.mark.parametrize(
    ("usage", "price", "expected"),
    [
        pytest.param(
            CACHED_GEMINI,
            row("1.25", "10", cached_input="0.625"),
            "0.184918125",  # and not 0.7642: the cached tokens are not billed as input, too
            id="BerriAI/litellm#14849 Gemini 2.5 Pro, cached input",
        ),
        pytest.param(
            CACHE_CREATION,
            row("3", "15", cached_input="0.3", cache_write="3.75"),
            "0.054399",  # and not 0.091311: the written tokens are not billed as input, too
            id="BerriAI/litellm#9812 Claude 3.7 Sonnet, cache creation",
        ),
        pytest.param(
            STREAMED_READ,
            HAIKU_3_5,
            "0.0002916",  # and not 0.002059: the cached tokens of a stream are not billed as input
            id="BerriAI/litellm#11789 Claude 3.5 Haiku, streamed cache read",
        ),
        pytest.param(
            STREAMED_READ_BY_A_GATEWAY,
            HAIKU_3_5,
            "0.0002916",
            id="BerriAI/litellm#11789 as the gateway tells it",
        ),
        pytest.param(
            STREAMED_CREATION,
            row("5", "25", cached_input="0.5", cache_write="6.25"),
            "1.06376125",  # and not 1.85984625: the written tokens of a stream are not billed as input
            id="maximhq/bifrost#3451 Claude Opus 4.7, streamed cache creation",
        ),
    ],
)
def test_a_cost_that_was_wrong_elsewhere_is_right(usage: Usage, price: Price, expected: str) -> None:
    """The bill is the provider's, to the last decimal."""
    assert cost(usage, price, NOW) == Decimal(expected)
