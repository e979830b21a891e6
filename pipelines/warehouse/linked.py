"""Reads the rows of large segments where they lie: in the lake's files, behind the views that people query.

    warehouse/segments/<dataset>/<segment>.parquet      the lake's file under a second name (a hard link)

A row costs the warehouse nothing then, a publish copies no raw row, and retention drops a file. The rows of
other segments (small ones, those of an older schema version, those with rows that are elsewhere too) are in
the table `<dataset>_rows`. The view `<dataset>` shows both.

The second name keeps a file that compaction or an erasure replaced until no published copy needs it: until
KEPT after the next publish, or until the next publish if an erasure or retention removed rows (`sweep`).
On a file system without hard links the file is copied. Links change in the transaction of the load. A view
follows at the load's end, and is out of date meanwhile, also after a stop: the next opening makes it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time
from collections import defaultdict
from dataclasses import fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.warehouse import sqlfiles
from pipelines.warehouse.columns import HOUR_OF_REQUEST, bounds_broken
from pipelines.warehouse.linked_views import (
    ADDED,
    columns_of,
    expressions,
    folder,
    follow_one,
    path_of,
    rows_table,
    select_list,
    view_of,
)
from pipelines.warehouse.sqlfiles import SelectList
from router.files import TEMPORARY_PREFIX, make_folder, sha256_of, sync_folder, write_atomically
from router.records import DATASETS, FeedbackRecord, RequestLog, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from pipelines.warehouse.sqlfiles import SqlFile
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

logger = logging.getLogger("pipelines.warehouse")

STALE_HOUR = {
    RequestRecord.DATASET: "date_trunc('hour', source.timestamp)",
    FeedbackRecord.DATASET: f"case when source.metric = 'quality' then {HOUR_OF_REQUEST} end",
}
"""The hour whose rollups a row is counted in."""
FEWEST_ROWS = 1000
"""Smaller segments stay in the table: a query would open too many files."""
BATCH = 64
"""Segments that one transaction links."""
KEPT = timedelta(minutes=10)
"""A query that began on the published copy before can take so long."""
_FACTS = ("dataset", "name", "schema_version", "rows", "first_at", "last_at")
UNLISTED = "unlisted.json"
"""When each file was first found in no list (seconds since 1970)."""


def link_new(warehouse: Warehouse, segments: Sequence[Segment]) -> set[str]:
    """Link verified segments of a dataset instead of copying their rows. Returns the names that were linked.

    Every row of them must be new. A segment with a row that the table would refuse is left out.
    """
    if not segments or (dataset := segments[0].manifest.dataset) not in ADDED:
        return set()
    newest = DATASETS[dataset].SCHEMA_VERSION
    wanted = [
        segment
        for segment in segments
        if segment.manifest.rows >= FEWEST_ROWS and segment.manifest.schema_version == newest
    ]
    refused = _refused(warehouse, dataset, [str(segment.path) for segment in wanted])
    linked = []
    for segment in wanted:
        manifest = segment.manifest
        if manifest.name not in refused:
            made = _put(warehouse.settings, dataset, manifest.name, segment.path, manifest.sha256)
            linked += [_row(manifest, made)] if made else []
    _add(warehouse, dataset, linked)
    return {row["name"] for row in linked}


def link_loaded(warehouse: Warehouse, dataset: str) -> None:
    """Link the loaded segments whose rows are in the table though they need not be, or are nowhere.

    They are of an earlier release, were merged by a compaction, or their file was damaged meanwhile.
    """
    if dataset not in ADDED:
        return
    newest = DATASETS[dataset].SCHEMA_VERSION
    found = warehouse.run(
        "load/linkable_segments", dataset=dataset, schema_version=newest, fewest=FEWEST_ROWS
    ).fetchall()
    if not found:
        return
    table, moment = rows_table(dataset), DATASETS[dataset].MOMENT
    counts = dict(warehouse.run(sqlfiles.load("load/rows_by_segment", table=table)).fetchall())
    for at in range(0, len(found), BATCH):
        rows = []
        for name, path, digest, count, first_at, last_at in found[at : at + BATCH]:
            if counts.get(name, 0) in (0, count) and (
                made := _put(warehouse.settings, dataset, name, warehouse.settings.lake / path, digest)
            ):
                of_segment = (dataset, name, newest, count, first_at, last_at)
                rows.append({**dict(zip(_FACTS, of_segment, strict=True)), **_noted(made)})
        if rows:
            with warehouse.transaction():
                warehouse.run(
                    sqlfiles.load("load/delete_segments", table=table, moment=moment),
                    names=[row["name"] for row in rows],
                    first_at=min(row["first_at"] for row in rows),
                    last_at=max(row["last_at"] for row in rows),
                )
                _add(warehouse, dataset, rows)


def take_over(warehouse: Warehouse, segment: Segment, known: Collection[str]) -> set[datetime] | None:
    """Link a segment in place of the linked segments it replaces, and note the hours that become stale.

    None, and nothing is changed, if some of the rows of the segments `known` are in the table.
    """
    manifest = segment.manifest
    dataset, names = manifest.dataset, list(known)
    if dataset not in ADDED or manifest.schema_version != DATASETS[dataset].SCHEMA_VERSION:
        return None
    linked = _among(warehouse, dataset, names)
    if not linked or manifest.rows < FEWEST_ROWS:
        return None
    if warehouse.value(sqlfiles.load("load/sources_in_table"), dataset=dataset, names=names):
        return None
    made = _put(warehouse.settings, dataset, manifest.name, segment.path, manifest.sha256)
    if made is None:
        return None
    hours: set[datetime] = set()
    if dataset in STALE_HOUR and manifest.rows != sum(rows for _, rows in linked.values()):
        warehouse.run(missing_file(dataset), files=_paths(warehouse, dataset, linked), path=str(segment.path))
        hours = note_stale_hours(warehouse)
    _forget(warehouse, dataset, linked)
    _add(warehouse, dataset, [_row(manifest, made)])
    return hours


def take_back(warehouse: Warehouse, dataset: str, names: Collection[str]) -> None:
    """Copy the rows of those segments that are linked into the table, where they can change."""
    linked = _among(warehouse, dataset, list(names)) if dataset in ADDED else {}
    for name, (version, _) in linked.items():
        warehouse.run(take_back_file(dataset, version), files=_paths(warehouse, dataset, [name]))
    if linked:
        _forget(warehouse, dataset, linked)


def expire(warehouse: Warehouse, dataset: str, cutoff: datetime, *, trimmed: Iterable[datetime]) -> None:
    """Drop the segments of before the cutoff, except those of the trimmed days, which are replaced."""
    if dataset in ADDED:
        days = [moment.date() for moment in trimmed]
        found = warehouse.run("load/expired_linked", dataset=dataset, cutoff=cutoff, trimmed=days).fetchall()
        if found:
            with warehouse.transaction():
                _forget(warehouse, dataset, [name for (name,) in found])
            show(warehouse, dataset)


def check_files(warehouse: Warehouse) -> None:
    """Compare the files with their state when they were linked. Link a lost or changed one again.

    A file that is damaged in the lake too is taken out of the view, so that it hurts no other query. Its
    rows come back when the segment is restored. Its rollups stay, and checks name the segment.
    """
    lost: dict[str, list[str]] = defaultdict(list)
    again: dict[str, list[dict[str, Any]]] = defaultdict(list)
    settings = warehouse.settings
    for dataset, name, size, changed_ns, path, digest in warehouse.run("load/linked_files").fetchall():
        target = path_of(settings, dataset, name)
        try:
            status = target.stat()
            if (status.st_size, status.st_mtime_ns) == (size, changed_ns):
                continue
            is_same = sha256_of(target) == digest
        except OSError:
            is_same = False
        made = target.stat() if is_same else _put(settings, dataset, name, settings.lake / path, digest)
        if made is None:
            logger.error(
                "segment `%s` is missing or damaged, its rows are left out of `%s`: restore it from a backup",
                path,
                dataset,
            )
            lost[dataset].append(name)
        else:
            again[dataset].append({"dataset": dataset, "name": name, **_noted(made)})
    if lost or again:
        with warehouse.transaction():
            for dataset, names in lost.items():
                _forget(warehouse, dataset, names)
            for rows in again.values():
                for row in rows:
                    warehouse.run("load/note_linked", **row)
    for dataset in {*lost, *again}:
        show(warehouse, dataset)


def note_stale_hours(warehouse: Warehouse) -> set[datetime]:
    """Note the hours that the temporary table `incoming` makes stale, and drop it."""
    warehouse.run("load/stale_hours")
    hours = warehouse.run("load/incoming_hours").fetchall()
    warehouse.connection.execute("drop table incoming")
    return {hour for (hour,) in hours}


def is_only_in_file(warehouse: Warehouse, dataset: str, name: str) -> bool:
    """Whether the rows of a loaded segment are in its file only."""
    return dataset in ADDED and bool(_among(warehouse, dataset, [name]))


def count(warehouse: Warehouse, dataset: str) -> int:
    """How many rows a view of records has, from the list of files."""
    counting = sqlfiles.load("tables/count_records", view=dataset, table=rows_table(dataset))
    return int(warehouse.value(counting, dataset=dataset))


def show(warehouse: Warehouse, dataset: str) -> None:
    """Bring the view of a dataset up to date."""
    if dataset in ADDED:
        follow_one(warehouse.connection, warehouse.settings, dataset)


def show_between(warehouse: Warehouse, dataset: str, first_at: datetime, last_at: datetime) -> None:
    """Bring the view up to date if it lacks a file with rows between these moments."""
    if dataset in ADDED and warehouse.value(
        sqlfiles.load("load/unseen_linked"), dataset=dataset, first_at=first_at, last_at=last_at
    ):
        show(warehouse, dataset)


@contextlib.contextmanager
def narrowed(
    warehouse: Warehouse, start: datetime, end: datetime, *, datasets: Collection[str] = tuple(STALE_HOUR)
) -> Iterator[None]:
    """Let statements that ask for rows of hours from `start` to `end` open only the files that have some.

    `datasets` are those that they read. Temporary views hide the whole ones, and lack rows of other hours.
    """
    made = []
    try:
        wanted = [dataset for dataset in STALE_HOUR if dataset in datasets]
        for dataset in wanted if wanted and warehouse.count("pipeline.linked_segments") else ():
            found = warehouse.run("load/linked_between", dataset=dataset, start=start, end=end).fetchall()
            text = view_of(warehouse.settings, dataset, columns_of(warehouse.connection, dataset), found)
            warehouse.connection.execute(text.replace("replace view", "replace temp view", 1))
            made.append(dataset)
        yield
    finally:
        for dataset in made:
            with contextlib.suppress(duckdb.Error):  # the connection broke, and its views are gone
                warehouse.connection.execute(f"drop view temp.{dataset}")


def listed(warehouse: Warehouse) -> set[str]:
    """The files that the views read, relative to their folder."""
    found = warehouse.run("load/linked_files").fetchall()
    return {f"{dataset}/{name}.parquet" for dataset, name, *_ in found}


def drop_at_next_publish(warehouse: Warehouse) -> None:
    """Let the next publish remove every file that is not listed: they hold removed rows."""
    found = dict.fromkeys(_unlisted(warehouse.settings, listed(warehouse)), 0.0)
    if found:
        _write_noted(warehouse.settings, found)


def sweep(settings: Settings, names: Collection[str]) -> None:
    """Remove the files that the published copy does not list, once a query that began before has ended."""
    root, now = folder(settings), time.time()
    for path in root.glob(f"*/{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)
    noted, kept = _read_noted(settings), {}
    for name in _unlisted(settings, names):
        since = min(noted.get(name, now), now)
        if now - since >= KEPT.total_seconds():
            (root / name).unlink(missing_ok=True)
        else:
            kept[name] = since
    if kept != noted:
        _write_noted(settings, kept)


def hours_file(dataset: str) -> SqlFile:
    """The statement that finds the hours of files."""
    return sqlfiles.load("load/linked_hours", hour=SelectList(STALE_HOUR[dataset]))


def missing_file(dataset: str) -> SqlFile:
    """The statement that finds the hours of the rows that a segment leaves out."""
    key = fields(DATASETS[dataset])[0].name
    return sqlfiles.load("load/linked_missing", hour=SelectList(STALE_HOUR[dataset]), key=key)


def take_back_file(dataset: str, version: int) -> SqlFile:
    """The statement that copies rows of files of a schema version into the table."""
    columns = expressions(dataset, version)
    if dataset == RequestLog.DATASET:
        del columns["id"]  # the table generates it
    names = select_list(columns, columns)
    return sqlfiles.load("load/take_back", table=rows_table(dataset), columns=names)


def refused_file(dataset: str, problems: Sequence[str]) -> SqlFile:
    """The statement that finds files with a row that the table would refuse."""
    problem = SelectList("\n    or ".join(problems))
    return sqlfiles.load("load/refused_segments", table=rows_table(dataset), problem=problem)


def _add(warehouse: Warehouse, dataset: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """List segments, inside the caller's transaction. The view is out of date then."""
    if not rows:
        return
    names = [row["name"] for row in rows]
    hours: dict[str, tuple[Any, Any]] = {}
    if dataset in STALE_HOUR:
        found = warehouse.run(hours_file(dataset), files=_paths(warehouse, dataset, names)).fetchall()
        hours = {name: (first, last) for name, first, last in found}
    _forget(warehouse, dataset, names)
    full = [
        {**row, **dict(zip(("first_hour", "last_hour"), hours.get(row["name"], (None, None)), strict=True))}
        for row in rows
    ]
    warehouse.insert("pipeline.linked_segments", full)


