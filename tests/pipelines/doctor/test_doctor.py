"""The doctor finds what is wrong, says what to do, and is quiet when nothing is."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import doctor_command
from pipelines.doctor import doctor
from pipelines.doctor.findings import SHOWN
from pipelines.errors import WarehouseError
from pipelines.lake import compaction
from pipelines.refresh import refresh
from pipelines.warehouse import publishing
from pipelines.warehouse.warehouse import Warehouse
from router import cli
from router.config import Settings
from router.journal.manifests import Manifest
from router.journal.places import manifest_path
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records


@pytest.fixture
def home(settings: Settings) -> Settings:
    """A data folder with two hours of records, loaded and published."""
    for minute in range(0, 120, 20):
        record = make_record(NOW + timedelta(minutes=minute))
        seal_records(settings, [record, make_feedback(record, 0.5)])
    _publish(settings)
    return settings


def _publish(settings: Settings) -> None:
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        publishing.publish_warehouse(warehouse)


def _first(settings: Settings) -> Path:
    return min((settings.lake / "request_analytics").rglob("*.parquet"))


@pytest.mark.smoke
def test_a_sound_folder_has_no_findings(home: Settings) -> None:
    """Before and after a compaction, audit included, there is nothing to report."""
    assert doctor.inspect(home, with_audit=True).findings == []
    compaction.compact(home.lake, now=NOW + timedelta(days=1))
    _publish(home)
    assert doctor.inspect(home, with_audit=True).findings == []
    assert doctor.inspect(Settings.load({}, home=home.home / "nothing-here"), with_audit=True).findings == []


def _flip_a_bit(settings: Settings) -> None:
    path = _first(settings)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _remove_a_segment(settings: Settings) -> None:
    path = _first(settings)
    path.unlink()
    manifest_path(path).unlink()


def _remove_a_row(settings: Settings) -> None:
    with Warehouse(settings) as warehouse:
        warehouse.connection.execute("delete from request_analytics_rows where timestamp = $at", {"at": NOW})
        publishing.publish_warehouse(warehouse)


def _spoil_a_rollup(settings: Settings) -> None:
    with Warehouse(settings) as warehouse:
        warehouse.connection.execute("update usage_quarter_hourly set requests = requests + 1")
        publishing.publish_warehouse(warehouse)


def _spoil_the_published_file(settings: Settings) -> None:
    settings.warehouse_file.write_bytes(b"no database")


def _spoil_the_classifier(settings: Settings) -> None:
    settings.classifier_file.write_bytes(b"{}\n")


def _spoil_the_scores(settings: Settings) -> None:
    settings.scores_file.write_text("{}")


def _bad_journal(settings: Settings) -> None:
    folder = settings.home / "journal" / "feedback"
    folder.mkdir(parents=True)
    (folder / "w-00000001.bad").write_text("nonsense\n")


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (_flip_a_bit, "a segment is not what its manifest says"),
        (_remove_a_segment, "a loaded segment is missing from the lake"),
        (_remove_a_row, "the warehouse holds other rows than were loaded"),
        (_spoil_a_rollup, "check `rollup_counts_match` fails"),
        (_spoil_the_published_file, "the published warehouse cannot be read"),
        (_spoil_the_scores, "the score file cannot be used"),
        (_spoil_the_classifier, "the task classifier cannot be used"),
        (_bad_journal, "a journal cannot be sealed"),
    ],
)
def test_a_fault_is_an_error(home: Settings, fault: Callable[[Settings], None], what: str) -> None:
    """Each planted fault is found by name, says what to do, and makes the command exit with 1."""
    fault(home)
    findings = doctor.inspect(home).findings
    assert what in {finding.what for finding in findings if finding.severity == "error"}
    assert all(finding.advice for finding in findings)
    answer = CliRunner().invoke(doctor_command, ["--home", str(home.home), "--format", "json"])
    assert answer.exit_code == 1
    assert json.loads(answer.output)[0]["severity"] == "error"


def test_the_command_exits_with_1_when_something_is_wrong(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code reaches the shell: 0 for a sound folder, 1 for a damaged one."""
    monkeypatch.setattr(sys, "argv", ["intellirouter", "doctor", "--audit", "--home", str(home.home)])
    cli.main()
    _flip_a_bit(home)
    with pytest.raises(SystemExit) as leave:
        cli.main()
    assert leave.value.code == 1


