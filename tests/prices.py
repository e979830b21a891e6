"""Prices as tests look at them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from router.records import MONEY_SCALE

if TYPE_CHECKING:
    from datetime import datetime

    from router.catalog.prices import Priced


def worst_case_usd(
    priced: Priced | None, input_tokens: int, max_output_tokens: int, at: datetime
) -> Decimal | None:
    """The most that a request of this size can cost, to 12 decimals; None when no price is known.

    Holds whatever is cached, written to a cache or reasoned. What exceeds `input_tokens` or
    `max_output_tokens` is not covered: both are bounds that the caller vouches for.
    """
    price = None if priced is None else priced.price_at(at)
    worst = None if price is None else price.worst_case_picousd(input_tokens, max_output_tokens)
    return None if worst is None else Decimal(worst).scaleb(-MONEY_SCALE)
