"""Whether judged answers are a fair sample: complaints are noticed, and random samples are not."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation.evaluate import DEPENDS
from pipelines.evaluation.judging import judging_depends

TASKS, MODELS = 3, 4


def world(
    rng: np.random.Generator, requests: int, *, models: int = MODELS
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tasks, models, outcomes, and looks: long answers are the worse ones, latency says nothing."""
    task, model = rng.integers(0, TASKS, requests), rng.integers(0, models, requests)
    quality = (rng.random(requests) < 0.8 - 0.1 * model - 0.05 * task).astype(np.float64)
    tokens = rng.lognormal(5 + model, 1.0, requests) * np.where(quality > 0.5, 1.0, 2.5)
    return task, model, quality, np.column_stack([tokens, rng.lognormal(6, 1, requests)])


def judged(rng: np.random.Generator, quality: np.ndarray, odds: np.ndarray | float) -> np.ndarray:
    """The outcomes with NaN for those that are not judged."""
    return np.where(rng.random(len(quality)) < odds, quality, np.nan)


@pytest.mark.smoke
def test_complaints_are_noticed_in_one_model() -> None:
    """Where one model serves all, its answers' looks alone show that bad ones are judged more often."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        task, model, quality, looks = world(rng, 6000, models=1)
        outcome = judged(rng, quality, 0.1 * np.where(quality < 0.5, 3.0, 1.0))
        assert judging_depends(task, model, outcome, looks) < -DEPENDS
        assert judging_depends(task, model, outcome) == 0


def test_complaints_are_noticed_between_models() -> None:
    """Without anything known of the answers, the rates of better and worse models show it."""
    rng = np.random.default_rng(1)
    task, model, quality, _ = world(rng, 20_000)
    assert judging_depends(task, model, judged(rng, quality, np.where(quality < 0.5, 0.3, 0.1))) < -5
    assert judging_depends(task, model, judged(rng, quality, np.where(quality < 0.5, 0.1, 0.3))) > 5


def test_a_random_sample_is_not_warned_of() -> None:
    """Of 100 logs with a tenth of all answers judged, at most 3 are warned of."""
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        task, model, quality, looks = world(rng, 3000)
        found.append(judging_depends(task, model, judged(rng, quality, 0.1), looks))
    assert sum(abs(item) > DEPENDS for item in found) <= 3
    assert np.std(found) < 1.2


def test_rates_of_their_own_for_each_model_are_not_warned_of() -> None:
    """Of 100 logs whose judge reads some models of a task more than others, at most 5 are warned of."""
    warned = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        task, model, quality, looks = world(rng, 6000)
        rates = rng.uniform(0.05, 0.4, (TASKS, MODELS))
        warned += abs(judging_depends(task, model, judged(rng, quality, rates[task, model]), looks)) > DEPENDS
    assert warned <= 5


def test_little_or_nothing_judged_says_nothing() -> None:
    """No judgement, one, or only equal outcomes: no evidence, and no warning of numpy."""
    rng = np.random.default_rng(2)
    task, model, quality, looks = world(rng, 500)
    nothing = np.full(500, np.nan)
    assert judging_depends(task, model, nothing, looks) == 0
    one = nothing.copy()
    one[7] = 1.0
    assert abs(judging_depends(task, model, one, looks)) < DEPENDS
    assert abs(judging_depends(task, model, np.where(quality > 0.5, 1.0, 1.0), looks)) < DEPENDS
    unknown = np.full((500, 2), np.nan)
    assert abs(judging_depends(task, model, judged(rng, quality, 0.3), unknown)) < DEPENDS
