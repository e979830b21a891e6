"""Confidence sequences: intervals that hold at every look at once, so that peeking is free.

A 95% confidence interval is wrong at some look in half of all series that are watched. A 95% confidence
sequence is wrong at some look in at most 5%. You can read an experiment after every request and stop it
at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA = 0.05
"""Share of series in which an interval may ever be wrong."""
TUNED_FOR = 1000.0
"""Observations at which the intervals of means are narrowest."""
BISECTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From `low` to `high`, both included."""

    low: float
    high: float


def mean_interval(
    estimate: float,
    variance: float,
    observations: float,
    *,
    alpha: float = ALPHA,
    tuned_for: float = TUNED_FOR,
) -> Interval:
    """An asymptotic confidence sequence around a mean, or a difference of means.

    `variance` is the estimate's own (s²/n, or the sum of two of them). `observations` is the number
    behind the estimate: for a difference n1·n2/(n1 + n2). With t observations and s² = t · variance
    the half width is

        s · sqrt( 2(t·r² + 1)/(t²·r²) · ln(sqrt(t·r² + 1)/alpha) )

    where r² = (-2 ln alpha + ln(-2 ln alpha) + 1)/tuned_for.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and
    asymptotic confidence sequences", Annals of Statistics 52 (2024), theorem 2.2
    (arXiv:2103.06476). It holds from a first look that is not too early.
    """
    rho_squared = (-2 * log(alpha) + log(-2 * log(alpha)) + 1) / tuned_for
    scaled = observations * rho_squared
    half = sqrt(variance * 2 * (scaled + 1) / scaled * log(sqrt(scaled + 1) / alpha))
    return Interval(low=estimate - half, high=estimate + half)


def rate_interval(total: float, observations: float, *, alpha: float = ALPHA) -> Interval:
    """A beta-binomial confidence sequence for the mean of values in 0..1, `total` their sum.

    All p for which the mixture of likelihood ratios over a uniform prior stays below 1/alpha:

        B(1 + s, 1 + f) / (p^s (1 - p)^f) < 1/alpha,   s = total, f = observations - total

    The ratio is a martingale under the true p (Robbins 1970, Annals of Mathematical Statistics 41;
    Howard, Ramdas, McAuliffe, Sekhon 2021, Annals of Statistics 49), so by Ville's
    inequality some look is wrong in at most alpha of all series, from the first one on. For values
    between 0 and 1 it is a supermartingale, since a^x b^(1-x) is convex in x: it holds for them too.
    """
    if observations <= 0:
        return Interval(low=0.0, high=1.0)
    missing = max(observations - total, 0.0)
    limit = -log(alpha) - _log_beta(1 + total, 1 + missing)
    middle = total / observations

    def is_plausible(p: float) -> bool:
        return _cross_entropy(total, p) + _cross_entropy(missing, 1 - p) < limit

    return Interval(
        low=_boundary(middle, 0.0, is_plausible),
        high=_boundary(middle, 1.0, is_plausible),
    )


def _cross_entropy(count: float, p: float) -> float:
    if count == 0:
        return 0.0
    return float("inf") if p <= 0 else -count * log(p)


def _boundary(inside: float, outside: float, is_plausible: Callable[[float], bool]) -> float:
    """Where plausibility ends between a plausible point and the end of the scale."""
    if is_plausible(outside):
        return outside
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        if is_plausible(middle):
            inside = middle
        else:
            outside = middle
    return outside


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
