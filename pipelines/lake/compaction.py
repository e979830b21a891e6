"""Compaction merges the many small segments of a finished hour into a few, with the same rows.

A router seals every few seconds, which makes 720 files an hour. A query over 2,160 files takes ten
times as long as over one. The load and compaction do not wait for each other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pipelines.lake import reading, replacing
from router.errors import SegmentError
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from pipelines.lake.reading import Segment

GRACE = timedelta(minutes=10)
"""Wait this long after the end of an hour: routers still seal its last records."""
OUTPUT_BYTES = 32 << 20
"""At most this many bytes of Parquet are merged into one segment. This bounds the memory."""
SMALL_BYTES = OUTPUT_BYTES // 2
"""Larger segments are left as they are."""
BACKLOG_FILES = 32
"""As many segments of one hour that wait for the load are merged before it: each is then loaded in a
twentieth of the time (tests/benchmarks/backlog.py)."""


@dataclass(slots=True, kw_only=True)
class CompactionResult:
    """The result of one compaction."""

    merged: int = 0
    """Segments that were replaced."""
    written: list[str] = field(default_factory=list)
    """Names of the segments that replaced them."""
    rows: int = 0
    leftovers: int = 0
    """Files of a stopped run that were removed."""


def compact(root: Path, *, now: datetime) -> CompactionResult:
    """Merge the small segments of every hour that is over as of `now`."""
    result = CompactionResult()
    for dataset in DATASETS:
        result.leftovers += len(replacing.remove_leftovers(root, dataset))
        finished = [segment for segment in reading.scan(root, dataset).segments if _is_finished(segment, now)]
        merge_small(root, finished, now=now, result=result)
    return result


def backlog(waiting: Iterable[Segment], *, now: datetime) -> list[list[Segment]]:
    """Of the segments that wait for the load, those of each finished hour with BACKLOG_FILES or more."""
    hours: dict[Path, list[Segment]] = defaultdict(list)
    for segment in waiting:
        if _is_finished(segment, now):
            hours[segment.path.parent].append(segment)
    return [found for found in hours.values() if len(found) >= BACKLOG_FILES]


def _is_finished(segment: Segment, now: datetime) -> bool:
    """Whether the segment's hour is over as of `now`."""
    return segment.manifest.hour + timedelta(hours=1) + GRACE < now


def merge_small(root: Path, segments: Iterable[Segment], *, now: datetime, result: CompactionResult) -> None:
    """Merge the small ones of these segments by their hour, and add up what was done."""
    for batch in _batches(segments):
        _merge(root, batch, now, result)


def _batches(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """Groups of small segments of one hour and schema version, by name, up to OUTPUT_BYTES each."""
    found: dict[tuple[Path, int], list[Segment]] = defaultdict(list)
    for segment in segments:
        if segment.manifest.bytes < SMALL_BYTES:
            found[segment.path.parent, segment.manifest.schema_version].append(segment)
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

    found = [(segment, rows) for segment in batch if (rows := _sound_rows(segment)) is not None]
    if len(found) < 2:
        return
    sources, rows = [segment for segment, _ in found], pa.concat_tables([rows for _, rows in found])
    manifest = replacing.replace_segments(root, sources, rows, operation="compaction", now=now)
    if manifest is not None:
        result.merged += len(sources)
        result.written.append(manifest.name)
        result.rows += manifest.rows


def _sound_rows(segment: Segment) -> Any:
    """The segment's rows. None if it is damaged, was erased meanwhile, or holds values that no table takes.

    It stays as it is: the load quarantines it by name, and `doctor` shows the remedy.
    """
    import pyarrow as pa

    try:
        reading.verify(segment)
        rows = reading.read_rows(segment.path)
        rows.validate(full=True)  # such as text that is not UTF-8: merged, it would keep the others out
    except (SegmentError, FileNotFoundError, pa.ArrowInvalid):
        return None
    return rows
