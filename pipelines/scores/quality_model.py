"""The estimate of each model's quality on each task from its outcomes: a hierarchical model.

    quality(task, model) = the task's mean + the model's prior + slope(task) * the model's lead + its own part

A factor analysis of one factor (Rubin and Thayer, 1982). A model's lead is the common part of its outcomes
on all tasks. A task's slope is how much of a lead shows on it, learnt from the models tried there. Where
strong models do no better or do worse, as at refusing to call a tool, the slope goes to zero or below, and
a model that is weak elsewhere is not ruled out. A model's own part on a task is shrunk by how much such
parts vary on that task. A model that is sent the easy tasks is not flattered, and a cell without outcomes
still has an expectation. Plain floats in a fixed order: the same outcomes give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from router.scores.snapshot import ALL_TASKS, ANY_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_WEIGHT = 4.0
"""Outcomes the prior of a model's lead counts for, on a task of slope as expected."""
TASK_WEIGHT = 30.0
"""One over the variance of tasks' means around that of all outcomes."""
CELL_WEIGHT = 10.0
"""Outcomes the rest counts for in a cell of its own, before the task has shown how models differ."""
TASK_PRIOR_MODELS = 2.0
"""Models that the expected slope and spread of a task count for, added to those seen on it."""
NOISE_WEIGHT = 10.0
"""Outcomes the task's spread counts for in a cell's own spread of outcomes."""
MIN_SPREAD = 0.001
"""Variance of the models' own parts on a task, at least."""
MIN_NOISE = 0.003
"""Variance of single outcomes is taken to be at least this: ten equal outcomes are not a certainty."""
ROUNDS = 15
SWEEPS = 2
"""Rounds of estimating slopes and spreads, and sweeps over models and tasks in each: as many as do best
on recorded traffic. Fewer leave the slope of an odd task too near the expected one."""


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
        """The mean of only the outcomes."""
        return self.quality / self.count

    @property
    def within(self) -> float:
        """Sum of squared deviations from the mean."""
        return max(self.quality_squared - self.quality * self.quality / self.count, 0.0)


@dataclass(frozen=True, slots=True)
class Belief:
    """About a mean quality. With `*` as the model: how models are spread."""

    mean: float
    variance: float


Cell = tuple[str, str]
"""(task_type, model)"""


