"""Archives rollups in the lake, for days without raw rows.

    lake/rollups/<table>/date=2026-08-01/<table>-<digest>.parquet     the day's rows, sealed by retention
                                         _<table>-<digest>.json       their SHA-256, and whose rows they are

Thus the warehouse stays a cache of the lake: a rebuild loads the remaining segments and restores the
archived days.

A part lists the segments that it was folded from. In a lake that was merged from several folders a day has
a part of each, and they add up. A part whose segments are all in a larger one is a copy, and is left out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.errors import WarehouseError
from pipelines.lake import reading
from pipelines.warehouse import sqlfiles
from router.errors import SegmentError
from router.files import TEMPORARY_PREFIX, make_folder, sha256_of, write_atomically
from router.journal.manifests import DropNote, Manifest, numbers_in, ranges
from router.journal.places import ARCHIVE, date_folder, dated_folders, entries, manifest_path
from router.records import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import duckdb

    from pipelines.warehouse.sqlfiles import SqlFile

DAILY_MARTS = ("task_cost_daily", "usage_by_org_daily")
"""Marts that are summed from the restored rollups."""
HISTORY = "model_performance_history"
TABLES = {
    "usage_quarter_hourly": "quarter_hour",
    "latency_buckets_hourly": "hour",
    "quality_blocks_hourly": "hour",
    "experiment_hourly": "hour",
    "billing_usage": "hour",
    "propensity_hourly": "hour",
    HISTORY: "as_of",
}
"""The archived tables, and the column that gives a row's day."""
EARLIER = {"usage_hourly": "usage_quarter_hourly"}
"""Tables as earlier releases archived them, by whole hours, and the table that holds their rows now."""
SUMMED = tuple(table for table in TABLES if table != HISTORY)
"""The tables whose parts add up."""
OWN_PERIOD = {"security_events_daily": "day"}
"""The same for marts whose raw rows have a period of their own: their days are sealed apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One sealed file of a table's day."""

    table: str
    day: date
    path: Path
    segments: frozenset[str]
    """The sealed segments that it was folded from. Empty if an earlier release wrote it."""
    problem: str | None = None
    """Why the part is left out, though it may hold rows that no other part has."""

    @property
    def archived_as(self) -> str:
        """The table's name in the release that wrote the part."""
        return self.path.parent.parent.name


def archive_day(
    connection: duckdb.DuckDBPyConnection, lake: Path, day: date, segments: Iterable[str] = ()
) -> None:
    """Seal one day's rollups and history in the lake. A second call replaces the files completely.

    `segments` are the sealed segments of requests that the rollups were folded from (`folded_segments`).
    """
    for table, moment in TABLES.items():
        archive_table(connection, lake, table, moment, day, segments)


def archive_table(
    connection: duckdb.DuckDBPyConnection,
    lake: Path,
    table: str,
    moment: str,
    day: date,
    segments: Iterable[str] = (),
) -> Path:
    """Seal one day of one table in the lake. Return the file."""
    start = midnight(day)
    folder = date_folder(lake / ARCHIVE / table, day)
    make_folder(folder)
    temporary = folder / f"{TEMPORARY_PREFIX}{table}.parquet"
    connection.execute(
        sqlfiles.load("tables/archive", table=table, moment=moment).text,
        {"start": start, "end": start + timedelta(days=1), "path": str(temporary)},
    )
    names = sorted(segments)
    if table == HISTORY:
        digest = f"-{sha256_of(temporary)[:12]}"
    elif names:
        digest = f"-{hashlib.sha256(chr(10).join(names).encode()).hexdigest()[:12]}"
    else:
        digest = ""
    path = folder / f"{table}{digest}.parquet"
    write_atomically(path, temporary.read_bytes())  # DuckDB's own file is not synced
    temporary.unlink()
    manifest = {"table": table, "date": str(day), "sha256": sha256_of(path), "segments": _packed(names)}
    write_atomically(manifest_path(path), json.dumps(manifest, indent=1).encode())
    note_parts(connection, [Part(table=table, day=day, path=path, segments=frozenset(names))])
    return path


