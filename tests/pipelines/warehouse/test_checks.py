"""Every check fails on a planted fault and passes without one."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.refresh import refresh
from pipelines.warehouse import checks
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.serving.recording import REDIRECTED
from tests.pipelines.helpers import NOW, make_record, run_steps, seal_records

COPY = "insert into request_analytics_rows from request_analytics_rows limit 1"


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        (COPY, {"ids_are_unique", "ledger_matches_table", "rollup_counts_match", "rollup_cost_matches"}),
        (
            "update request_analytics_rows set cost_usd = -1",
            {"amounts_are_not_negative", "rollup_cost_matches"},
        ),
        ("update request_analytics_rows set tokens_input = -1", {"amounts_are_not_negative"}),
        ("update pipeline.load_ledger set rows_loaded = 7", {"ledger_matches_table"}),
        (
            "update usage_quarter_hourly set requests = requests + 1",
            {"rollup_counts_match", "daily_matches_hourly"},
        ),
        (
            "update usage_quarter_hourly set cost_usd = cost_usd + 0.000000000001",
            {"rollup_cost_matches", "daily_matches_hourly"},
        ),
        ("delete from usage_by_org_daily", {"daily_matches_hourly"}),
    ],
)
def test_a_planted_fault_fails_its_checks(
    settings: Settings, warehouse: Warehouse, fault: str, failing: set[str]
) -> None:
    """The checks name the rows that break a promise, and only when one is broken."""
    seal_records(settings, [make_record(NOW + timedelta(hours=i)) for i in range(3)])
    run_steps(warehouse)
    assert [check.name for check in checks.check_everything(warehouse) if not check.passed] == []
    warehouse.connection.execute(fault)
    found = {check.name: check for check in checks.check_everything(warehouse) if not check.passed}
    assert found.keys() == failing
    assert all("=`" in check.description for check in found.values())


def test_a_refresh_reports_a_dirty_lake(settings: Settings, instance: dg.DagsterInstance) -> None:
    """A file that is not ours fails `lake_is_clean` by name, and the refresh still succeeds."""
    (manifest,) = seal_records(settings, [make_record()])
    pq.write_table(pa.table({"a": [1]}), (settings.lake / manifest.path).with_name("foreign.parquet"))
    result = refresh(settings, instance=instance)
    assert result.success
    assert result.rows["request_analytics"] == 1
    assert result.quarantined == 1
    assert "foreign.parquet` has no manifest" in result.failed_checks["lake_is_clean"]


def test_a_clean_refresh_fails_no_check(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Every check of the refresh job runs and passes on good data."""
    seal_records(settings, [make_record(NOW + timedelta(hours=i)) for i in range(3)])
    assert dict(refresh(settings, instance=instance).failed_checks) == {}


def test_a_redirected_model_is_a_warning(settings: Settings, instance: dg.DagsterInstance) -> None:
    """The refresh names the model that answered in place of another, and succeeds."""
    reason = f"pinned; {REDIRECTED} `another`"
    seal_records(
        settings, [make_record(model_answered="another", reason=reason), make_record(model_answered="x")]
    )
    result = refresh(settings, instance=instance)
    assert result.success
    (name,) = result.failed_checks
    assert name == "models_are_not_redirected"
    assert "model_answered=`another`, requests=`1`" in result.failed_checks[name]
