"""Guaranteed exploration: no model is given up before enough judged outcomes speak against it.

The unit of `cost_weight` is the cost of the best model, and the best model has to be learnt. While a dear
model is untested, the unit is the cost of a cheap one, and at that unit the dear model's utility is
hopeless. So each model has a claim that does not depend on the unit: the chance that it is the best by
quality, by the lead that its own price requires when that price is the unit. A claim ends when that
chance falls below a limit. The limit falls as outcomes accumulate, so a model with bad luck is tried again.
A lower price, a change in quality or a new version can renew a claim too. Until it ends it asks for a share
that weighs what its model may gain against what it may lose.

Such a claim is about all tasks. On a single task a model can be an exception: the best one at it, though it
is weak at all others, which the estimate from all tasks does not expect. So each model also keeps a small
share of each task until its outcomes on that task speak against it. The share falls with the part of the
requests that is judged, since a request without a judgement shows nothing. These are plain functions of
plain numbers, so that the recorded propensity is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, erf, exp, pi, sin, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

RULED_OUT = 0.02
"""A model with a lower chance is ruled out while outcomes are few (`claim_limit`). At 0.5% no fewer made
worlds give up a model that is worth its price, and regret on recorded outcomes is higher
(tests/benchmarks/lock_in.py, online_regret.py)."""
FEW_OUTCOMES = 150.0
"""Judged outcomes per model, as a mean over the models, up to which RULED_OUT is the limit."""
OWED_OUTCOMES = 10.0
"""Judged outcomes, over all tasks, below which no model is ruled out that any outcomes could prove right."""
CLAIM_SHARE = 0.2
"""Largest share of a task's requests that all claims add together."""
OWED_SHARE = 0.003
"""Smallest share of a task's requests for all models with fewer than OWED_OUTCOMES together."""
EXCEPTIONS = 0.05
"""Chance that a model's quality on a task has nothing to do with its quality on others. Twice as much has no
less regret on recorded outcomes (tests/benchmarks/online_regret.py)."""
EDGE = 0.02
"""Means nearer to 0 or 1 count as this far away, since the transformation is steep there. No outcomes can
show that a model is better than 1 - EDGE."""
NEARLY_SURE = 3.5
NEGLIGIBLE = 1e-6
STEP = 0.5
REACH = 9
NODES = tuple(
    (STEP * step, STEP * exp(-0.5 * (STEP * step) ** 2) / sqrt(2.0 * pi)) for step in range(-REACH, REACH + 1)
)
"""Places in standard deviations of a normal distribution, and their weights: the trapezoidal rule. It reaches
far, since the limit of a chance falls as outcomes accumulate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """How far a model is from being ruled out."""

    model: str
    chance: float
    """The chance that it is the best by the lead that its price requires."""
    gain: float
    """What a request may gain by it, as a share of what it may gain and lose."""
    bar: float
    """The quality from which it is worth its price."""
    outcomes: float
    """Judged outcomes so far, at their present weight."""
    cost_usd: float | None
    """Cost of all its requests so far; None if it is unknown."""
    limit: float = RULED_OUT
    """The chance below which it is ruled out: see `claim_limit`."""

    @property
    def is_open(self) -> bool:
        """Whether it is not ruled out."""
        return self.is_owed or self.chance >= self.limit

    @property
    def is_owed(self) -> bool:
        """Whether its outcomes are too few to rule it out. None are owed if no quality is worth its price."""
        return self.outcomes < OWED_OUTCOMES and self.bar <= 1.0 - EDGE

    @property
    def wanted(self) -> float:
        """Share of the requests it asks for. The share falls as outcomes become known."""
        likely = min(self.chance, self.gain, CLAIM_SHARE)
        return likely * min(1.0, OWED_OUTCOMES / max(self.outcomes, 1.0))

    def text(self) -> str:
        """The claim as text, for the reason of a decision."""
        owed = OWED_OUTCOMES - self.outcomes
        limit = f"ruled out below {_percent(self.limit)}"
        parts = [f"chance {_percent(self.chance)} of being worth its price, {limit}"]
        parts += [f"{self.outcomes:.0f} judged outcomes" + (f", {owed:.0f} still owed" if owed > 0 else "")]
        parts += [] if self.cost_usd is None else [f"${self.cost_usd:.4f} spent so far"]
        return f"`{self.model}` is not ruled out ({'; '.join(parts)})"


def claim_limit(outcomes: float) -> float:
    """The chance below which a model is ruled out, by the mean of the models' judged outcomes.

    The comparison is made again at each refresh. Under a fixed limit a model that is worth its price would
    be given up for good after bad luck. A limit of 1/n keeps the requests that this costs to the logarithm
    of all requests (Lai and Robbins, 1985).
    """
    return RULED_OUT * FEW_OUTCOMES / max(outcomes, FEW_OUTCOMES)


class Prospect(NamedTuple):
    """What is believed of one model: see the fields of Claim."""

    chance: float
    gain: float
    bar: float


def _percent(chance: float) -> str:
    return f"{100 * chance:.3g}%"  # three digits, however small it is


def prospects(
    means: Sequence[float], variances: Sequence[float], margins: Sequence[Sequence[float]]
) -> list[Prospect]:
    """For each model, how its quality compares with every other's plus the margin against it.

    `margins[i][j]` is the lead that `i` must have over `j`. The qualities are independent. The quality of
    `i` is normal after the arcsine transformation, which keeps it between 0 and 1: few outcomes rule out
    a mean of 0.75 if 0.99 is required, and keep 0.4 possible for a mean of 0.1.
    """
    scales = [1.0 / (max(sqrt(variance), 1e-9) * 1.4142135623730951) for variance in variances]
    found = []
    for index, (mean, variance) in enumerate(zip(means, variances, strict=True)):
        rivals = sorted(  # the strongest first: most places need no other
            (
                (rival + margin, scale)
                for other, (rival, margin, scale) in enumerate(
                    zip(means, margins[index], scales, strict=True)
                )
                if other != index
            ),
            reverse=True,
        )
        bar = rivals[0][0] if rivals else 0.0
        total = above = below = 0.0
        for quality, weight in _qualities(mean, variance):
            above += weight * max(quality - bar, 0.0)
            below += weight * max(bar - quality, 0.0)
            chance = weight
            for required, scale in rivals:
                z = (quality - required) * scale
                if z < NEARLY_SURE:
                    chance *= 0.5 + 0.5 * erf(z)
                    if chance < NEGLIGIBLE:
                        break
            total += chance
        found.append(Prospect(total, above / (above + below) if above > 0 else 0.0, bar))
    return found


def _qualities(mean: float, variance: float) -> list[tuple[float, float]]:
    """Places of a model's quality, and their weights."""
    bounded = min(max(mean, EDGE), 1.0 - EDGE)
    angle = asin(sqrt(bounded))
    spread = max(sqrt(variance), 1e-9) / (2.0 * sqrt(bounded * (1.0 - bounded)))
    return [(sin(min(max(angle + place * spread, 0.0), pi / 2.0)) ** 2, weight) for place, weight in NODES]


