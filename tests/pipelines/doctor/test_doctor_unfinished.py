"""The doctor tells what a stop left half done, which the next run ends, from what is wrong."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines import flow
from pipelines.doctor import doctor
from pipelines.lake import audit, compaction, reading, replacing
from pipelines.retention import retention
from pipelines.rollups import removed_rollups
from pipelines.warehouse import archive, publishing
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.journal import chains, segments
from router.journal.journal import encode
from router.journal.manifests import note_paths
from router.journal.places import manifest_path
from router.records import RequestLog, RequestRecord
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
    from datetime import datetime
    from typing import Any

    from router.records import Record

YOUNG = NOW + timedelta(days=60)
LATER = NOW + timedelta(days=91)
"""Under the default period the old days have expired and the young one has not."""
ERASED = "u9"


def everything(at: datetime, **changes: Any) -> list[Record]:
    """A request with its judgement and its audit trail."""
    record = make_record(at, **changes)
    return [record, make_feedback(record, 0.5), make_log(record)]


def refresh(settings: Settings) -> None:
    """Load, roll up, publish."""
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        publishing.publish_warehouse(warehouse)


def retain(settings: Settings, now: datetime = LATER) -> None:
    """What the retention job does."""
    with Warehouse(settings) as warehouse:
        flow.retain(warehouse, now=now)
        publishing.publish_warehouse(warehouse)


def errors(settings: Settings) -> list[str]:
    """What the doctor calls wrong."""
    return [
        f"{finding.what}: {finding.value}"
        for finding in doctor.inspect(settings, with_audit=True).findings
        if finding.severity == "error"
    ]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is about to write a manifest here."""
    monkeypatch.setattr(reading, "MANIFEST_GRACE_S", 0.0)


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Two old days and a young one of three people, the first day partly compacted."""
    for day in (timedelta(), timedelta(days=1), timedelta(days=60)):
        for minute in (0, 1):
            for user, organization in (("u1", "acme"), ("u2", "globex"), (ERASED, "acme")):
                if user == ERASED and day > timedelta(days=1):
                    continue  # still to come when the person is erased
                at = NOW + day + timedelta(minutes=minute)
                seal_records(settings, everything(at, user_id=user, organization_id=organization))
    refresh(settings)
    compaction.compact(settings.lake, now=NOW + timedelta(days=1, hours=1))
    seal_records(settings, everything(NOW + timedelta(minutes=2)))
    refresh(settings)
    assert doctor.inspect(settings, with_audit=True).findings == []
    return settings


COMPACTION_CALLS = ((os, "fsync"), (Path, "replace"), (Path, "unlink"))


@pytest.mark.slow
def test_a_compaction_stopped_anywhere_is_no_error(settings: Settings, tmp_path: Path) -> None:
    """Before each of its file-system calls, with the copy published before and after, nothing is wrong."""
    for minute in range(3):
        seal_records(settings, [make_record(NOW + timedelta(minutes=minute))])
    refresh(settings)
    stops = 0
    while True:
        home = tmp_path / f"stopped-{stops}"
        shutil.copytree(settings.home, home)
        stopped = Settings.load({}, home=home)
        try:
            with stopped_after(stops, COMPACTION_CALLS):
                compaction.compact(stopped.lake, now=LATER)
        except KeyboardInterrupt:
            pass
        else:
            break
        assert errors(stopped) == [], stops
        refresh(stopped)
        assert errors(stopped) == [], stops
        compaction.compact(stopped.lake, now=LATER)
        refresh(stopped)
        assert doctor.inspect(stopped, with_audit=True).findings == [], stops
        shutil.rmtree(home)
        stops += 1
    assert stops > 12


RETENTION_STEPS = (
    (archive, "archive_day"),
    (retention, "_set_cutoff"),
    (retention, "_delete_rows"),
    (replacing, "replace_segments"),
    (audit, "note_drop"),
    (retention, "_hide"),
    (audit, "forget_heads"),
    (shutil, "rmtree"),
    (retention, "_forget_removals"),
    (removed_rollups, "forget_shares"),
    (Warehouse, "recreate"),
    (publishing, "publish_warehouse"),
)
RULES = {
    "the default": "",
    "shorter and longer": "organizations:\n  globex: {analytics_days: 20}\n  acme: {analytics_days: 365}\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
def test_a_retention_stopped_anywhere_is_no_error(filled: Settings, tmp_path: Path, rules: str) -> None:
    """Before each step, with the copy published before and by a refresh after, nothing is wrong."""
    filled.retention_file.write_text(RULES[rules])
    flow.erase(filled, ERASED)
    stops = 0
    while True:
        home = tmp_path / f"stopped-{stops}"
        shutil.copytree(filled.home, home)
        stopped = Settings.load({}, home=home)
        try:
            with stopped_after(stops, RETENTION_STEPS):
                retain(stopped)
        except KeyboardInterrupt:
            pass
        else:
            break
        assert errors(stopped) == [], stops
        refresh(stopped)
        assert errors(stopped) == [], stops
        retain(stopped)
        assert doctor.inspect(stopped, with_audit=True).findings == [], stops
        shutil.rmtree(home)
        stops += 1
    assert stops > 20


def test_rows_that_a_stopped_retention_left_are_named(filled: Settings) -> None:
    """Cutoff set, rows not deleted, published by the next refresh: a warning that says what ends it."""
    with pytest.raises(KeyboardInterrupt), stopped_after(0, [(retention, "_delete_rows")]):
        retain(filled)
    refresh(filled)
    findings = doctor.inspect(filled, with_audit=True).findings
    assert {finding.severity for finding in findings} == {"warning"}
    assert {finding.what for finding in findings} == {"a stopped retention left rows that have expired"}
    assert "run `intellirouter retention`" in findings[0].advice


def test_partitions_that_a_stopped_retention_dropped_are_named(filled: Settings) -> None:
    """Dropped and not published: the build database knows, and the published copy does not."""
    with pytest.raises(KeyboardInterrupt), stopped_after(0, [(publishing, "publish_warehouse")]):
        retain(filled)
    what = "a stopped retention removed a segment that the published warehouse still shows"
    findings = doctor.inspect(filled, with_audit=True).findings
    assert {finding.severity for finding in findings} == {"warning"}
    assert what in {finding.what for finding in findings}


def test_a_stopped_retention_excuses_nothing_else(filled: Settings) -> None:
    """A young segment that is removed meanwhile, and a note that explains it, are both wrong."""
    with pytest.raises(KeyboardInterrupt), stopped_after(0, [(publishing, "publish_warehouse")]):
        retain(filled)
    folder = filled.lake / RequestRecord.DATASET / f"date={YOUNG:%Y-%m-%d}"
    gone = min(folder.rglob("*.parquet"))
    audit.note_drop(filled.lake, folder)
    gone.unlink()
    manifest_path(gone).unlink()
    found = errors(filled)
    assert any(item.startswith("a loaded segment is missing from the lake") for item in found)
    assert any(item.startswith("a drop note is younger") for item in found)
    assert any("was removed" in item for item in found)


def test_an_expired_partition_that_returns_is_not_excused(filled: Settings) -> None:
    """More rows of an expired segment than were ever loaded are wrong, not unfinished."""
    with pytest.raises(KeyboardInterrupt), stopped_after(0, [(retention, "_delete_rows")]):
        retain(filled)
    with Warehouse(filled) as warehouse:
        warehouse.connection.execute(
            "insert into request_analytics_rows"
            " select * replace (id || '-again' as id) from request_analytics_rows"
            " where timestamp < $cutoff",
            {"cutoff": YOUNG},
        )
        publishing.publish_warehouse(warehouse)
    assert any("other rows than were loaded" in item for item in errors(filled))


@pytest.mark.parametrize("days", [1, 40, 365])
def test_each_dataset_expires_by_its_own_period(settings: Settings, days: int) -> None:
    """A period of the audit trail that is shorter or longer than the requests' leaves nothing wrong."""
    settings = Settings.load({"REQUEST_LOG_RETENTION_DAYS": str(days)}, home=settings.home)
    for at in (NOW, NOW + timedelta(days=55), YOUNG):
        seal_records(settings, everything(at))
    refresh(settings)
    for now in (NOW + timedelta(days=58), LATER, LATER + timedelta(days=1)):
        retain(settings, now)
        assert doctor.inspect(settings, with_audit=True).findings == []
        refresh(settings)
        assert doctor.inspect(settings, with_audit=True).findings == []


