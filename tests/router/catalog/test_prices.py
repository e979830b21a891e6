"""Dated prices and exact costs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog.prices import (
    Price,
    Tier,
    Usage,
    Window,
    charges_of,
    cost,
    money,
    price_at,
)
from tests.prices import worst_case_usd

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RATE = st.decimals(0, 1000, places=9, allow_nan=False)


def price(start: str = "2026-01-01", **changes: Any) -> Price:
    """A price of 2.5 in and 10 out."""
    values: dict[str, Any] = {"input_usd_per_mtok": Decimal("2.5"), "output_usd_per_mtok": Decimal(10)}
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return Price(price_id=f"m@{start}", start=moment, **(values | changes))


@pytest.mark.smoke
def test_each_kind_of_token_has_its_price() -> None:
    """Every part of input and output is billed on a line of its own, and none twice."""
    usage = Usage(
        tokens_input=1000,
        tokens_output=100,
        tokens_cached_input=500,
        tokens_cache_write=300,
        tokens_cache_write_1h=100,
        tokens_reasoning=40,
    )
    row = price(
        cached_input_usd_per_mtok=Decimal("0.25"),
        cache_write_usd_per_mtok=Decimal("3.125"),
        cache_write_1h_usd_per_mtok=Decimal(5),
        reasoning_usd_per_mtok=Decimal(20),
        request_usd=Decimal("0.005"),
    )
    assert charges_of(usage, row, NOON) == [
        ("input", 200, Decimal("0.0005")),
        ("cached_input", 500, Decimal("0.000125")),
        ("cache_write", 200, Decimal("0.000625")),
        ("cache_write_1h", 100, Decimal("0.0005")),
        ("output", 60, Decimal("0.0006")),
        ("reasoning", 40, Decimal("0.0008")),
        ("request", 1, Decimal("0.005")),
    ]
    assert cost(usage, row, NOON) == Decimal("0.00815")


def test_a_rate_nobody_states_is_that_of_the_whole() -> None:
    """Cached and written input cost what input costs, reasoning what output costs."""
    parts = Usage(
        tokens_input=1000,
        tokens_output=100,
        tokens_cached_input=500,
        tokens_cache_write=300,
        tokens_cache_write_1h=100,
        tokens_reasoning=40,
    )
    assert cost(parts, price(), NOON) == cost(Usage(tokens_input=1000, tokens_output=100), price(), NOON)


@given(st.integers(0, 10**7), st.integers(0, 10**6), RATE, RATE)
def test_a_cost_is_exact_to_twelve_decimals(
    tokens_in: int, tokens_out: int, given_rate: Decimal, written_rate: Decimal
) -> None:
    """Each line is the rational number rounded once, half to even; the cost is their sum."""
    row = price(input_usd_per_mtok=given_rate, output_usd_per_mtok=written_rate)
    lines = ((tokens_in, given_rate), (tokens_out, written_rate))
    units = sum(round(Fraction(rate) * tokens / 10**6 * 10**12) for tokens, rate in lines)
    actual = cost(Usage(tokens_input=tokens_in, tokens_output=tokens_out), row, NOON)
    assert actual == Decimal(units).scaleb(-12)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(),
        Usage(tokens_input=5),
        Usage(tokens_output=5),
        Usage(tokens_input=5, tokens_output=5, tokens_cached_input=6),
        Usage(tokens_input=5, tokens_output=5, tokens_reasoning=6),
        Usage(tokens_input=5, tokens_output=5, tokens_cache_write_1h=1),
    ],
)
def test_an_unknown_or_contradictory_usage_has_no_cost(usage: Usage) -> None:
    """None, never 0."""
    assert cost(usage, price(), NOON) is None
    assert charges_of(usage, price(), NOON) is None


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({}, "0.0025"),
        ({"cache_write_1h_usd_per_mtok": Decimal(5)}, "0.00275"),
        ({"cache_write_usd_per_mtok": Decimal(3)}, None),
        ({"cache_write_usd_per_mtok": Decimal(3), "cache_write_1h_usd_per_mtok": Decimal(5)}, "0.00275"),
    ],
)
def test_an_hour_in_the_cache_needs_its_own_rate(rates: dict[str, Any], expected: str | None) -> None:
    """A row that charges for five minutes and not for an hour does not know the cost of an hour."""
    usage = Usage(tokens_input=1000, tokens_output=0, tokens_cache_write=100, tokens_cache_write_1h=100)
    assert cost(usage, price(**rates), NOON) == (None if expected is None else Decimal(expected))
    short = usage._replace(tokens_cache_write_1h=0)
    assert cost(short, price(**rates), NOON) is not None


@pytest.mark.smoke
def test_an_unknown_price_gives_no_cost() -> None:
    """A model without a price is not free, nor is output without a rate."""
    usage = Usage(tokens_input=5, tokens_output=5)
    assert cost(usage, None, NOON) is None
    assert worst_case_usd(None, 5, 5, NOON) is None
    silent = price(output_usd_per_mtok=None)
    assert cost(usage, silent, NOON) is None
    assert worst_case_usd(silent, 5, 5, NOON) is None
    assert cost(Usage(tokens_input=5, tokens_output=0), silent, NOON) == Decimal("0.0000125")


@pytest.mark.smoke
def test_the_past_keeps_its_price() -> None:
    """A request is charged by the row in force when it arrived; before the first there is none."""
    rows = [price("2026-01-01"), price("2026-06-01")]
    at = [datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 5, 31, 23, 59, tzinfo=UTC)]
    assert price_at(rows, at[0]) is None
    assert price_at(rows, at[1]) == rows[0]
    assert price_at(rows, rows[1].start) == rows[1]


def tier(above: int, input_rate: str, output_rate: str, **changes: Any) -> Tier:
    """A tier."""
    return Tier(
        above_input_tokens=above,
        input_usd_per_mtok=Decimal(input_rate),
        output_usd_per_mtok=Decimal(output_rate),
        **changes,
    )


@pytest.mark.parametrize(
    ("tokens_input", "expected"),
    [(200_000, "0.51"), (200_001, "1.020005"), (1_000_001, "9.000009")],
)
def test_a_tier_holds_for_the_whole_request(tokens_input: int, expected: str) -> None:
    """One token above the threshold changes the price of all of them, output included."""
    row = price(tiers=(tier(200_000, "5", "20"), tier(1_000_000, "9", "0")))
    usage = Usage(tokens_input=tokens_input, tokens_output=1000)
    assert cost(usage, row, NOON) == Decimal(expected)


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("16:29:59", "2.5"), ("16:30", "1"), ("23:59:59", "1"), ("00:00", "1"), ("00:30", "2.5")],
)
def test_a_window_holds_at_its_time_of_day(clock: str, expected: str) -> None:
    """A window begins with its start, ends before its end, and may pass midnight; the zone is UTC."""
    window = Window(
        start_time_utc=time(16, 30),
        end_time_utc=time(0, 30),
        input_usd_per_mtok=Decimal(1),
        output_usd_per_mtok=Decimal(1),
    )
    at = datetime.fromisoformat(f"2026-06-01T{clock}+00:00")
    elsewhere = at.astimezone(tz=None)
    usage = Usage(tokens_input=1_000_000, tokens_output=0)
    assert cost(usage, price(windows=(window,)), at) == Decimal(expected)
    assert cost(usage, price(windows=(window,)), elsewhere) == Decimal(expected)


RATES = st.fixed_dictionaries(
    {"input_usd_per_mtok": RATE, "output_usd_per_mtok": RATE},
    optional={
        "cached_input_usd_per_mtok": RATE,
        "cache_write_usd_per_mtok": RATE,
        "cache_write_1h_usd_per_mtok": RATE,
        "reasoning_usd_per_mtok": RATE,
        "request_usd": RATE,
    },
)


@st.composite
def rows(draw: st.DrawFn) -> Price:
    """Any price row: rates, tiers and windows."""

    def tiers() -> tuple[Tier, ...]:
        starts = sorted(draw(st.sets(st.integers(1, 2000), max_size=2)))
        return tuple(Tier(above_input_tokens=start, **draw(RATES)) for start in starts)

    windows = tuple(
        Window(start_time_utc=time(hour), end_time_utc=time(hour + 8), tiers=tiers(), **draw(RATES))
        for hour in draw(st.sets(st.sampled_from([0, 8]), max_size=2))
    )
    changes: dict[str, Any] = draw(RATES)
    return price(tiers=tiers(), windows=windows, **changes)


@given(rows(), st.data())
def test_no_request_costs_more_than_its_worst_case(row: Price, data: st.DataObject) -> None:
    """Whatever is cached, written or reasoned, and whenever it is billed, the bound holds."""
    bound_input, bound_output = data.draw(st.integers(0, 3000)), data.draw(st.integers(0, 3000))
    tokens_input = data.draw(st.integers(0, bound_input))
    tokens_output = data.draw(st.integers(0, bound_output))
    cached = data.draw(st.integers(0, tokens_input))
    written = data.draw(st.integers(0, tokens_input - cached))
    usage = Usage(
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        tokens_cached_input=cached,
        tokens_cache_write=written,
        tokens_cache_write_1h=data.draw(st.integers(0, written)),
        tokens_reasoning=data.draw(st.integers(0, tokens_output)),
    )
    billed_at = NOON + timedelta(hours=data.draw(st.integers(0, 23)))
    paid = cost(usage, row, billed_at)
    worst = worst_case_usd(row, bound_input, bound_output, NOON)
    assert worst is not None
    assert paid is not None or usage.tokens_cache_write_1h
    assert (paid or 0) <= worst


def test_a_plain_worst_case_is_reached() -> None:
    """Without cheaper parts the bound is the cost: a budget is not held back for nothing."""
    usage = Usage(tokens_input=1000, tokens_output=100)
    assert worst_case_usd(price(), 1000, 100, NOON) == cost(usage, price(), NOON)


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
