"""Worlds whose truth is known, for tests and benchmarks of statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.evaluation.estimators import Sample
from pipelines.evaluation.log import ELIGIBLE, Log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation.log import Floats, Ints

STRONG, WEAK = 0, 1
QUALITY = np.array([[0.95, 0.90], [0.60, 0.40]])
"""Of easy and hard prompts, on the strong and on the weak model."""
ODDS = np.array([[0.1, 0.9], [0.9, 0.1]])
"""Hard prompts are sent to the strong model, easy ones to the weak."""
TRUTH = QUALITY.mean(axis=0)
"""Of always using one model: prompts are easy or hard alike."""


def confounded(rng: np.random.Generator, requests: int) -> tuple[dict[int, Sample], Floats]:
    """A log in which difficulty drives both the choice and the outcome, and no task label tells it.

    The targets that always use one model, and the outcomes.
    """
    hard = rng.integers(0, 2, requests)
    action = (rng.random(requests) >= ODDS[hard, STRONG]).astype(np.int64)
    quality = (rng.random(requests) < QUALITY[hard, action]).astype(np.float64)
    targets = {
        model: Sample(
            task=np.zeros(requests, dtype=np.int64),
            action=action,
            cluster=np.arange(requests),
            weights=np.where(action == model, 1 / ODDS[hard, action], 0.0),
            target=np.tile(np.eye(2)[model], (requests, 1)),
        )
        for model in (STRONG, WEAK)
    }
    return targets, quality


def drawn_log(
    models: Sequence[str],
    tasks: Sequence[str],
    *,
    task: Ints,
    action: Ints,
    odds: Floats,
    cost_usd: Floats,
    quality: Floats,
    looks: Floats,
) -> Log:
    """The log of requests that were all drawn with these odds among all models, and answered."""
    rows, nothing = np.arange(len(action)), np.zeros(len(action), dtype=np.int64)
    return Log(
        models=tuple(models),
        tasks=tuple(tasks),
        organizations=(None,),
        snapshots=(None,),
        task=task,
        organization=nothing,
        draw_task=task,
        draw_bucket=nothing,
        snapshot=nothing,
        action=action,
        propensity=odds[rows, action],
        odds=odds,
        state=np.full(odds.shape, ELIGIBLE, dtype=np.int8),
        cluster=rows,
        cost_usd=cost_usd,
        quality=quality,
        is_answered=np.ones(len(action), dtype=bool),
        looks=looks,
        fallbacks=0,
        unchanged=0,
        unchanged_cost_usd=0.0,
        left_out=0,
        environment="production",
        elsewhere=0,
        kept_share=1.0,
    )
