"""Changes of a model's quality on a task: a model that was replaced under its name, or that drops.

The outcomes of a series come in blocks, in the order of their requests. At the end of each block the
newest outcomes are compared with those before, at splits whose distances grow geometrically. A large drop
is thus found in little traffic, and a small one in much. If the likelihood ratio of two means against one
passes a threshold, a change is noted at the best split and the search starts again behind it.

The threshold grows with the number of looks: look j may spend
ALPHA / (SPENDING · j · ln²(j + 1)) of the false alarms, and these shares sum to ALPHA. A series without a
change is therefore noted falsely with a chance of at most ALPHA in its whole life, however long it is and
however often it is read. A deployment with 100 series may expect 0.1 false alarms in its life, so at most
one such deployment in ten sees any, in a year or later. A series is the outcomes of one environment, task,
model and source of judgements, those that chance decided apart from the others.

Only the blocks decide, so the result does not depend on the order of late judgements or rebuilds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from math import copysign, log, sqrt
from typing import TYPE_CHECKING

from pipelines.rollups.tables import BLOCK
from pipelines.scores.quality_model import Outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_AFTER = 60
MIN_BEFORE = 20
"""Outcomes on either side below which nothing is noted."""
ALPHA = 0.001
"""Chance that a series without a change is ever noted falsely. A deployment watches a hundred series and
more, and a noted drop fails a check, so each must be this strict. A tenfold chance would find a drop of
5 points in a sixth fewer outcomes."""
SPENDING = 3.4
"""Sum of 1 / (j · ln²(j + 1)) over all looks j (3.39)."""
LIKENESS = 3.0
"""Tests that cost as much as one: neighbouring looks and splits see nearly the same outcomes. Measured:
with 3, about half of ALPHA of the stable series are noted (tests/benchmarks/change_detector.py)."""
DISCOUNT = 0.02
"""The weight of an outcome from before a change."""
SPREAD_WEIGHT = 10.0
"""Outcomes that the variance of right or wrong ones counts for in that of the series."""
SPANS_PER_LEVEL = 4
"""Spans of about one length that are kept apart. More are merged into spans of twice the length."""
NEAR = 0.7
"""Share of the threshold, by the plain difference of means, below which the exact ratio is not computed."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive outcomes of one series."""

    start_at: datetime
    count: int
    quality: float
    quality_squared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Where the mean moved."""

    changed_at: datetime
    """The first request of the new mean, to the span."""
    quality_before: float
    quality_after: float
    """Both means are from the outcomes up to the block that revealed the change."""
    z: float
    """Signed root of the likelihood ratio, about standard errors. Negative for a drop."""
    outcomes_before: int
    outcomes_after: int


_Span = tuple[datetime, int, float, float]
"""Start, outcomes, sum of qualities, sum of squares: blocks that no split separates any more."""


@dataclass(slots=True)
class Series:
    """The memory of the search in one series: enough to go on with the next block."""

    spans: list[_Span] = field(default_factory=list)
    """The spans since the last change, oldest first. Their lengths fall."""
    looks: int = 0
    """Looks since the first block: a change does not make the next one cheaper."""
    count: int = 0
    quality: float = 0.0
    squared: float = 0.0
    """Sums over the spans."""

    def add(self, block: Block) -> tuple[Change, Outcomes] | None:
        """Add the next block. Return the change that it reveals, with the outcomes from before it."""
        self.spans.append((block.start_at, block.count, block.quality, block.quality_squared))
        self._merge()
        self.count += block.count
        self.quality += block.quality
        self.squared += block.quality_squared
        if self.count < MIN_AFTER + MIN_BEFORE:
            return None
        self.looks += 1
        split, z = self._best_split()
        if split is None:
            return None
        before, after = _sum(self.spans[:split]), _sum(self.spans[split:])
        change = Change(
            changed_at=self.spans[split][0],
            quality_before=before.mean,
            quality_after=after.mean,
            z=z,
            outcomes_before=int(before.count),
            outcomes_after=int(after.count),
        )
        self.spans = self.spans[split:]
        self.count, self.quality, self.squared = int(after.count), after.quality, after.quality_squared
        return change, before

    def to_json(self) -> str:
        """The memory as text. `from_json` gives the same bits back."""
        spans = [(start.isoformat(), *sums) for start, *sums in self.spans]
        return json.dumps([self.looks, self.count, self.quality, self.squared, spans])

    @classmethod
    def from_json(cls, text: str) -> Series:
        """The memory that `to_json` wrote."""
        looks, count, quality, squared, raw = json.loads(text)
        spans = [(datetime.fromisoformat(start), *sums) for start, *sums in raw]
        return cls(spans=spans, looks=looks, count=count, quality=quality, squared=squared)

    def _merge(self) -> None:
        """Keep at most SPANS_PER_LEVEL spans of about one length: the two oldest become one."""
        level, end = 0, len(self.spans)
        while True:
            limit = 2 * BLOCK << level
            start = end
            while start > 0 and self.spans[start - 1][1] < limit:
                start -= 1
            if end - start <= SPANS_PER_LEVEL:
                return
            first, second = self.spans[start], self.spans[start + 1]
            sums = (first[1] + second[1], first[2] + second[2], first[3] + second[3])
            self.spans[start : start + 2] = [(first[0], *sums)]
            level, end = level + 1, start + 1

    def _best_split(self) -> tuple[int | None, float]:
        """The split with the largest difference beyond the threshold: spans before it, and its z."""
        threshold = threshold_at(self.looks)
        count, quality, squared = self.count, self.quality, self.squared
        within = squared - quality * quality / count
        binary = quality / count * (1.0 - quality / count)
        # Graded outcomes vary less than right or wrong ones of the same mean.
        variance = (within + SPREAD_WEIGHT * binary) / (count + SPREAD_WEIGHT)
        scale = sqrt(binary / variance) if variance > 0 else 0.0
        best, is_noted = (0, 0.0), False
        after, after_quality = 0, 0.0
        near = (NEAR * threshold) ** 2 * variance
        for split in range(len(self.spans) - 1, 0, -1):
            _, span_count, span_quality, _ = self.spans[split]
            after, after_quality = after + span_count, after_quality + span_quality
            before = count - after
            if before < MIN_BEFORE:
                break
            mean_before, mean_after = (quality - after_quality) / before, after_quality / after
            if (mean_after - mean_before) ** 2 * before * after < near * count:
                continue
            z = _z(mean_before, before, mean_after, after) * scale
            is_noted = is_noted or (after >= MIN_AFTER and abs(z) > threshold)
            if abs(z) > abs(best[1]):
                best = (split, z)  # fewer outcomes note nothing, but may show where it happened
        return best if is_noted else (None, 0.0)


def threshold_at(looks: int) -> float:
    """The z that look number `looks` must pass: its share of the false alarms, on both sides."""
    return sqrt(2.0 * log(2.0 * SPENDING * looks * log(looks + 1.0) ** 2 / (LIKENESS * ALPHA)))


def detect(blocks: Sequence[Block]) -> tuple[list[Change], Outcomes]:
    """The changes of one series, and its outcomes with those from before a change discounted."""
    series, changes, old = Series(), [], (0.0, 0.0, 0.0)
    for block in blocks:
        found = series.add(block)
        if found is not None:
            change, before = found
            changes.append(change)
            parts = (before.count, before.quality, before.quality_squared)
            old = (
                DISCOUNT * (old[0] + parts[0]),
                DISCOUNT * (old[1] + parts[1]),
                DISCOUNT * (old[2] + parts[2]),
            )
    return changes, Outcomes(series.count + old[0], series.quality + old[1], series.squared + old[2])


def _sum(spans: Sequence[_Span]) -> Outcomes:
    _, counts, qualities, squares = zip(*spans, strict=True)
    return Outcomes(sum(counts), sum(qualities), sum(squares))


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
