"""Other periods for single organisations, legal holds, request logs and rollups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.erasure.search import search
from pipelines.flow import retain
from pipelines.lake import replacing
from pipelines.retention import retention
from pipelines.retention.holds import Cutoffs
from pipelines.rollups import removed_rollups
from pipelines.warehouse import archive
from pipelines.warehouse.checks import check_everything
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.configuration.retention import RetentionFile
from router.errors import ConfigError
from tests.pipelines.helpers import (
    NOW,
    make_feedback,
    make_log,
    make_record,
    run_steps,
    seal_records,
    stopped_after,
)

if TYPE_CHECKING:
    from pipelines.retention.retention import RetentionResult
    from router.records import Record

OLD, YOUNG = NOW, NOW + timedelta(days=60)
LATER = NOW + timedelta(days=91)
"""Under the default period the old day has expired and the young one has not."""
AGGREGATES = ("usage_hourly", "latency_buckets_hourly", "task_cost_daily", "usage_by_org_daily")


def everything(at: datetime, **changes: Any) -> list[Record]:
    record = make_record(at, **changes)
    return [record, make_feedback(record, 0.5), make_log(record)]


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """An old and a young day of three organisations and of a user that is held."""
    for at in (OLD, OLD + timedelta(hours=1), YOUNG):
        for organization in ("acme", "globex", "initech"):
            seal_records(settings, everything(at, organization_id=organization, user_id=f"of-{organization}"))
        seal_records(settings, everything(at, organization_id="acme", user_id="held"))
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
    return settings


def rules(settings: Settings, text: str) -> None:
    settings.retention_file.write_text(text)


def run(settings: Settings, now: datetime = LATER, *, dry_run: bool = False) -> RetentionResult:
    with Warehouse(settings) as warehouse:
        result = retain(warehouse, now=now, dry_run=dry_run, force=True)
        if not dry_run:
            publish_warehouse(warehouse)
    return result


def state(settings: Settings) -> dict[str, Any]:
    """Who is left on which day, by dataset, and every aggregate."""
    with Warehouse(settings) as warehouse:
        found: dict[str, Any] = {table: warehouse.rows(f"from {table} order by all") for table in AGGREGATES}
        for dataset in ("request_analytics", "request_logs"):
            found[dataset] = {
                (day, user)
                for day, user in warehouse.rows(f"select cast(timestamp as date), user_id from {dataset}")  # noqa: S608
            }
        found["feedback"] = warehouse.value("select count(*) from feedback")
        found["failures"] = [str(check) for check in check_everything(warehouse) if not check.passed]
    return found


def rebuilt(settings: Settings) -> dict[str, Any]:
    settings.build_file.unlink()
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
    return state(settings)


def who(found: dict[str, Any], at: datetime, dataset: str = "request_analytics") -> set[str]:
    return {user for day, user in found[dataset] if day == at.date()}


def test_a_shorter_period_takes_one_organisations_rows_out_of_days_that_stay(filled: Settings) -> None:
    """Rows, judgements and their bytes go; nobody else's do; aggregates stay, and survive a rebuild."""
    rules(filled, "organizations:\n  globex: {analytics_days: 20}\n")
    before = state(filled)
    result = run(filled)
    assert result.organizations["request_analytics"] == {"acme": 4, "globex": 3, "initech": 2}
    assert len(result.rewritten) == 2
    found = state(filled)
    assert (who(found, OLD), who(found, YOUNG)) == (set(), {"of-acme", "of-initech", "held"})
    assert found["feedback"] == 3
    assert found["failures"] == []
    assert {table: found[table] for table in AGGREGATES} == {table: before[table] for table in AGGREGATES}
    assert search([filled.home], ["of-globex"]).hits == {}
    assert rebuilt(filled) == found


