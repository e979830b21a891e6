"""Compaction changes which files there are, and nothing else."""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.lake import audit, compaction, reading
from pipelines.warehouse import loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import DATASETS, Attempt, Record, Tag
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records

HOUR_OVER = NOW + timedelta(hours=1, minutes=11)


def rows_of(root: Path) -> Counter[bytes]:
    """Every row of the lake as exact bytes, with how often it stands there."""
    rows: Counter[bytes] = Counter()
    for dataset in DATASETS:
        for segment in reading.scan(root, dataset).segments:
            reading.verify(segment)
            rows.update(_exact(row) for row in reading.read_rows(segment.path).to_pylist())
    return rows


def _exact(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, default=str, option=orjson.OPT_SORT_KEYS)


def _traffic(rng: random.Random, count: int) -> list[Record]:
    records: list[Record] = []
    for _ in range(count):
        record = make_record(
            NOW + timedelta(milliseconds=rng.randrange(7_200_000)),
            tags=[Tag(key="team", value=rng.choice("abc"))] if rng.random() < 0.5 else [],
            cost_usd=Decimal(rng.randrange(10**12)).scaleb(-12) if rng.random() < 0.8 else None,
            latency_ms=rng.lognormvariate(6, 2),
            attempts=[Attempt(model="a", provider="b", cost_usd=Decimal("1E-12"))] * rng.randrange(3),
        )
        records.append(record)
        if rng.random() < 0.3:
            records.append(make_feedback(record, rng.random()))
        if rng.random() < 0.05:
            records.append(record)  # sealed twice: both copies stay
    return records


@pytest.mark.parametrize("seed", range(5))
def test_compaction_keeps_every_row_as_it_is(settings: Settings, seed: int) -> None:
    """The rows before and after are equal, value for value and copy for copy."""
    rng = random.Random(seed)
    records = _traffic(rng, 60)
    while records:
        size = rng.randrange(1, 15)
        seal_records(settings, records[:size], writer_id=rng.choice(["w1", "w2"]))
        records = records[size:]
    before = rows_of(settings.lake)
    result = compaction.compact(settings.lake, now=NOW + timedelta(days=1))
    assert rows_of(settings.lake) == before
    assert 0 < result.rows <= before.total()  # an hour's only segment is not rewritten
    segments = [segment for dataset in DATASETS for segment in reading.scan(settings.lake, dataset).segments]
    assert len({segment.path.parent for segment in segments}) == len(segments)
    again = compaction.compact(settings.lake, now=NOW + timedelta(days=1))
    assert (again.merged, again.written, again.leftovers) == (0, [], 0)


def test_the_result_does_not_depend_on_where_it_runs(tmp_path: Path) -> None:
    """The same segments give the same file, byte for byte."""
    import shutil

    settings = Settings.load({}, home=tmp_path / "one")
    for record in _traffic(random.Random(1), 10):
        seal_records(settings, [record])
    shutil.copytree(settings.home, tmp_path / "two")
    first = compaction.compact(settings.lake, now=NOW + timedelta(days=1))
    second = compaction.compact(tmp_path / "two" / "lake", now=NOW + timedelta(days=1))
    assert first == second
    one, two = (
        [path.read_bytes() for path in sorted((tmp_path / name / "lake").rglob("*.parquet"))]
        for name in ("one", "two")
    )
    assert one == two


@pytest.mark.parametrize(("now", "merged"), [(HOUR_OVER, 2), (HOUR_OVER - timedelta(minutes=2), 0)])
def test_an_hour_is_left_alone_until_it_is_over(settings: Settings, now: datetime, merged: int) -> None:
    """Segments of an hour that ended less than ten minutes ago stay as they are."""
    for minute in (0, 59):
        seal_records(settings, [make_record(NOW + timedelta(minutes=minute))])
    assert compaction.compact(settings.lake, now=now).merged == merged


def test_output_is_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are merged up to a size, and those above half of it are left alone."""
    for minute in range(6):
        seal_records(settings, [make_record(NOW + timedelta(minutes=minute))])
    size = reading.scan(settings.lake, "request_analytics").segments[0].manifest.bytes
    monkeypatch.setattr(compaction, "OUTPUT_BYTES", int(size * 2.5))
    monkeypatch.setattr(compaction, "SMALL_BYTES", int(size * 1.5))
    assert len(compaction.compact(settings.lake, now=HOUR_OVER).written) == 3
    monkeypatch.setattr(compaction, "SMALL_BYTES", 1)
    assert compaction.compact(settings.lake, now=HOUR_OVER).merged == 0


def test_a_damaged_segment_is_left_for_the_load_to_name(settings: Settings, warehouse: Warehouse) -> None:
    """A file that does not match its manifest is not merged; the rest of its hour is."""
    manifests = [seal_records(settings, [make_record(NOW + timedelta(minutes=i))])[0] for i in range(4)]
    path = settings.lake / manifests[1].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    assert compaction.compact(settings.lake, now=HOUR_OVER).merged == 3
    result = loading.load(warehouse, "request_analytics")
    assert result.rows == 3
    assert [suspect.path for suspect in result.quarantined] == [manifests[1].path]


class _Crash(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("call", range(40))
def test_a_crash_at_any_step_loses_and_repeats_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Stopped before any one of its file-system calls, every row stands once; the next run ends the work."""
    records = [make_record(NOW + timedelta(minutes=i)) for i in range(4)]
    for record in records:
        seal_records(settings, [record])
    before = rows_of(settings.lake)
    count = 0

    def counted(real: Any) -> Any:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == call + 1:
                raise _Crash
            return real(*arguments, **named)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted(os.fsync))
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        try:
            compaction.compact(settings.lake, now=HOUR_OVER)
            is_done = True
        except _Crash:
            is_done = False
    assert is_done == (count <= call)
    assert rows_of(settings.lake) == before
    seal_records(settings, [late := make_record(NOW + timedelta(minutes=50))])
    compaction.compact(settings.lake, now=HOUR_OVER)
    assert rows_of(settings.lake).total() == len(records) + 1
    assert audit.audit(settings.home, expired_before=None)[0] == []
    names = {path.name for path in settings.lake.rglob("*.parquet")}
    assert len(names) == 1
    assert late.id in str(rows_of(settings.lake))
    with Warehouse(Settings.load({}, home=settings.home)) as warehouse:
        result = loading.load(warehouse, "request_analytics")
    assert (result.rows, result.duplicates, result.quarantined) == (5, 0, [])
