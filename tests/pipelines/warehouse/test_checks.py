"""Every check fails on a planted fault and passes without one."""

from __future__ import annotations

from datetime import datetime, timedelta

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


@pytest.mark.parametrize("name", [*checks.RECORD_CHECKS, *checks.ROLLUP_CHECKS])
def test_a_failure_stays_until_its_rows_are_mended(
    settings: Settings, warehouse: Warehouse, name: str
) -> None:
    """The next refresh, which touches other hours or none, looks at the hours of the failure again."""
    seal_records(settings, [make_record(NOW + timedelta(hours=i)) for i in range(3)])
    run_steps(warehouse)
    hours = [NOW.replace(minute=0) + timedelta(hours=i) for i in range(3)]
    plants = {
        "ids_are_unique": COPY,
        "ledger_matches_table": "update pipeline.load_ledger set rows_loaded = 7",
        "rollup_counts_match": "update usage_quarter_hourly set requests = 7",
        "rollup_cost_matches": "update usage_quarter_hourly set cost_usd = 7",
        "amounts_are_not_negative": "update request_analytics_rows set cost_usd = -1",
    }
    warehouse.connection.execute(plants[name])

    def passes(*touched: datetime) -> bool:
        (found,) = checks.check_hours(warehouse, [name], touched)
        return found.passed

    assert passes()
    assert not passes(*hours)
    assert not passes()
    assert not passes(hours[0] - timedelta(days=3))
    warehouse.connection.execute("delete from request_analytics_rows")
    warehouse.connection.execute("delete from usage_quarter_hourly")
    warehouse.connection.execute("update pipeline.load_ledger set rows_loaded = 0")
    assert passes()
    assert warehouse.count("pipeline.failing_hours") == 0


def test_a_warning_of_a_provider_ends_with_its_window(settings: Settings, warehouse: Warehouse) -> None:
    """A redirected model is a fact of its hour that nobody can mend: it is no lasting failure."""
    seal_records(settings, [make_record(model_answered="another", reason=f"pinned; {REDIRECTED} `another`")])
    run_steps(warehouse)
    found = checks.check_providers(warehouse, [NOW.replace(minute=0)])
    assert [check.name for check in found if not check.passed] == ["models_are_not_redirected"]
    assert all(check.passed for check in checks.check_providers(warehouse, []))


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
