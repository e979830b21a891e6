"""What outcomes say about each model's quality on each task: a hierarchical estimate.

    quality(task, model) = everyone's mean + what the task adds + what the model adds + their own part

Each part is shrunk by how much such parts vary: a model's own part on a task counts for as much as
the task's spread of those parts allows (estimated per task by moments, so that a task on which
models differ wildly is explored and one on which they do not is not), the model's part is shrunk to
its catalog prior. A model that is sent the easy tasks is not flattered, and a cell without outcomes
still has an expectation. Plain floats in a fixed order: the same outcomes give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.snapshot import ALL_TASKS, ANY_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_WEIGHT = 4.0
"""Outcomes the prior of a model's part counts for."""
TASK_WEIGHT = 2.0
"""Outcomes the prior of a task's part counts for."""
CELL_WEIGHT = 10.0
"""Outcomes the rest counts for in a cell of its own, before the task has shown how models differ."""
CELL_WEIGHT_MODELS = 8.0
"""Models that CELL_WEIGHT counts for beside those seen on the task."""
CELL_WEIGHT_BOUNDS = (0.5, 100.0)
NOISE_WEIGHT = 10.0
"""Outcomes the task's spread counts for in a cell's own spread of outcomes."""
MIN_NOISE = 0.003
"""Variance of single outcomes is taken to be at least this: ten equal outcomes are no certainty."""
ROUNDS = 3
SWEEPS = 4
"""Rounds of estimating the spreads, and sweeps over models and tasks in each; more change nothing
that traffic would notice."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Judged requests of one cell. Weighted: the count need not be whole."""

    count: float
    quality: float
    """Sum."""
    quality_squared: float
    """Sum of squares."""

    @property
    def mean(self) -> float:
        """Of the outcomes alone."""
        return self.quality / self.count

    @property
    def within(self) -> float:
        """Sum of squared deviations from the mean."""
        return max(self.quality_squared - self.quality * self.quality / self.count, 0.0)


@dataclass(frozen=True, slots=True)
class Belief:
    """Of a mean quality; of `*` as the model: how models are spread."""

    mean: float
    variance: float


Cell = tuple[str, str]
"""(task_type, model)"""


def estimate(
    outcomes: Mapping[Cell, Outcomes], requests: Mapping[str, float], priors: Mapping[str, float]
) -> dict[Cell, Belief]:
    """Beliefs for every cell with outcomes, and for `*` in place of either name.

    `requests` per task weigh the mean over all tasks; `priors` are expected qualities by model, of
    which only the differences count.
    """
    seen = {cell: outcomes[cell] for cell in sorted(outcomes) if outcomes[cell].count > 0}
    return _Fit(seen, requests, priors).beliefs() if seen else {}