def _forget(warehouse: Warehouse, dataset: str, names: Iterable[str]) -> None:
    """Take segments from the list, inside the caller's transaction. The view is out of date then."""
    warehouse.run("load/forget_linked", dataset=dataset, names=list(names))
    warehouse.run(sqlfiles.delete_equal("pipeline.linked_views", "dataset"), value=dataset)


def _refused(warehouse: Warehouse, dataset: str, files: Sequence[str]) -> set[str]:
    """The names of files with a row that the table would refuse. All of them if one cannot be converted."""
    if not files:
        return set()
    table = rows_table(dataset)
    checks = warehouse.run("load/table_checks", table=table).fetchall()
    broken = [f"not ({expression})" for (expression,) in checks] + bounds_broken(DATASETS[dataset])
    try:
        found = warehouse.run(refused_file(dataset, broken or ["false"]), files=list(files)).fetchall()
    except (duckdb.DataError, duckdb.InvalidInputException):
        return {path.rpartition("/")[2].removesuffix(".parquet") for path in files}
    return {name for (name,) in found}


def _put(settings: Settings, dataset: str, name: str, source: Path, digest: str) -> os.stat_result | None:
    """Link a segment's file, or copy it where links are impossible. None if its digest is another one.

    A file that has this name already is replaced in one step, since readers may be about to open it.
    """
    target = path_of(settings, dataset, name)
    try:
        if not (target.exists() and target.samefile(source)):
            make_folder(target.parent)
            temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}")
            temporary.unlink(missing_ok=True)
            try:
                os.link(source, temporary)
            except FileNotFoundError:
                raise
            except OSError:  # another file system, or one without links; a file of another user
                shutil.copyfile(source, temporary)
                with temporary.open("rb") as copy:
                    os.fsync(copy.fileno())
            if sha256_of(temporary) != digest:
                temporary.unlink()
                return None
            temporary.replace(target)
        elif sha256_of(target) != digest:
            return None
        sync_folder(target.parent)  # an earlier load may have been killed before its sync
        return target.stat()
    except OSError as error:
        logger.warning("segment `%s` cannot be linked: %s", source, error)
        return None


