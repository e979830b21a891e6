"""What outcomes count that chance did not decide."""

from __future__ import annotations

import pytest

from pipelines.scores.outcomes import Part, count
from pipelines.scores.quality_model import Outcomes

CELL = ("math", "large")


def part(number: int, mean: float, *, is_drawn: bool, source: str = "user", model: str = "large") -> Part:
    """Right or wrong outcomes of equal weight."""
    found = Outcomes(number, number * mean, number * mean)
    weights = {"weight": float(number), "weight_squared": float(number)}
    return Part(cell=("math", model), is_drawn=is_drawn, source=source, outcomes=found, **weights)


def test_drawn_outcomes_count_in_full() -> None:
    """Without others, a cell's outcomes are the drawn ones, to the last bit."""
    found = count([part(300, 0.75, is_drawn=True)])[CELL]
    assert found.outcomes == Outcomes(300, 225.0, 225.0)
    assert found.by_source == {"user": 300, "judge": 0, "program": 0}


@pytest.mark.parametrize("number", [100, 10_000, 1_000_000])
def test_others_alone_are_a_weak_prior(number: int) -> None:
    """However many there are, they count for few."""
    found = count([part(number, 0.8, is_drawn=False)])[CELL]
    assert 5 < found.outcomes.count < 20
    assert found.outcomes.mean == pytest.approx(0.8)
    assert found.drawn == 0


def test_the_weight_of_others_is_learnt() -> None:
    """They count for more where they agree with chance in many cells, and for less where they do not."""
    counted = {}
    for shift in (0.0, 0.3):
        parts = []
        for model in range(20):
            parts += [
                part(500, 0.6, is_drawn=True, model=f"m{model}"),
                part(500, 0.6 + shift, is_drawn=False, model=f"m{model}", source="program"),
            ]
        counted[shift] = count(parts)["math", "m0"]
    assert counted[0.0].outcomes.count > 580
    assert counted[0.3].outcomes.count < 505
    assert counted[0.3].outcomes.mean == pytest.approx(0.6, abs=0.005)
    assert counted[0.0].by_source["program"] == pytest.approx(counted[0.0].outcomes.count - 500)


def test_unequal_weights_count_for_fewer() -> None:
    """Weighted outcomes count for their effective sample size (Kish)."""
    weighted = Part(
        cell=CELL,
        is_drawn=True,
        source="judge",
        outcomes=Outcomes(100.0, 70.0, 70.0),
        weight=100.0,
        weight_squared=400.0,
    )
    found = count([weighted])[CELL]
    assert found.outcomes.count == pytest.approx(25)
    assert found.outcomes.mean == pytest.approx(0.7)