def test_a_longer_period_keeps_rows_of_a_day_that_expires(filled: Settings) -> None:
    """The day is rewritten to hold only the organisation that keeps it; its rollups stay whole."""
    rules(filled, "organizations:\n  initech: {analytics_days: 365}\n")
    before = state(filled)
    result = run(filled)
    assert result.partitions == ["request_logs/date=2026-06-19", "request_logs/date=2026-08-18"]
    found = state(filled)
    assert who(found, OLD) == {"of-initech"}
    assert found["feedback"] == 2 + 4
    assert found["failures"] == []
    assert {table: found[table] for table in AGGREGATES} == {table: before[table] for table in AGGREGATES}
    assert rebuilt(filled) == found
    again = run(filled)
    assert (sum(again.rows.values()), again.rewritten) == (0, [])
    run(filled, LATER + timedelta(days=340))
    found = state(filled)
    assert (found["request_analytics"], found["feedback"]) == (set(), 0)
    assert {table: found[table] for table in AGGREGATES} == {table: before[table] for table in AGGREGATES}


@pytest.mark.parametrize("who_is_held", ["user: held", "{organization: acme, user: held}"])
def test_a_legal_hold_keeps_rows_whatever_the_periods_say(filled: Settings, who_is_held: str) -> None:
    """Requests, feedback and audit trail of a held user outlive every period until the hold is lifted."""
    hold = who_is_held.strip("{}")
    text = "organizations:\n  acme: {analytics_days: 1, request_log_days: 1}\n"
    rules(filled, f"{text}legal_holds:\n  - {{{hold}, reason: case 12, since: 2026-11-01}}\n")
    result = run(filled, LATER + timedelta(days=300))
    assert result.held == {"request_analytics": 3, "feedback": 0, "request_logs": 3, "security_events": 0}
    found = state(filled)
    for dataset in ("request_analytics", "request_logs"):
        assert who(found, OLD, dataset) == who(found, YOUNG, dataset) == {"held"}
    assert (found["feedback"], found["failures"]) == (3, [])
    assert rebuilt(filled) == found
    rules(filled, text)
    run(filled, LATER + timedelta(days=300))
    found = state(filled)
    assert (found["request_analytics"], found["request_logs"]) == (set(), set())


def test_request_logs_have_a_period_of_their_own(filled: Settings) -> None:
    """After 31 days the audit trail is gone and the analytics stand."""
    result = run(filled, NOW + timedelta(days=31))
    assert result.rows == {"request_analytics": 0, "feedback": 0, "request_logs": 8, "security_events": 0}
    assert run(filled, NOW + timedelta(days=31)).rows["request_logs"] == 0
    assert len(state(filled)["request_analytics"]) == 8


def test_rollups_go_when_their_own_period_is_set(filled: Settings) -> None:
    """Rollups, marts and archive end with ROLLUP_RETENTION_DAYS, and do not come back by a rebuild."""
    settings = Settings.load({}, home=filled.home, rollup_retention_days=120)
    run(settings)
    assert len(state(settings)["task_cost_daily"]) == 6
    run(settings, NOW + timedelta(days=121))
    found = state(settings)
    assert len(found["task_cost_daily"]) == 3
    assert rebuilt(settings) == found


@pytest.mark.smoke
def test_rollups_outlive_raw_records() -> None:
    """A rollup period below the raw one is refused when the settings are read."""
    with pytest.raises(ConfigError, match=r"ROLLUP_RETENTION_DAYS=`30`.*ANALYTICS_RETENTION_DAYS=`90`"):
        Settings.load({"ROLLUP_RETENTION_DAYS": "30"})


def test_a_dry_run_names_everything_and_changes_nothing(filled: Settings) -> None:
    """Rows by organisation, partitions, rewritten segments and held rows, and no file is touched."""
    rules(
        filled,
        "organizations:\n  globex: {analytics_days: 20}\n  initech: {analytics_days: 365}\n"
        "legal_holds:\n  - {user: held, reason: case 12, since: 2026-11-01}\n",
    )
    files = {path: path.read_bytes() for path in filled.lake.rglob("*") if path.is_file()}
    result = run(filled, dry_run=True)
    assert {path: path.read_bytes() for path in filled.lake.rglob("*") if path.is_file()} == files
    assert result.organizations["request_analytics"] == {"acme": 2, "globex": 3}
    assert (result.held["request_analytics"], len(result.rewritten)) == (2, 8 + 8 + 2 + 12)
    assert result.partitions == []


