"""Worlds whose truth is known, for tests and benchmarks of statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.evaluation.estimators import Sample

if TYPE_CHECKING:
    from pipelines.evaluation.log import Floats

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
