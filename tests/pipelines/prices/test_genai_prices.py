"""genai-prices as the book's rows: the same dollars, to the last decimal."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices import Usage as GenaiUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider, calc_unit_price

from pipelines.prices import source
from router.catalog.prices import QUANTUM, Usage, cost, price_at
from tests.prices import worst_case_usd

if TYPE_CHECKING:
    from router.catalog.prices import Price

USAGES = 6
"""Random usages of each model, each at a random moment of 2023 to 2027."""


@pytest.fixture(scope="module")
def listing() -> source.Listing:
    """The installed package's data."""
    return source.bundled()


def models() -> list[tuple[Provider, ModelInfo]]:
    """Every model of the package."""
    return [(provider, model) for provider in get_snapshot().providers for model in provider.models]


def random_usage(rng: random.Random) -> Usage:
    """Any consistent usage, with inputs on both sides of every tier."""
    tokens_input = rng.choice([rng.randint(0, 5000), rng.randint(0, 1_500_000)])
    cached = rng.randint(0, tokens_input)
    written = rng.randint(0, tokens_input - cached)
    tokens_output = rng.choice([0, rng.randint(1, 100_000)])
    return Usage(
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        tokens_cached_input=cached,
        tokens_cache_write=written,
        tokens_cache_write_1h=rng.randint(0, written),
        tokens_reasoning=rng.randint(0, tokens_output),
    )


def genai_usage(usage: Usage) -> GenaiUsage:
    """The same usage in genai-prices' words."""
    return GenaiUsage(
        input_tokens=usage.tokens_input,
        output_tokens=usage.tokens_output,
        cache_read_tokens=usage.tokens_cached_input,
        cache_write_tokens=usage.tokens_cache_write,
        cache_write_1h_tokens=usage.tokens_cache_write_1h,
        output_reasoning_tokens=usage.tokens_reasoning,
    )


def rounded_units(provider: Provider, model: ModelInfo, usage: GenaiUsage, at: datetime) -> Decimal:
    """genai-prices' amounts of each unit, each rounded half-even at 12 decimals, then summed."""
    from genai_prices.types import _collect_resolved_model_prices, _compute_registry_priced_counts
    from genai_prices.units import _get_registry

    resolved = _collect_resolved_model_prices(model.get_prices(at), _get_registry())
    counts: Any = _compute_registry_priced_counts(resolved, usage)
    amounts = [
        calc_unit_price(price, counts[unit.usage_key], usage.input_tokens, unit.per)
        for unit, price in resolved
    ]
    return sum((amount.quantize(QUANTUM, ROUND_HALF_EVEN) for amount in amounts), Decimal(0))


def moment(rng: random.Random) -> datetime:
    """Any second of five years."""
    return datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(5 * 365 * 86_400))


def test_every_model_costs_what_genai_prices_says(
    listing: source.Listing, capsys: pytest.CaptureFixture[str]
) -> None:
    """For any usage at any moment the cost is genai-prices' own, and None where it knows no rate."""
    rng = random.Random(4)
    compared = exact = unknown = 0
    for provider, model in models():
        rows: tuple[Price, ...] = listing.rows.get(f"{provider.id}/{model.id}", ())
        for _ in range(USAGES if rows else 0):
            usage, at = random_usage(rng), moment(rng)
            row = price_at(rows, at)
            assert row is not None
            ours = cost(usage, row, at)
            rates = row.rates_at(at, usage.tokens_input or 0)
            assert rates is not None
            # genai-prices takes the rate of five minutes for an hour in the cache where it lists no other.
            lacks_hour = (
                usage.tokens_cache_write_1h
                and rates.cache_write_usd_per_mtok is not None
                and rates.cache_write_1h_usd_per_mtok is None
            )
            if lacks_hour or (row.output_usd_per_mtok is None and usage.tokens_output):
                assert ours is None
                unknown += 1
                continue
            theirs = model.calc_price(genai_usage(usage), provider, genai_request_timestamp=at).total_price
            assert ours == rounded_units(provider, model, genai_usage(usage), at), model.id
            assert ours is not None
            assert abs(ours - theirs) <= 4 * QUANTUM  # theirs is not rounded: half a unit for each line
            compared += 1
            exact += ours == theirs
            worst = worst_case_usd(row, usage.tokens_input or 0, usage.tokens_output or 0, at)
            assert worst is not None
            assert worst >= ours
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what the test is for
            f"\n{len(listing.rows)} models, {compared} costs equal, {exact} of them to every digit,"
            f" {unknown} unknown; {len(listing.unpriced)} models without a token price"
        )
    assert compared > 2000 * USAGES * 0.9


def test_only_models_without_a_token_price_are_left_out(listing: source.Listing) -> None:
    """A model is left out where the package states no price per input token, and nowhere else."""
    unpriced = set()
    for provider, model in models():
        listed = model.prices
        prices = [option.prices for option in listed] if isinstance(listed, list) else [listed]
        if all(getattr(price, "input_mtok", None) is None for price in prices):
            unpriced.add(f"{provider.id}/{model.id}")
    assert set(listing.unpriced) == {ref for ref in unpriced if not ref.endswith(source.FREE_SUFFIX)}
    assert len(listing.unpriced) + len(listing.rows) == len(models())
