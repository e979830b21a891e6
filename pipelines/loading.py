"""From segments to tables, exactly once.

A segment's rows, its ledger line and the hours it makes stale are one transaction. Segments are
loaded in groups; when a group fails for what a file holds, its files are loaded one by one, so that
only the bad one is quarantined.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from pipelines import lake, sqlfiles
from router.errors import SegmentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.lake import Listing, Segment, Suspect
    from pipelines.warehouse import Warehouse

GROUP_FILES = 64
GROUP_BYTES = 64 << 20
"""Bounds of one load transaction: they bound its memory and what a failure repeats."""

_FILE_AT_FAULT = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException)
"""Errors that say something of the rows; any other (disk full, out of memory) stops the run."""


@dataclass(slots=True, kw_only=True)
class LoadResult:
    """What one load did."""

    dataset: str
    segments: list[str] = field(default_factory=list)
    rows: int = 0
    duplicates: int = 0
    """Rows left out because their id was known."""
    hours: set[datetime] = field(default_factory=set)
    """Hours whose rollups the rows make stale."""
    expired: int = 0
    """Segments older than retention's cutoff: noted in the ledger, not loaded."""
    quarantined: list[Suspect] = field(default_factory=list)
    """Every file of the dataset in quarantine now."""


def load(warehouse: Warehouse, dataset: str) -> LoadResult:
    """Load every segment of `dataset` that the ledger does not know."""
    started_ns = time.time_ns()
    result = LoadResult(dataset=dataset)
    listing = _listing(warehouse, dataset)
    held = _quarantine(warehouse, dataset)
    loaded = known_names(warehouse.connection, listing)
    pending, suspects = [], list(listing.suspects)
    expired_before = warehouse.value("select max(expired_before) from pipeline.retention")
    for segment in listing.segments:
        suspect = held.get(_relative(warehouse, segment))
        if segment.manifest.name in loaded:
            continue
        if suspect is not None and suspect.fingerprint == segment.fingerprint:
            suspects.append(suspect)  # unchanged since it failed: failing again would tell nothing new
        elif expired_before is not None and segment.manifest.last_at < expired_before:
            _note_expired(warehouse, segment, result)
        elif problem := _problem(warehouse, segment):
            suspects.append(problem)
        else:
            pending.append(segment)
    for group in _groups(pending):
        suspects += _load_group(warehouse, dataset, group, result)
    _keep_quarantine(warehouse, dataset, held, suspects)
    _settle(warehouse, listing, suspects, started_ns)
    result.quarantined = suspects
    return result


def _listing(warehouse: Warehouse, dataset: str) -> Listing:
    settled = dict(warehouse.rows("select folder, changed_ns from pipeline.settled_folders"))
    return lake.scan(warehouse.settings.lake, dataset, settled=settled)


def known_names(connection: duckdb.DuckDBPyConnection, listing: Listing) -> set[str]:
    """Which of the listed segments the ledger knows; reads the ledger from the oldest of them on."""
    if not listing.segments:
        return set()
    found = connection.execute(
        sqlfiles.load("load/known_names").text,
        {
            "names": [segment.manifest.name for segment in listing.segments],
            "dataset": listing.segments[0].manifest.dataset,
            "first_at": listing.segments[0].manifest.first_at,
        },
    )
    return {name for (name,) in found.fetchall()}


def _quarantine(warehouse: Warehouse, dataset: str) -> dict[str, Suspect]:
    rows = warehouse.rows(
        "select path, reason, fingerprint from pipeline.quarantine where dataset = $dataset", dataset=dataset
    )
    return {
        path: lake.Suspect(path=path, reason=reason, fingerprint=fingerprint)
        for path, reason, fingerprint in rows
    }


def _problem(warehouse: Warehouse, segment: Segment) -> Suspect | None:
    try:
        lake.verify(segment)
    except SegmentError as error:
        return _suspect(warehouse, segment, str(error))
    return None


