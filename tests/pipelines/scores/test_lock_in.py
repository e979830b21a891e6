"""The loop does not lock itself in."""

from __future__ import annotations

import pytest

from tests.benchmarks.lock_in import Shape, run


@pytest.mark.parametrize("feedback_share", [1.0, 0.3])
def test_one_strong_dear_model_among_weak_ones_is_found(feedback_share: float) -> None:
    """Six models, one 40 times as dear and far better: the router comes to use it."""
    shape = Shape(
        models=6,
        tasks=1,
        quality=0.2,
        quality_gap=0.4,
        cost_ratio=40.0,
        feedback_share=feedback_share,
        refresh_every=200,
    )
    for world in range(3):
        found = run(shape, world=world, seed=world, requests=3000)
        assert found.whole < 50.0
        assert found.end < 20.0