def folded_segments(
    connection: duckdb.DuckDBPyConnection,
    lake: Path,
    day: date,
    dataset: str = RequestRecord.DATASET,
    *,
    with_parts: bool = True,
) -> frozenset[str]:
    """The sealed segments of a day whose rows the tables hold.

    With those of its parts, if the tables hold the parts too.
    """
    loaded = {
        name
        for (name,) in connection.execute(
            sqlfiles.load("retention/counted_segments").text, {"dataset": dataset}
        ).fetchall()
    }
    names: set[str] = set()
    for segment in reading.scan(lake, dataset, day=day).segments:
        if segment.manifest.name in loaded:
            names |= sealed_names(segment.manifest)
    if with_parts and dataset == RequestRecord.DATASET:
        names.update(*(part.segments for part in chosen(parts(lake, SUMMED[0], day))))
    return frozenset(names)


def sealed_names(manifest: Manifest) -> set[str]:
    """The segments, as routers sealed them, whose rows a segment holds."""
    return {item.name for item in manifest.tree() if item.operation == "seal"}


def is_counted(lake: Path, day: date, dataset: str, names: Iterable[str]) -> set[str]:
    """Those of a day's sealed segments that are in an archived rollup, or that retention dropped."""
    archived: set[str] = set()
    if dataset == RequestRecord.DATASET:
        archived.update(*(part.segments for part in chosen(parts(lake, SUMMED[0], day))))
    try:
        note = DropNote.of_day(lake, dataset, day)
    except SegmentError:
        note = DropNote()
    found = set()
    for name in names:
        hour, _, rest = name.partition("-")
        writer_id, _, sequence = rest.rpartition("-")
        if name in archived or note.names(writer_id, hour=hour, sequence=int(sequence)):
            found.add(name)
    return found


def parts(lake: Path, table: str, day: date) -> list[Part]:
    """Every part of a table's day. WarehouseError if one is damaged."""
    for name in _spellings(table):
        folder = date_folder(lake / ARCHIVE / name, day)
        found = [
            _verified(folder / entry.name, table, day)
            for entry in entries(folder)
            if entry.name.endswith(".parquet")
        ]
        if found:  # else an earlier release may have sealed the day under its name of the table
            return found
    return []


def part_names(lake: Path, table: str) -> dict[date, set[str]]:
    """The file names of a table's parts by day, without a look into them."""
    found: dict[date, set[str]] = {}
    for name in reversed(_spellings(table)):
        for day, folder in dated_folders(lake / ARCHIVE / name):
            if names := {entry.name for entry in entries(folder) if entry.name.endswith(".parquet")}:
                found[day] = names
    return found


def _spellings(table: str) -> list[str]:
    """The names under which a table was archived, the present one first."""
    return [table, *(earlier for earlier, later in EARLIER.items() if later == table)]


def judged(found: Sequence[Part]) -> list[Part]:
    """The parts of one day, those that cannot be added with their problem. Copies are left out."""
    taken: set[str] = set()
    result = []
    for part in sorted(found, key=lambda item: (-len(item.segments), item.path.name)):
        shared = part.segments & taken
        if part.segments and shared == part.segments:
            continue
        if shared:
            problem = (
                f"is left out: {len(shared)} of its {len(part.segments)} segments are in another part too."
                " Restore those segments from a backup, and move this part away"
            )
            result.append(
                Part(
                    table=part.table,
                    day=part.day,
                    path=part.path,
                    segments=part.segments,
                    problem=problem,
                )
            )
            continue
        taken |= part.segments
        result.append(part)
    return result


def chosen(found: Sequence[Part]) -> list[Part]:
    """The parts of one day that add up to its rollups."""
    return [part for part in judged(found) if part.problem is None]


def note_parts(connection: duckdb.DuckDBPyConnection, found: Sequence[Part]) -> None:
    """Note that the tables hold these parts."""
    for part in found:
        connection.execute(
            sqlfiles.load("retention/note_part").text,
            {
                "table_name": part.table,
                "day": part.day,
                "name": part.path.name,
                "path": f"{ARCHIVE}/{part.archived_as}/{part.path.parent.name}/{part.path.name}",
                "problem": part.problem,
            },
        )


