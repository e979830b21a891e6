"""Dated prices as rows without overlap: a request's price, tier, size and time of day name one of them."""

from __future__ import annotations

from datetime import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from router.catalog.prices import MILLION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from pipelines.reconciliation.bills import Kind
    from router.catalog.prices import Price, Rates, Tier

DAY_S = 86_400
ANY_SIZE = 1 << 62
LISTS = (
    *("price_ids", "tiers", "above", "upto", "start_s", "end_s"),
    *("rate_input", "rate_cached_input", "rate_cache_write", "rate_output", "rate_reasoning", "has_1h"),
)
"""The parameters of `sql/reconciliation/our_requests.sql`, in the order of a row here."""


def rate_lists(prices: Iterable[Price], standard: str) -> dict[str, list[Any]]:
    """The rows of all prices, as one list for each column."""
    rows = [row for price in prices for row in _rows(price, standard)]
    return {name: [row[index] for row in rows] for index, name in enumerate(LISTS)}


def per_token(rates: Rates) -> dict[Kind, Decimal]:
    """US dollars of one token, by kind. Without output, the kind is left out."""
    found: dict[Kind, Decimal] = {
        "input": rates.input_usd_per_mtok / MILLION,
        "cached_input": rates.cached_input / MILLION,
        "cache_write": rates.cache_write / MILLION,
    }
    if rates.output_usd_per_mtok is not None:
        found["output"] = rates.output_usd_per_mtok / MILLION
    return found


def _rows(price: Price, standard: str) -> Iterator[tuple[Any, ...]]:
    edges = {0, DAY_S}
    for window in price.windows:
        edges |= {_second(window.start_time_utc), _second(window.end_time_utc)}
    ordered = sorted(edges)
    for start, end in pairwise(ordered):
        holder = next((window for window in price.windows if window.covers(_time(start))), price)
        yield from _sizes(price.price_id, standard, start, end, holder, holder.tiers)
    for tier in price.service_tiers:
        yield from _sizes(price.price_id, tier.name, 0, DAY_S, tier, tier.tiers)


def _sizes(
    price_id: str, tier: str, start: int, end: int, rates: Rates, sizes: tuple[Tier, ...]
) -> Iterator[tuple[Any, ...]]:
    above = -1
    for size in (*sizes, None):
        upto = ANY_SIZE if size is None else size.above_input_tokens
        yield (
            *(price_id, tier, above, upto, start, end),
            rates.input_usd_per_mtok,
            rates.cached_input,
            rates.cache_write,
            rates.output_usd_per_mtok,
            rates.reasoning,
            rates.cache_write_1h != rates.cache_write,
        )
        if size is not None:
            above, rates = size.above_input_tokens, size


def _second(moment: time) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def _time(second: int) -> time:
    return time(second // 3600, second // 60 % 60, second % 60)
