"""The folder of a run, and the books."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pipelines.replay.books import Row, compare
from pipelines.replay.driver import Sent
from pipelines.replay.errors import ReplayError
from pipelines.replay.outcomes import load_world
from pipelines.replay.workspace import MARKER, fresh_folder, write_configuration
from router.catalog.catalog import Catalog
from router.policies.policy import Policies
from tests.pipelines.replay.worlds import ROWS, write_outcomes

if TYPE_CHECKING:
    from pathlib import Path


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    """A folder that no replay made is refused, and nothing in it is touched."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ReplayError, match="no replay made"), fresh_folder(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / MARKER).exists()


def test_own_folder_is_emptied(tmp_path: Path) -> None:
    """A folder that a replay made is empty for the next one; what a link points to stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    folder = tmp_path / "run"
    with fresh_folder(folder):
        (folder / "lake").mkdir()
        (folder / "lake" / "old.parquet").write_text("old")
        (folder / "link").symlink_to(outside)
    with fresh_folder(folder):
        assert [entry.name for entry in folder.iterdir()] == [MARKER]
    assert (outside / "kept.txt").exists()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """A second run on a folder in use is refused and does not empty it."""
    with fresh_folder(tmp_path / "run"):
        (tmp_path / "run" / "journal").write_text("in use")
        with pytest.raises(ReplayError, match="another replay is running"), fresh_folder(tmp_path / "run"):
            pass
        assert (tmp_path / "run" / "journal").exists()


def test_configuration_is_the_routers(tmp_path: Path) -> None:
    """The router reads what a replay writes: models, prices, tasks, policy."""
    world = load_world(write_outcomes(tmp_path / "o.parquet", ROWS))
    write_configuration(tmp_path, world, base_url="http://127.0.0.1:9/v1", cost_weight=0.25)
    catalog = Catalog.load(tmp_path / "catalog.yaml")
    assert sorted(catalog.models) == ["bad", "good"]
    assert catalog.models["good"].cost_source == "provider"
    assert catalog.tasks == {"code", "math"}
    assert Policies.load(tmp_path / "policies.yaml").by_id["replay"].cost_weight == 0.25
    write_configuration(
        tmp_path,
        world,
        base_url="http://127.0.0.1:9/v1",
        cost_weight=0.25,
        prices={"good": ("3", "15"), "bad": ("0.1", "0.4")},
    )
    good = Catalog.load(tmp_path / "catalog.yaml").models["good"]
    assert good.cost_source == "prices"
    assert good.prices[0].output_usd_per_mtok == Decimal(15)


def test_books(tmp_path: Path) -> None:
    """Books are equal only when every request is there once, with its model and its exact cost."""
    world = load_world(write_outcomes(tmp_path / "o.parquet", ROWS))
    good = world.column("good")
    sent = [
        Sent(step=step, item=step, request_id=f"r{step}", model=good, quality=1.0, has_feedback=True)
        for step in range(2)
    ]

    def books(changes: dict[str, Row | None], feedback_rows: int = 2, twice: bool = False) -> bool:
        rows: dict[str, Row | None] = {
            item.request_id: Row(model="good", cost_usd=world.cost_usd[item.item][good], propensity=1.0)
            for item in sent
        }
        rows.update(changes)
        listed = [(request_id, row) for request_id, row in rows.items() if row is not None]
        return compare(sent, world, listed * (2 if twice else 1), feedback_rows).is_equal

    nearly = world.cost_usd[0][good] + Decimal("0.000000000001")
    assert books({})
    assert not books({"r0": None})
    assert not books({"r0": Row(model="bad", cost_usd=world.cost_usd[0][good], propensity=1.0)})
    assert not books({"r0": Row(model="good", cost_usd=nearly, propensity=1.0)})
    assert not books({"r0": Row(model="good", cost_usd=None, propensity=1.0)})
    assert not books({"r9": Row(model="good", cost_usd=Decimal(0), propensity=1.0)})
    assert not books({}, feedback_rows=1)
    assert not books({}, twice=True)