def test_rows_that_a_rule_keeps_stay_accounted_for(filled: Settings) -> None:
    """Retention after retention, the rows of a longer period are those the ledger has."""
    filled.retention_file.write_text(RULES["shorter and longer"])
    for days in range(3):
        retain(filled, LATER + timedelta(days=days))
        assert doctor.inspect(filled, with_audit=True).findings == []


@pytest.mark.parametrize("dataset", [RequestRecord.DATASET, RequestLog.DATASET])
def test_a_forged_drop_note_is_found(settings: Settings, dataset: str) -> None:
    """A note of a day that its dataset's retention has not reached explains nothing."""
    for at in (NOW, YOUNG):
        seal_records(settings, everything(at))
    refresh(settings)
    retain(settings, NOW + timedelta(days=91))
    forged = YOUNG if dataset == RequestRecord.DATASET else NOW + timedelta(days=62)
    seal_records(settings, everything(forged))
    refresh(settings)
    assert doctor.inspect(settings, with_audit=True).findings == []
    audit.note_drop(settings.lake, settings.lake / dataset / f"date={forged:%Y-%m-%d}")
    (found,) = errors(settings)
    assert found.startswith("a drop note is younger")
    (note,) = note_paths(settings.lake, dataset, forged)
    note.rename(note.with_name("date=2026-01-01.json")).write_text("[]")
    (found,) = errors(settings)
    assert found.startswith("a drop note cannot be read")


def test_a_stopped_sealing_is_no_error(settings: Settings) -> None:
    """A segment without its manifest is in quarantine until its journal is adopted, and then is not."""
    seal_records(settings, [make_record()])
    journal = settings.home / "journal" / RequestRecord.DATASET / "0c-00000001.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(encode(make_record()))
    with pytest.raises(KeyboardInterrupt), stopped_after(0, [(segments, "commit")]):
        segments.seal(
            journal,
            dataset=RequestRecord.DATASET,
            writer_id="0c",
            sequence=1,
            lake=settings.lake,
            is_new=True,
        )
    refresh(settings)
    findings = doctor.inspect(settings, with_audit=True).findings
    assert {finding.severity for finding in findings} == {"warning"}
    assert "a stopped sealing left a file" in {finding.what for finding in findings}
    journal.unlink()
    assert any("in quarantine" in item for item in errors(settings))


def test_a_busy_build_database_excuses_nothing(filled: Settings) -> None:
    """While a run holds the build database, what is missing is called missing."""
    gone = min((filled.lake / RequestRecord.DATASET).rglob("*.parquet"))
    gone.unlink()
    manifest_path(gone).unlink()
    with Warehouse(filled):
        assert any("missing from the lake" in item for item in errors(filled))
    assert chains.read_head(chains.head_path(filled.lake, RequestRecord.DATASET, "w1")) is not None
