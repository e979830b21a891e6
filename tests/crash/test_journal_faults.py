"""Corners of the journal that a failing disk reaches, each made to happen on purpose."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from pipelines import compaction
from router import segments
from router.errors import JournalError
from router.journal import Journal
from router.records import RequestRecord
from tests.crash import forks, power
from tests.crash.operations import LATER, QuietJournal, Stage
from tests.crash.preload import Action, Control
from tests.crash.recovery import Findings, acknowledged_in, ids_in_lake, judge, start
from tests.factories import request_record

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.xfail(
    strict=False,
    reason="router.manifests.commit links the segment to its chain anew, though a derived one has replaced"
    " it: `doctor --audit` then calls it changed",
)
def test_a_journal_that_outlived_its_compacted_segment_counts_once(tmp_path: Path) -> None:
    """Killed between sealing and removing the journal, and adopted when the hour was compacted since."""
    stage = Stage(home=tmp_path / "home", acknowledged=tmp_path / "acknowledged")
    stage.seal(3)
    journal = QuietJournal(stage.home)
    for together in stage.traffic(3):
        journal.append(*together)
        stage.acknowledge(*together)
    left = {path: path.read_bytes() for path in (stage.home / "journal").rglob("*.jsonl")}
    journal.close()
    stage.refresh()
    assert compaction.compact(stage.settings.lake, now=LATER).merged > 0
    for path, content in left.items():
        path.write_bytes(content)
    findings = Findings()
    start(stage.settings)
    compaction.compact(stage.settings.lake, now=LATER)
    judge(stage.settings, acknowledged_in(stage.acknowledged), findings)
    assert findings.problems == []
    assert (findings.lost, findings.twice) == (0, 0)


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
