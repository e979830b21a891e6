"""Reports over business days: their parts add up, in every zone, from rollups of every age."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner, Result

from pipelines.refresh import rebuild, refresh, retain
from pipelines.reports.report_command import report_command
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.files import sha256_of
from router.journal.places import ARCHIVE
from tests.pipelines.helpers import make_record, seal_records

CHANGES = {
    "Europe/Berlin": datetime(2026, 10, 24, tzinfo=UTC),
    "America/New_York": datetime(2026, 10, 31, tzinfo=UTC),
    "Australia/Adelaide": datetime(2026, 10, 3, tzinfo=UTC),
    "Asia/Kolkata": datetime(2026, 10, 24, tzinfo=UTC),
    "Asia/Kathmandu": datetime(2026, 10, 24, tzinfo=UTC),
}
"""Three days from here have a change of time, where the zone has one."""
PARTS = (("03:00", "05:30"), ("05:30", "09:00"), ("03:00", "09:00"), ("04:15", "04:30"))
Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings) -> Run:
    """`intellirouter report` on the data folder."""

    def invoke(*arguments: str) -> Result:
        result = CliRunner().invoke(report_command, [*arguments, "--home", str(settings.home)])
        assert result.exception is None, result.output
        return result

    return invoke


def _costs(result: Result, column: int) -> Decimal:
    lines = result.stdout.splitlines()[1:]
    return sum((Decimal(line.split(",")[column]) for line in lines), Decimal(0))


@pytest.fixture
def steady(settings: Settings, instance: dg.DagsterInstance) -> Settings:
    """A dollar a minute over three days, from 2026-11-19 on."""
    start = datetime(2026, 11, 19, tzinfo=UTC)
    records = [make_record(start + timedelta(minutes=i), cost_usd=Decimal(1)) for i in range(3 * 1440)]
    seal_records(settings, records)
    assert refresh(settings, instance=instance).success
    return settings


@pytest.mark.smoke
def test_the_parts_of_a_period_add_up_to_it(steady: Settings, run: Run) -> None:
    """A bound within an hour divides that hour's requests, and counts none of them twice."""
    day = "2026-11-20"
    for name, column in (("cost-per-task", 4), ("cost-per-organization", 3), ("daily-usage", 2)):
        found = [
            _costs(
                run(name, "--since", f"{day}T{since}", "--until", f"{day}T{until}", "--format", "csv"), column
            )
            for since, until in PARTS
        ]
        assert found == [150, 210, 360, 15], name


def test_a_business_day_of_india_is_one_row(steady: Settings, run: Run) -> None:
    """The day of an organisation's own zone has its 1,440 minutes, and the header names the zone."""
    (steady.home / "organizations.yaml").write_text("organizations: [{id: acme, time_zone: Asia/Kolkata}]")
    asked = ("daily-usage", "--since", "2026-11-20", "--until", "2026-11-20", "--organization", "acme")
    (line,) = run(*asked, "--format", "csv").stdout.splitlines()[1:]
    assert line.startswith("2026-11-20,acme,1440,1440,")
    assert "2026-11-20 00:00 to 2026-11-21 00:00 Asia/Kolkata" in run(*asked).stdout
    assert "2026-11-20 00:00 to 2026-11-21 00:00 UTC" in run(*asked, "--timezone", "UTC").stdout


def test_days_equal_the_records_to_the_last_decimal(
    settings: Settings, instance: dg.DagsterInstance, run: Run
) -> None:
    """Over a change of time, every local day's cost is the sum of its records, raw and from rollups."""
    rng = random.Random(7)
    moments = [
        start + timedelta(seconds=rng.randrange(3 * 86_400), microseconds=rng.randrange(10**6))
        for start in sorted(set(CHANGES.values()))
        for _ in range(600)
    ]
    costs = {moment: Decimal(rng.randrange(10**13)).scaleb(-12) for moment in moments}
    seal_records(settings, [make_record(moment, cost_usd=cost) for moment, cost in costs.items()])
    assert refresh(settings, instance=instance).success
    expected: dict[str, dict[date, Decimal]] = {zone: defaultdict(Decimal) for zone in CHANGES}
    for moment, cost in costs.items():
        for zone, days in expected.items():
            days[moment.astimezone(ZoneInfo(zone)).date()] += cost

    def shown(zone: str) -> dict[date, Decimal]:
        asked = ("daily-usage", "--since", "2026-10-01", "--until", "2026-11-05", "--timezone", zone)
        lines = run(*asked, "--format", "csv").stdout.splitlines()[1:]
        return {date.fromisoformat(line.split(",")[0]): Decimal(line.split(",")[2]) for line in lines}

    assert {zone: shown(zone) for zone in CHANGES} == expected
    assert retain(settings, now=max(moments) + timedelta(days=95), instance=instance).success
    assert {zone: shown(zone) for zone in CHANGES} == expected
    assert rebuild(settings, instance=instance).success
    assert {zone: shown(zone) for zone in CHANGES} == expected