def test_a_day_with_an_unreadable_segment_is_kept_while_somebodys_rows_may_be_in_it(filled: Settings) -> None:
    """A held row that cannot be read today may be read from a backup tomorrow: its day is not dropped."""
    rules(filled, "legal_holds:\n  - {user: held, reason: case 12, since: 2026-11-01}\n")
    day = filled.lake / "request_logs" / f"date={OLD:%Y-%m-%d}"
    for path in day.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-30])
    damaged = {path: path.read_bytes() for path in day.rglob("*.parquet")}
    result = run(filled)
    assert f"request_logs/date={OLD:%Y-%m-%d}" not in result.partitions
    assert {path: path.read_bytes() for path in day.rglob("*.parquet")} == damaged


def test_late_feedback_on_a_removed_request_goes_with_it(filled: Settings) -> None:
    """A judgement that arrives after its request went is removed by the next run."""
    rules(filled, "organizations:\n  globex: {analytics_days: 20}\n")
    with Warehouse(filled) as warehouse:
        (request_id,) = warehouse.rows(
            "select id from request_analytics where organization_id = 'globex' and timestamp = $at", at=YOUNG
        )[0]
    run(filled)
    before = state(filled)
    seal_records(filled, [make_feedback(make_record(YOUNG, id=request_id), 1.0, LATER)])
    assert run(filled).rows["feedback"] == 1
    assert state(filled) == before


@pytest.mark.parametrize("after", range(0, 13, 2))
def test_a_run_stopped_anywhere_is_resumed(filled: Settings, after: int) -> None:
    """Whatever step a run stops before, the next one ends where an unbroken one does."""
    rules(
        filled,
        "organizations:\n  globex: {analytics_days: 20}\n  initech: {analytics_days: 365}\n"
        "legal_holds:\n  - {user: held, reason: case 12, since: 2026-11-01}\n",
    )
    before = state(filled)
    steps = (
        (archive, "archive_day"),
        (retention, "_set_cutoff"),
        (retention, "_delete_rows"),
        (replacing, "replace_segments"),
        (retention, "_drop_partitions"),
        (removed_rollups, "keep_share"),
        (Warehouse, "recreate"),
    )
    with stopped_after(after, steps), pytest.raises(KeyboardInterrupt):
        run(filled)
    run(filled)
    found = state(filled)
    assert (who(found, OLD), who(found, YOUNG)) == (
        {"of-initech", "held"},
        {"of-acme", "of-initech", "held"},
    )
    assert (found["feedback"], found["failures"]) == (4 + 3, [])
    assert {table: found[table] for table in AGGREGATES} == {table: before[table] for table in AGGREGATES}
    assert rebuilt(filled) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("organizations: {acme: {analytics_days: 0}}", "organizations.acme.analytics_days"),
        ("organizations: {acme: {days: 3}}", "organizations.acme.days"),
        ("legal_holds: [{reason: x, since: 2026-11-01}]", "names an organization, a user, or both"),
        ("legal_holds: [{user: u, since: 2026-11-01}]", "legal_holds.0.reason"),
        ("legal_holds: [{user: u, reason: x, since: soon}]", "legal_holds.0.since"),
        ("legal_holds: [", "is not valid YAML"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(settings: Settings, text: str, problem: str) -> None:
    """No row goes under rules that cannot be read."""
    settings.home.mkdir()
    rules(settings, text)
    with pytest.raises(ConfigError, match=problem):
        RetentionFile.load(settings.retention_file)


def test_a_missing_file_changes_nothing(settings: Settings) -> None:
    """Without `retention.yaml` everybody has the default period."""
    cutoffs = Cutoffs("request_analytics", RetentionFile.load(settings.retention_file), settings, LATER)
    assert (cutoffs.latest, cutoffs.keeps_some) == (datetime(2026, 6, 20, tzinfo=UTC), False)
