"""The mart `anomalies` and its alerts, on real segments."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipelines import flow
from pipelines.anomalies import alert_log, watching
from pipelines.anomalies.alerts import notice_anomalies
from pipelines.anomalies.anomaly_commands import alerts_command, anomalies_command
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.anomalies.traffic import after, hour_of, seal_hours
from tests.pipelines.helpers import seal_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HISTORY_HOURS = 130
FAULT_HOURS = 10
DEAR: dict[str, Any] = {"cost_usd": Decimal("0.008")}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with five days of steady traffic that are loaded."""
    home = tmp_path_factory.mktemp("history") / "data"
    settings = Settings.load({}, home=home)
    seal_hours(settings, 0, HISTORY_HOURS)
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
    return home


@pytest.fixture
def settings(history: Path, tmp_path: Path) -> Settings:
    """A copy of the folder."""
    shutil.copytree(history, tmp_path / "data")
    return Settings.load({}, home=tmp_path / "data")


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    """Its build database."""
    with Warehouse(settings) as opened:
        yield opened


def refreshed(warehouse: Warehouse, hours: float) -> watching.WatchResult:
    """Load what is new, and watch up to so many hours after START."""
    flow.catch_up(warehouse)
    return notice_anomalies(warehouse, now=after(hours))


def found(warehouse: Warehouse, columns: str = "scope, subject, metric") -> list[tuple[Any, ...]]:
    """Rows of the mart in the order in which they were detected."""
    query = f"select {columns} from anomalies order by detected_at, scope, subject, metric"  # noqa: S608 - names
    return warehouse.connection.sql(query).fetchall()


def alerts(settings: Settings) -> list[alert_log.Alert]:
    """The alerts in their order."""
    return list(alert_log.read(settings).alerts.values())


def test_steady_traffic_is_no_anomaly(warehouse: Warehouse, settings: Settings) -> None:
    """Five days of noise raise nothing. Every metric of every series with a value is watched."""
    result = refreshed(warehouse, HISTORY_HOURS + 0.5)
    assert (result.hours, result.rows, result.open_now) == (HISTORY_HOURS, 0, 0)
    assert result.watched > 50
    assert alerts(settings) == []


def test_a_dearer_price_is_one_incident_with_its_contributors(
    warehouse: Warehouse, settings: Settings
) -> None:
    """Acme's requests cost four times as much: dated, bounded, attributed, and one alert."""
    seal_hours(settings, HISTORY_HOURS, HISTORY_HOURS + FAULT_HOURS, **DEAR)
    result = refreshed(warehouse, HISTORY_HOURS + FAULT_HOURS + 0.5)
    assert result.open_now > 0
    rows = found(warehouse, "incident_id, scope, subject, metric")
    of_mean = [row for row in rows if row[3] == "cost_usd_mean"]
    assert len({row[0] for row in of_mean}) == 1
    assert {("organization", "acme"), ("key", "key_acme")} <= {row[1:3] for row in of_mean}
    assert not {"beta", "key_beta"} & {row[2] for row in rows}
    ((since, expected, low, high, seen, contributors),) = warehouse.rows(
        "select since, expected, expected_low, expected_high, seen, contributors from anomalies"
        " where scope = 'organization' and metric = 'cost_usd_mean'"
    )
    assert since == after(HISTORY_HOURS)
    assert low < expected < high < seen
    assert seen == pytest.approx(0.008)
    assert expected == pytest.approx(0.0021, rel=0.1)
    assert json.loads(contributors)[0] == {"scope": "key", "subject": "key_acme", "share": 1.0}
    by_metric = [alert.facts["metric"] for alert in alerts(settings)]
    assert by_metric.count("cost_usd_mean") == 1
    refreshed(warehouse, HISTORY_HOURS + FAULT_HOURS + 0.6)
    assert [alert.facts["metric"] for alert in alerts(settings)] == by_metric


