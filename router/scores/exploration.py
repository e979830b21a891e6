"""Exploration that is owed: no model is given up before enough judged outcomes speak against it.

The unit of `cost_weight` is the cost of the best model, and which model that is has to be learnt. While
a dear model is untested the unit is a cheap one's cost, and at that unit its utility is hopeless. So
each model has a claim that the unit cannot take away: the chance that it is the best by quality, by as
much as its own price asks for when it is itself the unit. A claim ends when that chance falls below
RULED_OUT; whatever raises it again (a lower price, a change in its quality, a new version) renews it.
Plain functions of plain numbers, so that the recorded propensity is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, erf, pi, sin, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RULED_OUT = 0.005
"""A model whose chance is lower is ruled out. Each refresh looks again, so one look must be this strict:
at 2.5% some made worlds gave up their best model (tests/benchmarks/lock_in.py)."""
OWED_OUTCOMES = 10.0
"""Judged outcomes, over all tasks, below which no model is ruled out."""
CLAIM_SHARE = 0.2
"""Share of a task's requests that claims add at most, all together."""
OWED_SHARE = 0.01
"""Share of a task's requests that models with fewer than OWED_OUTCOMES have at least, all together."""
EDGE = 0.02
"""Means nearer to 0 or 1 count as this far from it: the transformation is steep there."""
NEARLY_SURE = 3.5
NEGLIGIBLE = 1e-6
NODES = (
    (-3.7504397, 0.0005483),
    (-2.3667594, 0.0307571),
    (-1.1544054, 0.2401232),
    (0.0, 0.4571429),
    (1.1544054, 0.2401232),
    (2.3667594, 0.0307571),
    (3.7504397, 0.0005483),
)
"""Gauss-Hermite quadrature: places in standard deviations, and their weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """How far a model is from being ruled out."""

    model: str
    chance: float
    """That it is the best, by as much as its price asks for."""
    outcomes: float
    """Judged outcomes so far, as they count today."""
    cost_usd: float | None
    """Cost of all its requests so far; None when not known."""

    @property
    def is_open(self) -> bool:
        """Whether it is not ruled out."""
        return self.outcomes < OWED_OUTCOMES or self.chance >= RULED_OUT

    @property
    def wanted(self) -> float:
        """Share of the requests it asks for; it falls as outcomes become known."""
        return min(self.chance, CLAIM_SHARE) * min(1.0, OWED_OUTCOMES / max(self.outcomes, 1.0))

    def text(self) -> str:
        """For the reason of a decision."""
        owed = OWED_OUTCOMES - self.outcomes
        parts = [f"chance {self.chance:.1%} of being worth its price, ruled out below {RULED_OUT:.1%}"]
        parts += [f"{self.outcomes:.0f} judged outcomes" + (f", {owed:.0f} still owed" if owed > 0 else "")]
        parts += [] if self.cost_usd is None else [f"${self.cost_usd:.4f} spent so far"]
        return f"`{self.model}` is not ruled out ({'; '.join(parts)})"


def chances(
    means: Sequence[float], variances: Sequence[float], margins: Sequence[Sequence[float]]
) -> list[float]:
    """For each model the chance that its quality is above every other's by the margin against it.

    `margins[i][j]` is the lead that `i` must have over `j`. The qualities are independent. That of `i` is
    normal after the arcsine transformation, which keeps it between 0 and 1: few outcomes rule out a
    mean of 0.75 where 0.99 is asked for, and leave 0.4 in reach of a mean of 0.1.
    """
    deviations = [max(sqrt(variance), 1e-9) for variance in variances]
    scales = [1.0 / (deviation * 1.4142135623730951) for deviation in deviations]
    found = []
    for index, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
        bounded = min(max(mean, EDGE), 1.0 - EDGE)
        angle = asin(sqrt(bounded))
        spread = deviation / (2.0 * sqrt(bounded * (1.0 - bounded)))
        total = 0.0
        for place, weight in NODES:
            quality = sin(min(max(angle + place * spread, 0.0), pi / 2.0)) ** 2
            chance = weight
            for other, (rival, scale, margin) in enumerate(zip(means, scales, margins[index], strict=True)):
                z = (quality - margin - rival) * scale
                if z < NEARLY_SURE and other != index:
                    chance *= 0.5 + 0.5 * erf(z)
                    if chance < NEGLIGIBLE:
                        break
            total += chance
        found.append(total)
    return found


def with_claims(
    shares: Sequence[float], claims: Sequence[Claim | None], costs: Sequence[float], *, cap: float
) -> list[float]:
    """The shares with what open claims add to them, in place of an equal part of everyone's.

    `claims` and expected `costs`, in units of the reference cost, are by model. Only a model that costs
    more than the unit adds: the unit takes nothing from the others. A claim adds what it asks for beyond
    the model's share. All together add at most `cap` of the requests, and at most the mean of the costs
    to the expected cost of one.
    """
    added = [
        0.0 if claim is None or claim.chance < RULED_OUT or cost <= 1.0 else max(claim.wanted - share, 0.0)
        for claim, share, cost in zip(claims, shares, costs, strict=True)
    ]
    cheapest = costs[max(range(len(shares)), key=shares.__getitem__)]
    extra = sum(part * max(cost - cheapest, 0.0) for part, cost in zip(added, costs, strict=True))
    total = sum(added)
    scale = min(1.0, cap / total if total else 1.0, sum(costs) / len(costs) / extra if extra > 0 else 1.0)
    owed = [claim is not None and claim.outcomes < OWED_OUTCOMES for claim in claims]
    floor = min(OWED_SHARE, cap) / max(sum(owed), 1)
    added = [
        max(part * scale, floor - share if is_owed else 0.0, 0.0)
        for part, share, is_owed in zip(added, shares, owed, strict=True)
    ]
    rest = 1.0 - sum(added)
    return [share * rest + part for share, part in zip(shares, added, strict=True)]
