"""The world of a replay: pool, items, exact costs."""

from __future__ import annotations

import importlib.util
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.replay.outcomes import load_world
from pipelines.replay.trace import load_trace, schedule
from pipelines.replay.workspace import label
from router.errors import ConfigError
from tests.pipelines.replay.worlds import ROWS, row, write_outcomes, write_trace
from tests.places import SHARED


def score_script(name: str) -> Any:
    """A scoring script that stands beside the repository; skips where it does not."""
    path = SHARED / "score" / f"{name}.py"
    if not path.exists():
        pytest.skip(f"no {path.name} beside the repository")
    pytest.importorskip("numpy", reason="the scoring scripts need numpy")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.smoke
def test_default_pool(tmp_path: Path) -> None:
    """The pool is the models without a null cost; items some of them lack are dropped and counted."""
    world = load_world(write_outcomes(tmp_path / "o.parquet", ROWS))
    assert world.models == ("bad", "good")
    assert world.left_out == ("unpriced",)
    assert world.items == ("item-1", "item-2", "item-4")
    assert world.items_dropped == 1
    assert world.tasks == ("code", "math")
    assert world.task_of == (1, 0, 1)
    assert world.quality == ((0.0, 1.0), (1.0, 1.0), (0.25, 1.0))


def test_named_pool(tmp_path: Path) -> None:
    """A named pool may hold a model with null costs; its unknown items are dropped."""
    world = load_world(write_outcomes(tmp_path / "o.parquet", ROWS), ["unpriced", "good"])
    assert world.models == ("good", "unpriced")
    assert world.items == ("item-1",)


def test_pool_equals_the_scoring_script(tmp_path: Path) -> None:
    """Models, items, tasks, qualities and costs are the scoring script's."""
    score_router = score_script("score_router")
    path = write_outcomes(tmp_path / "o.parquet", ROWS)
    items, models, quality, cost, _, tasks = score_router.matrices(score_router.load(path))
    world = load_world(path)
    assert list(world.items) == items
    assert list(world.models) == models
    assert [world.tasks[task] for task in world.task_of] == list(tasks)
    assert [list(values) for values in world.quality] == quality.tolist()
    assert [list(values) for values in world.cost] == cost.tolist()


@pytest.mark.smoke
def test_exact_cost(tmp_path: Path) -> None:
    """A cost is the float as it prints, to 12 decimals, rounded half-even."""
    costs = [0.1, 1e-7, 0.0000000000005, 0.0000000000015, 3.3e-4]
    rows = [row(f"item-{index}", "m", 1.0, cost) for index, cost in enumerate(costs)]
    world = load_world(write_outcomes(tmp_path / "o.parquet", rows))
    assert [cost for (cost,) in world.cost_usd] == [
        Decimal(text)
        for text in ("0.100000000000", "0.000000100000", "0", "0.000000000002", "0.000330000000")
    ]


@pytest.mark.parametrize(
    ("rows", "pool", "complaint"),
    [
        (ROWS, ["godo"], "no model `godo`"),
        ([row("a", "m", 1.0, None)], None, "name the models with --pool"),
        ([row("a", "m", 1.0, 0.1), row("a", "m", 1.0, 0.1)], None, "`a` twice"),
        ([row("a", "m", 1.0, 0.1), row("b", "n", 1.0, 0.1)], None, "no item with quality and cost for all"),
    ],
)
def test_errors(tmp_path: Path, rows: list[dict[str, Any]], pool: list[str] | None, complaint: str) -> None:
    """A world that cannot be replayed says why and what to do."""
    path = write_outcomes(tmp_path / "o.parquet", rows)
    with pytest.raises(ConfigError, match=r"o\.parquet") as caught:
        load_world(path, pool)
    assert complaint in str(caught.value)


@pytest.mark.smoke
def test_schedule(tmp_path: Path) -> None:
    """Arrivals keep their order and gaps, divided by the speed; a short trace goes round."""
    arrivals = load_trace(write_trace(tmp_path / "t.parquet", [5.0, 4.0, 8.0]))
    assert arrivals == [0.0, 1.0, 4.0]
    due = schedule(arrivals, requests=7, speed=10)
    assert due[:3] == [0.0, 0.1, 0.4]
    assert due == sorted(due)
    assert due[3] > due[2]


def test_empty_trace(tmp_path: Path) -> None:
    """A trace without arrivals, or of another shape, is refused by name."""
    with pytest.raises(ConfigError, match=r"t\.parquet"):
        load_trace(write_trace(tmp_path / "t.parquet", []))
    with pytest.raises(ConfigError, match=r"o\.parquet.*`t_s`"):
        load_trace(write_outcomes(tmp_path / "o.parquet", ROWS))


def test_label() -> None:
    """Any name becomes one that the catalog and an HTTP header take; plain names stay."""
    assert label("gpt-4o-2024-08-06") == "gpt-4o-2024-08-06"
    assert label("QANTA_Social Science*`ü") == "QANTA_Social-Science---"