def _row(manifest: Any, made: os.stat_result) -> dict[str, Any]:
    return {**{name: getattr(manifest, name) for name in _FACTS}, **_noted(made)}


def _noted(made: os.stat_result) -> dict[str, int]:
    return {"file_bytes": made.st_size, "changed_ns": made.st_mtime_ns}


def _among(warehouse: Warehouse, dataset: str, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Those of the segments that are linked, with their schema version and rows."""
    found = warehouse.run("load/linked_among", dataset=dataset, names=list(names)).fetchall()
    return {name: (version, rows) for name, version, rows in found}


def _paths(warehouse: Warehouse, dataset: str, names: Iterable[str]) -> list[str]:
    return [str(path_of(warehouse.settings, dataset, name)) for name in names]


def _unlisted(settings: Settings, names: Collection[str]) -> list[str]:
    root = folder(settings)
    found = (f"{path.parent.name}/{path.name}" for path in root.glob("*/*.parquet"))
    return [name for name in found if name not in names and not name.rpartition("/")[2].startswith(".")]


def _read_noted(settings: Settings) -> dict[str, float]:
    try:
        noted = json.loads((folder(settings) / UNLISTED).read_bytes())
        return {str(name): float(since) for name, since in noted.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_noted(settings: Settings, noted: Mapping[str, float]) -> None:
    make_folder(folder(settings))
    write_atomically(folder(settings) / UNLISTED, json.dumps(noted).encode())
