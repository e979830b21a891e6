"""The history of scores is bounded at each refresh, whatever the pace of the refreshes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.refresh import dagster_home, open_instance, refresh
from pipelines.retention import purge
from pipelines.scores.publishing import publish_scores
from pipelines.warehouse import thinning
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.config import Settings
from tests.pipelines.helpers import make_record, run_steps, seal_records

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SNAPSHOT = {
    "task_type": "math",
    "model": "large",
    "requests": 1,
    "requests_with_quality": 0,
    "quality_mean": None,
    "quality_low": None,
    "quality_high": None,
    "cost_usd_mean": None,
    "success_rate": 1.0,
    "latency_ms_p50": None,
    "latency_ms_p95": None,
    "tokens_output_mean": None,
}


def test_two_days_of_busy_refreshes_keep_one_snapshot_an_hour(warehouse: Warehouse) -> None:
    """Of a snapshot every ten seconds stay the last five minutes, twelve of an hour and one of each other."""
    folder = warehouse.settings.scores_file.parent
    folder.mkdir(parents=True)
    moments = [NOON - timedelta(seconds=10 * index) for index in range(2 * 8640)]
    rows = [
        {"snapshot_id": f"s{index:05d}", "as_of": moment, "published_at": moment, **SNAPSHOT}
        for index, moment in enumerate(moments)
    ]
    warehouse.insert("model_performance_history", rows)
    for row in rows[::40]:
        (folder / f"{row['snapshot_id']}.json").write_text("{}")
    for _ in range(2):
        thinning.thin(warehouse, NOON)
        kept = {name for (name,) in warehouse.rows("select snapshot_id from model_performance_history")}
        assert 31 + 11 + 47 <= len(kept) <= 31 + 12 + 48
        assert {path.stem for path in folder.glob("*.json")} <= kept
    by_hour = warehouse.rows(
        "select max(published_at) from model_performance_history where published_at < $hour"
        " group by date_trunc('hour', published_at)",
        hour=NOON - timedelta(hours=1),
    )
    assert {moment.minute for (moment,) in by_hour} == {59}


def test_a_refresh_thins_and_a_rebuild_agrees(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots that the bounds leave out go with their files, and a rebuild gives the same history."""
    for bound in ("KEPT_WHOLE", "KEPT_OFTEN"):
        monkeypatch.setattr(thinning, bound, timedelta(0))
    start = datetime.now(UTC) - timedelta(hours=1)
    with Warehouse(settings) as warehouse:
        for index in range(4):
            seal_records(settings, [make_record(start + timedelta(seconds=index))])
            run_steps(warehouse)
            publish_scores(warehouse)
        grown = warehouse.rows("from model_performance_history order by all")
    files = {path.stem for path in settings.scores_file.parent.glob("*.json")}
    assert files == {"current", *(row[0] for row in grown)}
    assert len(files) <= 3  # the hour may have turned
    with Warehouse(settings) as warehouse:
        warehouse.close()
        set_aside(settings.build_file)
        run_steps(warehouse)
        assert warehouse.rows("from model_performance_history order by all") == grown


def test_refreshes_without_a_daemon_keep_a_bounded_number_of_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that only `intellirouter refresh` works on does not collect runs for ever."""
    monkeypatch.setattr(purge, "RUNS_KEPT", 1)
    monkeypatch.setattr(purge, "VACUUM_AFTER", 0)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for _ in range(3):
        assert refresh(settings).success
    assert dagster_home(settings).exists()
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == 1
