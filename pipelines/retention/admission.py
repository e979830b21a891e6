"""Counts segments that came after retention had closed their day.

Retention seals the rollups of a day before it removes the raw rows. A segment of such a day that arrives
later (another folder's lake, a router that was off for long) is refused and named. Its admission folds the
rows by themselves and puts the result into the lake's archive, next to the day's other parts. The raw rows
never enter the tables, and retention removes the segment as any other of its day.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.lake import reading, versions
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import archive, sqlfiles
from pipelines.warehouse.archive import midnight
from pipelines.warehouse.linked_views import rows_table
from pipelines.warehouse.loading import incoming_file, records_file
from pipelines.warehouse.warehouse import in_memory
from router.errors import SegmentError
from router.records import FeedbackRecord, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    import duckdb

    from pipelines.lake.reading import Segment
    from pipelines.warehouse.warehouse import Warehouse

REQUESTS, FEEDBACK = RequestRecord.DATASET, FeedbackRecord.DATASET


@dataclass(slots=True, kw_only=True)
class Admission:
    """The refused segments, and which of them can be counted."""

    days: dict[date, list[Segment]] = field(default_factory=dict)
    """Segments of requests that no rollup counts."""
    judgements: list[Segment] = field(default_factory=list)
    """Segments of feedback that came after their day was closed."""
    counted: list[str] = field(default_factory=list)
    """Segments of requests that another part counts already."""
    refused: dict[str, str] = field(default_factory=dict)
    """Segments that cannot be counted, and why."""

    @property
    def segments(self) -> int:
        """How many segments an admission settles."""
        return sum(map(len, self.days.values())) + len(self.counted)

    @property
    def rows(self) -> int:
        """How many requests it counts."""
        return sum(segment.manifest.rows for found in self.days.values() for segment in found)


def plan(warehouse: Warehouse, *, force: bool = False) -> Admission:
    """Find the refused segments that can be counted, without changing anything."""
    admission = Admission()
    refused = warehouse.run("retention/refused_segments").fetchall()
    lake = warehouse.settings.lake
    waiting: dict[date, list[Segment]] = defaultdict(list)
    for dataset, name, day in refused:
        segment = _segment(warehouse, dataset, name, day)
        if segment is not None and dataset == FEEDBACK:
            admission.judgements.append(segment)
        elif segment is not None:
            waiting[day].append(segment)
        elif dataset == REQUESTS:
            admission.refused[name] = "is no longer in the lake, or cannot be read"
    for day, segments in waiting.items():
        _sort(lake, day, segments, admission, force=force)
    return admission


def _sort(lake: Path, day: date, segments: Sequence[Segment], admission: Admission, *, force: bool) -> None:
    """Split a day's refused segments into counted ones, ones to count, and ones that stay refused."""
    names = {segment.manifest.name: archive.sealed_names(segment.manifest) for segment in segments}
    counted = archive.is_counted(lake, day, REQUESTS, set().union(*names.values()))
    parts = archive.parts(lake, archive.SUMMED[0], day)
    is_unlisted = any(not part.segments for part in parts)
    mixed = set().union(*(mine for mine in names.values() if mine & counted and not mine <= counted))
    # A compaction merged counted segments with others. A new part can take the place of those parts that
    # it covers whole.
    renewed = set().union(*(part.segments for part in parts if part.segments & mixed))
    if not mixed & counted <= renewed or not renewed <= set().union(*names.values()):
        renewed = set()
    for segment in segments:
        mine = names[segment.manifest.name]
        if mine <= counted and not mine & renewed:
            admission.counted.append(segment.manifest.name)
        elif mine & counted - renewed:
            admission.refused[segment.manifest.name] = (
                "holds rows that are counted, and others: restore the segments that it was merged from"
            )
        elif is_unlisted and not force:
            admission.refused[segment.manifest.name] = (
                "is of a day that an earlier release archived without a list of segments. Admit it with"
                " `--force` if it was never counted"
            )
        else:
            admission.days.setdefault(day, []).append(segment)


def carry_out(warehouse: Warehouse, admission: Admission) -> None:
    """Put the folded rows into the archive. The rollups take them in when the caller catches up."""
    for day, segments in admission.days.items():
        with in_memory(warehouse.settings) as scratch:
            _load(warehouse, scratch, segments)
            _load(warehouse, scratch, admission.judgements)
            _add_judgements(warehouse, scratch)
            bounds = {"start": midnight(day), "end": midnight(day) + timedelta(days=1)}
            for table, parameters in HOURLY.items():
                scratch.execute(sqlfiles.load(f"rollups/{table}").text, {**bounds, **parameters})
            names = set().union(*(archive.sealed_names(segment.manifest) for segment in segments))
            for table in HOURLY:
                archive.archive_table(
                    scratch, warehouse.settings.lake, table, archive.TABLES[table], day, names
                )
    names_of_days = [item.manifest.name for found in admission.days.values() for item in found]
    warehouse.run("retention/admit_segments", dataset=REQUESTS, names=names_of_days + admission.counted)


def _segment(warehouse: Warehouse, dataset: str, name: str, day: date) -> Segment | None:
    listing = reading.scan(warehouse.settings.lake, dataset, day=day)
    for segment in listing.segments:
        if segment.manifest.name == name:
            try:
                reading.verify(segment)
            except SegmentError:
                return None
            return segment
    return None


def _load(warehouse: Warehouse, scratch: duckdb.DuckDBPyConnection, segments: Sequence[Segment]) -> None:
    """Copy the rows of segments, each id once, by the statements of the load."""
    if not segments:
        return
    dataset = segments[0].manifest.dataset
    with versions.as_current(segments, warehouse.settings.build_file.parent) as files:
        bounds = {
            "first_at": min(segment.manifest.first_at for segment in segments),
            "last_at": max(segment.manifest.last_at for segment in segments),
        }
        scratch.execute(incoming_file(dataset).text, {"files": files, **bounds})
        scratch.execute(records_file(dataset).text, {"files": files})


def _add_judgements(warehouse: Warehouse, scratch: duckdb.DuckDBPyConnection) -> None:
    """Add the judgements of these requests that came in time, and are in the tables."""
    ids = [name for (name,) in scratch.execute(sqlfiles.load("retention/admitted_ids").text).fetchall()]
    known = {
        name for (name,) in scratch.execute(sqlfiles.load("retention/admitted_judgements").text).fetchall()
    }
    rows = warehouse.arrow(sqlfiles.load("retention/judgements_of"), ids=ids, known=list(known))
    scratch.register("found", rows)
    scratch.execute(sqlfiles.load("tables/take_found", table=rows_table(FEEDBACK)).text)
    scratch.unregister("found")
