"""Archives rollups in the lake, for days without raw rows.

    lake/rollups/<table>/date=2026-08-01/<table>.parquet     the day's rows, sealed by retention
                                         <table>.json        their SHA-256

Thus the warehouse stays a cache of the lake: a rebuild loads the remaining segments and restores the
archived days.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.errors import WarehouseError
from pipelines.warehouse import sqlfiles
from router.files import TEMPORARY_PREFIX, make_folder, sha256_of, write_atomically
from router.journal.places import ARCHIVE, date_folder, dated_folders

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

DAILY_MARTS = ("task_cost_daily", "usage_by_org_daily")
"""Marts that are summed from the restored rollups."""
TABLES = {
    "usage_hourly": "hour",
    "latency_buckets_hourly": "hour",
    "quality_blocks_hourly": "hour",
    "experiment_hourly": "hour",
    "model_performance_history": "as_of",
}
"""The archived tables, and the column that gives a row's day."""
OWN_PERIOD = {"security_events_daily": "day"}
"""The same for marts whose raw rows have a period of their own: their days are sealed apart."""


def archive_day(connection: duckdb.DuckDBPyConnection, lake: Path, day: date) -> None:
    """Seal one day's rollups and history in the lake. A second call replaces the files completely."""
    for table, moment in TABLES.items():
        archive_table(connection, lake, table, moment, day)


def archive_table(
    connection: duckdb.DuckDBPyConnection, lake: Path, table: str, moment: str, day: date
) -> None:
    """Seal one day of one table in the lake."""
    start = midnight(day)
    folder = date_folder(lake / ARCHIVE / table, day)
    make_folder(folder)
    temporary = folder / f"{TEMPORARY_PREFIX}{table}.parquet"
    connection.execute(
        sqlfiles.load("tables/archive", table=table, moment=moment).text,
        {"start": start, "end": start + timedelta(days=1), "path": str(temporary)},
    )
    path = folder / f"{table}.parquet"
    write_atomically(path, temporary.read_bytes())  # DuckDB's own file is not synced
    temporary.unlink()
    manifest = {"table": table, "date": str(day), "sha256": sha256_of(path)}
    write_atomically(path.with_suffix(".json"), json.dumps(manifest, indent=1).encode())


def restore_archive(connection: duckdb.DuckDBPyConnection, lake: Path) -> date | None:
    """Restore every archived day into an empty database. Returns the last one, or None if there are none.

    Segments of those days are not loaded again: the archive is their aggregate.
    """
    last: date | None = None
    connection.begin()
    for table in OWN_PERIOD:
        for _, folder in dated_folders(lake / ARCHIVE / table):
            path = _verified(folder / f"{table}.parquet")
            connection.execute(sqlfiles.load("tables/restore", table=table).text, {"path": str(path)})
    for table in TABLES:
        for day, folder in dated_folders(lake / ARCHIVE / table):
            path = _verified(folder / f"{table}.parquet")
            connection.execute(sqlfiles.load("tables/restore", table=table).text, {"path": str(path)})
            if table != "model_performance_history":
                last = day if last is None else max(last, day)
    connection.execute(sqlfiles.load("retention/restore_missing_blocks").text)
    if last is not None:
        for mart in DAILY_MARTS:
            connection.execute(sqlfiles.load("retention/restore_stale_days").text, {"mart": mart})
        connection.execute(
            sqlfiles.load("retention/set_cutoff").text, {"cutoff": midnight(last + timedelta(days=1))}
        )
    connection.commit()
    return last


def archived_days(lake: Path, table: str) -> list[date]:
    """The days of a table that are sealed in the lake."""
    return [day for day, _ in dated_folders(lake / ARCHIVE / table)]


def midnight(day: date) -> datetime:
    """The UTC moment at which a day starts."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _verified(path: Path) -> Path:
    try:
        expected = json.loads(path.with_suffix(".json").read_bytes())["sha256"]
        if sha256_of(path) == expected:
            return path
        problem = "does not match its SHA-256"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"cannot be read: {error}"
    raise WarehouseError(
        f"archived rollup `{path}` {problem}. Restore it from a backup,"
        " or move its folder away to rebuild without that day"
    )
