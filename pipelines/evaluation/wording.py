"""Differences with their intervals as sentences: `67.0% less (95%: 29.5% to 100.0% less)`.

The sign is a word, the same one for the difference and for both ends of its interval, so that no reader turns
it. Figures are cut where the quantity ends: a saving is at most the whole cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHANCE = ", which may be chance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words for the sign of a difference."""

    less: str
    more: str


COST = Words(less="less", more="more")
QUALITY = Words(less="lower", more="higher")
WHOLE = 100.0
"""The most that a percentage of a cost can be less, and that points of quality can differ."""


def compared(
    difference: float,
    low: float | None = None,
    high: float | None = None,
    *,
    words: Words,
    show: Callable[[float], str],
    unit: str = "",
    after: str = "",
    least: float = -math.inf,
    most: float = math.inf,
) -> str:
    """A difference in words, with its 95% interval if there is one.

    `show` writes a size without its sign. The difference has a `unit` behind it, and `after` comes before the
    interval. The three figures are cut at `least` and `most`, below and above which no difference can be.
    """
    value = _within(difference, least, most)
    text = f"{show(abs(value))}{unit} {words.more if value >= 0 else words.less}{after}"
    if low is None or high is None:
        return text
    doubt = CHANCE if low <= 0 <= high else ""
    ends = _interval(_within(low, least, most), _within(high, least, most), words, show)
    return f"{text} (95%: {ends}{doubt})"


def compared_points(
    difference: float, low: float | None = None, high: float | None = None, *, of: float | None = None
) -> str:
    """A difference of two qualities (0..1) in points: `0.4 points lower in quality (95%: ...)`.

    `of` is the quality that the other is compared with, if it is known: no quality is below 0 or above 1.
    """
    return compared(
        100 * difference,
        None if low is None else 100 * low,
        None if high is None else 100 * high,
        words=QUALITY,
        show=lambda points: f"{points:.1f}",
        unit=" points",
        after=" in quality",
        least=-WHOLE if of is None else -100 * of,
        most=WHOLE if of is None else WHOLE - 100 * of,
    )


def percent(value: float) -> str:
    """A percentage for a sentence."""
    return f"{value:.1f}%"


def money(usd: float) -> str:
    """Dollars for a sentence: cents, or the first four digits of less than a dollar."""
    sign, size = "-" if usd < 0 else "", abs(usd)
    if size >= 100:
        return f"{sign}${size:,.0f}"
    return f"{sign}${size:.2f}" if size >= 1 or size == 0 else f"{sign}${size:.4g}"


def _interval(low: float, high: float, words: Words, show: Callable[[float], str]) -> str:
    """The ends, the smaller size first if both are on one side."""
    if low < 0 < high:
        return f"from {show(-low)} {words.less} to {show(high)} {words.more}"
    near, far = sorted((abs(low), abs(high)))
    return f"{show(near)} to {show(far)} {words.less if low < 0 else words.more}"


def _within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
