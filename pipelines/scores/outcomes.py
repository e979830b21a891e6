"""How many outcomes a cell has: those that chance decided count in full, the rest as a weak prior.

Models named by users, sticky sessions, experiments, fallbacks and greedy choices get other prompts than
chance would give them, so their mean is off by a bias of the cell:

    mean of such outcomes = quality + bias,    bias ~ N(0, spread)

They count for as many outcomes as have the same variance, 1 / (1/n + spread/noise): never more than
noise/spread. The spread starts at BIAS² and is learnt from the cells that have outcomes of both kinds.
Where the two kinds of one cell disagree, it is larger there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.scores.quality_model import MIN_NOISE, Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.scores.quality_model import Cell

BIAS = 0.1
"""Standard deviation of the bias before anything is learnt: right-or-wrong outcomes of quality 0.8 then
count for at most 16."""
BIAS_WEIGHT = 4.0
"""Cells that BIAS counts for in the common spread."""
OWN_WEIGHT = 1.0
"""Cells that the common spread counts for in a cell's own."""
MIN_SPREAD = 0.0004
"""Least spread that can be learnt: a bias of 2 points."""
SOURCES = ("user", "judge", "program")
"""Sources of verdicts, the highest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The outcomes of one cell that are of one source, and chosen in one way."""

    cell: Cell
    is_drawn: bool
    source: str | None
    outcomes: Outcomes
    """Changes discounted, and weighted so that drawn ones represent every request."""
    weight: float
    weight_squared: float
    """Sum of squares of the weights before changes were discounted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The outcomes on which a cell's quality is based."""

    outcomes: Outcomes
    drawn: float
    """The part of its outcomes that chance decided."""
    by_source: Mapping[str, float]


def count(parts: Iterable[Part]) -> dict[Cell, Counted]:
    """The outcomes of each cell, as they count."""
    cells: dict[Cell, list[Part]] = defaultdict(list)
    for part in parts:
        cells[part.cell].append(part)
    drawn = {cell: _pooled([part for part in found if part.is_drawn]) for cell, found in cells.items()}
    fixed = {cell: _pooled([part for part in found if not part.is_drawn]) for cell, found in cells.items()}
    spreads = _spreads(drawn, fixed)
    done = {}
    for cell in sorted(cells):
        both = drawn[cell], _prior(fixed[cell], drawn[cell], spreads[cell])
        whole = Outcomes(
            both[0].count + both[1].count,
            both[0].quality + both[1].quality,
            both[0].quality_squared + both[1].quality_squared,
        )
        if whole.count > 0:
            by_source = _by_source(cells[cell], drawn=both[0].count, fixed=both[1].count)
            done[cell] = Counted(outcomes=whole, drawn=both[0].count, by_source=by_source)
    return done


def _pooled(parts: list[Part]) -> Outcomes:
    """Weighted outcomes as so many unweighted ones (Kish's effective sample size)."""
    squares = sum(part.weight_squared for part in parts)
    share = min(sum(part.weight for part in parts) / squares, 1.0) if squares > 0 else 0.0
    return Outcomes(
        share * sum(part.outcomes.count for part in parts),
        share * sum(part.outcomes.quality for part in parts),
        share * sum(part.outcomes.quality_squared for part in parts),
    )


def _spreads(drawn: Mapping[Cell, Outcomes], fixed: Mapping[Cell, Outcomes]) -> dict[Cell, float]:
    """The variance of each cell's bias."""
    seen = {}  # cell -> squared difference less the variance that chance gives it, and how well it is known
    for cell in sorted(drawn):
        left, right = drawn[cell], fixed[cell]
        if left.count > 0 and right.count > 0:
            chance = _noise(left, right) * (1.0 / left.count + 1.0 / right.count)
            trust = BIAS**2 / (BIAS**2 + chance)
            seen[cell] = ((left.mean - right.mean) ** 2 - chance, trust * trust)
    total = BIAS_WEIGHT * BIAS**2 + sum(excess * trust for excess, trust in seen.values())
    common = max(total / (BIAS_WEIGHT + sum(trust for _, trust in seen.values())), MIN_SPREAD)
    spreads = dict.fromkeys(drawn, common)
    for cell, (excess, trust) in seen.items():
        own = (OWN_WEIGHT * common + excess * trust) / (OWN_WEIGHT + trust)
        spreads[cell] = max(own, common)
    return spreads


def _prior(fixed: Outcomes, drawn: Outcomes, spread: float) -> Outcomes:
    """The outcomes that chance did not decide, as so many as they count for."""
    if fixed.count <= 0:
        return Outcomes(0.0, 0.0, 0.0)
    share = 1.0 / (1.0 + fixed.count * spread / _noise(fixed, drawn))
    return Outcomes(share * fixed.count, share * fixed.quality, share * fixed.quality_squared)


def _noise(*groups: Outcomes) -> float:
    """Variance of single outcomes around their group's mean, with one of mean 0.5 added."""
    within = 0.25 + sum(group.within for group in groups if group.count > 0)
    return max(within / (1.0 + sum(group.count for group in groups)), MIN_NOISE)


def _by_source(parts: list[Part], *, drawn: float, fixed: float) -> dict[str, float]:
    totals = {
        kind: sum(part.outcomes.count for part in parts if part.is_drawn is kind) for kind in (True, False)
    }
    found = dict.fromkeys(SOURCES, 0.0)
    for part in parts:
        if part.source in found and totals[part.is_drawn] > 0:
            counted = drawn if part.is_drawn else fixed
            found[part.source] += part.outcomes.count / totals[part.is_drawn] * counted
    return found
