"""Dated prices and the cost of a usage.

A price row is valid from its start until the next row of the same model. Rows are added, never
rewritten, so that a cost computed today for a request of last month is last month's cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING

from router.records import MONEY_SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

MILLION = Decimal(1_000_000)
QUANTUM = Decimal(1).scaleb(-MONEY_SCALE)
MAX_REPORTED_USD = Decimal(10) ** 9
"""A request that a provider says cost this much or more has a cost that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer, in OpenAI's sense: input includes cached, output includes reasoning."""

    tokens_input: int | None = None
    tokens_output: int | None = None
    tokens_cached_input: int | None = None
    tokens_cache_write: int | None = None
    tokens_reasoning: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens from `start` on."""

    price_id: str
    start: datetime
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_input_usd_per_mtok: Decimal | None = None
    """None: cached tokens cost what other input costs."""
    cache_write_usd_per_mtok: Decimal | None = None
    """None: writing to the cache costs what other input costs."""


def price_at(prices: Sequence[Price], at: datetime) -> Price | None:
    """The row in force at `at`; `prices` are in order of `start`. None before the first."""
    for price in reversed(prices):
        if price.start <= at:
            return price
    return None


def cost(usage: Usage, price: Price | None) -> Decimal | None:
    """Exact dollars of `usage`, to 12 decimals, rounded half-even once; None when not known."""
    if price is None or usage.tokens_input is None or usage.tokens_output is None:
        return None
    cached = usage.tokens_cached_input or 0
    written = usage.tokens_cache_write or 0
    plain = usage.tokens_input - cached - written
    if plain < 0:
        return None  # the parts exceed the whole: the provider's figures contradict each other
    base = price.input_usd_per_mtok
    with localcontext(prec=60):
        total = (
            plain * base
            + cached * (base if price.cached_input_usd_per_mtok is None else price.cached_input_usd_per_mtok)
            + written * (base if price.cache_write_usd_per_mtok is None else price.cache_write_usd_per_mtok)
            + usage.tokens_output * price.output_usd_per_mtok
        )
        return (total / MILLION).quantize(QUANTUM, ROUND_HALF_EVEN)


def money(value: object) -> Decimal | None:
    """An amount reported by a provider, to 12 decimals; None when it is no plausible amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
        if not amount.is_finite() or not 0 <= amount < MAX_REPORTED_USD:
            return None
        with localcontext(prec=60):
            return amount.quantize(QUANTUM, ROUND_HALF_EVEN)
    except ArithmeticError:
        return None
