"""Dated prices and exact costs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prices import Price, Usage, cost, money, price_at


def price(start: str = "2026-01-01", **changes: Decimal) -> Price:
    """A price of 2.5 in and 10 out."""
    values = {"input_usd_per_mtok": Decimal("2.5"), "output_usd_per_mtok": Decimal(10)} | changes
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return Price(price_id=f"m@{start}", start=moment, **values)


def test_each_kind_of_token_has_its_price() -> None:
    """Cached and written tokens are part of the input and are not counted twice."""
    usage = Usage(tokens_input=1000, tokens_output=100, tokens_cached_input=600, tokens_cache_write=300)
    row = price(cached_input_usd_per_mtok=Decimal("0.25"), cache_write_usd_per_mtok=Decimal("3.125"))
    expected = (100 * Decimal("2.5") + 600 * Decimal("0.25") + 300 * Decimal("3.125") + 1000) / 1_000_000
    assert expected == cost(usage, row)


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.decimals(0, 1000, places=6, allow_nan=False))
def test_a_cost_is_exact_to_twelve_decimals(tokens_in: int, tokens_out: int, per_mtok: Decimal) -> None:
    """The cost is the rational number rounded once, half to even."""
    row = price(input_usd_per_mtok=per_mtok)
    exact = (Fraction(per_mtok) * tokens_in + Fraction(10) * tokens_out) / 10**6
    actual = cost(Usage(tokens_input=tokens_in, tokens_output=tokens_out), row)
    assert actual is not None
    assert Fraction(round(exact * 10**12), 10**12) == Fraction(actual)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(),
        Usage(tokens_input=5),
        Usage(tokens_output=5),
        Usage(tokens_input=5, tokens_output=5, tokens_cached_input=6),
    ],
)
def test_an_unknown_or_contradictory_usage_has_no_cost(usage: Usage) -> None:
    """None, never 0."""
    assert cost(usage, price()) is None


def test_an_unknown_price_gives_no_cost() -> None:
    """A model without a price is not free."""
    assert cost(Usage(tokens_input=5, tokens_output=5), None) is None


def test_the_past_keeps_its_price() -> None:
    """A request is charged by the row in force when it arrived; before the first there is none."""
    rows = [price("2026-01-01"), price("2026-06-01")]
    at = [datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 5, 31, 23, 59, tzinfo=UTC)]
    assert price_at(rows, at[0]) is None
    assert price_at(rows, at[1]) == rows[0]
    assert price_at(rows, rows[1].start) == rows[1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7.544999999999999e-05, Decimal("0.000075450000")),
        ("0.1", Decimal("0.1")),
        (0, Decimal(0)),
        (-1, None),
        (1e9, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("abc", None),
        ([], None),
    ],
)
def test_a_reported_amount_is_money_or_unknown(value: object, expected: Decimal | None) -> None:
    """What is not a finite amount is unknown; a float counts as the digits it prints."""
    assert money(value) == expected
