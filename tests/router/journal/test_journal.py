"""The journal: append before reply, seal once, adopt what the dead leave."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from router.errors import JournalError
from router.journal.journal import Journal, encode
from router.journal.manifests import Manifest
from tests.factories import feedback_record, request_record

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal that seals only when told to."""
    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30)
    yield journal
    journal.close()


def sealed_ids(home: Path) -> list[str]:
    """Ids of every sealed request, by manifest."""
    ids: list[str] = []
    for path in sorted((home / "lake" / "request_analytics").rglob("*.json")):
        ids += pq.read_table(home / "lake" / Manifest.read(path).path).column("id").to_pylist()
    return ids


@pytest.mark.smoke
def test_an_appended_record_is_on_disk_before_append_returns(journal: Journal, tmp_path: Path) -> None:
    """Another process can read the line at once: nothing waits in this process's memory."""
    record = request_record()
    journal.append(record)
    (path,) = (tmp_path / "journal" / "request_analytics").glob("*.jsonl")
    assert record.id in path.read_text()


@pytest.mark.smoke
def test_sealing_moves_every_record_into_the_lake(journal: Journal, tmp_path: Path) -> None:
    """Rows in the segments equal rows appended, and the finished journals are gone."""
    records = [request_record() for _ in range(100)]
    for record in records:
        journal.append(record)
    journal.append(feedback_record(records[0].id, 1.0))
    journal.seal_now()
    assert sealed_ids(tmp_path) == [record.id for record in records]
    assert journal.backlog_bytes() == 0
    assert len(list((tmp_path / "lake" / "feedback").rglob("*.parquet"))) == 1


def test_sealing_nothing_writes_nothing(journal: Journal, tmp_path: Path) -> None:
    """An idle router leaves no empty segments behind."""
    journal.seal_now()
    assert not (tmp_path / "lake").exists()


def test_a_full_journal_is_sealed_early(tmp_path: Path) -> None:
    """A journal over its size limit does not wait for the interval."""
    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=4096)
    for _ in range(50):
        journal.append(request_record())
    journal.close()
    assert len(sealed_ids(tmp_path)) == 50
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) >= 1


def test_a_killed_process_loses_no_acknowledged_record(tmp_path: Path) -> None:
    """After SIGKILL the next process seals the leftover journal, every acknowledged id exactly once."""
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from router.journal.journal import Journal
        from tests.factories import request_record
        journal = Journal(Path(sys.argv[1]), seal_interval_s=3600, max_bytes=1 << 30)
        while True:
            record = request_record()
            journal.append(record)
            print(record.id, flush=True)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30)
    journal.close()
    sealed = sealed_ids(tmp_path)
    assert set(acknowledged) <= set(sealed)
    assert len(sealed) == len(set(sealed))


@pytest.mark.smoke
def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """Half a record, which nobody was told of, does not keep the whole ones from sealing."""
    folder = tmp_path / "journal" / "request_analytics"
    first = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30)
    record = request_record()
    first.append(record)
    (path,) = folder.glob("*.jsonl")
    content = path.read_bytes()
    first.close()
    (folder / "000000000000-00000001.jsonl").write_bytes(content + content[: len(content) // 2])
    second = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30)
    second.close()
    assert sealed_ids(tmp_path) == [record.id, record.id]


def test_a_living_process_keeps_its_journal(journal: Journal, tmp_path: Path) -> None:
    """Another router on the same folder does not seal what its owner still appends to."""
    journal.append(request_record())
    other = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30)
    other.seal_now()
    other.close()
    assert sealed_ids(tmp_path) == []
    assert journal.backlog_bytes() > 0


def test_a_journal_that_holds_no_record_is_kept_and_reported(tmp_path: Path) -> None:
    """A line that is not ours is set aside by name; the other journals still seal."""
    folder = tmp_path / "journal" / "request_analytics"
    folder.mkdir(parents=True)
    (folder / "bad0-00000001.jsonl").write_text('{"nonsense": 1}\n')
    journal = Journal(tmp_path, seal_interval_s=0.05, max_bytes=1 << 30)
    record = request_record()
    journal.append(record)
    journal.close()
    assert sealed_ids(tmp_path) == [record.id]
    assert (folder / "bad0-00000001.bad").read_text() == '{"nonsense": 1}\n'


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"nonsense": 1}\n', id="another member"),
        pytest.param(b"no json\n", id="no JSON"),
        pytest.param(b"null column\n", id="NULL where none may be"),
    ],
)
def test_a_line_that_is_no_record_keeps_no_other_from_the_lake(tmp_path: Path, line: bytes) -> None:
    """It alone is set aside, and seals under the name it has there once it is repaired."""
    folder = tmp_path / "journal" / "request_analytics"
    folder.mkdir(parents=True)
    records = [request_record() for _ in range(7)]
    lines = [encode(record) for record in records]
    damaged = lines[3].replace(b'"model_requested":"auto"', b'"model_requested":null')
    assert damaged != lines[3]
    lines[3] = damaged if line.startswith(b"null") else line
    (folder / "w-00000001.jsonl").write_bytes(b"".join(lines))
    Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30).close()
    others = [record.id for record in records if record is not records[3]]
    assert sealed_ids(tmp_path) == others
    (aside,) = folder.iterdir()
    assert aside.suffix == ".bad"
    assert aside.read_bytes() == lines[3]
    aside.write_bytes(encode(records[3]))
    aside.rename(aside.with_suffix(".jsonl"))
    Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30).close()
    assert sorted(sealed_ids(tmp_path)) == sorted([*others, records[3].id])
    assert list(folder.iterdir()) == []


def test_a_record_that_cannot_be_written_raises(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write is cut off again and raised, so that the next record starts on its own line."""
    journal.append(request_record())
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[: len(data) // 2]))
    with pytest.raises(JournalError, match="No space left on device"):
        journal.append(request_record())
    monkeypatch.undo()
    journal.append(request_record())
    journal.seal_now()
    assert journal.error is None


def test_a_group_append_returns_after_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `group` every record is covered by a finished fdatasync when append returns."""
    synced: dict[int, int] = {}
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        real(descriptor)
        synced[os.fstat(descriptor).st_ino] = size

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30, sync="group")
    (path,) = (tmp_path / "journal" / "request_analytics").glob("*.jsonl")
    for _ in range(5):
        journal.append(request_record())
        assert synced[path.stat().st_ino] == path.stat().st_size
    journal.close()
    assert len(sealed_ids(tmp_path)) == 5


def test_group_appends_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that wait at once cost a few syncs, not one each."""
    syncs: list[int] = []
    slow = threading.Event()

    def fdatasync(descriptor: int) -> None:
        syncs.append(descriptor)
        slow.wait(0.02)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30, sync="group")

    async def together() -> None:
        await asyncio.gather(*(journal.append_async(request_record()) for _ in range(200)))

    asyncio.run(together())
    journal.close()
    assert len(syncs) <= 5
    assert len(sealed_ids(tmp_path)) == 200


def test_a_failed_sync_is_raised_and_recovered_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An I/O error of the disk withholds the reply; the next append goes to another file."""

    def fdatasync(_: int) -> None:
        raise OSError(5, "Input/output error")

    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 30, sync="group")
    folder = tmp_path / "journal" / "request_analytics"
    (first,) = folder.glob("*.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fdatasync)
        with pytest.raises(JournalError, match="Input/output error"):
            journal.append(request_record())
    for _ in range(200):
        if not first.exists():
            break
        threading.Event().wait(0.02)
    journal.check_writable()
    journal.append(request_record())
    assert not first.exists()
    assert journal.error is None
    journal.close()
