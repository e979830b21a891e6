"""Removes single rows from the lake while their day stays: for an erasure or a shorter period.

Each hour's segments with such rows are replaced by one without them. The rows' share of the rollups
is kept (`removed_rollups`). The tables follow at the next load.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.lake import reading, replacing
from pipelines.rollups import removed_rollups
from pipelines.warehouse import linked, sqlfiles
from pipelines.warehouse.columns import as_in_file
from router.errors import SegmentError
from router.journal.segments import arrow_schema
from router.records import DATASETS, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from pipelines.warehouse.warehouse import Warehouse
    from router.journal.manifests import Manifest, Operation

ATTEMPTS = 3
"""The number of attempts when a compaction replaces segments meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Segments of one hour that were rewritten without some of their rows."""

    sources: tuple[Manifest, ...]
    manifest: Manifest
    rows: int


def remove_rows(
    warehouse: Warehouse,
    segments: Sequence[Segment],
    goes: Callable[[Any], Any],
    *,
    operation: Operation,
    now: datetime,
) -> Removed | None:
    """Rewrite the segments that hold rows which `goes` selects. All are of one hour and schema version.

    `goes` gives a boolean for each row of a pyarrow Table. The tables follow at the next load. Returns
    None if it selects no row. SegmentError if the segments changed meanwhile: list them again.
    """
    import pyarrow as pa

    affected, tables = [], []
    for segment in segments:
        rows = reading.read_rows(segment.path)
        mask = goes(rows)
        if reading.count(mask):
            affected.append(segment)
            tables.append((rows, mask))
    if not affected:
        return None
    gone = pa.concat_tables([rows.filter(mask) for rows, mask in tables])
    left = pa.concat_tables([rows.filter(_not(mask)) for rows, mask in tables])
    return _rewrite(warehouse, affected, gone, left, operation, now)


def replace_damaged(
    warehouse: Warehouse, segment: Segment, goes: Callable[[Any], Any], *, operation: Operation, now: datetime
) -> Removed:
    """Rewrite a segment with a damaged file from its rows in the table, without those that `goes` selects.

    SegmentError if its rows are only in the file.
    """
    if linked.is_only_in_file(warehouse, segment.manifest.dataset, segment.manifest.name):
        raise SegmentError(
            f"`{segment.manifest.path}` is damaged, and its rows are in no other place: restore it from a"
            " backup. If there is none, move it out of the lake and run `intellirouter rebuild`"
        )
    rows = _loaded_rows(warehouse, segment)
    mask = goes(rows)
    return _rewrite(warehouse, [segment], rows.filter(mask), rows.filter(_not(mask)), operation, now)


def _rewrite(
    warehouse: Warehouse,
    sources: Sequence[Segment],
    gone: Any,
    left: Any,
    operation: Operation,
    now: datetime,
) -> Removed:
    root, first = warehouse.settings.lake, sources[0].manifest
    share = None
    is_counted = first.dataset == RequestRecord.DATASET and gone.num_rows > 0
    if is_counted and not removed_rollups.is_sealed(warehouse, first.first_at):
        share = removed_rollups.keep_share(
            warehouse, sources, gone.column("id").combine_chunks(), operation, now
        )
    manifest = replacing.replace_segments(root, sources, left, operation=operation, now=now)
    if manifest is None:
        if share is not None:
            removed_rollups.drop_share(share)
        raise SegmentError(f"segments of `{sources[0].path.parent.name}` changed while they were rewritten")
    return Removed(
        sources=tuple(segment.manifest for segment in sources), manifest=manifest, rows=gone.num_rows
    )


def _loaded_rows(warehouse: Warehouse, segment: Segment) -> Any:
    """A segment's rows from the table, in the columns of its file. Empty if it was not loaded."""
    manifest = segment.manifest
    schema = arrow_schema(DATASETS[manifest.dataset], manifest.schema_version)
    columns = as_in_file(schema.names)
    rows = sqlfiles.load("load/segment_rows", table=manifest.dataset, columns=columns)
    return warehouse.arrow(rows, name=manifest.name).cast(schema)


def remove_everywhere(
    warehouse: Warehouse,
    dataset: str,
    goes: Callable[[Any], Any],
    *,
    columns: Sequence[str],
    operation: Operation,
    now: datetime,
    wanted: Callable[[Manifest], bool] = lambda _: True,
) -> list[Removed]:
    """Call `remove_rows` on every sound segment of a dataset that is wanted.

    `goes` uses only `columns`, so that a segment that keeps all its rows is not read completely.
    """
    removed: list[Removed] = []
    for attempt in range(ATTEMPTS):
        try:
            for group in _groups(warehouse.settings.lake, dataset, wanted):
                affected = [segment for segment in group if _any(segment, goes, columns)]
                if affected and (
                    done := remove_rows(warehouse, affected, goes, operation=operation, now=now)
                ):
                    removed.append(done)
        except (SegmentError, FileNotFoundError):
            if attempt == ATTEMPTS - 1:
                raise
        else:
            break  # otherwise a compaction ran: rows that were already removed are not found again
    return removed


def sound(segments: Iterable[Segment]) -> list[Segment]:
    """The segments that agree with their manifest. The load quarantines the others."""
    found = []
    for segment in segments:
        with contextlib.suppress(SegmentError):
            reading.verify(segment)
            found.append(segment)
    return found


def _groups(root: Path, dataset: str, wanted: Callable[[Manifest], bool]) -> list[list[Segment]]:
    groups: dict[tuple[Path, int], list[Segment]] = {}
    for segment in reading.scan(root, dataset).segments:
        if wanted(segment.manifest):
            groups.setdefault((segment.path.parent, segment.manifest.schema_version), []).append(segment)
    return list(groups.values())


def _any(segment: Segment, goes: Callable[[Any], Any], columns: Sequence[str]) -> bool:
    import pyarrow.parquet as pq

    if not segment.path.exists():
        raise FileNotFoundError(segment.path)  # replaced since it was listed, by a segment not yet listed
    if not sound([segment]):
        return False
    with pq.ParquetFile(segment.path) as file:
        return reading.count(goes(file.read(columns=list(columns)))) > 0


def _not(mask: Any) -> Any:
    import pyarrow.compute as pc

    return pc.invert(mask)
