"""The hierarchical estimate of quality, and the change detector."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from math import sqrt

import numpy as np
import pytest

from pipelines.rollups.tables import BLOCK
from pipelines.scores.change_detection import DISCOUNT, Block, detect
from pipelines.scores.quality_model import Outcomes, estimate
from pipelines.scores.scoring import Z_95
from router.scores.snapshot import ALL_TASKS, ANY_MODEL
from tests.benchmarks import score_coverage

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def outcomes(count: int, share: float) -> Outcomes:
    """Right or wrong ones."""
    return Outcomes(count, count * share, count * share)


def blocks(values: list[float]) -> list[Block]:
    """Outcomes a second apart."""
    found = []
    for start in range(0, len(values), BLOCK):
        part = values[start : start + BLOCK]
        at = NOW + timedelta(seconds=start)
        found.append(Block(at, len(part), sum(part), sum(value * value for value in part)))
    return found


@pytest.mark.smoke
def test_many_outcomes_speak_for_themselves() -> None:
    """With 10,000 outcomes a cell's estimate is their mean, to a tenth of a point."""
    cells = {("a", "x"): outcomes(10_000, 0.9), ("a", "y"): outcomes(10_000, 0.2), ("b", "y"): outcomes(5, 1)}
    found = estimate(cells, {"a": 20_000, "b": 5}, {})
    assert found["a", "x"].mean == pytest.approx(0.9, abs=0.001)
    assert found["a", "y"].mean == pytest.approx(0.2, abs=0.001)
    assert found["a", "x"].variance == pytest.approx(0.9 * 0.1 / 10_000, rel=0.1)


@pytest.mark.smoke
def test_easy_tasks_flatter_no_model() -> None:
    """A model that is worse on every task is worse over all, though it was sent the easy ones."""
    cells = {
        ("easy", "weak"): outcomes(900, 0.90),
        ("hard", "weak"): outcomes(100, 0.30),
        ("easy", "strong"): outcomes(100, 0.95),
        ("hard", "strong"): outcomes(900, 0.45),
    }
    found = estimate(cells, {"easy": 1000, "hard": 1000}, {})
    assert found[ALL_TASKS, "strong"].mean > found[ALL_TASKS, "weak"].mean


def test_few_outcomes_lean_on_the_models_other_tasks_and_its_prior() -> None:
    """Three failures in a row condemn no model that is good elsewhere, nor one with a good prior."""
    elsewhere = {(task, "known"): outcomes(200, 0.9) for task in ("a", "b", "c")}
    others = {(task, "poor"): outcomes(200, 0.5) for task in ("a", "b", "c", "d")}
    cells = elsewhere | others | {("d", "known"): outcomes(3, 0.0), ("d", "fresh"): outcomes(3, 0.0)}
    requests = dict.fromkeys("abcd", 400)
    found = estimate(cells, requests, {})
    known, fresh, poor = (found["d", name] for name in ("known", "fresh", "poor"))
    assert known.mean > 0.3 > fresh.mean
    assert known.mean > fresh.mean + 0.05
    assert known.mean + Z_95 * sqrt(known.variance) > poor.mean
    helped = estimate(cells, requests, {"fresh": 0.9, "poor": 0.5})
    assert helped["d", "fresh"].mean > found["d", "fresh"].mean


def test_a_task_on_which_models_differ_wildly_shrinks_less() -> None:
    """The weight of the rest follows the spread that the task shows, and so does the prior's width."""
    random_ = random.Random(3)
    cells = {}
    for index in range(30):
        cells["tame", f"m{index}"] = outcomes(50, 0.6 + 0.05 * random_.random())
        cells["wild", f"m{index}"] = outcomes(50, 0.1 + 0.8 * random_.random())
    found = estimate(cells, {"tame": 1500, "wild": 1500}, {})
    between = found[ALL_TASKS, ANY_MODEL].variance
    wild, tame = found["wild", ANY_MODEL].variance, found["tame", ANY_MODEL].variance
    assert wild - between > 3 * (tame - between)