def _groups(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    size = 0
    for segment in segments:
        if group and (len(group) == GROUP_FILES or size + segment.manifest.bytes > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(segment)
        size += segment.manifest.bytes
    if group:
        yield group


def _load_group(
    warehouse: Warehouse, dataset: str, group: Sequence[Segment], result: LoadResult
) -> list[Suspect]:
    try:
        _copy(warehouse, dataset, group, result)
    except _FILE_AT_FAULT as error:
        if len(group) == 1:
            return [_suspect(warehouse, group[0], f"holds a row the table refuses: {error}")]
        alone = (_load_group(warehouse, dataset, [segment], result) for segment in group)
        return [suspect for suspects in alone for suspect in suspects]
    return []


def _copy(warehouse: Warehouse, dataset: str, group: Sequence[Segment], result: LoadResult) -> None:
    files = [str(segment.path) for segment in group]
    with warehouse.transaction() as connection:
        warehouse.run(
            f"load/{dataset}_incoming",
            files=files,
            first_at=min(segment.manifest.first_at for segment in group),
            last_at=max(segment.manifest.last_at for segment in group),
        )
        counts = dict(warehouse.rows("select segment, count(*) from incoming group by segment"))
        warehouse.run(f"load/{dataset}", files=files)
        warehouse.run("load/stale_hours")
        for segment in group:
            _note(warehouse, segment, rows_loaded=counts.get(segment.manifest.name, 0))
        hours = warehouse.rows("select distinct stale_hour from incoming where stale_hour is not null")
        connection.execute("drop table incoming")
    result.hours |= {hour for (hour,) in hours}
    result.segments += [segment.manifest.name for segment in group]
    result.rows += sum(counts.values())
    result.duplicates += sum(segment.manifest.rows for segment in group) - sum(counts.values())


def _note_expired(warehouse: Warehouse, segment: Segment, result: LoadResult) -> None:
    _note(warehouse, segment, rows_loaded=0, expired_at=datetime.now(UTC))
    result.expired += 1


def _note(
    warehouse: Warehouse, segment: Segment, *, rows_loaded: int, expired_at: datetime | None = None
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
    )


def _keep_quarantine(
    warehouse: Warehouse, dataset: str, held: dict[str, Suspect], suspects: Sequence[Suspect]
) -> None:
    """Make the quarantine table say what was found; rows of files that are fine or gone leave it."""
    found = {suspect.path: suspect for suspect in suspects}
    if found == held:
        return
    with warehouse.transaction() as connection:
        for path in held.keys() - {path for path, suspect in found.items() if held.get(path) == suspect}:
            connection.execute("delete from pipeline.quarantine where path = $path", {"path": path})
        for path, suspect in found.items():
            if held.get(path) != suspect:
                warehouse.run(
                    "load/quarantine",
                    path=path,
                    dataset=dataset,
                    reason=suspect.reason,
                    fingerprint=suspect.fingerprint,
                )


def _settle(warehouse: Warehouse, listing: Listing, suspects: Sequence[Suspect], started_ns: int) -> None:
    """Remember folders with nothing left to do, so that their files are not listed again."""
    troubled = {suspect.path.rpartition("/")[0] for suspect in suspects}
    quiet = {
        folder: changed_ns
        for folder, changed_ns in listing.folders.items()
        if folder not in troubled and changed_ns < started_ns - int(lake.SETTLE_S * 1e9)
    }
    if not quiet:
        return
    with warehouse.transaction():
        for folder, changed_ns in quiet.items():
            warehouse.run("load/forget_folder", folder=folder)
            warehouse.run("load/settled_folders", folder=folder, changed_ns=changed_ns)


def _suspect(warehouse: Warehouse, segment: Segment, reason: str) -> Suspect:
    return lake.Suspect(path=_relative(warehouse, segment), reason=reason, fingerprint=segment.fingerprint)


def _relative(warehouse: Warehouse, segment: Segment) -> str:
    return str(segment.path.relative_to(warehouse.settings.lake))
