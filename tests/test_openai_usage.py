"""What an OpenAI-compatible provider says of tokens and cost, and what of it is believed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from router.prices import Usage
from router.providers.openai import parse_usage


def test_every_figure_is_taken_where_it_stands() -> None:
    """Cached, cache-write and reasoning tokens come from the details, the cost from beside them."""
    raw = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 30},
        "cost": 0.00123,
    }
    usage = Usage(
        tokens_input=100,
        tokens_output=50,
        tokens_cached_input=60,
        tokens_cache_write=10,
        tokens_reasoning=30,
    )
    assert parse_usage(raw) == (usage, Decimal("0.00123"))


@pytest.mark.parametrize("raw", [None, [], "x", {}, {"prompt_tokens_details": None}])
def test_what_is_absent_is_unknown(raw: Any) -> None:
    """No usage is no usage, not zero tokens."""
    assert parse_usage(raw) == (Usage(), None)


@pytest.mark.parametrize("value", [-1, 1.5, True, "12", None, 10**13])
def test_an_impossible_count_is_unknown(value: Any) -> None:
    """A figure that cannot be a token count does not reach the warehouse."""
    assert parse_usage({"prompt_tokens": value})[0].tokens_input is None