def test_who_is_weak_elsewhere_is_not_ruled_out_on_a_task_where_leads_do_not_show() -> None:
    """Where the strong do worse, the expectation of an untried weak model is above that of an untried
    strong one, and uncertain; on a task like the others it is below."""
    strength = {f"m{index}": 0.3 + 0.015 * index for index in range(40)} | {"weak": 0.2, "strong": 0.95}
    cells = {(task, model): outcomes(100, mean) for task in "abc" for model, mean in strength.items()}
    for index in range(40):
        cells["odd", f"m{index}"] = outcomes(30, 0.9 - 0.015 * index)
        cells["like", f"m{index}"] = outcomes(30, 0.3 + 0.015 * index)
    found = estimate(cells, dict.fromkeys(["a", "b", "c", "odd", "like"], 1000), {})
    assert found["odd", "weak"].mean > 0.75 > 0.5 > found["odd", "strong"].mean
    assert found["like", "weak"].mean < 0.4 < 0.8 < found["like", "strong"].mean
    assert found["odd", "weak"].variance > 4 * found["odd", "m0"].variance


@pytest.mark.smoke
def test_the_same_outcomes_give_the_same_bits_in_any_order() -> None:
    """The order in which cells are handed over changes no bit."""
    random_ = random.Random(5)
    cells = {(f"t{t}", f"m{m}"): outcomes(1 + t * m, random_.random()) for t in range(5) for m in range(9)}
    names = list(cells)
    random_.shuffle(names)
    requests = {f"t{t}": 7 + t for t in range(5)}
    assert estimate({name: cells[name] for name in names}, requests, {}) == estimate(cells, requests, {})


def test_intervals_cover() -> None:
    """The 95% interval holds the true mean in 93 to 99 of 100 cells drawn from such a world."""
    random_ = random.Random(8)
    inside = total = 0
    for _ in range(40):
        truth = {}
        for model in range(10):
            part = random_.gauss(0, 0.1)
            for task in range(4):
                truth[f"t{task}", f"m{model}"] = min(max(0.6 + part + random_.gauss(0, 0.1), 0.05), 0.95)
        cells = {}
        for cell, mean in truth.items():
            count = random_.choice((3, 30, 300))
            right = sum(random_.random() < mean for _ in range(count))
            cells[cell] = Outcomes(count, right, right)
        found = estimate(cells, {f"t{task}": 1 for task in range(4)}, {})
        for cell, mean in truth.items():
            total += 1
            inside += abs(found[cell].mean - mean) <= 1.959964 * found[cell].variance ** 0.5
    assert 0.93 <= inside / total <= 0.99


def test_a_drop_is_found_where_it_was_and_what_came_before_is_discounted() -> None:
    """0.85 to 0.6 after 1,000 outcomes: one change, at its place, and the later outcomes count."""
    random_ = random.Random(1)
    values = [float(random_.random() < (0.85 if index < 1000 else 0.6)) for index in range(1400)]
    (change,), counted = detect(blocks(values))
    place = (change.changed_at - NOW).total_seconds()
    assert abs(place - 1000) <= 2 * BLOCK
    assert change.quality_before > change.quality_after
    assert counted.count == pytest.approx(1400 - place + DISCOUNT * place)
    assert counted.mean == pytest.approx(sum(values[1000:]) / 400, abs=0.03)


def test_a_stable_cell_keeps_every_outcome() -> None:
    """False alarms come in at most 6 of 100 stable cells of 2,000 outcomes, near certainty too."""
    random_ = random.Random(2)
    for quality in (0.5, 0.85, 0.97):
        alarms = 0
        for _ in range(200):
            found, counted = detect(blocks([float(random_.random() < quality) for _ in range(2000)]))
            alarms += bool(found)
            assert found or counted.count == 2000
        assert alarms <= 12


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 500, [0.0] * 500, [0.5] * 500])
def test_equal_outcomes_are_no_change(values: list[float]) -> None:
    """Nothing, one outcome, and rows of equal ones raise no alarm and no error."""
    found, counted = detect(blocks(values))
    assert (found, counted.count) == ([], len(values))


def test_score_rows_of_every_size_hold_the_truth() -> None:
    """In made worlds at least 93% of the published intervals hold, with few outcomes and with many."""
    rng = np.random.default_rng(4)
    rows = [row for _ in range(150) for row in score_coverage.held(*score_coverage.made(rng), rng)]
    for low, high in score_coverage.SIZES:
        found = [holds for count, holds, _ in rows if low <= count <= high]
        assert sum(found) >= 0.93 * len(found), (low, high)