@pytest.mark.parametrize(
    ("metric", "changes"),
    [
        ("error_share", {"success": False, "error_type": "timeout", "finish_reason": None, "cost_usd": None}),
        ("latency_ms_p95", {"latency_ms": 2500.0}),
        ("latency_ms_geomean", {"latency_ms": 2500.0}),
        ("unknown_cost_share", {"cost_usd": None}),
        ("tokens_output_mean", {"tokens_output": 200}),
        ("cut_share", {"finish_reason": "length"}),
        ("refusal_share", {"finish_reason": "content_filter"}),
        (
            "redirected_share",
            {"model_answered": "tiny", "reason": "best; its provider redirected the request to `tiny`"},
        ),
        ("requests", {"per_hour": 120}),
    ],
)
def test_each_metric_is_watched(
    warehouse: Warehouse, settings: Settings, metric: str, changes: dict[str, Any]
) -> None:
    """A change of the metric for acme is an incident of that metric."""
    seal_hours(settings, HISTORY_HOURS, HISTORY_HOURS + FAULT_HOURS, **changes)
    refreshed(warehouse, HISTORY_HOURS + FAULT_HOURS + 0.5)
    assert metric in {row[2] for row in found(warehouse) if row[1] in ("acme", None)}


def test_a_refresh_reads_only_new_hours_and_finds_the_same(warehouse: Warehouse, settings: Settings) -> None:
    """Hour by hour, the anomalies are those of one refresh at the end."""
    seal_hours(settings, HISTORY_HOURS, HISTORY_HOURS + FAULT_HOURS, **DEAR)
    refreshed(warehouse, HISTORY_HOURS + 0.5)
    for hour in range(HISTORY_HOURS + 1, HISTORY_HOURS + FAULT_HOURS + 1):
        assert notice_anomalies(warehouse, now=after(hour + 0.5)).hours == 1
    assert notice_anomalies(warehouse, now=after(hour + 0.5)).hours == 0
    step_by_step = found(warehouse, "*")
    for table in ("watched_hours", "watched", "watch_states"):
        warehouse.connection.execute(f"delete from pipeline.{table}")  # noqa: S608 - names of this file
    notice_anomalies(warehouse, now=after(hour + 0.5))
    assert len(step_by_step) > 0
    assert found(warehouse, "*") == step_by_step


def test_late_records_are_watched_as_if_they_had_been_in_time(
    warehouse: Warehouse, settings: Settings
) -> None:
    """Hours that a late segment changes are read again, and no alert is raised twice."""
    fault = range(HISTORY_HOURS, HISTORY_HOURS + FAULT_HOURS)
    late = [record for index in fault for record in hour_of(index, **DEAR)]
    seal_records(settings, [record for record in late if record.organization_id == "acme"])
    refreshed(warehouse, HISTORY_HOURS + FAULT_HOURS + 0.5)
    before = [alert.facts["metric"] for alert in alerts(settings)]
    assert "cost_usd_mean" in before
    seal_records(settings, [record for record in late if record.organization_id == "beta"])
    result = refreshed(warehouse, HISTORY_HOURS + FAULT_HOURS + 0.5)
    assert result.hours == FAULT_HOURS
    assert [alert.facts["metric"] for alert in alerts(settings)].count("cost_usd_mean") == 1


def test_the_running_hour_is_not_judged(warehouse: Warehouse, settings: Settings) -> None:
    """Half an hour of traffic is no drop of the traffic."""
    half = [record for record in hour_of(HISTORY_HOURS) if record.timestamp < after(HISTORY_HOURS + 0.5)]
    seal_records(settings, half)
    assert refreshed(warehouse, HISTORY_HOURS + 0.5).hours == HISTORY_HOURS


def test_a_clock_ahead_moves_nothing(warehouse: Warehouse, settings: Settings) -> None:
    """Records from the future are not watched before their time."""
    seal_hours(settings, HISTORY_HOURS + 50, HISTORY_HOURS + 51, **DEAR)
    assert refreshed(warehouse, HISTORY_HOURS + 0.5).hours == HISTORY_HOURS
    assert found(warehouse) == []


def test_a_new_organisation_is_counted_as_too_young(warehouse: Warehouse, settings: Settings) -> None:
    """A few hours of a newcomer are no anomaly of its own, and the result says how many series wait."""
    newcomer = [
        record
        for index in range(HISTORY_HOURS, HISTORY_HOURS + 3)
        for record in hour_of(index, organization_id="newcomer", api_key_id="key_new")
    ]
    seal_records(settings, newcomer)
    result = refreshed(warehouse, HISTORY_HOURS + 3.5)
    assert result.too_young > 0
    assert "newcomer" not in {row[1] for row in found(warehouse)}