def restore_archive(connection: duckdb.DuckDBPyConnection, lake: Path) -> date | None:
    """Close every archived day in an empty database, and restore those that have one part.

    Returns the last day, or None if there are none. Segments of those days are not loaded again: the
    archive is their aggregate. Days of several parts follow when the rollups take them in.
    """
    last: date | None = None
    connection.begin()
    for table in SUMMED:
        for day in part_names(lake, table):
            found = parts(lake, table, day)
            if len(found) == 1:
                connection.execute(restoring(found[0].archived_as).text, {"path": str(found[0].path)})
                note_parts(connection, found)
            last = day if last is None else max(last, day)
    for day, _ in dated_folders(lake / ARCHIVE / HISTORY):
        restore_history_day(connection, parts(lake, HISTORY, day))
    for day, _ in dated_folders(lake / ARCHIVE / next(iter(OWN_PERIOD))):
        restore_security_day(connection, parts(lake, next(iter(OWN_PERIOD)), day))
    connection.execute(sqlfiles.load("retention/restore_missing_blocks").text)
    connection.execute(sqlfiles.load("retention/restore_missing_bills").text)
    if last is not None:
        for mart in DAILY_MARTS:
            connection.execute(sqlfiles.load("retention/restore_stale_days").text, {"mart": mart})
        connection.execute(
            sqlfiles.load("retention/set_cutoff").text, {"cutoff": midnight(last + timedelta(days=1))}
        )
    connection.commit()
    return last


def restoring(table: str, prefix: str = "") -> SqlFile:
    """The statement that puts a file of this table back, into the table with the prefix."""
    if table in EARLIER:
        return sqlfiles.load("retention/restore_whole_hours", table=f"{prefix}{EARLIER[table]}")
    return sqlfiles.load("tables/restore", table=f"{prefix}{table}")


def restore_history_day(connection: duckdb.DuckDBPyConnection, found: Sequence[Part]) -> None:
    """Add the snapshots of a day's parts that the history does not hold."""
    for part in found:
        connection.execute(sqlfiles.load("retention/restore_history").text, {"path": str(part.path)})
    note_parts(connection, found)


def restore_security_day(connection: duckdb.DuckDBPyConnection, found: Sequence[Part]) -> None:
    """Make a day of the refusals the sum of its parts."""
    paths = [str(part.path) for part in chosen(found)]
    for part in found[:1]:
        connection.execute(
            sqlfiles.delete_between(part.table, OWN_PERIOD[part.table]).text,
            {"start": midnight(part.day), "end": midnight(part.day + timedelta(days=1))},
        )
        connection.execute(sqlfiles.load("retention/restore_security_day").text, {"paths": paths})
    note_parts(connection, found)


def archived_days(lake: Path, table: str) -> list[date]:
    """The days of a table that are sealed in the lake."""
    return [day for day, _ in dated_folders(lake / ARCHIVE / table)]


def midnight(day: date) -> datetime:
    """The UTC moment at which a day starts."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _packed(names: Iterable[str]) -> dict[str, list[list[int]]]:
    """Segment names as ranges of sequences, by hour and writer."""
    numbers: dict[str, list[int]] = {}
    for name in names:
        writer, _, sequence = name.rpartition("-")
        numbers.setdefault(writer, []).append(int(sequence))
    return {writer: ranges(found) for writer, found in numbers.items()}


def _verified(path: Path, table: str, day: date) -> Part:
    try:
        manifest = json.loads(manifest_path(path).read_bytes())
        segments = frozenset(
            f"{writer}-{number:08d}"
            for writer, found in manifest.get("segments", {}).items()
            for number in numbers_in(found)
        )
        if sha256_of(path) == manifest["sha256"]:
            return Part(table=table, day=day, path=path, segments=segments)
        problem = "does not match its SHA-256"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"cannot be read: {error}"
    raise WarehouseError(
        f"archived rollup `{path}` {problem}. Restore it from a backup,"
        " or move its folder away to rebuild without that day"
    )
