"""Loads segments into tables, exactly once.

A segment's rows, its ledger line and the hours it makes stale are one transaction. Segments are
loaded in groups. If a group fails because of a file's content, its files are loaded one by one, so that
only the bad one is quarantined. A derived segment takes over the rows of the segments it replaces.
Many small segments of a finished hour, after a time without a refresh, are merged first.
The rows of large segments are not copied: they are read in their files (`linked`).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.lake import compaction, reading, versions
from pipelines.warehouse import advance, archive, linked, linked_views, quarantine, sqlfiles
from pipelines.warehouse.columns import HOUR_OF_REQUEST, as_in_table
from pipelines.warehouse.cutoffs import take_back_future_cutoff
from pipelines.warehouse.sqlfiles import SelectList
from router.errors import SegmentError
from router.journal.manifests import REMOVING
from router.records import DATASETS, FeedbackRecord, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.lake.reading import Listing, Segment, Suspect
    from pipelines.warehouse.sqlfiles import SqlFile
    from pipelines.warehouse.warehouse import Warehouse
    from router.journal.manifests import Manifest

GROUP_FILES = 64
GROUP_BYTES = 64 << 20
"""Bounds of one load transaction. They bound its memory, and the work that a failure repeats."""

FOLDED = ("request_analytics", "feedback")
"""The datasets that rollups are computed from."""
_FILE_AT_FAULT = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException)
"""Errors that rows cause. Any other error (disk full, out of memory) stops the run."""


@dataclass(slots=True, kw_only=True)
class LoadResult:
    """The result of one load."""

    dataset: str
    segments: list[str] = field(default_factory=list)
    rows: int = 0
    duplicates: int = 0
    """Rows left out because their id was known."""
    hours: set[datetime] = field(default_factory=set)
    """Hours whose rollups must be computed again."""
    expired: int = 0
    """Segments older than retention's cutoff: noted in the ledger, not loaded."""
    refused: int = 0
    """Those of them that no rollup counts, because they came after their day was closed."""
    quarantined: list[Suspect] = field(default_factory=list)
    """Every file of the dataset that is now in quarantine."""


def load_all(warehouse: Warehouse) -> dict[str, LoadResult]:
    """Load every segment that is not in the ledger. Returns the results by dataset."""
    take_back_future_cutoff(warehouse)
    linked.check_files(warehouse)
    return {dataset: load(warehouse, dataset) for dataset in DATASETS}


def load(warehouse: Warehouse, dataset: str) -> LoadResult:
    """Load every segment of `dataset` that is not in the ledger."""
    started_ns = time.time_ns()
    result = LoadResult(dataset=dataset)
    listing = _listing(warehouse, dataset)
    held = quarantine.quarantined(warehouse, dataset)
    loaded = known_names(warehouse.connection, (segment.manifest for segment in listing.segments))
    expired_before = warehouse.value(sqlfiles.load("retention/expired_before"))
    waiting = (
        segment
        for segment in listing.segments
        if segment.manifest.name not in loaded
        and _relative(warehouse, segment) not in held
        and not _has_expired(segment.manifest, expired_before)
    )
    if _merge_backlog(warehouse, dataset, waiting):
        listing = _listing(warehouse, dataset)
        loaded = known_names(warehouse.connection, (segment.manifest for segment in listing.segments))
    pending, suspects = [], list(listing.suspects)
    for segment in listing.segments:
        suspect = held.get(_relative(warehouse, segment))
        if segment.manifest.name in loaded:
            continue
        if suspect is not None and _would_fail_again(suspect, segment):
            suspects.append(suspect)
        elif _has_expired(segment.manifest, expired_before):
            _note_expired(warehouse, segment, result)
        elif problem := _problem(warehouse, segment):
            suspects += [problem] if segment.path.exists() else []  # else replaced since it was listed
        else:
            pending.append(segment)
    done = 0
    for group in _groups(warehouse, pending):
        suspects += _load_group(warehouse, dataset, group, result)
        done += len(group)
        advance.report(f"segments of {dataset}", done, len(pending))
    linked.link_loaded(warehouse, dataset)
    linked.show(warehouse, dataset)
    quarantine.keep(warehouse, dataset, held, suspects)
    quarantine.settle(warehouse, listing, suspects, started_ns)
    result.quarantined = suspects
    return result