def test_an_empty_warehouse_is_no_error(tmp_path: Path) -> None:
    """Without a request nothing is watched."""
    with Warehouse(Settings.load({}, home=tmp_path)) as warehouse:
        assert notice_anomalies(warehouse) == watching.WatchResult()


def test_a_drop_of_the_judged_quality_is_an_incident(warehouse: Warehouse, settings: Settings) -> None:
    """The changes that the detector of scores notes are rows of the mart, open for a week."""
    flow.catch_up(warehouse)
    at = after(HISTORY_HOURS - 5)
    row = {
        "task_type": "chat",
        "model": "small",
        "changed_at": at,
        "quality_before": 0.8,
        "quality_after": 0.5,
    }
    rest = {"z": -9.0, "outcomes_before": 400, "outcomes_after": 80, "is_drawn": True, "source": "user"}
    warehouse.insert("score_changes", [row | rest])
    notice_anomalies(warehouse, now=after(HISTORY_HOURS + 0.5))
    assert found(warehouse, "subject, metric, expected, seen, ended_at") == [
        ("small", "quality", 0.8, 0.5, None)
    ]
    assert "Unusual quality of model `small`" in alerts(settings)[0].text


def test_an_alert_is_on_disk_before_the_mart_and_is_not_doubled(
    warehouse: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh that dies between them leaves the alert. The next one has the row, and no second alert."""
    seal_hours(settings, HISTORY_HOURS, HISTORY_HOURS + FAULT_HOURS, **DEAR)
    flow.catch_up(warehouse)

    insert = Warehouse.insert

    def dies(self: Warehouse, table: str, rows: Any) -> None:
        if table == "anomalies":
            raise KeyboardInterrupt
        insert(self, table, rows)

    now = after(HISTORY_HOURS + FAULT_HOURS + 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "insert", dies)
        with pytest.raises(KeyboardInterrupt):
            notice_anomalies(warehouse, now=now)
    raised = [alert.id for alert in alerts(settings)]
    assert len(raised) > 0
    assert found(warehouse) == []
    notice_anomalies(warehouse, now=now)
    assert len(found(warehouse)) > 0
    assert [alert.id for alert in alerts(settings)] == raised


def test_an_old_incident_raises_no_alert(warehouse: Warehouse, settings: Settings) -> None:
    """The first refresh of a long log shows incidents that are over, and wakes no one for them."""
    seal_hours(settings, HISTORY_HOURS, HISTORY_HOURS + FAULT_HOURS, **DEAR)
    seal_hours(settings, HISTORY_HOURS + FAULT_HOURS, HISTORY_HOURS + FAULT_HOURS + 80)
    flow.catch_up(warehouse)
    notice_anomalies(warehouse, now=after(HISTORY_HOURS + FAULT_HOURS + 79) + timedelta(days=10))
    assert len(found(warehouse)) > 0
    assert alerts(settings) == []


def test_the_commands_show_incidents_and_alerts(settings: Settings) -> None:
    """`intellirouter anomalies` and `alerts` print what a refresh found, also as JSON."""
    seal_hours(settings, HISTORY_HOURS, HISTORY_HOURS + FAULT_HOURS, **DEAR)
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
        notice_anomalies(warehouse, now=after(HISTORY_HOURS + FAULT_HOURS + 0.5))
        from pipelines.warehouse.publishing import publish_warehouse

        publish_warehouse(warehouse)
    arguments = ["--home", str(settings.home), "--format", "json"]
    shown = json.loads(CliRunner().invoke(anomalies_command, [*arguments, "--since", "2026-06-01"]).output)
    assert {"acme", "key_acme"} <= {row["subject"] for row in shown}
    raised = json.loads(CliRunner().invoke(alerts_command, arguments).output)
    assert {row["delivery"] for row in raised} == {"file only"}
    assert all("Unusual" in row["text"] for row in raised)
