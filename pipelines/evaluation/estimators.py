"""Estimate a target policy's mean outcome from outcomes that another policy logged.

SNIPS (self-normalised inverse propensity scores; Swaminathan, Joachims 2015, "The self-normalized
estimator for counterfactual learning", NeurIPS): the mean of the outcomes, each weighted by how much
likelier the target is to act so, w = target / logged odds.

Doubly robust (Dudik, Langford, Li 2011, "Doubly robust policy evaluation and learning", ICML). Its
self-normalised form: Thomas, Brunskill 2016, ICML. The outcome that a model of task by action means
expects of the target, plus the weighted mean of the model's errors. The model is cross-fitted
(Chernozhukov et al. 2018): it never sees the requests, nor their sessions, that it is corrected on.

Outcomes that are missing (requests without a judgement) are missing at random within task and action.
Each known one represents the others of its cell by the inverse of the share known there.

Intervals are 95%, from the empirical variance of the influence function summed by cluster, with a
Student correction for the effective sample size. A cell of few known outcomes has a poor estimate of its
spread and takes part of the spread of all. Where the target decides for cells without known outcomes, the
spread between cells is added. No interval is narrower than one outcome unlike the others would make it.
`difference` pairs the requests: the same requests are in the target's mean and the logged one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import hypot, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.evaluation.log import Floats, Ints

    Flags = NDArray[np.bool_]

Z_95 = 1.959964
FOLDS = 5
CELL_WEIGHT = 5.0
"""Outcomes that a model's mean over all tasks counts for in a task of its own."""
SPREAD_WEIGHT = 2.0
"""Outcomes that the spread of all outcomes counts for in a cell's own."""
LEARNING = 1.2
"""Factor of every interval's width: the recorded policies learn from the outcomes that they log, so the
weights of later requests follow the outcomes of earlier ones. Without it 90 to 93% of the intervals
hold the truth (tests/benchmarks/offline_evaluation_bias.py)."""
RATE_WEIGHT = 1.0
"""Requests that the overall share of known outcomes counts for in a cell's."""
FOLD_SEED = 20261123


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Requests with the logged action and the target's odds."""

    task: Ints
    action: Ints
    cluster: Ints
    weights: Floats
    """Target's over logged odds of the action. 0 where the logged odds are too small to use."""
    target: Floats
    """Request by action: the target's odds. Rows sum to 1."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean per request with its 95% interval, and its difference to the logged mean with its own."""

    value: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float

    @classmethod
    def around(cls, value: float, half: float, *, difference: float, between: float) -> Estimate:
        """A mean and a difference, each with the half width of its interval."""
        return cls(
            value=value,
            low=value - half,
            high=value + half,
            difference=difference,
            difference_low=difference - between,
            difference_high=difference + between,
        )


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """An outcome under the logged and under the target policy."""

    known: int
    """Requests with a known outcome."""
    effective: float
    """Effective sample size of the weights over those, in clusters."""
    logged: Estimate
    snips: Estimate
    doubly_robust: Estimate


def effective_size(weights: Floats, cluster: Ints) -> float:
    """Kish's effective sample size (sum w)²/sum w² of the clusters' weights."""
    sums = np.bincount(cluster, weights=weights)
    total, squares = float(sums.sum()), float(np.square(sums).sum())
    return total * total / squares if squares > 0 else 0.0


def estimate(sample: Sample, outcome: Floats, *, scale: float | None = None) -> Estimates | None:
    """Estimate the mean of `outcome` (NaN: unknown). None when no weighted outcome is known.

    `scale` is by how much one outcome may differ from the others. Default: 1, as qualities do.
    """
    is_known = ~np.isnan(outcome)
    values = np.where(is_known, outcome, 0.0)
    standing_for = is_known / _known_rates(sample, is_known)
    weights = sample.weights * standing_for
    if weights.sum() <= 0:
        return None
    expected, predicted = _cross_fitted(sample, values, standing_for)
    logged = _ratio(values, standing_for)
    snips = _ratio(values, weights)
    correction = _ratio(values - predicted, weights)
    robust = (float(expected.mean()) + correction[0], expected - expected.mean() + correction[1])
    known_clusters = sample.cluster[is_known]
    effective = effective_size(weights[is_known], known_clusters)
    everyone = effective_size(standing_for[is_known], known_clusters)
    noise = _Noise.of(sample, values - predicted, is_known)
    scale = 1.0 if scale is None else scale
    interval = partial(_interval, logged=logged, cluster=sample.cluster, noise=noise, scale=scale)
    unseen = noise.unseen(sample)
    return Estimates(
        known=int(is_known.sum()),
        effective=effective_size(sample.weights[is_known], known_clusters),
        logged=interval(logged, weights=standing_for, effective=everyone, unseen=0.0),
        snips=interval(snips, weights=weights, effective=effective, unseen=unseen),
        doubly_robust=interval(robust, weights=weights, effective=effective, unseen=unseen),
    )