class _Fit:
    """The parts, estimated in turn until they agree."""

    def __init__(
        self, seen: Mapping[Cell, Outcomes], requests: Mapping[str, float], priors: Mapping[str, float]
    ) -> None:
        self.seen = seen
        self.tasks = sorted({task for task, _ in seen})
        self.models = sorted({model for _, model in seen})
        total = sum(requests[task] for task in self.tasks)
        self.share = {task: requests[task] / total for task in self.tasks}
        everyone = sum(priors[model] for model in sorted(priors)) / len(priors) if priors else 0.0
        self.prior = {model: priors[model] - everyone if model in priors else 0.0 for model in self.models}
        count = sum(item.count for item in seen.values())
        # One success and one failure on top: a handful of equal outcomes is no certainty.
        self.grand = (sum(item.quality for item in seen.values()) + 1.0) / (count + 2.0)
        self.task_noise = self._task_noise()
        self.noise = {
            cell: max(
                (item.within + NOISE_WEIGHT * self.task_noise[cell[0]])
                / (max(item.count - 1.0, 0.0) + NOISE_WEIGHT),
                MIN_NOISE,
            )
            for cell, item in seen.items()
        }
        self.weight = dict.fromkeys(self.tasks, CELL_WEIGHT)
        self.model_part = dict(self.prior)
        self.task_part = dict.fromkeys(self.tasks, 0.0)
        for _ in range(ROUNDS):
            self._sweep()
            self._weigh()
        self._sweep()
        self.mean_noise = sum(self.share[task] * self.task_noise[task] for task in self.tasks)

    def _task_noise(self) -> dict[str, float]:
        """Variance of single outcomes around their cell's mean, per task."""
        prior = max(self.grand * (1.0 - self.grand), MIN_NOISE)
        within = dict.fromkeys(self.tasks, 4.0 * prior)
        freedom = dict.fromkeys(self.tasks, 4.0)
        for (task, _), item in self.seen.items():
            within[task] += item.within
            freedom[task] += max(item.count - 1.0, 0.0)
        return {task: max(within[task] / freedom[task], MIN_NOISE) for task in self.tasks}

    def _sweep(self) -> None:
        """Models' and tasks' parts for the present weights."""
        said = []
        for (task, model), item in self.seen.items():
            weight = item.count * self.weight[task] / (item.count + self.weight[task])
            said.append((task, model, weight, item.mean - self.grand))
        self.evidence = dict.fromkeys(self.models, MODEL_WEIGHT)
        by_task = dict.fromkeys(self.tasks, TASK_WEIGHT)
        for task, model, weight, _ in said:
            self.evidence[model] += weight
            by_task[task] += weight
        for _ in range(SWEEPS):
            sums = {model: MODEL_WEIGHT * self.prior[model] for model in self.models}
            for task, model, weight, value in said:
                sums[model] += weight * (value - self.task_part[task])
            self.model_part = {model: sums[model] / self.evidence[model] for model in self.models}
            sums = dict.fromkeys(self.tasks, 0.0)
            for task, model, weight, value in said:
                sums[task] += weight * (value - self.model_part[model])
            self.task_part = {task: sums[task] / by_task[task] for task in self.tasks}

    def _weigh(self) -> None:
        """How much the rest counts in each task's cells, from how far cells lie off their parts."""
        total = dict.fromkeys(self.tasks, 0.0)
        weights = dict.fromkeys(self.tasks, 0.0)
        for (task, model), item in self.seen.items():
            error = self.noise[task, model] / item.count
            spread = self.task_noise[task] / self.weight[task]
            weight = (spread / (spread + error)) ** 2
            total[task] += weight * ((item.mean - self._main(task, model)) ** 2 - error)
            weights[task] += weight
        low, high = CELL_WEIGHT_BOUNDS
        for task in self.tasks:
            noise = self.task_noise[task]
            spread = (total[task] + CELL_WEIGHT_MODELS * noise / CELL_WEIGHT) / (
                weights[task] + CELL_WEIGHT_MODELS
            )
            self.weight[task] = min(max(noise / spread, low), high) if spread > 0 else high

    def _main(self, task: str, model: str) -> float:
        return self.grand + self.task_part[task] + self.model_part[model]

    def beliefs(self) -> dict[Cell, Belief]:
        """See `estimate`."""
        between = self.mean_noise / MODEL_WEIGHT
        found = {cell: self._cell(*cell) for cell in self.seen}
        for task in self.tasks:
            spread = between + self.task_noise[task] / self.weight[task]
            found[task, ANY_MODEL] = Belief(_bounded(self.grand + self.task_part[task]), spread)
        everywhere = sum(self.share[task] * found[task, ANY_MODEL].mean for task in self.tasks)
        found[ALL_TASKS, ANY_MODEL] = Belief(everywhere, between)
        for model in self.models:
            found[ALL_TASKS, model] = self._overall(model, found)
        return found

    def _cell(self, task: str, model: str) -> Belief:
        item, weight, noise = self.seen[task, model], self.weight[task], self.noise[task, model]
        total = item.count + weight
        mean = (item.quality + weight * self._main(task, model)) / total
        lent = weight / total
        return Belief(_bounded(mean), noise * (1.0 / total + lent * lent / self.evidence[model]))

    def _overall(self, model: str, found: Mapping[Cell, Belief]) -> Belief:
        """The mean over all tasks by their traffic, also over those the model was never given."""
        mean = variance = lent = 0.0
        for task in self.tasks:
            share, weight = self.share[task], self.weight[task]
            item = self.seen.get((task, model))
            count = item.count if item is not None else 0.0
            noise = self.noise.get((task, model), self.task_noise[task])
            cell = found.get((task, model))
            mean += share * (cell.mean if cell is not None else _bounded(self._main(task, model)))
            variance += share * share * noise / (count + weight)
            lent += share * weight / (count + weight)
        return Belief(mean, variance + lent * lent * self.mean_noise / self.evidence[model])


def _bounded(quality: float) -> float:
    return min(max(quality, 0.0), 1.0)
