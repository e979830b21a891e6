"""The hash chains: every tampering is found, and the first file is named."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import flow
from pipelines.lake import audit, compaction
from pipelines.retention.progress import Progress
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.files import sha256_of
from router.journal import chains
from router.journal.manifests import Manifest
from router.journal.places import manifest_path, without_prefix
from router.journal.segments import seal
from router.records import RequestRecord
from tests.pipelines.helpers import NOW, make_record, seal_records

IS_LONG = os.environ.get("INTELLIROUTER_LONG") == "1"
TAMPERS = 1000 if IS_LONG else 150
RECORDS = 10_000 if IS_LONG else 1_500
SEGMENTS = 100


def rewrite_a_record(lake: Path, manifest: Manifest) -> None:
    """Change one value of one record and make the manifest agree."""
    path = lake / manifest.path
    with pq.ParquetFile(path) as file:
        table = file.read()
    values = table.column("latency_ms").to_pylist()
    values[len(values) // 2] += 1.0
    index = table.schema.get_field_index("latency_ms")
    table = table.set_column(index, table.schema.field(index), pa.array(values))
    pq.write_table(table, path, compression="zstd", store_schema=False)
    changed = replace(manifest, bytes=path.stat().st_size, sha256=sha256_of(path))
    changed.write(manifest_path(path))


class Lake:
    """A lake of one writer's segments, put back after each tampering."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lake = home / "lake"
        self.manifests = sorted(
            (Manifest.read(path) for path in (self.lake / "request_analytics").rglob("*.json")),
            key=lambda manifest: manifest.chain_position,
        )
        self._touched: dict[Path, bytes | None] = {}

    def remember(self, *paths: Path) -> None:
        for path in paths:
            self._touched.setdefault(path, path.read_bytes() if path.exists() else None)

    def restore(self) -> None:
        for path, content in self._touched.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        self._touched.clear()

    def files(self, index: int) -> tuple[Path, Path]:
        """The Parquet file and the manifest of a segment."""
        path = self.lake / self.manifests[index].path
        return path, manifest_path(path)


def _change_a_byte(lake: Lake, rng: random.Random) -> int:
    index = rng.randrange(len(lake.manifests))
    path = rng.choice(lake.files(index))
    lake.remember(path)
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))
    return index


def _rewrite(lake: Lake, rng: random.Random) -> int:
    index = rng.randrange(len(lake.manifests))
    lake.remember(*lake.files(index))
    rewrite_a_record(lake.lake, lake.manifests[index])
    return index


def _delete(lake: Lake, rng: random.Random) -> int:
    index = rng.randrange(len(lake.manifests))
    paths = rng.choice([lake.files(index), lake.files(index)[:1], lake.files(index)[1:]])
    lake.remember(*paths)
    for path in paths:
        path.unlink()
    return index


def _delete_the_last(lake: Lake, _: random.Random) -> int:
    lake.remember(*lake.files(-1))
    for path in lake.files(-1):
        path.unlink()
    return len(lake.manifests) - 1


def _swap(lake: Lake, rng: random.Random) -> int:
    first, second = sorted(rng.sample(range(len(lake.manifests)), 2))
    which = rng.choice([(0,), (1,), (0, 1)])
    for item in which:
        one, other = lake.files(first)[item], lake.files(second)[item]
        lake.remember(one, other)
        contents = one.read_bytes(), other.read_bytes()
        other.write_bytes(contents[0])
        one.write_bytes(contents[1])
    return first


def _insert(lake: Lake, rng: random.Random) -> int:
    """A forged segment that claims a place in the chain; the first file that does not belong is it."""
    index = rng.randrange(len(lake.manifests))
    model = lake.manifests[index]
    path, _ = lake.files(index)
    name = model.name[:-8] + f"{90_000_000 + index:08d}"
    forged = replace(model, name=name, sequence=90_000_000 + index, path=model.path.replace(model.name, name))
    target = lake.lake / forged.path
    lake.remember(target, manifest_path(target))
    shutil.copy2(path, target)
    forged.write(manifest_path(target))
    lake.inserted = target.stem  # type: ignore[attr-defined]
    return index


def _roll_back_the_head(lake: Lake, rng: random.Random) -> int:
    head_path = chains.head_path(lake.lake, "request_analytics", "w1")
    lake.remember(head_path)
    index = rng.randrange(len(lake.manifests) - 1)
    _, manifest = lake.files(index)
    chains.write_head(
        head_path,
        chains.Head(
            position=index + 1,
            manifest_sha256=hashlib.sha256(manifest.read_bytes()).hexdigest(),
            path=str(without_prefix(manifest).relative_to(lake.lake)),
        ),
    )
    return index + 1  # the first segment that no head vouches for


TAMPERING: list[Callable[[Lake, random.Random], int]] = [
    _change_a_byte,
    _rewrite,
    _delete,
    _delete_the_last,
    _swap,
    _insert,
    _roll_back_the_head,
]


