"""A new version of a model in the catalog is explored like a new model."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.errors import WarehouseError
from pipelines.scores import scoring
from pipelines.scores.versions import OLD_OUTCOMES
from router.catalog.catalog import Catalog
from router.policies.policy import Policy
from router.scores.board import ScoreBoard
from router.scores.exploration import OWED_SHARE, RULED_OUT
from router.scores.snapshot import ALL_TASKS, ScoreSnapshot
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings
    from router.records import Record
    from router.scores.exploration import Claim

QUALITIES = {"small": 0.8, "large": 0.2}
NEW_NAME = {"id": "large", "provider_model": "large-2026-11"}


def traffic(settings: Settings, *, start: int, count: int) -> None:
    """Judged requests of both models on two tasks, half a minute apart."""
    records: list[Record] = []
    for index in range(start, start + count):
        model = ("small", "large")[index % 2]
        task = ("math", "code")[index // 2 % 2]
        record = make_record(
            NOW + timedelta(seconds=30 * index), model_selected=model, provider="fake", task_type=task
        )
        records += [record, make_feedback(record, float(index // 2 % 10 < 10 * QUALITIES[model]))]
    seal_records(settings, records)


def catalog(settings: Settings, large: str | dict[str, Any] = "large") -> None:
    """`small` and `large` at equal prices."""
    price = {"start": "2020-01-01", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    entries = [{"id": "small"}, {"id": large} if isinstance(large, str) else large]
    write_catalog(settings.home, [{**entry, "prices": [price]} for entry in entries])


def claim_of_large(warehouse: Warehouse) -> tuple[Claim, float]:
    """Its claim after a refresh, and its share of the requests of a task."""
    snapshot = ScoreSnapshot.of(scoring.score_rows(warehouse), as_of=NOW, published_at=NOW)
    board = ScoreBoard(snapshot, Catalog.load(warehouse.settings.catalog_file))
    table = board.table(Policy(id="balanced"), "math")
    shares = {item.model: item.probability or 0.0 for item in table.candidates}
    return table.claims["large"], shares["large"]


@pytest.mark.smoke
@pytest.mark.parametrize("large", [NEW_NAME, {"id": "large", "version": "2"}])
def test_a_new_version_reopens_the_claim(
    settings: Settings, warehouse: Warehouse, large: dict[str, Any]
) -> None:
    """A model that was ruled out is explored again, whether its name at the provider or its version moved."""
    catalog(settings)
    traffic(settings, start=0, count=400)
    run_steps(warehouse)
    claim, share = claim_of_large(warehouse)
    assert (claim.is_open, share < RULED_OUT) == (False, True)
    catalog(settings, large)
    run_steps(warehouse)
    claim, share = claim_of_large(warehouse)
    assert claim.is_open
    assert claim.outcomes == pytest.approx(OLD_OUTCOMES)
    assert share >= OWED_SHARE - 1e-9


def test_outcomes_of_the_new_version_count_in_full(settings: Settings, warehouse: Warehouse) -> None:
    """Only hours from before the new version was seen count for little; other models are as before."""
    catalog(settings)
    traffic(settings, start=0, count=400)
    run_steps(warehouse)
    before = {(row.task_type, row.model): row.effective_sample_size for row in scoring.score_rows(warehouse)}
    catalog(settings, NEW_NAME)
    run_steps(warehouse)
    traffic(settings, start=480, count=80)
    run_steps(warehouse)
    after = {(row.task_type, row.model): row.effective_sample_size for row in scoring.score_rows(warehouse)}
    assert after[ALL_TASKS, "large"] == pytest.approx(40 + OLD_OUTCOMES)
    assert after[ALL_TASKS, "small"] == pytest.approx(before[ALL_TASKS, "small"] + 40)


@pytest.mark.parametrize(
    "large",
    [
        {"id": "large", "name": "The large one"},
        {"id": "large", "provider_model": "my-deployment", "version": "large"},
    ],
)
def test_a_name_for_people_or_a_deployment_is_no_version(
    settings: Settings, warehouse: Warehouse, large: dict[str, Any]
) -> None:
    """Where only the deployment moved, a stated version keeps the outcomes."""
    catalog(settings)
    traffic(settings, start=0, count=40)
    run_steps(warehouse)
    rows = scoring.score_rows(warehouse)
    catalog(settings, large)
    run_steps(warehouse)
    assert scoring.score_rows(warehouse) == rows


def test_the_versions_are_kept_where_a_rebuild_finds_them(settings: Settings, warehouse: Warehouse) -> None:
    """The table follows from a file beside the scores; a model that returns to a version has a new row."""
    for large in ("large", NEW_NAME, "large"):
        catalog(settings, large)
        traffic(settings, start=0, count=20)
        run_steps(warehouse)
    rows = warehouse.rows("from model_versions order by model, since nulls first")
    last = NOW + timedelta(seconds=30 * 20)
    assert rows[:3] == [("large", "large", None), ("large", "large-2026-11", last), ("large", "large", last)]
    assert rows[3:] == [("small", "small", None)]
    warehouse.connection.execute("delete from model_versions")
    run_steps(warehouse)
    assert warehouse.rows("from model_versions order by model, since nulls first") == rows


def test_a_damaged_line_is_named(settings: Settings, warehouse: Warehouse) -> None:
    """No version is forgotten silently: the refresh names the line of the file."""
    catalog(settings)
    traffic(settings, start=0, count=4)
    run_steps(warehouse)
    settings.versions_file.write_bytes(settings.versions_file.read_bytes() + b'{"model": 1}\n')
    with pytest.raises(WarehouseError, match=r"line `3` of `.*versions\.jsonl`"):
        run_steps(warehouse)
