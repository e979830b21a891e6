"""The ledger of loads forgets segments that are long gone, and still nothing is loaded or counted twice."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines import flow
from pipelines.lake import compaction
from pipelines.retention.admission import plan
from pipelines.warehouse import linked, loading
from pipelines.warehouse.thinning import LEDGER_KEPT, thin_ledger
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records

EXPIRED = NOW + timedelta(days=91)
COMPACTED = NOW + timedelta(days=3)


def much_later() -> datetime:
    """The ledger notes loads by the clock."""
    return datetime.now(UTC) + LEDGER_KEPT + timedelta(minutes=1)


def lines(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.rows("select dataset, expired_at is not null from pipeline.load_ledger order by all")


@pytest.fixture
def expired(settings: Settings, warehouse: Warehouse) -> Warehouse:
    """A day that retention removed, of which a copy is in `backup`, and a day that is kept."""
    old, young = make_record(NOW), make_record(NOW + timedelta(days=30))
    seal_records(settings, [old, make_feedback(old, 0.5), young])
    flow.catch_up(warehouse)
    shutil.copytree(settings.lake, settings.home / "backup", copy_function=shutil.copy2)
    flow.retain(warehouse, now=EXPIRED)
    return warehouse


def test_lines_of_removed_segments_stay_for_a_while(expired: Warehouse) -> None:
    """A backup of these days may be restored. Later only the line of the segment that is there stays."""
    assert thin_ledger(expired, datetime.now(UTC) + LEDGER_KEPT - timedelta(minutes=5)) == 0
    assert thin_ledger(expired, much_later()) == 2
    assert lines(expired) == [("request_analytics", False)]


def test_a_forgotten_segment_that_comes_back_is_counted_once(settings: Settings, expired: Warehouse) -> None:
    """Its day is closed, and the sealed rollups hold its rows: it is expired again, and not refused."""
    before = expired.rows("select requests, cost_usd from usage_hourly order by all")
    thin_ledger(expired, much_later())
    shutil.copytree(settings.home / "backup", settings.lake, dirs_exist_ok=True, copy_function=shutil.copy2)
    result = loading.load_all(expired)["request_analytics"]
    assert (result.rows, result.expired, result.refused) == (0, 1, 0)
    flow.catch_up(expired)
    assert expired.rows("select requests, cost_usd from usage_hourly order by all") == before
    assert plan(expired).segments == 0


def test_merged_segments_leave_the_ledger(settings: Settings, warehouse: Warehouse) -> None:
    """The line of the segment that holds their rows stays, and a source that comes back adds no row."""
    manifests = [seal_records(settings, [make_record(NOW, user_id=name)])[0] for name in ("ada", "bob")]
    flow.catch_up(warehouse)
    kept = settings.home / "source.parquet"
    shutil.copy2(settings.lake / manifests[0].path, kept)
    compaction.compact(settings.lake, now=COMPACTED)
    flow.catch_up(warehouse)
    assert len(lines(warehouse)) == 3
    assert thin_ledger(warehouse, much_later()) == 2
    shutil.copy2(kept, settings.lake / manifests[0].path)
    flow.catch_up(warehouse)
    assert warehouse.rows("select sum(requests) from usage_hourly") == [(2,)]
    assert warehouse.rows("select count(*), count(distinct id) from request_analytics") == [(2, 2)]


def test_a_segment_that_is_there_keeps_its_line(settings: Settings, warehouse: Warehouse) -> None:
    """However long ago it was loaded."""
    seal_records(settings, [make_record(NOW)])
    flow.catch_up(warehouse)
    assert thin_ledger(warehouse, much_later()) == 0


def test_a_refused_segment_keeps_its_line(settings: Settings, expired: Warehouse) -> None:
    """Until somebody admits it, the check names it."""
    seal_records(settings, [make_record(NOW, user_id="late")])
    flow.catch_up(expired)
    for path in settings.lake.rglob("*.parquet"):
        if "2026-06-19" in str(path) and "rollups" not in str(path):
            path.unlink()
    thin_ledger(expired, much_later())
    assert expired.rows("select count(*) from pipeline.load_ledger where is_refused") == [(1,)]


@pytest.mark.parametrize("fewest", [1, 1000])
def test_the_database_is_written_again_only_if_it_held_rows(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, fewest: int
) -> None:
    """Rows that are read in files leave with them. The bytes of rows in tables would stay."""
    monkeypatch.setattr(linked, "FEWEST_ROWS", fewest)
    seal_records(settings, [make_record(NOW), make_record(NOW + timedelta(days=30))])
    flow.catch_up(warehouse)
    before = settings.build_file.stat().st_ino
    flow.retain(warehouse, now=EXPIRED)
    assert (settings.build_file.stat().st_ino != before) == (fewest == 1000)
    assert warehouse.rows("select count(*) from request_analytics") == [(1,)]