@pytest.mark.slow
def test_every_tampering_is_found_and_the_first_file_named(settings: Settings) -> None:
    """Of many random tamperings each is detected, and the file of the lowest position is named."""
    records = [
        make_record(NOW + timedelta(milliseconds=index * 7_200_000 // RECORDS)) for index in range(RECORDS)
    ]
    step = RECORDS // SEGMENTS
    for start in range(0, RECORDS, step):
        seal_records(settings, records[start : start + step])
    lake = Lake(settings.home)
    assert audit.audit(settings.home, expired_before=None)[0] == []
    rng = random.Random(5)
    missed, misnamed = [], []
    for number in range(TAMPERS):
        tamper = TAMPERING[number % len(TAMPERING)]
        index = tamper(lake, rng)
        breaks, _ = audit.audit(settings.home, expired_before=None)
        expected = (
            lake.inserted  # type: ignore[attr-defined]
            if tamper is _insert
            else Path(lake.manifests[index].path).stem
        )
        if not breaks:
            missed.append((number, tamper.__name__))
        elif Path(breaks[0].path).stem != expected:
            misnamed.append((number, tamper.__name__, breaks[0], expected))
        lake.restore()
    assert audit.audit(settings.home, expired_before=None)[0] == []
    assert (missed, misnamed) == ([], [])


@pytest.mark.smoke
def test_chains_hold_through_compaction(settings: Settings) -> None:
    """Replaced manifests are read from their successor; losing that one breaks their chains."""
    for minute in range(6):
        seal_records(settings, [make_record(NOW + timedelta(minutes=minute))], writer_id=f"w{minute % 2}")
    compaction.compact(settings.lake, now=NOW + timedelta(days=1))
    breaks, found = audit.audit(settings.home, expired_before=None)
    assert breaks == []
    assert len(found.heads) == 3
    (path,) = (settings.lake / "request_analytics").rglob("*.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    (only,) = audit.audit(settings.home, expired_before=None)[0]
    assert only.path == str(path.relative_to(settings.lake))
    path.write_bytes(content)
    manifest_path(path).unlink()
    path.unlink()
    breaks, _ = audit.audit(settings.home, expired_before=None)
    assert sorted(item.writer_id for item in breaks if item.writer_id.startswith("w")) == ["w0", "w1"]
    assert len(breaks) == 3


def test_what_retention_dropped_is_explained(settings: Settings, warehouse: Warehouse) -> None:
    """Expired partitions leave no break, even inside a chain; a young file that is gone does."""
    days = (0, 40, 1, 41, 0)
    for day in days:
        seal_records(settings, [make_record(NOW + timedelta(days=day))])
    assert compaction.compact(settings.lake, now=NOW + timedelta(days=50)).merged == 2
    flow.retain(warehouse, now=NOW + timedelta(days=100))
    expired_before = Progress.read(warehouse.connection).days
    assert len(list((settings.lake / "request_analytics").rglob("*.parquet"))) == 2
    assert [path.name for path in (settings.lake / "chains" / "request_analytics").glob("*.json")] == [
        "w1.json"
    ]
    assert audit.audit(settings.home, expired_before=expired_before)[0] == []
    second_day = {RequestRecord.DATASET: (NOW + timedelta(days=1)).date()}
    _, early = audit.audit(settings.home, expired_before=second_day)
    assert len(early.too_young) == 1
    young = min((settings.lake / "request_analytics").rglob("*.json"))
    young.unlink()
    (only,) = audit.audit(settings.home, expired_before=expired_before)[0]
    assert (only.position, only.reason) == (2, "was removed")


@pytest.mark.parametrize("operation", ["seal", "compaction"])
def test_a_stop_between_manifest_and_head_is_no_break_and_is_mended(
    settings: Settings, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that a crash left behind is no finding, and is advanced when the work is done again."""
    from router.journal.journal import encode

    folder = settings.home / "journal" / "request_analytics"
    folder.mkdir(parents=True)
    for sequence in (1, 2):
        journal = folder / f"w1-{sequence:08d}.jsonl"
        journal.write_bytes(encode(make_record()))

    def seal_again(sequence: int) -> None:
        seal(
            folder / f"w1-{sequence:08d}.jsonl",
            dataset=RequestRecord.DATASET,
            writer_id="w1",
            sequence=sequence,
            lake=settings.lake,
        )

    seal_again(1)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    def do(sequence: int = 2) -> None:
        if operation == "seal":
            seal_again(sequence)
        else:
            compaction.compact(settings.lake, now=NOW + timedelta(days=1))

    if operation == "compaction":
        seal_again(2)
    with monkeypatch.context() as patch:
        patch.setattr(chains, "write_head", crash)
        with pytest.raises(KeyboardInterrupt):
            do()
    assert audit.audit(settings.home, expired_before=None)[0] == []
    do()
    assert audit.audit(settings.home, expired_before=None)[0] == []
    heads = {path.stem: chains.read_head(path) for path in (settings.lake / "chains").rglob("*.json")}
    assert heads["w1"] is not None
    assert heads["w1"].position == 2
