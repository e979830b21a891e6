"""Budget periods on the UTC calendar, and dollars as whole numbers.

Inside, an amount is an integer of pico-dollars (10^-12, the scale of every stored amount): sums and
comparisons are exact, and ten times faster than Decimal's.
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Literal

from router.records import MONEY_SCALE

Period = Literal["day", "week", "month", "total"]

DAY_S = 86_400
TOTAL_DAYS = 31
"""A `total` counts this many last days of a session. A session idle for longer is forgotten."""
LONGEST_DAYS: dict[Period, int] = {"day": 1, "week": 7, "month": 31, "total": TOTAL_DAYS}
"""Days of records that a period may count."""
_EPOCH = date(1970, 1, 1).toordinal()


def period_of(period: Period, day: int) -> tuple[int, int]:
    """Start and end, in seconds since 1970, of the period in which a day (since 1970, UTC) falls.

    Weeks are ISO weeks: they start on Monday. A `total` starts at 0 and is kept for `TOTAL_DAYS`.
    """
    if period == "day":
        return day * DAY_S, (day + 1) * DAY_S
    if period == "week":
        monday = day - (day + 3) % 7  # 1970-01-01 was a Thursday
        return monday * DAY_S, (monday + 7) * DAY_S
    if period == "month":
        first = date.fromordinal(day + _EPOCH).replace(day=1)
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        return (first.toordinal() - _EPOCH) * DAY_S, (following.toordinal() - _EPOCH) * DAY_S
    return 0, (day + TOTAL_DAYS) * DAY_S


def first_day(period: Period, day: int) -> int:
    """The first day with records that count in the period of `day`."""
    return day - TOTAL_DAYS + 1 if period == "total" else period_of(period, day)[0] // DAY_S


def to_pico(usd: Decimal) -> int:
    """Dollars as pico-dollars, rounded up: a worst case is never understated."""
    with localcontext(prec=60):
        return int(usd.scaleb(MONEY_SCALE).to_integral_value(ROUND_CEILING))


def to_usd(pico: int) -> Decimal:
    """Pico-dollars as dollars, exact."""
    with localcontext(prec=60):
        return Decimal(pico).scaleb(-MONEY_SCALE)


def dollars(pico: int) -> str:
    """For messages: `$0.0123`, without trailing zeros."""
    text = f"{to_usd(pico):f}"
    return f"${text.rstrip('0').rstrip('.') if '.' in text else text}"