def exception_chance(bar: float, quality: float, outcomes: float) -> float:
    """The chance that a model's quality on a task is above `bar`, by only its outcomes on this task.

    `quality` is the mean of the `outcomes`. Before the first, all qualities from 0 to 1 are equally likely.
    The posterior is Beta(1 + outcomes * quality, 1 + outcomes * (1 - quality)), and normal after the arcsine
    transformation with variance 1 / (4 * (outcomes + 3)) (Anscombe, 1948).
    """
    if bar >= 1.0:
        return 0.0
    mean = (1.0 + outcomes * quality) / (2.0 + outcomes)
    z = 2.0 * sqrt(outcomes + 3.0) * (asin(sqrt(max(bar, 0.0))) - asin(sqrt(mean)))
    return 0.5 - 0.5 * erf(z / 1.4142135623730951)


def exception_text(model: str, chance: float) -> str:
    """An exception as text, for the reason of a decision."""
    return (
        f"`{model}` may be better at this task than at others (chance {_percent(chance)} by its own outcomes"
        " there)"
    )


def with_claims(
    shares: Sequence[float],
    claims: Sequence[Claim | None],
    costs: Sequence[float],
    exceptions: Sequence[float],
    *,
    cap: float,
) -> list[float]:
    """The shares plus the additions of open claims; all shares shrink by the same factor to make room.

    `claims` and expected `costs`, in units of the reference cost, are by model. Only the claim of a model
    that costs more than the unit adds: the unit takes nothing from the others. It adds the part of its
    wanted share that exceeds the model's share. All claims together add at most `cap` of the requests, and
    at most the mean of the costs to the expected cost of a request. Where room is left below the cap, each
    model gets at least its share in `exceptions`, scaled alike.
    """
    added = [
        0.0 if claim is None or claim.chance < claim.limit or cost <= 1.0 else max(claim.wanted - share, 0.0)
        for claim, share, cost in zip(claims, shares, costs, strict=True)
    ]
    cheapest = costs[max(range(len(shares)), key=shares.__getitem__)]
    extra = sum(part * max(cost - cheapest, 0.0) for part, cost in zip(added, costs, strict=True))
    total = sum(added)
    scale = min(1.0, cap / total if total else 1.0, sum(costs) / len(costs) / extra if extra > 0 else 1.0)
    owed = [claim is not None and claim.is_owed for claim in claims]
    floor = min(OWED_SHARE, cap) / max(sum(owed), 1)
    added = [
        max(part * scale, floor - share if is_owed else 0.0, 0.0)
        for part, share, is_owed in zip(added, shares, owed, strict=True)
    ]
    missing = [
        max(least - share - part, 0.0) for least, share, part in zip(exceptions, shares, added, strict=True)
    ]
    room, wanted = max(cap - sum(added), 0.0), sum(missing)
    scale = min(1.0, room / wanted) if wanted else 0.0
    added = [part + scale * more for part, more in zip(added, missing, strict=True)]
    rest = 1.0 - sum(added)
    return [share * rest + part for share, part in zip(shares, added, strict=True)]
