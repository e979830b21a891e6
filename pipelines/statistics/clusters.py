"""How much requests of one unit resemble each other, from sums by groups of units.

Requests of one user or session are alike: ten of them carry less information than ten of ten users. The
design effect is the number of requests that carry as much as one independent one would. It is estimated
from the spread between groups of units (Kish 1965, "Survey Sampling"; the variance of a ratio of sums
over clusters, Deng, Knoblich, Lu 2018, "Applying the delta method in metric analytics", KDD).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DIGITS = 80
"""Sums have up to 38 digits, their squares twice as many: nothing is rounded before the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Count, sum and sum of squares of a metric in one group of units."""

    count: int
    total: Decimal
    squares: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A variant's metric over all its groups."""

    count: int
    total: float
    mean: float
    variance: float
    """The variance of a single observation."""
    design_effect: float
    """Requests that carry as much information as one independent request, at least 1."""
    groups: int

    @property
    def effective(self) -> float:
        """Independent observations that would carry as much information."""
        return self.count / self.design_effect


def summarise(groups: Sequence[Sums], *, are_alike: bool) -> Summary | None:
    """Mean, variance and design effect. None with fewer than two observations.

    `are_alike` says whether the requests of a group may depend on each other.
    """
    groups = [group for group in groups if group.count]
    count = sum(group.count for group in groups)
    if count < 2:
        return None
    with localcontext() as context:
        context.prec = DIGITS
        total = sum((group.total for group in groups), Decimal(0))
        mean = total / count
        variance = max(sum((g.squares for g in groups), Decimal(0)) - total * mean, Decimal(0)) / (count - 1)
        effect = Decimal(1)
        if are_alike and variance > 0 and len(groups) > 1:
            between = sum(((g.total - mean * g.count) ** 2 for g in groups), Decimal(0))
            between *= Decimal(len(groups)) / (len(groups) - 1)
            effect = max(between / (count * variance), effect)
    return Summary(
        count=count,
        total=float(total),
        mean=float(mean),
        variance=float(variance),
        design_effect=float(effect),
        groups=len(groups),
    )


def count_design_effect(groups: Sequence[Sequence[int]]) -> float:
    """The design effect of the split itself: of each group, how many requests each variant got."""
    totals = [sum(column) for column in zip(*groups, strict=True)]
    everything = sum(totals)
    effect = 1.0
    for variant, total in enumerate(totals):
        share = total / everything if everything else 0.0
        if not 0 < share < 1 or len(groups) < 2:
            continue
        between = sum((group[variant] - share * sum(group)) ** 2 for group in groups)
        between *= len(groups) / (len(groups) - 1)
        effect = max(effect, between / (everything * share * (1 - share)))
    return effect
