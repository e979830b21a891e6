"""Erasing a person leaves no byte of them and changes no bill."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from click.testing import CliRunner

from pipelines.cli import COMMANDS
from pipelines.erasure import certificates, leftovers
from pipelines.erasure.certificates import Certificate
from pipelines.erasure.search import search
from pipelines.errors import LegalHoldError
from pipelines.flow import erase, honour_erasures
from pipelines.lake import compaction, reading, replacing
from pipelines.refresh import open_instance, rebuild, refresh
from pipelines.rollups import removed_rollups
from pipelines.warehouse import publishing
from pipelines.warehouse.checks import check_everything
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.journal.journal import Journal
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
    from router.records import Record

PERSON = "person-4711@example.org"
MARKER = "marker-9f3a1c77"
AGGREGATES = ("usage_hourly", "latency_buckets_hourly", "task_cost_daily", "usage_by_org_daily")


def theirs(minute: int = 0, **changes: Any) -> list[Record]:
    """A request of the person, its judgement and its audit trail, each with the planted marker."""
    at = NOW + timedelta(minutes=minute, seconds=1)
    record = make_record(at, user_id=PERSON, latency_ms=31.0 + minute, **changes)
    return [
        record,
        make_feedback(record, 0.25, comment=f"{MARKER} was wrong"),
        make_log(
            record,
            request_data=json.dumps({"messages": [{"role": "user", "content": f"I am {MARKER}"}]}),
            response_data=f"no JSON but {MARKER}",
            ip_address="203.0.113.7",
        ),
    ]


def others(minute: int = 0) -> list[Record]:
    """Somebody else's, in the same hour."""
    record = make_record(NOW + timedelta(minutes=minute, seconds=2))
    return [record, make_feedback(record, 1.0), make_log(record)]


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Two hours of two people, an hour of the person alone."""
    for minute in (0, 1, 70):
        seal_records(settings, [*theirs(minute), *others(minute)])
    seal_records(settings, theirs(130))
    return settings


def aggregates(settings: Settings) -> dict[str, list[Any]]:
    """Every rollup and daily mart, ordered."""
    with Warehouse(settings) as warehouse:
        return {table: warehouse.rows(f"from {table} order by all") for table in AGGREGATES}


def build(settings: Settings) -> None:
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)


def failures(settings: Settings) -> list[str]:
    with Warehouse(settings) as warehouse:
        return [str(check) for check in check_everything(warehouse) if not check.passed]


def assert_nothing_left(settings: Settings) -> None:
    """Neither the id nor the marker stands in any file, as bytes or decoded."""
    found = search([settings.home], [PERSON, MARKER])
    assert (found.hits, found.unreadable) == ({}, [])
    assert found.decoded > 0


@pytest.mark.slow
def test_an_erasure_leaves_no_trace_and_no_bill_changes(filled: Settings) -> None:
    """Rows, feedback and audit trail are gone; rollups are as before, and again after a rebuild."""
    build(filled)
    before = aggregates(filled)
    assert search([filled.home], [PERSON, MARKER]).hits
    certificate = erase(filled, PERSON)
    assert certificate.rows == {
        "request_analytics": 4,
        "feedback": 4,
        "request_logs": 4,
        "security_events": 0,
    }
    assert (certificate.remaining, certificate.pending_journals) == ((), ())
    assert aggregates(filled) == before
    assert failures(filled) == []
    assert_nothing_left(filled)
    filled.build_file.unlink()
    build(filled)
    assert aggregates(filled) == before
    with Warehouse(filled) as warehouse:
        assert warehouse.value("select count(*) from request_analytics") == 3
        assert warehouse.value("select sum(rows_removed) from pipeline.removals") == 4


def test_hours_are_still_folded_after_an_erasure(filled: Settings) -> None:
    """Late records and judgements of others are counted on top of what was erased."""
    build(filled)
    erase(filled, PERSON)
    late = make_record(NOW + timedelta(minutes=5), latency_ms=5.0)
    seal_records(filled, [late, make_feedback(late, 0.5)])
    build(filled)
    incremental = aggregates(filled)
    assert sum(row[6] for row in incremental["usage_hourly"]) == 8
    assert failures(filled) == []
    filled.build_file.unlink()
    build(filled)
    assert aggregates(filled) == incremental


def test_the_certificate_says_what_was_done_and_not_to_whom(filled: Settings) -> None:
    """Files before and after with digests, rows, hours; the person only as a keyed hash."""
    build(filled)
    erase(filled, PERSON)
    (path,) = (item for item in filled.erasures.glob("*.json") if "tombstone" not in item.name)
    text = path.read_text()
    assert PERSON not in text
    certificate = Certificate.model_validate_json(text)
    assert list(certificate.hours.values()) == [2, 1, 1]
    for item in certificate.files:
        assert not any((filled.lake / file.path).exists() for file in item.before)
        assert (filled.lake / item.after.path).exists()
        assert sum(file.rows for file in item.before) - item.after.rows == item.rows_removed > 0
    assert oct((filled.erasures / "key").stat().st_mode & 0o777) == "0o600"


def test_one_organisation_only(filled: Settings) -> None:
    """With an organisation named, the person stays in the others."""
    seal_records(filled, theirs(3, organization_id="globex"))
    assert erase(filled, PERSON, organization="globex").rows["request_analytics"] == 1
    with Warehouse(filled) as warehouse:
        found = warehouse.rows(
            "select distinct organization_id from request_analytics where user_id = $u", u=PERSON
        )
    assert found == [("acme",)]


@pytest.mark.parametrize("hold", ["user: person-4711@example.org", "organization: acme"])
def test_a_legal_hold_refuses_and_is_named(filled: Settings, hold: str) -> None:
    """Nothing is changed, and the error says which hold it is."""
    filled.retention_file.write_text(f"legal_holds:\n  - {{{hold}, reason: case 12, since: 2026-11-01}}\n")
    files = {path: path.read_bytes() for path in filled.lake.rglob("*.parquet")}
    with pytest.raises(LegalHoldError, match=r"legal hold on .* since 2026-11-01 \(case 12\)"):
        erase(filled, PERSON)
    assert {path: path.read_bytes() for path in filled.lake.rglob("*.parquet")} == files
    assert not list(filled.erasures.glob("*.json"))


@pytest.mark.smoke
def test_a_dry_run_changes_nothing(filled: Settings) -> None:
    """The command counts what would go and leaves every file as it is."""
    files = {path: path.read_bytes() for path in filled.home.rglob("*") if path.is_file()}
    result = run("erase", "--user", PERSON, "--dry-run", "--home", str(filled.home))
    assert "found 4 rows of request_analytics" in result
    assert {path: path.read_bytes() for path in filled.home.rglob("*") if path.is_file()} == files


def run(name: str, *arguments: str) -> str:
    (command,) = (item for item in COMMANDS if item.name == name)
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_an_id_that_no_file_holds_gets_no_certificate(filled: Settings) -> None:
    """It is more likely misspelt. --unseen certifies it nevertheless. An erasure may be repeated."""
    (command,) = (item for item in COMMANDS if item.name == "erase")
    unknown = ["--user", "person-4712@example.org", "--home", str(filled.home), "--yes"]
    result = CliRunner().invoke(command, unknown)
    assert "shows a user `person-4712@example.org`: check the spelling" in str(result.exception)
    assert list(filled.erasures.glob("*")) == []
    assert "removed 0 rows" in run("erase", *unknown, "--unseen")
    known = ["--user", PERSON, "--home", str(filled.home), "--yes"]
    assert "removed 4 rows" in run("erase", *known)
    assert "removed 0 rows" in run("erase", *known)


def test_the_command_asks_and_then_erases(filled: Settings) -> None:
    """Without --yes nothing happens unless a person agrees."""
    (command,) = (item for item in COMMANDS if item.name == "erase")
    arguments = ["--user", PERSON, "--home", str(filled.home)]
    assert CliRunner().invoke(command, arguments, input="n\n").exit_code == 1
    assert "removed 4 rows of request_analytics" in run("erase", *arguments, "--yes")
    assert_nothing_left(filled)


@pytest.mark.slow
def test_remains_of_every_kind_are_cleared(filled: Settings) -> None:
    """Damaged, foreign, temporary and set-aside files that hold the person are gone afterwards."""
    build(filled)
    before = aggregates(filled)
    folder = next((filled.lake / "request_logs").glob("date=*/hour=*"))
    (segment, *_) = sorted(folder.glob("*.parquet"))
    shutil.copy(segment, folder / "foreign.parquet")
    shutil.copy(segment, filled.lake / "stray.parquet")
    shutil.copy(segment, folder / ".tmp-half.parquet-999999999")
    shutil.copy(segment, filled.warehouse_file.parent / ".tmp-left.parquet")
    shutil.copy(filled.build_file, filled.build_file.with_name("build.duckdb.broken-20261101T000000"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    records = next((filled.lake / "request_analytics").glob("date=*/hour=*/*.parquet"))
    records.write_bytes(records.read_bytes()[:-20])
    bad = filled.home / "journal" / "request_logs" / "w-00000001.bad"
    bad.parent.mkdir(parents=True)
    bad.write_text(
        f'{{"user_id": "{PERSON}", "x": "{MARKER}"}}\n{{"user_id": "u1"}}\nbroken {PERSON} {MARKER}\n'
    )
    certificate = erase(filled, PERSON)
    assert len(certificate.removed_files) >= 3
    assert bad.read_text() == '{"user_id": "u1"}\n'
    assert_nothing_left(filled)
    assert aggregates(filled) == before
    with Warehouse(filled) as warehouse:
        assert warehouse.value("select count(*) from request_analytics") == 3
        assert warehouse.rows("from pipeline.quarantine") == []


@pytest.mark.slow
def test_a_late_segment_of_an_erased_person_is_erased_too(
    filled: Settings, instance: dg.DagsterInstance
) -> None:
    """What a router still held in its journal is billed and then forgotten by the next refresh."""
    journal = Journal(filled.home, seal_interval_s=3600, max_bytes=1 << 30)
    late = theirs(75)
    journal.append(*late)
    certificate = erase(filled, PERSON)
    assert certificate.pending_journals
    journal.close()
    assert search([filled.home], [PERSON]).hits
    assert refresh(filled, instance=instance).success
    shown = instance.get_latest_materialization_event(dg.AssetKey("honoured_erasures"))
    assert shown is not None
    assert shown.asset_materialization is not None
    assert shown.asset_materialization.metadata["certificates"].value == 1
    (path,) = filled.erasures.glob("*-late-*.json")
    rows = Certificate.model_validate_json(path.read_bytes()).rows
    assert shown.asset_materialization.metadata["rows"].value == rows
    assert rows["request_analytics"] == 1
    assert_nothing_left(filled)
    assert failures(filled) == []
    with Warehouse(filled) as warehouse:
        assert warehouse.value("select sum(requests) from usage_hourly") == 8
        assert honour_erasures(warehouse) == []
    causes = sorted(
        Certificate.model_validate_json(path.read_bytes()).cause
        for path in filled.erasures.glob("*.json")
        if "tombstone" not in path.name
    )
    assert causes == ["late segments", "request"]


def test_records_after_the_erasure_stay(filled: Settings) -> None:
    """Who comes back after an erasure is a person like any other."""
    erase(filled, PERSON)
    seal_records(filled, [make_record(datetime.now(UTC), user_id=PERSON)])
    with Warehouse(filled) as warehouse:
        run_steps(warehouse)
        assert honour_erasures(warehouse) == []
        assert warehouse.value("select count(*) from request_analytics where user_id = $u", u=PERSON) == 1


def test_a_compaction_under_way_hides_nobody(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments merged between listing and rewriting are listed again."""
    build(filled)
    replace = replacing.replace_segments
    merged: list[bool] = []

    def late(*arguments: Any, **named: Any) -> Any:
        if not merged:
            merged.append(True)
            compaction.compact(filled.lake, now=NOW + timedelta(days=1))
        return replace(*arguments, **named)

    monkeypatch.setattr(replacing, "replace_segments", late)
    assert erase(filled, PERSON).remaining == ()
    assert_nothing_left(filled)
    assert failures(filled) == []


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 5, 10, 13, 14, 15])
def test_an_erasure_stopped_anywhere_is_finished_by_a_refresh(
    filled: Settings, after: int, instance: dg.DagsterInstance
) -> None:
    """Whatever step it stops before, the next refresh leaves no trace and the same aggregates."""
    build(filled)
    before = aggregates(filled)
    steps = (
        (removed_rollups, "keep_share"),
        (replacing, "replace_segments"),
        (leftovers, "clear"),
        (Warehouse, "recreate"),
        (publishing, "publish_warehouse"),
        (certificates, "issue"),
    )
    with stopped_after(after, steps), pytest.raises(KeyboardInterrupt):
        erase(filled, PERSON)
    assert refresh(filled, instance=instance).success
    assert aggregates(filled) == before
    assert failures(filled) == []
    assert_nothing_left(filled)


