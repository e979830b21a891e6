"""Changes of a model's quality on a task: a model that was replaced behind its name, or that drops.

The outcomes of a cell come in blocks, in the order of their requests. At the end of each block the
last blocks are compared with those before, for every number of blocks from MIN_AFTER outcomes on:
where the two means differ by more than THRESHOLD (standard errors, about: the signed root of a
likelihood ratio) a change is noted at the best split, what came before counts DISCOUNT of its own,
and the search starts anew behind it. Only the blocks decide, so a late judgement or a rebuild gives
what any other order would have given.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import copysign, log, sqrt
from typing import TYPE_CHECKING

from pipelines.scores.quality_model import Outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

WINDOW = 20
"""Blocks compared at most with those before."""
MIN_AFTER = 60
MIN_BEFORE = 20
"""Outcomes on either side below which nothing is noted."""
THRESHOLD = 3.9
"""False alarms in 3 to 4% of stable cells per 2,000 outcomes, and half of the drops from 0.85 to 0.70
noted within 110 outcomes, once 500 are known (tests/benchmarks/change_detector.py)."""
DISCOUNT = 0.02
"""What an outcome from before a change counts."""
SPREAD_WEIGHT = 10.0
"""Outcomes that the variance of right or wrong ones counts for in that of the cell."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive outcomes of one cell."""

    start_at: datetime
    count: int
    quality: float
    quality_squared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Where the mean moved."""

    changed_at: datetime
    """The first request of the new mean, to the block."""
    quality_before: float
    quality_after: float
    """By the outcomes up to the block that told."""
    z: float
    """Signed root of the likelihood ratio, about standard errors; negative for a drop."""
    outcomes_before: int
    outcomes_after: int


def detect(blocks: Sequence[Block]) -> tuple[list[Change], Outcomes]:
    """The changes of one cell, and its outcomes with those from before a change discounted."""
    changes: list[Change] = []
    sums = [(0, 0.0, 0.0)]  # up to and with each block since the last change
    start, old = 0, Outcomes(0.0, 0.0, 0.0)
    for position, block in enumerate(blocks):
        count, quality, squared = sums[-1]
        sums.append((count + block.count, quality + block.quality, squared + block.quality_squared))
        split, z = _best_split(sums)
        if split is None:
            continue
        before, whole = sums[split], sums[-1]
        after = tuple(a - b for a, b in zip(whole, before, strict=True))
        changes.append(
            Change(
                changed_at=blocks[start + split].start_at,
                quality_before=before[1] / before[0],
                quality_after=after[1] / after[0],
                z=z,
                outcomes_before=before[0],
                outcomes_after=int(after[0]),
            )
        )
        old = _discounted(old, before)
        start += split
        sums = _running(blocks[start : position + 1])
    return changes, Outcomes(*(a + b for a, b in zip(sums[-1], _parts(old), strict=True)))


def _best_split(sums: Sequence[tuple[int, float, float]]) -> tuple[int | None, float]:
    """The split with the largest difference beyond THRESHOLD: blocks before it, and its z."""
    count, quality, squared = sums[-1]
    if count < MIN_AFTER + MIN_BEFORE:
        return None, 0.0
    within = squared - quality * quality / count
    binary = quality / count * (1.0 - quality / count)
    # Graded outcomes vary less than right or wrong ones of the same mean.
    variance = (within + SPREAD_WEIGHT * binary) / (count + SPREAD_WEIGHT)
    scale = sqrt(binary / variance) if variance > 0 else 0.0
    best: tuple[int | None, float] = (None, 0.0)
    for split in range(len(sums) - 2, max(len(sums) - 2 - WINDOW, 0), -1):
        before = sums[split]
        after = count - before[0]
        if after < MIN_AFTER:
            continue
        if before[0] < MIN_BEFORE:
            break
        z = _z(before[1] / before[0], before[0], (quality - before[1]) / after, after) * scale
        if abs(z) > max(THRESHOLD, abs(best[1])):
            best = (split, z)
    return best


def _z(before: float, count_before: float, after: float, count_after: float) -> float:
    """The signed root of the likelihood ratio of two means against one, for right or wrong outcomes.

    Unlike the difference over its standard error it keeps its tails where nearly all are right.
    """
    pooled = (before * count_before + after * count_after) / (count_before + count_after)
    deviance = 2.0 * (count_before * _divergence(before, pooled) + count_after * _divergence(after, pooled))
    return copysign(sqrt(max(deviance, 0.0)), after - before)


def _divergence(mean: float, pooled: float) -> float:
    """Kullback-Leibler divergence between two shares, in nats."""
    right = mean * log(mean / pooled) if mean > 0 else 0.0
    wrong = (1.0 - mean) * log((1.0 - mean) / (1.0 - pooled)) if mean < 1 else 0.0
    return right + wrong


def _running(blocks: Sequence[Block]) -> list[tuple[int, float, float]]:
    sums = [(0, 0.0, 0.0)]
    for block in blocks:
        count, quality, squared = sums[-1]
        sums.append((count + block.count, quality + block.quality, squared + block.quality_squared))
    return sums


def _discounted(old: Outcomes, before: tuple[int, float, float]) -> Outcomes:
    return Outcomes(*(DISCOUNT * (a + b) for a, b in zip(_parts(old), before, strict=True)))


def _parts(outcomes: Outcomes) -> tuple[float, float, float]:
    return outcomes.count, outcomes.quality, outcomes.quality_squared
