"""Turns beliefs into shares of traffic: Thompson sampling's choice probabilities, without drawing.

These are deterministic functions of plain numbers, so that the propensity in a record is exactly the
one that was used.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_GRID_POINTS = 256
MIN_GRID_POINTS = 64
GRID_BUDGET = 12_800
"""Models times grid points. It bounds the time for one table at about 10 ms."""
NEGLIGIBLE_CHANCE = 1e-6
"""A model that beats the leader with a smaller chance gets a chance of 0."""
Z_95 = 1.959964
TRICKLE = 0.05
"""Smallest part of `cold_start_share` for all new models together, until they are ruled out."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One model as the choice sees it."""

    mean: float
    """Mean of its utility."""
    variance: float
    cost: float
    """In any unit: near-ties go to the cheaper model."""
    is_new: bool = False
    """Whether it has too few outcomes to get more than the share for new models."""


def thompson_shares(
    arms: Sequence[Arm],
    *,
    near_tie: float = 0.0,
    min_exploration: float = 0.0,
    cold_start_share: float = 1.0,
) -> list[float]:
    """Shares of traffic that sum to 1.

    Each arm's share is its chance of being the cheapest within `near_tie` of the best. If there are
    established arms, the new arms together get at most `cold_start_share`, and at least a trickle.
    `min_exploration` is spread evenly over the arms that are not ruled out.
    """
    shares = probabilities_of_best(
        [arm.mean for arm in arms],
        [arm.variance for arm in arms],
        costs=[arm.cost for arm in arms],
        near_tie=near_tie,
    )
    alive = _not_ruled_out(arms, near_tie)
    if min_exploration > 0:
        floor = min_exploration / sum(alive)
        shares = [
            share * (1 - min_exploration) + (floor if is_alive else 0.0)
            for share, is_alive in zip(shares, alive, strict=True)
        ]
    return _limit_new(arms, shares, alive, cold_start_share)


def greedy_shares(arms: Sequence[Arm], *, near_tie: float = 0.0) -> list[float]:
    """Everything to the cheapest arm whose mean is within `near_tie` of the highest."""
    best = best_arm(arms, near_tie=near_tie)
    return [1.0 if index == best else 0.0 for index in range(len(arms))]


def best_arm(arms: Sequence[Arm], *, near_tie: float = 0.0) -> int | None:
    """The arm `greedy_shares` takes; None without arms."""
    if not arms:
        return None
    highest = max(arm.mean for arm in arms)
    if near_tie <= 0:
        return next(index for index, arm in enumerate(arms) if arm.mean == highest)
    near = [index for index, arm in enumerate(arms) if arm.mean >= highest - near_tie]
    return min(near, key=lambda index: (arms[index].cost, -arms[index].mean))


def probabilities_of_best(
    means: Sequence[float],
    variances: Sequence[float],
    *,
    costs: Sequence[float] | None = None,
    near_tie: float = 0.0,
) -> list[float]:
    """The chance of each arm to be the cheapest of those within `near_tie` of the best, by quadrature.

    Over independent normals u_i ~ N(means[i], variances[i]) in order of cost, with M the largest:
    i is taken when u_i >= M - t and every cheaper u_j < M - t. With A_i(x) the product of F_j(x - t)
    over the cheaper and S_i(x) the product of F_l(x) over the dearer,

        P(i) = integral of A_i S_i dF_i  +  integral of A_i (F_i(x) - F_i(x - t)) dS_i

    For t = 0 this is P(i is best), Thompson sampling's choice probability. Arms that beat the
    leader with a chance below NEGLIGIBLE_CHANCE are left out first. The total error is below their
    number times that chance.
    """
    count = len(means)
    if count < 2:
        return [1.0] * count
    deviations = [max(sqrt(variance), 1e-9) for variance in variances]
    kept = _contenders(means, deviations, near_tie)
    if near_tie > 0 and costs is not None:
        kept.sort(key=lambda index: costs[index])
    found = _integrate([means[i] for i in kept], [deviations[i] for i in kept], near_tie)
    total = sum(found)
    shares = [0.0] * count
    if total <= 0:
        shares[max(range(count), key=means.__getitem__)] = 1.0
        return shares
    for index, share in zip(kept, found, strict=True):
        shares[index] = share / total
    return shares


