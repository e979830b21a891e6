"""The references of a replay: random, cheapest, best single, and the best model of each task.

Regret is pseudo-regret: for each request, the utility of the best model of its task minus that of the
chosen one. Both are true means over the task, so that luck on single items does not count.
utility = quality - cost_weight * cost / (mean cost of the best single model).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.replay.outcomes import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From `step` on, model `model` answers with the quality of `like` and keeps its own cost."""

    step: int
    model: str
    like: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Request `step` asked for item (row) `item` and got model (column) `model`."""

    step: int
    item: int
    model: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The results of one way of choosing, over the requests of a run."""

    name: str
    quality: float
    cost_usd_per_1k: float
    regret: float
    """Sum over the requests."""
    share_of_random: float | None
    """Share of random's regret. None if random has no regret."""


class Yardstick:
    """True means of a world, before and after a change."""

    def __init__(self, world: World, *, cost_weight: float, change: Change | None = None) -> None:
        self.world = world
        self.change = change
        columns = range(len(world.models))
        means = [fmean(row[index] for row in world.quality) for index in columns]
        costs = [fmean(row[index] for row in world.cost) for index in columns]
        self.best_single = max(columns, key=means.__getitem__)
        self.cheapest = min(columns, key=costs.__getitem__)
        self.reference_cost_usd = costs[self.best_single]
        self._quality_after = _changed(world, change)
        self._utility_before = self._utilities(world.quality, cost_weight)
        self._utility_after = self._utilities(self._quality_after, cost_weight)

    def quality(self, pick: Pick) -> float:
        """The recorded quality of a pick."""
        return self._quality_at(pick.step)[pick.item][pick.model]

    def regret(self, pick: Pick) -> float:
        """The regret of a pick, as the module defines it."""
        utilities = self._utilities_at(pick)
        return max(utilities) - utilities[pick.model]

    def line(self, name: str, picks: Sequence[Pick]) -> Line:
        """The results of a way of choosing, given by its picks."""
        return self._line(
            name,
            picks,
            quality=fmean(map(self.quality, picks)),
            cost=fmean(self.world.cost[pick.item][pick.model] for pick in picks),
            regret=sum(map(self.regret, picks)),
        )

    def always(self, name: str, picks: Sequence[Pick], model: int) -> Line:
        """The results of one model (column) for all of these requests."""
        return self.line(name, [Pick(step=pick.step, item=pick.item, model=model) for pick in picks])

    def references(self, picks: Sequence[Pick]) -> list[Line]:
        """The results of random, cheapest, best single and each task's best model on the same requests."""
        names = self.world.models
        return [
            self.random(picks),
            self.always(f"cheapest ({names[self.cheapest]})", picks, self.cheapest),
            self.always(f"best single ({names[self.best_single]})", picks, self.best_single),
            self.line(
                "best model of each task",
                [Pick(step=pick.step, item=pick.item, model=self._best(pick)) for pick in picks],
            ),
        ]

    def random(self, picks: Sequence[Pick]) -> Line:
        """The expected results if every model is chosen with equal probability."""
        return self._line(
            "random",
            picks,
            quality=fmean(fmean(self._quality_at(pick.step)[pick.item]) for pick in picks),
            cost=fmean(fmean(self.world.cost[pick.item]) for pick in picks),
            regret=self._regret_of_random(picks),
        )

    def _line(self, name: str, picks: Sequence[Pick], *, quality: float, cost: float, regret: float) -> Line:
        random = self._regret_of_random(picks)
        share = regret / random if random > 0 else None
        return Line(
            name=name, quality=quality, cost_usd_per_1k=1000 * cost, regret=regret, share_of_random=share
        )

    def _regret_of_random(self, picks: Sequence[Pick]) -> float:
        return sum(max(values) - fmean(values) for values in map(self._utilities_at, picks))

    def _best(self, pick: Pick) -> int:
        utilities = self._utilities_at(pick)
        return max(range(len(utilities)), key=utilities.__getitem__)

    def _is_after(self, step: int) -> bool:
        return self.change is not None and step >= self.change.step

    def _quality_at(self, step: int) -> Sequence[Sequence[float]]:
        return self._quality_after if self._is_after(step) else self.world.quality

    def _utilities_at(self, pick: Pick) -> Sequence[float]:
        table = self._utility_after if self._is_after(pick.step) else self._utility_before
        return table[self.world.task_of[pick.item]]

    def _utilities(self, quality: Sequence[Sequence[float]], cost_weight: float) -> list[list[float]]:
        """Mean utility of each model (column) on each task (row)."""
        world = self.world
        rows_of: list[list[int]] = [[] for _ in world.tasks]
        for row, task in enumerate(world.task_of):
            rows_of[task].append(row)
        scale = cost_weight / self.reference_cost_usd if self.reference_cost_usd else 0.0
        return [
            [
                fmean(quality[row][model] - scale * world.cost[row][model] for row in rows)
                for model in range(len(world.models))
            ]
            for rows in rows_of
        ]


def _changed(world: World, change: Change | None) -> Sequence[Sequence[float]]:
    if change is None:
        return world.quality
    changed, like = world.column(change.model), world.column(change.like)
    return [(*row[:changed], row[like], *row[changed + 1 :]) for row in world.quality]
