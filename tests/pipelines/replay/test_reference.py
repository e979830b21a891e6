"""Regret, and what a run is compared with."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.replay.outcomes import load_world
from pipelines.replay.reference import Change, Pick, Yardstick
from tests.pipelines.replay.test_outcomes import score_script
from tests.pipelines.replay.worlds import ROWS, row, write_outcomes
from tests.places import SHARED

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.smoke
def test_regret_by_hand(tmp_path: Path) -> None:
    """Regret is the task's best mean utility less the chosen model's, not the item's."""
    world = load_world(write_outcomes(tmp_path / "o.parquet", ROWS))
    yardstick = Yardstick(world, cost_weight=0.0)
    assert world.models[yardstick.best_single] == "good"
    assert world.models[yardstick.cheapest] == "bad"
    bad = world.column("bad")
    # math: good 1.0, bad (0 + 0.25) / 2, on item-1 as on item-4; code: both 1.0
    assert [yardstick.regret(Pick(step=0, item=item, model=bad)) for item in range(3)] == [0.875, 0.0, 0.875]


def test_reference_order(tmp_path: Path) -> None:
    """The best model of each task has no regret, and random has its own as share 1."""
    world = load_world(write_outcomes(tmp_path / "o.parquet", ROWS))
    picks = [Pick(step=step, item=step % 3, model=0) for step in range(9)]
    random, _, best_single, oracle = Yardstick(world, cost_weight=0.1).references(picks)
    assert random.share_of_random == pytest.approx(1.0)
    assert oracle.regret == 0.0
    assert best_single.name == "best single (good)"
    assert best_single.quality == 1.0


@pytest.mark.parametrize("with_change", [False, True])
def test_regret_equals_the_scoring_script(tmp_path: Path, with_change: bool) -> None:
    """Regret, its share of random's, quality and cost are the scoring script's."""
    score_script("score_online")
    random = Random(3)
    rows = [
        row(
            f"item-{item:02d}",
            model,
            random.choice([0.0, 0.5, 1.0]),
            random.uniform(0.0001, 0.01),
            task_type=task,
        )
        for item, task in enumerate(["math", "code", "chat"] * 10)
        for model in ("a", "b", "c", "d")
    ]
    outcomes = write_outcomes(tmp_path / "o.parquet", rows)
    world = load_world(outcomes)
    picks = [Pick(step=step, item=random.randrange(30), model=random.randrange(4)) for step in range(200)]
    picks_file = tmp_path / "p.parquet"
    pq.write_table(
        pa.table(
            {
                "step": [pick.step for pick in picks],
                "item_id": [world.items[pick.item] for pick in picks],
                "model": [world.models[pick.model] for pick in picks],
            }
        ),
        picks_file,
    )
    change = Change(step=80, model="a", like="d") if with_change else None
    extra = ["--change-step", "80", "--set", "a=d"] if with_change else []
    script = str(SHARED / "score" / "score_online.py")
    result = subprocess.run(
        [sys.executable, script, str(outcomes), str(picks_file), "--lam", "0.2", *extra],
        capture_output=True,
        check=True,
    )
    expected = json.loads(result.stdout)
    line = Yardstick(world, cost_weight=0.2, change=change).line("router", picks)
    assert line.regret == pytest.approx(expected["regret"], abs=1e-9)
    assert line.share_of_random == pytest.approx(expected["share_of_random"], abs=1e-9)
    assert line.quality == pytest.approx(expected["quality"], abs=1e-12)
    assert line.cost_usd_per_1k == pytest.approx(expected["cost_per_1k"], abs=1e-9)