def _contenders(means: Sequence[float], deviations: Sequence[float], near_tie: float) -> list[int]:
    """Arms with more than a negligible chance of coming near the most certain leader."""
    leader = max(range(len(means)), key=lambda index: means[index] - 2 * deviations[index])
    kept = []
    for index, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
        spread = sqrt(deviation**2 + deviations[leader] ** 2)
        gap = means[leader] - near_tie - mean
        if index == leader or 1.0 - _normal_cdf(gap / spread) >= NEGLIGIBLE_CHANCE:
            kept.append(index)
    return kept


def _integrate(means: Sequence[float], deviations: Sequence[float], near_tie: float) -> list[float]:
    """See `probabilities_of_best`. The arms must be in order of cost."""
    count = len(means)
    if count == 1:
        return [1.0]
    points = min(MAX_GRID_POINTS, max(MIN_GRID_POINTS, GRID_BUDGET // count))
    low = max(mean - 5 * deviation for mean, deviation in zip(means, deviations, strict=True))
    high = max(mean + 5 * deviation for mean, deviation in zip(means, deviations, strict=True))
    step = (high - low) / points
    arms = [
        (mean, 1.0 / (deviation * 1.4142135623730951))
        for mean, deviation in zip(means, deviations, strict=True)
    ]

    def below(x: float) -> list[float]:
        return [0.5 + 0.5 * erf((x - mean) * scale) for mean, scale in arms]

    shares = [0.0] * count
    left, left_short = below(low), below(low - near_tie) if near_tie else []
    dearer = [1.0] * (count + 1)
    for index in range(count - 1, -1, -1):
        dearer[index] = dearer[index + 1] * left[index]
    for point in range(1, points + 1):
        x = low + point * step
        right = below(x)
        middle = [(a + b) / 2 for a, b in zip(left, right, strict=True)]
        if near_tie:
            right_short = below(x - near_tie)
            short = [(a + b) / 2 for a, b in zip(left_short, right_short, strict=True)]
            left_short = right_short
        else:
            short = middle
        after = 1.0
        tail = [1.0] * (count + 1)
        for index in range(count - 1, -1, -1):
            tail[index] = after = after * middle[index]
        tail_right = [1.0] * (count + 1)
        if near_tie:
            after = 1.0
            for index in range(count - 1, -1, -1):
                tail_right[index] = after = after * right[index]
        before = 1.0
        for index in range(count):
            gained = before * (right[index] - left[index]) * tail[index + 1]
            if near_tie:
                gained += (
                    before * (middle[index] - short[index]) * (tail_right[index + 1] - dearer[index + 1])
                )
            shares[index] += gained
            before *= short[index]
            if before == 0.0:
                break
        left, dearer = right, tail_right
    return shares


def _not_ruled_out(arms: Sequence[Arm], near_tie: float) -> list[bool]:
    """Whether an arm's upper bound reaches the highest lower bound of all (95% each)."""
    if not arms:
        return []
    floor = max(arm.mean - Z_95 * sqrt(arm.variance) for arm in arms) - near_tie
    return [arm.mean + Z_95 * sqrt(arm.variance) >= floor for arm in arms]


def _limit_new(
    arms: Sequence[Arm], shares: list[float], alive: Sequence[bool], cold_start_share: float
) -> list[float]:
    established = [index for index, arm in enumerate(arms) if not arm.is_new]
    new = [index for index, arm in enumerate(arms) if arm.is_new]
    if not established or not new:
        return shares
    hopeful = sum(alive[index] for index in new)
    trickle = TRICKLE * cold_start_share / hopeful if hopeful else 0.0
    for index in new:
        shares[index] = max(shares[index], trickle) if alive[index] else 0.0
    wanted = sum(shares[index] for index in new)
    granted = min(wanted, cold_start_share)
    rest = sum(shares[index] for index in established)
    if rest <= 0:
        shares[max(established, key=lambda index: arms[index].mean)] = rest = 1.0
    for index in new:
        shares[index] *= granted / wanted if wanted else 0.0
    for index in established:
        shares[index] *= (1.0 - granted) / rest
    return shares


def _normal_cdf(z: float) -> float:
    return 0.5 * (1.0 + erf(z / 1.4142135623730951))
