"""The demo's world has the published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipelines.replay.demo_world import load_figures, make_outcomes, prices_of, write_outcomes
from pipelines.replay.outcomes import load_world, world_of

if TYPE_CHECKING:
    from pathlib import Path


def test_figures_are_whole_items() -> None:
    """Every published accuracy is a whole number of (half, for ArenaHard) items of its data set."""
    figures = load_figures()
    assert len(figures) == 130
    for figure in figures:
        if figure.accuracy is None:
            continue
        halves = 2 if figure.dataset == "ArenaHard" else 1
        right = round(figure.accuracy * figure.items * halves)
        assert abs(right / (figure.items * halves) - figure.accuracy) < 0.000051, figure


def test_outcomes_have_the_published_means() -> None:
    """Accuracy is the published one to the nearest item, mean cost within the spread of its draw."""
    figures = load_figures()
    outcomes = make_outcomes(figures, items=150)
    for figure in figures:
        if figure.accuracy is None or figure.cost_usd is None:
            continue
        own = [
            outcome
            for outcome in outcomes
            if outcome.model == figure.model and outcome.item_id.startswith(f"{figure.dataset}/")
        ]
        right = sum(outcome.quality or 0.0 for outcome in own)
        assert right == round(figure.accuracy * 150)
        mean = float(sum(outcome.cost_usd or 0 for outcome in own)) / 150
        assert mean == pytest.approx(figure.cost_usd, rel=0.2)


def test_unpublished_stays_unknown() -> None:
    """A figure that is not published is null in the outcomes, and its model is not of the pool."""
    outcomes = make_outcomes(load_figures(), items=5)
    unknown = {
        (outcome.model, outcome.item_id.split("/")[0]) for outcome in outcomes if outcome.cost_usd is None
    }
    assert unknown == {("GPT-5-Chat", "tau2-bench")}
    assert world_of(outcomes, source="demo").left_out == ("GPT-5-Chat",)


def test_deterministic_and_exact(tmp_path: Path) -> None:
    """Twice the same world, and the file holds its costs to the last digit."""
    figures = load_figures()
    outcomes = make_outcomes(figures, items=10)
    assert outcomes == make_outcomes(figures, items=10)
    path = tmp_path / "outcomes.parquet"
    write_outcomes(path, outcomes)
    assert load_world(path) == world_of(outcomes, source="demo")


def test_models_fail_together() -> None:
    """Items that one strong model fails are harder for another than its average."""
    world = world_of(make_outcomes(load_figures()), source="demo")
    first, second = world.column("GPT-5"), world.column("Gemini-Pro")
    failed = [row[second] for row in world.quality if row[first] == 0.0]
    assert sum(failed) / len(failed) < sum(row[second] for row in world.quality) / len(world.quality) - 0.1


def test_every_model_has_a_price() -> None:
    """List prices are there for every model, with the output never cheaper than the input."""
    prices = prices_of(load_figures())
    assert len(prices) == 13
    assert all(float(given) < float(written) for given, written in prices.values())