def estimate(
    outcomes: Mapping[Cell, Outcomes], requests: Mapping[str, float], priors: Mapping[str, float]
) -> dict[Cell, Belief]:
    """Beliefs for every model with outcomes on every task with outcomes, also where the two have
    none together, and for `*` in place of either name.

    `requests` per task weigh the mean over all tasks. `priors` are expected qualities by model: only
    their differences count.
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
        # One success and one failure on top: a handful of equal outcomes is not a certainty.
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
        mean_noise = sum(self.share[task] * self.task_noise[task] for task in self.tasks)
        self.expected_slope = sqrt(mean_noise / MODEL_WEIGHT)
        self.slope = dict.fromkeys(self.tasks, self.expected_slope)
        self.spread = {task: self.task_noise[task] / CELL_WEIGHT for task in self.tasks}
        self.task_mean = dict.fromkeys(self.tasks, self.grand)
        for _ in range(ROUNDS):
            self._sweep()
            self._learn()
        self._sweep()

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
        """Models' leads and tasks' means for the present slopes and spreads."""
        error = {
            (task, model): self.spread[task] + self.noise[task, model] / item.count
            for (task, model), item in self.seen.items()
        }
        precision = dict.fromkeys(self.models, 1.0)
        weight = dict.fromkeys(self.tasks, TASK_WEIGHT)
        for (task, model), variance in error.items():
            precision[model] += self.slope[task] ** 2 / variance
            weight[task] += 1.0 / variance
        self.uncertainty = {model: 1.0 / precision[model] for model in self.models}
        for _ in range(SWEEPS):
            sums = dict.fromkeys(self.models, 0.0)
            for (task, model), variance in error.items():
                sums[model] += self.slope[task] * self._rest(task, model) / variance
            self.lead = {model: sums[model] / precision[model] for model in self.models}
            sums = dict.fromkeys(self.tasks, TASK_WEIGHT * self.grand)
            for (task, model), variance in error.items():
                item = self.seen[task, model].mean - self.prior[model]
                sums[task] += (item - self.slope[task] * self.lead[model]) / variance
            self.task_mean = {task: sums[task] / weight[task] for task in self.tasks}

    def _rest(self, task: str, model: str) -> float:
        """The part of a cell's mean that the task's mean and the model's prior do not explain."""
        return self.seen[task, model].mean - self.task_mean[task] - self.prior[model]

    def _own_share(self, task: str, model: str) -> float:
        """The share of a cell's rest after the lead that is its own and not noise: 0 without outcomes."""
        item = self.seen.get((task, model))
        if item is None:
            return 0.0
        return self.spread[task] / (self.spread[task] + self.noise[task, model] / item.count)

    def _learn(self) -> None:
        """Slopes and spreads, by expectation over the uncertainty that the outcomes leave (EM)."""
        models = dict.fromkeys(self.tasks, TASK_PRIOR_MODELS)
        leads = dict.fromkeys(self.tasks, TASK_PRIOR_MODELS)  # sums of squares
        products = dict.fromkeys(self.tasks, TASK_PRIOR_MODELS * self.expected_slope)
        squares = {
            task: TASK_PRIOR_MODELS * (self.expected_slope**2 + self.task_noise[task] / CELL_WEIGHT)
            for task in self.tasks
        }
        for task, model in self.seen:
            own, lead, uncertainty = self._own_share(task, model), self.lead[model], self.uncertainty[model]
            lent = (1.0 - own) * self.slope[task]
            part = lent * lead + own * self._rest(task, model)
            models[task] += 1.0
            leads[task] += lead * lead + uncertainty
            products[task] += part * lead + lent * uncertainty
            squares[task] += part * part + lent * lent * uncertainty + self.spread[task] * (1.0 - own)
        for task in self.tasks:
            slope = products[task] / leads[task]
            self.slope[task] = slope
            self.spread[task] = max((squares[task] - slope * products[task]) / models[task], MIN_SPREAD)

    def beliefs(self) -> dict[Cell, Belief]:
        """See `estimate`."""
        found = {(task, model): self._cell(task, model) for task in self.tasks for model in self.models}
        for task in self.tasks:
            spread = self.slope[task] ** 2 + self.spread[task]
            found[task, ANY_MODEL] = Belief(_bounded(self.task_mean[task]), spread)
        everywhere = sum(self.share[task] * found[task, ANY_MODEL].mean for task in self.tasks)
        common = sum(self.share[task] * self.slope[task] for task in self.tasks)
        apart = sum(self.share[task] ** 2 * self.spread[task] for task in self.tasks)
        found[ALL_TASKS, ANY_MODEL] = Belief(everywhere, common * common + apart)
        for model in self.models:
            found[ALL_TASKS, model] = self._overall(model, found)
        return found

    def _cell(self, task: str, model: str) -> Belief:
        own = self._own_share(task, model)
        lent = (1.0 - own) * self.slope[task]
        mean = self.task_mean[task] + self.prior[model] + lent * self.lead[model]
        if own > 0:
            mean += own * self._rest(task, model)
        return Belief(_bounded(mean), lent * lent * self.uncertainty[model] + self.spread[task] * (1.0 - own))

    def _overall(self, model: str, found: Mapping[Cell, Belief]) -> Belief:
        """The mean over all tasks by their traffic, also over those the model was never given."""
        mean = lent = variance = 0.0
        for task in self.tasks:
            share, rest = self.share[task], 1.0 - self._own_share(task, model)
            mean += share * found[task, model].mean
            lent += share * rest * self.slope[task]
            variance += share * share * self.spread[task] * rest
        return Belief(mean, variance + lent * lent * self.uncertainty[model])


def _bounded(quality: float) -> float:
    return min(max(quality, 0.0), 1.0)
