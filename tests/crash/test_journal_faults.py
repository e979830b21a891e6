"""Corners of the journal that a failing disk reaches, each made to happen on purpose."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from pipelines import flow
from pipelines.doctor import doctor
from pipelines.erasure import erasure
from pipelines.lake import audit, compaction
from pipelines.warehouse import publishing
from pipelines.warehouse.warehouse import Warehouse
from router.errors import JournalError
from router.journal import chains, segments
from router.journal.journal import Journal
from router.records import DATASETS, RequestRecord
from tests.crash import forks, power
from tests.crash.operations import ERASED, LATER, QuietJournal, Stage
from tests.crash.preload import Action, Control
from tests.crash.recovery import Findings, acknowledged_in, ids_in_lake, judge, start, still_there
from tests.factories import request_record


def ids(home: Path) -> dict[str, int]:
    """What the next start finds."""
    Journal(home, seal_interval_s=3600, max_bytes=1 << 30).close()
    problems: list[str] = []
    found = ids_in_lake(home / "lake", RequestRecord.DATASET, problems)
    assert problems == []
    assert list((home / "journal").rglob("*.bad")) == []
    return dict(found)


def test_half_a_record_that_cannot_be_cut_off_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a short write cannot be taken back either, the next record goes to another file."""
    journal = QuietJournal(tmp_path)
    journal.append(first := request_record())
    real_write = os.write

    def no_truncate(descriptor: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real_write(fd, data[: len(data) // 2]))
        patch.setattr(os, "ftruncate", no_truncate)
        with pytest.raises(JournalError, match="Input/output error"):
            journal.append(request_record())
    with pytest.raises(JournalError, match="half a record"):
        journal.append(request_record())
    journal.seal_now()
    journal.append(second := request_record())
    journal.close()
    assert ids(tmp_path) == {first.id: 1, second.id: 1}


def test_a_journal_that_failed_to_seal_is_synced_before_it_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `group`, whoever waits for a sync is not told that a closed file needs none."""
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    journal = QuietJournal(tmp_path, sync="group")
    (path,) = (tmp_path / "journal" / "request_analytics").glob("*.jsonl")
    inode = path.stat().st_ino
    (waiting,) = journal._write((request_record(),))  # appended, and its sync not yet asked for

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fdatasync)
        patch.setattr(segments, "seal", full)
        with pytest.raises(OSError, match="No space left"):
            journal.seal_now()
        waiting.sync()
        assert inode in synced
    journal.close()


def _route(scratch: Path, target: int) -> None:
    """One router, killed at a call of its start; or, without a target, one that serves."""
    with Control(scratch / "control", is_new=False) as control:
        control.arm(scratch / "disk", Action.AFTER if target else Action.COUNT, target=target)
    stage = Stage(home=scratch / "disk" / "home", acknowledged=scratch / "acknowledged")
    journal = QuietJournal(stage.home, sync="group", writer_id=f"{target:012x}")
    for together in stage.traffic(3):
        journal.append(*together)
        stage.acknowledge(*together)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("target", range(1, 9))
def test_folders_of_a_killed_router_are_synced_by_the_next(tmp_path: Path, target: int) -> None:
    """A folder that stands may not be durable: its maker may have been killed before it synced it."""
    home = tmp_path / "disk" / "home"
    home.mkdir(parents=True)
    with Control(tmp_path / "control") as control:
        power.watch(control, tmp_path / "disk", tmp_path / "notes")
        assert forks.run_to_death(control.path, _route, tmp_path, target)
        assert not forks.run_to_death(control.path, _route, tmp_path, 0)
    power.cut(tmp_path / "disk", tmp_path / "notes")
    known = acknowledged_in(tmp_path / "acknowledged")[RequestRecord.DATASET]
    assert len(known) == 3
    assert ids(home).keys() >= known.keys()


STOPS: dict[str, tuple[object, str, Callable[..., bool]]] = {
    "before the first head": (chains, "write_head", lambda call, *_: call == 1),
    "before the second hour": (segments, "write_segment", lambda call, *_: call == 2),
    "before the second head": (chains, "write_head", lambda call, *_: call == 2),
    "before its removal": (Path, "unlink", lambda _, path: path.suffix == ".jsonl"),
}
EXPIRY = LATER + timedelta(days=100)


def _leave_a_journal(home: Path, stop: str) -> Stage:
    """A lake with a refreshed warehouse, and the journals of a router killed while it sealed them."""
    stage = Stage(home=home, acknowledged=home.with_name("acknowledged"))
    stage.seal(6)
    journal = QuietJournal(stage.home)
    for together in stage.traffic(6):
        journal.append(*together)
        stage.acknowledge(*together)
    owner, name, is_reached = STOPS[stop]
    calls, real = itertools.count(1), getattr(owner, name)

    def stopped(*arguments: object, **named: object) -> object:
        if is_reached(next(calls), *arguments):
            raise KeyboardInterrupt
        return real(*arguments, **named)

    with mock.patch.object(owner, name, stopped), pytest.raises(KeyboardInterrupt):
        journal.seal_now()
    for log in journal._logs.values():
        log._file.close()
    assert len(_left(stage)) >= len(DATASETS)
    stage.refresh()
    return stage


def _left(stage: Stage) -> list[Path]:
    return list((stage.home / "journal").rglob("*.jsonl"))


def _head_of_the_killed(stage: Stage) -> chains.Head | None:
    return chains.read_head(chains.head_path(stage.settings.lake, RequestRecord.DATASET, "0a" * 6))


def _check_adoption(stage: Stage, stop: str, operation: str | None = None) -> None:
    head = _head_of_the_killed(stage)
    start(stage.settings)
    if stop == "before its removal":
        assert _head_of_the_killed(stage) == head
    assert _left(stage) == []
    for _ in range(2):
        compaction.compact(stage.settings.lake, now=LATER)
        start(stage.settings)
        findings, known = Findings(), acknowledged_in(stage.acknowledged)
        judge(stage.settings, known, findings, operation)
        assert findings.problems == []
        assert (findings.lost, findings.twice) == (0, 0)
        assert operation != "erase" or still_there(stage.settings, known) == []


@pytest.mark.parametrize("stop", STOPS)
def test_a_journal_that_outlived_its_compacted_segment_counts_once(tmp_path: Path, stop: str) -> None:
    """Killed while sealing, and adopted when the hour was compacted since: nothing is linked twice."""
    stage = _leave_a_journal(tmp_path / "home", stop)
    assert compaction.compact(stage.settings.lake, now=LATER).merged > 0
    _check_adoption(stage, stop)


@pytest.mark.parametrize("stop", STOPS)
def test_a_journal_that_outlived_an_erasure_brings_nobody_back(tmp_path: Path, stop: str) -> None:
    """An erased person's rows stay erased, whether their hour was sealed before the erasure or after."""
    stage = _leave_a_journal(tmp_path / "home", stop)
    with mock.patch.object(erasure, "seal_leftovers"):  # as if the journal came from a backup
        flow.erase(stage.settings, ERASED)
    _check_adoption(stage, stop, "erase")


@pytest.mark.parametrize("is_compacted", [False, True])
@pytest.mark.parametrize("stop", STOPS)
def test_a_journal_that_outlived_its_days_brings_no_row_back(
    tmp_path: Path, stop: str, *, is_compacted: bool
) -> None:
    """An hour that retention dropped is not sealed again. One it never saw is counted, and goes next time."""
    stage = _leave_a_journal(tmp_path / "home", stop)
    if is_compacted:
        assert compaction.compact(stage.settings.lake, now=LATER).merged > 0
    for _ in range(2):
        with Warehouse(stage.settings) as warehouse:
            flow.retain(warehouse, now=EXPIRY)
            publishing.publish_warehouse(warehouse)
        assert list(stage.settings.lake.glob(f"{RequestRecord.DATASET}/date=*")) == []
        start(stage.settings)
        assert _left(stage) == []
        if stop == "before its removal":
            assert list(stage.settings.lake.glob(f"{RequestRecord.DATASET}/date=*")) == []
        found = doctor.inspect(stage.settings, with_audit=True).findings
        errors = [finding.what for finding in found if finding.severity == "error"]
        assert all("came after its day was closed" in what for what in errors)
    assert errors == []  # the second run counted it and removed it


def test_a_journal_after_one_that_failed_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk between manifest and head: the next journal of that writer takes no one's place."""
    journal = QuietJournal(tmp_path)
    real, calls = chains.write_head, itertools.count(1)

    def full(path: Path, head: chains.Head) -> None:
        if next(calls) in {2, 3}:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, head)

    monkeypatch.setattr(chains, "write_head", full)
    records = [request_record() for _ in range(4)]
    journal.append(records[0])
    journal.seal_now()
    for record in records[1:3]:
        journal.append(record)
        with pytest.raises(OSError, match="No space left"):
            journal.seal_now()
    journal.append(records[3])
    journal.close()
    assert ids(tmp_path) == {record.id: 1 for record in records}
    assert audit.audit(tmp_path)[0] == []


def test_a_hole_in_a_journal_costs_only_what_was_never_synced(tmp_path: Path) -> None:
    """A power cut may leave zeros before later bytes; synced records are sealed all the same."""
    journal = QuietJournal(tmp_path, sync="group")
    records = [request_record() for _ in range(30)]
    journal.append(*records[:10])
    (path,) = (tmp_path / "journal" / "request_analytics").glob("*.jsonl")
    synced = path.stat().st_size
    journal.append(*records[10:])
    content = bytearray(path.read_bytes())
    journal.close()
    shutil.rmtree(tmp_path / "lake")
    content[synced + 100 : synced + 4196] = bytes(4096)
    path.write_bytes(content)
    found = ids(tmp_path)
    assert [key for key in (record.id for record in records[:10]) if found.get(key) != 1] == []
