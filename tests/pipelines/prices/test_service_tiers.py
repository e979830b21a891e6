"""The price book holds the rates of service tiers, and every one of them is the source's own."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from pipelines.prices import source
from router.catalog.price_book import row_from_json, row_to_json
from router.catalog.prices import Usage, cost, price_at

AT = datetime(2026, 11, 1, tzinfo=UTC)
USAGE = Usage(tokens_input=1000, tokens_output=100)


def plain(price: Decimal | TieredPrices | None) -> Decimal | None:
    """The rate of a small request."""
    return price.base if isinstance(price, TieredPrices) else price


@pytest.mark.smoke
def test_every_tier_of_the_source_has_its_rates() -> None:
    """`price_context` of genai-prices gives the same rates for each tier as the book's row."""
    rows, compared = source.bundled().rows, 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            for variant in model.price_variants or ():
                ((key, name),) = variant.when.items()
                ref = f"{provider.id}/{model.id}"
                if key not in source.TIER_KEYS or name == "default" or ref not in rows:
                    continue
                wanted: ModelPrice = model.get_prices(AT, {key: name})
                row = price_at(rows[ref], AT)
                assert row is not None
                rates = row.rates_at(AT, 1, name)
                if rates is None:
                    assert variant.constraint is not None
                    continue
                assert rates.input_usd_per_mtok == plain(getattr(wanted, "input_mtok", None))
                assert rates.output_usd_per_mtok == plain(getattr(wanted, "output_mtok", None))
                compared += 1
    assert compared > 100


def test_the_tiers_pass_through_the_book_and_make_a_cost() -> None:
    """A row read back is equal, and its tiers cost what they state."""
    row = price_at(source.bundled().rows["openai/gpt-5"], AT)
    assert row is not None
    assert row_from_json(row_to_json(row)) == row
    costs = [
        cost(Usage(tokens_input=1000, tokens_output=100, service_tier=name), row, AT)
        for name in (None, "flex", "priority", "tomorrow")
    ]
    standard, flex, priority, unknown = costs
    assert standard is not None
    assert flex is not None
    assert priority is not None
    assert flex < standard < priority
    assert unknown is None