def test_an_archive_of_whole_hours_counts_at_their_first_quarter_and_is_named(
    settings: Settings, instance: dg.DagsterInstance, run: Run
) -> None:
    """Rollups that an earlier release sealed load, and a report whose bounds cut such an hour says so."""
    start = datetime(2026, 6, 19, tzinfo=UTC)
    records = [make_record(start + timedelta(minutes=i), cost_usd=Decimal(1)) for i in range(1440)]
    seal_records(settings, [*records, make_record(start + timedelta(days=30))])
    assert refresh(settings, instance=instance).success
    assert retain(settings, now=start + timedelta(days=91), instance=instance).success
    _as_earlier_release(settings.lake / ARCHIVE)
    assert rebuild(settings, instance=instance).success
    day = ("--since", "2026-06-19", "--until", "2026-06-19", "--format", "csv")
    whole, cut = run("daily-usage", *day), run("daily-usage", *day, "--timezone", "Asia/Kolkata")
    assert whole.stderr == ""
    assert _costs(whole, 2) == 1440
    assert _costs(cut, 2) == 19 * 60
    assert "1 hours that an earlier release counted as a whole are cut by these bounds" in cut.stderr
    assert "2026-06-19 23:30 Asia/Kolkata" in cut.stderr


def _as_earlier_release(archive: Path) -> None:
    """Rewrite the archived usage as the release before quarters of an hour wrote it."""
    for path in sorted((archive / "usage_quarter_hourly").rglob("*.parquet")):
        folder = archive / "usage_hourly" / path.parent.name
        folder.mkdir(parents=True)
        old = folder / "usage_hourly.parquet"
        _write_hours(path, old)
        (folder / "usage_hourly.json").write_text(json.dumps({"sha256": sha256_of(old)}))
        path.unlink()
        path.with_name(f"_{path.stem}.json").unlink()
        path.parent.rmdir()


def _write_hours(source: Path, target: Path) -> None:
    """Usage by quarters of an hour as the rollup by hours that an earlier release kept."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        view = sqlfiles.load("migrations/0022_quarter_hours").text
        select = view[view.index("create view usage_hourly as") :].split(";")[0]
        connection.execute(f"create table usage_quarter_hourly as from read_parquet('{source}')")
        connection.execute(select)
        connection.execute(f"copy (from usage_hourly) to '{target}' (format parquet)")


def test_a_database_of_before_keeps_its_rollups(settings: Settings) -> None:
    """An older build database opens: usage by hours becomes quarters, and the hours are folded again."""
    settings.build_file.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.build_file)) as old:
        old.execute(sqlfiles.load("tables/migrations").text)
        for key in sqlfiles.names("migrations"):
            name = key.removeprefix("migrations/")
            if name < "0022":
                old.execute(sqlfiles.load(key).text)
                old.execute("insert into pipeline.migrations values ($name, now())", {"name": name})
        for table in ("usage_hourly", "pipeline.removed_usage_hourly"):
            old.execute(
                f"insert into {table} by name select timestamptz '2026-06-19 12:00+00' as hour,"
                " 'production' as environment, 'math' as task_type, 1 as requests, 1 as successes,"
                " 0 as explorations, 1 as requests_with_cost, 0.000000000001 as cost_usd,"
                " 0 as requests_with_tokens, 0 as requests_with_cost_and_tokens, 0 as requests_with_baseline,"
                " 1 as requests_with_quality, 0.75 as quality, 0.5625 as quality_squared,"
                " 12.345 as latency_ms, timestamptz '2026-06-19 12:30+00' as last_request_at"
            )
        before = old.execute("from usage_hourly").fetchall()
        old.execute("delete from pipeline.stale_hours")
    with Warehouse(settings) as warehouse:
        assert warehouse.rows("from usage_hourly") == before
        assert (
            warehouse.rows(
                "select quarter_hour, is_whole_hour, quality_micro, latency_us from usage_quarter_hourly"
                " union all select quarter_hour, is_whole_hour, quality_micro, latency_us"
                " from pipeline.removed_usage_quarter_hourly"
            )
            == [(datetime(2026, 6, 19, 12, tzinfo=UTC), True, 750_000, 12_345)] * 2
        )
        assert warehouse.value("select count(*) from pipeline.stale_hours") == 1