@pytest.mark.slow
def test_dagsters_storage_never_learns_of_the_person(filled: Settings) -> None:
    """Refreshes and an erasure around a real instance leave nothing in runs, events or logs."""
    with open_instance(filled) as instance:
        assert refresh(filled, instance=instance).success
        erase(filled, PERSON)
        assert refresh(filled, instance=instance).success
        assert rebuild(filled, instance=instance).success
    assert list(filled.dagster_home.rglob("*.db"))
    for path in filled.build_file.parent.glob("*.broken-*"):
        path.unlink()
    assert_nothing_left(filled)


def test_the_search_finds_what_compression_and_pages_hide(settings: Settings, tmp_path: Path) -> None:
    """Parquet, DuckDB and SQLite files are searched decoded, whatever they are called."""
    seal_records(settings, theirs())
    build(settings)
    with sqlite3.connect(tmp_path / "data" / "events.x") as connection:
        connection.execute("create table e (v text)")
        connection.execute("insert into e values (?)", ["x" * 4080 + PERSON + "y" * 9000])
    connection.close()
    for path in settings.lake.rglob("*.parquet"):
        path.rename(path.with_suffix(".bin"))
    found = search([settings.home], [PERSON])
    assert {Path(path).suffix for path in found.hits} == {".bin", ".x", ".duckdb", ".json"}
    assert reading.scan(settings.lake, "feedback").segments == []


def test_a_longer_id_is_no_trace_of_a_shorter_one(settings: Settings) -> None:
    """Erasing `person-1` is done, and says so, while `person-10` stays."""
    for second, user in enumerate(("person-1", "person-10")):
        seal_records(settings, [make_record(NOW + timedelta(seconds=second), user_id=user)])
    certificate = erase(settings, "person-1")
    assert certificate.rows["request_analytics"] == 1
    with Warehouse(settings) as warehouse:
        assert warehouse.rows("select user_id from request_analytics") == [("person-10",)]
