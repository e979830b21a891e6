"""The hash chain of a writer: one line, whoever seals, and mended after a stop or a loss."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest

from router.errors import SegmentError
from router.journal import chains
from router.journal.journal import encode
from router.journal.manifests import Manifest
from router.journal.places import manifest_path
from router.journal.segments import seal
from router.records import RequestRecord
from tests.factories import request_record

DATASET = RequestRecord.DATASET


def _journal(home: Path, sequence: int) -> Path:
    path = home / f"w-{sequence:08d}.jsonl"
    path.write_bytes(encode(request_record()))
    return path


def _seal(home: Path, sequence: int) -> Manifest:
    journal = home / f"w-{sequence:08d}.jsonl"
    if not journal.exists():
        _journal(home, sequence)
    (manifest,) = seal(journal, dataset=DATASET, writer_id="w", sequence=sequence, lake=home / "lake")
    return manifest


def _digest(home: Path, manifest: Manifest) -> str:
    return hashlib.sha256(manifest_path(home / "lake" / manifest.path).read_bytes()).hexdigest()


def _head(home: Path) -> chains.Head:
    head = chains.read_head(chains.head_path(home / "lake", DATASET, "w"))
    assert head is not None
    return head


@pytest.mark.smoke
def test_each_manifest_holds_the_digest_of_the_one_before(tmp_path: Path) -> None:
    """Positions count from 1, links are the SHA-256 of the file before, the head names the last."""
    manifests = [_seal(tmp_path, sequence) for sequence in (1, 2, 3)]
    assert [manifest.chain_position for manifest in manifests] == [1, 2, 3]
    assert manifests[0].previous_sha256 is None
    for before, after in pairwise(manifests):
        assert after.previous_sha256 == _digest(tmp_path, before)
        assert after.previous_path == before.path.replace(".parquet", ".json")
    assert _head(tmp_path).manifest_sha256 == _digest(tmp_path, manifests[-1])
    assert _head(tmp_path).position == 3


def test_a_head_left_behind_is_advanced_by_sealing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop between manifest and head is mended when the journal is sealed again, without a new link."""
    _seal(tmp_path, 1)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chains, "write_head", stop)
        with pytest.raises(KeyboardInterrupt):
            _seal(tmp_path, 2)
    assert _head(tmp_path).position == 1
    assert _seal(tmp_path, 2).chain_position == 2
    assert _head(tmp_path).position == 2
    assert _seal(tmp_path, 1).chain_position == 1  # an earlier one is left as it is
    assert _head(tmp_path).position == 2


@pytest.mark.parametrize("damage", ["", "{}", None])
def test_a_lost_head_does_not_stop_sealing(tmp_path: Path, damage: str | None) -> None:
    """Records are sealed after the last manifest there is, whatever became of the head."""
    _seal(tmp_path, 1)
    last = _seal(tmp_path, 2)
    path = chains.head_path(tmp_path / "lake", DATASET, "w")
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    following = _seal(tmp_path, 3)
    assert (following.chain_position, following.previous_sha256) == (3, _digest(tmp_path, last))
    assert _head(tmp_path).position == 3


def test_a_manifest_that_does_not_follow_its_head_is_refused(tmp_path: Path) -> None:
    """Sealing does not paper over a chain whose end was replaced."""
    first, second = _seal(tmp_path, 1), _seal(tmp_path, 2)
    path = chains.head_path(tmp_path / "lake", DATASET, "w")
    chains.write_head(path, chains.Head(position=1, manifest_sha256="0" * 64, path=first.path))
    with pytest.raises(SegmentError, match=r"is number 2 of its chain and does not follow"):
        _seal(tmp_path, second.sequence)


@pytest.mark.slow
def test_processes_sealing_for_one_writer_make_one_chain(tmp_path: Path) -> None:
    """Leftover journals of one writer, adopted by several processes at once, never fork its chain."""
    count, processes = 24, 4
    for sequence in range(1, count + 1):
        _journal(tmp_path, sequence)
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from router.journal.segments import seal
        home, mine, count, step = Path(sys.argv[1]), *map(int, sys.argv[2:])
        for sequence in range(mine + 1, count + 1, step):
            seal(home / f"w-{sequence:08d}.jsonl", dataset="request_analytics", writer_id="w",
                 sequence=sequence, lake=home / "lake")
        """
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(mine), str(count), str(processes)])
        for mine in range(processes)
    ]
    assert [process.wait(timeout=60) for process in running] == [0] * processes
    manifests = sorted(
        (Manifest.read(path) for path in (tmp_path / "lake" / DATASET).rglob("*.json")),
        key=lambda manifest: manifest.chain_position,
    )
    assert [manifest.chain_position for manifest in manifests] == list(range(1, count + 1))
    for before, after in pairwise(manifests):
        assert after.previous_sha256 == _digest(tmp_path, before)
