"""Compaction: the many small segments of a finished hour become few, row by row the same.

A router seals every few seconds, 720 files an hour; a query over 2,160 files takes ten times as
long as over one. The load does not wait for compaction, and compaction not for the load.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.lake import reading, replacing
from router.errors import SegmentError
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from pipelines.lake.reading import Segment

GRACE = timedelta(minutes=10)
"""How long after its end an hour is left alone: routers seal its last records meanwhile."""
OUTPUT_BYTES = 32 << 20
"""Bytes of Parquet merged into one segment at most: they bound the memory it takes."""
SMALL_BYTES = OUTPUT_BYTES // 2
"""Larger segments are left as they are."""


@dataclass(slots=True, kw_only=True)
class CompactionResult:
    """What one compaction did."""

    merged: int = 0
    """Segments that were replaced."""
    written: list[str] = field(default_factory=list)
    """Names of the segments that replaced them."""
    rows: int = 0
    leftovers: int = 0
    """Files removed that a stopped run had left."""


def compact(root: Path, *, now: datetime) -> CompactionResult:
    """Merge the small segments of every hour that is over as of `now`."""
    result = CompactionResult()
    for dataset in DATASETS:
        result.leftovers += len(replacing.remove_leftovers(root, dataset))
        for batch in _batches(reading.scan(root, dataset).segments, now):
            _merge(root, batch, now, result)
    return result


def _batches(segments: Iterable[Segment], now: datetime) -> Iterator[list[Segment]]:
    """Small segments of one finished hour and schema version, by name, up to OUTPUT_BYTES together."""
    found: dict[tuple[Path, int], list[Segment]] = defaultdict(list)
    for segment in segments:
        manifest = segment.manifest
        end = manifest.hour + timedelta(hours=1)
        if end + GRACE < now and manifest.bytes < SMALL_BYTES:
            found[segment.path.parent, manifest.schema_version].append(segment)
    for hour in found.values():
        batch: list[Segment] = []
        size = 0
        for segment in sorted(hour, key=lambda item: item.manifest.name):
            if size + segment.manifest.bytes > OUTPUT_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(segment)
            size += segment.manifest.bytes
        yield batch


def _merge(root: Path, batch: list[Segment], now: datetime, result: CompactionResult) -> None:
    import pyarrow as pa

    sound = [segment for segment in batch if _is_sound(segment)]
    if len(sound) < 2:
        return
    try:
        rows = pa.concat_tables([reading.read_rows(segment.path) for segment in sound])
    except FileNotFoundError:
        return  # erased or expired meanwhile; the next run finds what is left
    manifest = replacing.replace_segments(root, sound, rows, operation="compaction", now=now)
    if manifest is not None:
        result.merged += len(sound)
        result.written.append(manifest.name)
        result.rows += manifest.rows


def _is_sound(segment: Segment) -> bool:
    try:
        reading.verify(segment)
    except SegmentError:
        return False  # stays as it is: the load quarantines it by name, `doctor` says what to do
    return True
