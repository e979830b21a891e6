"""Does it depend on an answer whether it is judged? Complaints, for instance, come for bad answers.

The estimates take judged answers for a fair sample of each task and model. Two kinds of evidence speak
against it, and both are counted in one test:

1. Within each task, models of better known outcomes are judged at another rate than the others.
2. Within each task and model, answers that look like better ones are judged at another rate. How
   they look: cost, tokens, latency, retries and the like, as ranks. Which look is the better one is
   learnt from the judged answers.

Rates may also differ between models for a reason of its own, such as a judge that reads the new
model's answers. Then they do not lie on a line over the outcomes, and the first kind counts less.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipelines.evaluation.estimators import Flags
    from pipelines.evaluation.log import Floats, Ints

MIN_JUDGED = 5
"""Fewer outcomes of a task and model say nothing of its rate."""
MEAN_WEIGHT = 20.0
"""Outcomes that the task's mean counts for in a model's own."""
LOOK_WEIGHT = 20.0
"""Judged answers that speak for a look without any effect."""


def judging_depends(task: Ints, model: Ints, outcome: Floats, looks: Floats | None = None) -> float:
    """How surely answers are judged the oftener the better (positive) or the worse (negative) they are.

    A score test, about normal where whether an answer is judged does not depend on it. `outcome` is
    NaN for answers without a judgement. `looks` are numbers of each request by column, NaN: unknown.
    """
    is_known = ~np.isnan(outcome)
    if not is_known.any():
        return 0.0
    values = np.where(is_known, outcome, 0.0)
    models = int(model.max()) + 1
    cell = task * models + model
    score, variance = _between_models(cell, models, values, is_known)
    if looks is not None and looks.shape[1]:
        within = _within_cells(cell, values, is_known, looks)
        score, variance = score + within[0], variance + within[1]
    return score / sqrt(variance) if variance > 0 else 0.0


def _between_models(cell: Ints, models: int, values: Floats, is_known: Flags) -> tuple[float, float]:
    """Score and variance of the models' rates over their mean outcomes."""
    cells = (int(cell.max()) // models + 1) * models
    shape = (-1, models)
    requests = np.bincount(cell, minlength=cells).reshape(shape).astype(float)
    known = np.bincount(cell, weights=is_known, minlength=cells).reshape(shape)
    sums = np.bincount(cell, weights=values, minlength=cells).reshape(shape)
    is_counted = known >= MIN_JUDGED
    counted = np.where(is_counted, requests, 0.0)
    totals = np.maximum(counted.sum(axis=1, keepdims=True), 1.0)
    mean = sums / np.maximum(known, 1.0)
    centred = mean - (counted * mean).sum(axis=1, keepdims=True) / totals
    centred *= known / (known + MEAN_WEIGHT)  # few outcomes do not show which model is the better one
    rate = np.where(is_counted, known, 0.0).sum(axis=1, keepdims=True) / totals
    excess = np.where(is_counted, known - requests * rate, 0.0)
    noise = counted * rate * (1 - rate)
    score, variance = float((centred * excess).sum()), float((noise * centred**2).sum())
    if variance <= 0:
        return 0.0, 0.0
    # How much more the rates scatter around the line than chance makes them.
    left = excess - score / variance * noise * centred
    freedom = max(int(is_counted.sum() - is_counted.any(axis=1).sum()) - 1, 1)
    scatter = max(float(np.square(left[noise > 0] / np.sqrt(noise[noise > 0])).sum()) / freedom, 1.0)
    return score / scatter, variance / scatter


def _within_cells(cell: Ints, values: Floats, is_known: Flags, looks: Floats) -> tuple[float, float]:
    """Score and variance of the rates over the outcomes that answers look like, in each task and model."""
    cells = int(cell.max()) + 1
    requests = np.bincount(cell, minlength=cells).astype(np.float64)
    known = np.bincount(cell, weights=is_known, minlength=cells).astype(np.float64)

    def centred(column: Floats, weights: Floats, counts: Floats) -> Floats:
        means = np.bincount(cell, weights=weights * column, minlength=cells) / np.maximum(counts, 1.0)
        return np.asarray(column - means[cell], dtype=np.float64)

    everyone, judged = np.ones(len(cell)), is_known.astype(float)
    ranks = [centred(_ranks(column, cell), everyone, requests) for column in looks.T]
    seen: Floats = np.column_stack([centred(column, judged, known) for column in ranks])[is_known]
    known_values: Floats = centred(values, judged, known)[is_known]
    ridge = LOOK_WEIGHT / 12 * np.eye(len(ranks))  # 1/12: the variance of ranks
    effects = np.linalg.solve(seen.T @ seen + ridge, seen.T @ known_values)
    # The noise in `effects` comes from the judged outcomes. It does not depend on which are judged.
    expected = np.column_stack(ranks) @ effects
    rate = known[cell] / requests[cell]
    return float((expected * (judged - rate)).sum()), float((rate * (1 - rate) * expected**2).sum())


def _ranks(column: Floats, cell: Ints) -> Floats:
    """Each value's place among those of its cell, from 0 to 1. Equal ones share theirs; unknown is last."""
    _, value = np.unique(np.where(np.isnan(column), np.inf, column), return_inverse=True)
    _, group, sizes = np.unique(
        cell * (int(value.max()) + 1) + value, return_inverse=True, return_counts=True
    )
    below = np.cumsum(sizes) - sizes / 2
    of_cell = np.bincount(cell)
    before = np.cumsum(of_cell) - of_cell
    return np.asarray((below[group] - before[cell]) / of_cell[cell])