@dataclass(frozen=True, kw_only=True)
class _Noise:
    """The part of an estimate's variance that single influences do not show."""

    shared: Floats
    """For each request, the standard deviation of all outcomes that a cell of few adds to its own."""
    between: float
    """Variance of cells' means that the outcome model does not expect."""
    known: Floats
    """Clusters with a known outcome in each cell."""

    @classmethod
    def of(cls, sample: Sample, residuals: Floats, is_known: Flags) -> _Noise:
        cell, cells = _cells(sample)
        clusters = int(sample.cluster.max()) + 1
        pairs = np.unique(cell[is_known] * clusters + sample.cluster[is_known])
        known = np.bincount(pairs // clusters, minlength=cells).astype(np.float64)
        rows = np.bincount(cell, weights=is_known, minlength=cells)
        sums = np.bincount(cell, weights=np.where(is_known, residuals, 0.0), minlength=cells)
        variance = float(np.square(residuals[is_known]).mean())
        some = known > 1
        means = sums[some] / rows[some]
        between = float((np.square(means) - variance / known[some]).mean()) if some.any() else 0.0
        shared = np.where(is_known, variance * SPREAD_WEIGHT / (known[cell] + SPREAD_WEIGHT), 0.0)
        return cls(shared=np.sqrt(shared), between=max(between, 0.1 * variance), known=known)

    def unseen(self, sample: Sample) -> float:
        """Variance from the target's decisions for cells with few or no known outcomes."""
        actions = sample.target.shape[1]
        mass = np.zeros((len(self.known) // actions, actions))
        np.add.at(mass, sample.task, sample.target / len(sample.task))
        trust = self.known.reshape(mass.shape) / (self.known.reshape(mass.shape) + CELL_WEIGHT)
        left = np.where(self.known.reshape(mass.shape) < CELL_WEIGHT, 1.0 - trust, 0.0)
        return self.between * float(np.square(mass * left).sum())


def _ratio(values: Floats, weights: Floats) -> tuple[float, Floats]:
    """A weighted mean and each request's influence on it."""
    mean = float((weights * values).sum() / weights.sum())
    return mean, weights * (values - mean) / weights.mean()


def _interval(
    found: tuple[float, Floats],
    *,
    logged: tuple[float, Floats],
    cluster: Ints,
    noise: _Noise,
    scale: float,
    weights: Floats,
    effective: float,
    unseen: float,
) -> Estimate:
    value, influence = found
    difference = value - logged[0]
    alike = np.bincount(cluster, weights=weights / weights.mean() * noise.shared)
    shared = float(np.square(alike).sum()) / len(weights) ** 2
    least = least_half_width(scale, effective)
    half = _half_width(influence, cluster, effective, shared + unseen, least)
    # The same requests are in both: their common part cancels.
    between = _half_width(influence - logged[1], cluster, effective, shared + unseen, least)
    return Estimate.around(value, half, difference=difference, between=between)


def least_half_width(scale: float, effective: float) -> float:
    """Half the interval that one outcome unlike all others makes: equal outcomes cannot show it."""
    return Z_95**2 / 2 * scale / max(effective, 1.0)


def half_width(variance: float, effective: float, least: float) -> float:
    """Half the 95% interval of a mean of this variance, with as much evidence as `effective` requests.

    Student's quantile to first order (Cornish, Fisher 1938): few effective requests know their own variance
    badly.
    """
    freedom = max(effective - 1.0, 1.0)
    return hypot(LEARNING * (Z_95 + (Z_95**3 + Z_95) / (4 * freedom)) * sqrt(variance), least)


def _half_width(influence: Floats, cluster: Ints, effective: float, added: float, least: float) -> float:
    sums = np.bincount(cluster, weights=influence)
    sizes = np.bincount(cluster)
    clusters = int((sizes > 0).sum())
    variance = float(np.square(sums).sum()) * clusters / max(clusters - 1, 1) / len(influence) ** 2 + added
    return half_width(variance, effective, least)


def _known_rates(sample: Sample, is_known: Flags) -> Floats:
    """For each request, the share of its task and action with a known outcome."""
    cell, cells = _cells(sample)
    requests = np.bincount(cell, minlength=cells)
    known = np.bincount(cell, weights=is_known, minlength=cells)
    overall = float(is_known.mean())
    rates: Floats = ((known + RATE_WEIGHT * overall) / (requests + RATE_WEIGHT))[cell]
    return np.maximum(rates, 1e-12)


def _cross_fitted(sample: Sample, values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """For each request, the outcome expected of the target, and of the action that was logged."""
    clusters = int(sample.cluster.max()) + 1
    fold = np.random.default_rng(FOLD_SEED).permutation(clusters)[sample.cluster] % FOLDS
    expected, predicted = np.zeros(len(values)), np.zeros(len(values))
    for number in range(FOLDS):
        mine = fold == number
        means = _means(sample, values, np.where(mine, 0.0, weights))
        expected[mine] = (sample.target[mine] * means[sample.task[mine]]).sum(axis=1)
        predicted[mine] = means[sample.task[mine], sample.action[mine]]
    return expected, predicted


def _means(sample: Sample, values: Floats, weights: Floats) -> Floats:
    """Task by action means, each shrunk to its action's mean and that to the mean of all."""
    cell, cells = _cells(sample)
    shape = (-1, sample.target.shape[1])
    counts = np.bincount(cell, weights=weights, minlength=cells).reshape(shape)
    sums = np.bincount(cell, weights=weights * values, minlength=cells).reshape(shape)
    total = counts.sum()
    everyone = sums.sum() / total if total > 0 else 0.0
    actions = (sums.sum(axis=0) + CELL_WEIGHT * everyone) / (counts.sum(axis=0) + CELL_WEIGHT)
    means: Floats = (sums + CELL_WEIGHT * actions) / (counts + CELL_WEIGHT)
    return means


def _cells(sample: Sample) -> tuple[Ints, int]:
    actions = sample.target.shape[1]
    cell: Ints = sample.task * actions + sample.action
    return cell, (int(sample.task.max()) + 1) * actions