def _merge_backlog(warehouse: Warehouse, dataset: str, waiting: Iterable[Segment]) -> bool:
    """Merge the segments of each finished hour that has many, as compaction would later. Whether any were."""
    import pyarrow as pa

    now, result = datetime.now(UTC), compaction.CompactionResult()
    hours = compaction.backlog(waiting, now=now)
    for done, segments in enumerate(hours, 1):
        # What cannot be merged is loaded as it is, which names a bad file.
        with contextlib.suppress(SegmentError, OSError, pa.ArrowException):
            compaction.merge_small(warehouse.settings.lake, segments, now=now, result=result)
        advance.report(f"hours of {dataset} merged", done, len(hours))
    return result.merged > 0


def _listing(warehouse: Warehouse, dataset: str) -> Listing:
    return reading.scan(warehouse.settings.lake, dataset, settled=settled_folders(warehouse.connection))


def settled_folders(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The folders that need not be listed again, and their last change (ns)."""
    return dict(connection.execute("select folder, changed_ns from pipeline.settled_folders").fetchall())


def known_names(connection: duckdb.DuckDBPyConnection, manifests: Iterable[Manifest]) -> set[str]:
    """The names of those segments that are in the ledger. Reads the ledger from the oldest segment on."""
    listed = list(manifests)
    if not listed:
        return set()
    found = connection.execute(
        sqlfiles.load("load/known_names").text,
        {
            "names": [manifest.name for manifest in listed],
            "dataset": listed[0].dataset,
            "first_at": min(manifest.first_at for manifest in listed),
        },
    )
    return {name for (name,) in found.fetchall()}


def _problem(warehouse: Warehouse, segment: Segment) -> Suspect | None:
    try:
        reading.verify(segment)
    except SegmentError as error:
        # A refusal by the system (permissions, an I/O error) can pass without a change of the file.
        is_in_bytes = not isinstance(error.__cause__, OSError)
        return _suspect(warehouse, segment, str(error), found_by=versions.release() if is_in_bytes else None)
    return None


def _would_fail_again(suspect: Suspect, segment: Segment) -> bool:
    """Whether this release refused these very bytes before."""
    return suspect.found_by == versions.release() and suspect.fingerprint == segment.fingerprint


def _groups(warehouse: Warehouse, segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    size = 0
    for segment in segments:
        is_alone = bool(_known_sources(warehouse, segment.manifest))
        if group and (is_alone or len(group) == GROUP_FILES or size + segment.manifest.bytes > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(segment)
        size += segment.manifest.bytes
        if is_alone:
            yield group
            group, size = [], 0
    if group:
        yield group


def _load_group(
    warehouse: Warehouse, dataset: str, group: Sequence[Segment], result: LoadResult
) -> list[Suspect]:
    try:
        if known := _known_sources(warehouse, group[0].manifest):
            _take_over(warehouse, group[0], known, result)
        else:
            _copy(warehouse, group, result)
    except _FILE_AT_FAULT as error:
        if len(group) == 1:
            reason = f"holds a row the table refuses: {error}"
            return [_suspect(warehouse, group[0], reason, found_by=versions.release())]
        alone = (_load_group(warehouse, dataset, [segment], result) for segment in group)
        return [suspect for suspects in alone for suspect in suspects]
    except (duckdb.IOException, FileNotFoundError):
        left = [segment for segment in group if segment.path.exists()]
        if len(left) == len(group):
            raise
        # A compaction ran meanwhile. The next load finds the segment that replaced the missing ones.
        return _load_group(warehouse, dataset, left, result) if left else []
    return []


def _copy(warehouse: Warehouse, group: Sequence[Segment], result: LoadResult) -> None:
    """Take in the rows of segments that are not in the ledger."""
    _show_between(warehouse, group)
    with warehouse.transaction():
        counts, hours = _insert(warehouse, group, may_link=True)
        for segment in group:
            _note(warehouse, segment, rows_loaded=counts.get(segment.manifest.name, 0))
    result.hours |= hours
    result.segments += [segment.manifest.name for segment in group]
    result.rows += sum(counts.values())
    result.duplicates += sum(segment.manifest.rows for segment in group) - sum(counts.values())


def _show_between(warehouse: Warehouse, group: Sequence[Segment]) -> None:
    """Let the search for known ids see every row."""
    manifests = [segment.manifest for segment in group]
    linked.show_between(
        warehouse,
        manifests[0].dataset,
        min(manifest.first_at for manifest in manifests),
        max(manifest.last_at for manifest in manifests),
    )


def _insert(
    warehouse: Warehouse, group: Sequence[Segment], *, may_link: bool = False
) -> tuple[dict[str, int], set[datetime]]:
    """Insert the rows with new ids, or link segments of which all ids are new.

    Returns the rows by segment, and the hours that become stale.
    """
    dataset = group[0].manifest.dataset
    with versions.as_current(group, warehouse.settings.build_file.parent) as files:
        warehouse.run(
            incoming_file(dataset),
            files=files,
            first_at=min(segment.manifest.first_at for segment in group),
            last_at=max(segment.manifest.last_at for segment in group),
        )
        counts = dict(warehouse.rows("select segment, count(*) from incoming group by segment"))
        done: set[str] = set()
        if may_link:
            whole = [item for item in group if counts.get(item.manifest.name) == item.manifest.rows]
            done = linked.link_new(warehouse, whole)
        left = [file for file, item in zip(files, group, strict=True) if item.manifest.name not in done]
        if left:
            warehouse.run(records_file(dataset), files=left)
    return counts, linked.note_stale_hours(warehouse)


def incoming_file(dataset: str) -> SqlFile:
    """The statement that lists the new ids. Datasets with rollups have one of their own, with stale hours."""
    if dataset == FeedbackRecord.DATASET:
        return sqlfiles.load("load/feedback_incoming", hour=SelectList(HOUR_OF_REQUEST))
    if dataset in FOLDED:
        return sqlfiles.load(f"load/{dataset}_incoming")
    return sqlfiles.load("load/incoming", table=dataset, key=fields(DATASETS[dataset])[0].name)


def records_file(dataset: str) -> SqlFile:
    """The statement that copies a dataset's rows, with the columns of the record contract."""
    record = DATASETS[dataset]
    return sqlfiles.load(
        "load/records",
        table=linked_views.rows_table(dataset),
        key=fields(record)[0].name,
        columns=as_in_table(record),
    )


def _known_sources(warehouse: Warehouse, manifest: Manifest) -> set[str]:
    """Segments in the ledger that this one replaces, directly or through others."""
    return known_names(warehouse.connection, (source for source, _ in manifest.replaced()))


def _take_over(warehouse: Warehouse, segment: Segment, known: set[str], result: LoadResult) -> None:
    """Assign the rows of the replaced segments to this segment, as a load from the start would.

    Rows that were never loaded are inserted. Rows that an erasure or retention removed are deleted.
    """
    manifest = segment.manifest
    record = DATASETS[manifest.dataset]
    hour = manifest.hour
    bounds = {"name": manifest.name, "start": hour, "end": hour + timedelta(hours=1)}
    of_table = {"table": linked_views.rows_table(manifest.dataset), "moment": record.MOMENT}
    rows, duplicates, hours = 0, 0, set[datetime]()
    is_covered = all(_is_covered(source, known) for source in manifest.direct_sources())
    if is_covered and _take_over_linked(warehouse, segment, known, result):
        return
    _show_between(warehouse, [segment])
    with warehouse.transaction():
        linked.take_back(warehouse, manifest.dataset, known)
        warehouse.run(sqlfiles.load("load/take_over", **of_table), **bounds, sources=list(known))
        warehouse.run(
            "load/ledger_replaced", dataset=manifest.dataset, name=manifest.name, sources=list(known)
        )
        if not is_covered:
            counts, hours = _insert(warehouse, [segment])
            rows = sum(counts.values())
            duplicates = manifest.rows - rows
        if any(item.operation in REMOVING and item.name not in known for item in manifest.tree()):
            hours |= _delete_missing(warehouse, segment, bounds)
        _note(
            warehouse,
            segment,
            rows_loaded=warehouse.value(sqlfiles.load("load/count_in_segment", **of_table), **bounds),
        )
    result.hours |= hours
    result.segments.append(manifest.name)
    result.rows += rows
    result.duplicates += duplicates


def _take_over_linked(warehouse: Warehouse, segment: Segment, known: set[str], result: LoadResult) -> bool:
    """The same for segments of which every row is read in its file. Returns whether they are."""
    manifest = segment.manifest
    with warehouse.transaction():
        hours = linked.take_over(warehouse, segment, known)
        if hours is None:
            return False
        warehouse.run(
            "load/ledger_replaced", dataset=manifest.dataset, name=manifest.name, sources=list(known)
        )
        _note(warehouse, segment, rows_loaded=manifest.rows)
    result.hours |= hours
    result.segments.append(manifest.name)
    return True


def _delete_missing(warehouse: Warehouse, segment: Segment, bounds: dict[str, Any]) -> set[datetime]:
    """Delete the segment's rows that are not in its file. Returns the hours that become stale."""
    dataset = segment.manifest.dataset
    record = DATASETS[dataset]
    key = fields(record)[0].name
    values = {**bounds, "ids": reading.read_rows(segment.path).column(key).to_pylist()}
    hours: set[datetime] = set()
    if dataset in FOLDED:
        warehouse.run(f"load/{dataset}_missing", **values)
        hours = linked.note_stale_hours(warehouse)
    table = linked_views.rows_table(dataset)
    gone = sqlfiles.load("load/delete_missing", table=table, moment=record.MOMENT, key=key)
    warehouse.run(gone, **values)
    return hours


def _is_covered(manifest: Manifest, known: set[str]) -> bool:
    """Whether every row of the segment was loaded, under its name or those of the segments it replaced."""
    sources = manifest.direct_sources()
    return manifest.name in known or (bool(sources) and all(_is_covered(item, known) for item in sources))


def _has_expired(manifest: Manifest, expired_before: datetime | None) -> bool:
    """Whether retention dropped the segment's day. Rows that retention kept have not expired."""
    return (
        expired_before is not None
        and manifest.dataset in FOLDED  # the others have periods of their own, and no rollup
        and manifest.last_at < expired_before
        and not any(item.operation == "retention" for item in manifest.tree())
    )


def _note_expired(warehouse: Warehouse, segment: Segment, result: LoadResult) -> None:
    manifest = segment.manifest
    is_refused = manifest.dataset == RequestRecord.DATASET and manifest.rows > 0
    if is_refused:  # feedback follows its request
        names = archive.sealed_names(manifest)
        lake, day = warehouse.settings.lake, manifest.hour.date()
        is_refused = archive.is_counted(lake, day, manifest.dataset, names) != names
    with warehouse.transaction():
        sources = [source.name for source, _ in manifest.replaced()]
        warehouse.run("load/ledger_replaced", dataset=manifest.dataset, name=manifest.name, sources=sources)
        _note(warehouse, segment, rows_loaded=0, expired_at=datetime.now(UTC), is_refused=is_refused)
    result.expired += 1
    result.refused += is_refused


def _note(
    warehouse: Warehouse,
    segment: Segment,
    *,
    rows_loaded: int,
    expired_at: datetime | None = None,
    is_refused: bool = False,
) -> None:
    manifest = segment.manifest
    warehouse.run(
        "load/load_ledger",
        dataset=manifest.dataset,
        name=manifest.name,
        path=manifest.path,
        schema_version=manifest.schema_version,
        sha256=manifest.sha256,
        rows_in_file=manifest.rows,
        rows_loaded=rows_loaded,
        first_at=manifest.first_at,
        last_at=manifest.last_at,
        expired_at=expired_at,
        is_refused=is_refused,
    )


def _suspect(warehouse: Warehouse, segment: Segment, reason: str, *, found_by: str | None) -> Suspect:
    return reading.Suspect(
        path=_relative(warehouse, segment),
        reason=reason,
        fingerprint=segment.fingerprint,
        found_by=found_by,
    )


def _relative(warehouse: Warehouse, segment: Segment) -> str:
    return str(segment.path.relative_to(warehouse.settings.lake))