def _stray_file(settings: Settings) -> None:
    (settings.lake / "notes.txt").write_text("mine")


def _foreign_file(settings: Settings) -> None:
    shutil.copy2(_first(settings), _first(settings).with_name("foreign.parquet"))


def _unloaded_segment(settings: Settings) -> None:
    seal_records(settings, [make_record()])


def _left_journal(settings: Settings) -> None:
    folder = settings.home / "journal" / "feedback"
    folder.mkdir(parents=True)
    (folder / "w-00000001.jsonl").write_text("{}\n")


def _broken_build(settings: Settings) -> None:
    shutil.copy2(settings.build_file, f"{settings.build_file}.broken-20261120T120000")


def _old_copy(settings: Settings) -> None:
    import os

    at = settings.build_file.stat().st_mtime - 3600
    os.utime(settings.warehouse_file, (at, at))


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (_stray_file, "a file of the lake is not a segment"),
        (_foreign_file, "a file of the lake is not a segment"),
        (_unloaded_segment, "a segment is not loaded yet"),
        (_left_journal, "a dead process left a journal"),
        (_broken_build, "a build database was set aside"),
        (_old_copy, "the published warehouse is behind the build database"),
    ],
)
def test_what_can_wait_is_a_warning(home: Settings, fault: Callable[[Settings], None], what: str) -> None:
    """What a next run mends, or what costs nothing, is named and leaves the exit code at 0."""
    fault(home)
    findings = doctor.inspect(home).findings
    assert [(finding.severity, finding.what) for finding in findings] == [("warning", what)]
    answer = CliRunner().invoke(doctor_command, ["--home", str(home.home)])
    assert answer.exit_code == 0, answer.output
    assert answer.output.rstrip().endswith("0 errors, 1 warnings")


def test_a_living_journal_is_no_finding(home: Settings) -> None:
    """A journal whose owner holds its lock is left alone."""
    _left_journal(home)
    with (home.home / "journal" / "feedback" / "w-00000001.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert doctor.inspect(home).findings == []


def test_many_findings_of_a_kind_are_counted(home: Settings) -> None:
    """The list stays readable: twenty of a kind are named, the rest are counted."""
    for index in range(30):
        (home.lake / f"stray-{index}").write_text("x")
    findings = doctor.inspect(home).findings
    assert len(findings) == SHOWN + 1
    assert findings[-1].value == "and 10 more"


def test_an_audit_finds_what_a_matching_manifest_hides(home: Settings) -> None:
    """A segment rewritten together with its manifest passes the digests and breaks the chain."""
    import pyarrow.parquet as pq

    from tests.pipelines.lake.test_audit import rewrite_a_record

    path = _first(home)
    rewrite_a_record(home.lake, Manifest.read(manifest_path(path)))
    assert pq.read_metadata(path).num_rows == 1
    (finding,) = [item for item in doctor.inspect(home, with_audit=True).findings if "chain" in item.what]
    assert path.stem in finding.value


@pytest.mark.parametrize("name", ["runs.db", "index.db"])
def test_a_damaged_database_of_dagster_has_a_remedy(home: Settings, name: str) -> None:
    """The refresh and the doctor name the file, and moving it away cures both."""
    assert refresh(home).success
    (path,) = home.dagster_home.rglob(name)
    path.write_bytes(b"x" * 9000)
    with pytest.raises(WarehouseError, match=rf"`.*{name}` is damaged .*move the file away"):
        refresh(home)
    (finding,) = doctor.inspect(home).findings
    assert (finding.severity, finding.what) == ("error", "Dagster's database is damaged")
    assert str(path) in finding.value
    path.unlink()
    assert refresh(home).success
    assert doctor.inspect(home).findings == []
