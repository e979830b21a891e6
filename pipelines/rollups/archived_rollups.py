"""Takes in archived rollups that came with another folder: a merged lake, a restored backup.

A day whose archive has a part that the warehouse does not know is restored from all its parts. A part of
a day that is still open here closes it: the folder's own rollups of the day are sealed first.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.rollups import rollups
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import archive, sqlfiles
from pipelines.warehouse.archive import DAILY_MARTS, HISTORY, OWN_PERIOD, SUMMED, midnight
from pipelines.warehouse.sqlfiles import delete_between
from pipelines.warehouse.warehouse import in_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from pipelines.warehouse.archive import Part
    from pipelines.warehouse.warehouse import Warehouse

DAY = timedelta(days=1)


def take_in(warehouse: Warehouse) -> list[date]:
    """Restore the days with archived parts that the warehouse does not know. Returns those days."""
    found = _news(warehouse)
    if not found:
        return []
    _close(warehouse, max(found))
    with in_memory(warehouse.settings) as scratch:
        for day, tables in sorted(found.items()):
            with warehouse.transaction():
                for table in tables:
                    _restore(warehouse, scratch, table, day)
                for mart in DAILY_MARTS:
                    days = {"start": midnight(day), "end": midnight(day) + DAY}
                    warehouse.run("rollups/forget_stale_days", mart=mart, **days)
                    warehouse.insert("pipeline.stale_days", [{"mart": mart, "day": day}])
    with warehouse.transaction():  # parts of an earlier release lack the later tables
        for statement in ("restore_missing_blocks", "restore_missing_bills"):
            warehouse.run(f"retention/{statement}")
    return sorted(found)


def _news(warehouse: Warehouse) -> dict[date, list[str]]:
    """The tables with unknown parts, by day. Days from today on are no archive: a wrong clock sealed them."""
    lake, today = warehouse.settings.lake, datetime.now(UTC).date()
    known = defaultdict(set)
    for table, day, name in warehouse.run("retention/known_parts").fetchall():
        known[table, day].add(name)
    found: dict[date, list[str]] = defaultdict(list)
    for table in (*SUMMED, HISTORY, *OWN_PERIOD):
        for day, names in archive.part_names(lake, table).items():
            if names - known[table, day] and day < today:
                found[day].append(table)
    return found


def _close(warehouse: Warehouse, last: date) -> None:
    """Seal the folder's own rollups up to a day, and refuse later segments of it, as retention does."""
    cutoff = midnight(last) + DAY
    before = warehouse.value(sqlfiles.load("retention/expired_before"))
    if before is not None and cutoff <= before:
        return
    rollups.fold_stale_hours(warehouse)
    lake = warehouse.settings.lake
    for (day,) in warehouse.run("retention/days_to_archive", cutoff=cutoff).fetchall():
        segments = archive.folded_segments(warehouse.connection, lake, day, with_parts=False)
        archive.archive_day(warehouse.connection, lake, day, segments)
    with warehouse.transaction():
        warehouse.run("retention/set_cutoff", cutoff=cutoff)
        warehouse.run(sqlfiles.delete_before("pipeline.stale_hours", "hour"), cutoff=cutoff)


def _restore(warehouse: Warehouse, scratch: duckdb.DuckDBPyConnection, table: str, day: date) -> None:
    found = archive.parts(warehouse.settings.lake, table, day)
    if table == HISTORY:
        archive.restore_history_day(warehouse.connection, found)
    elif table in OWN_PERIOD:
        archive.restore_security_day(warehouse.connection, found)
    else:
        bounds = {"start": midnight(day), "end": midnight(day) + DAY}
        judged = archive.judged(found)
        warehouse.run(delete_between(table, archive.TABLES[table]), **bounds)
        warehouse.connection.register("found", _added(scratch, table, archive.chosen(found), bounds))
        warehouse.run(sqlfiles.load("tables/take_found", table=table))
        warehouse.connection.unregister("found")
        archive.note_parts(warehouse.connection, judged)
        archive.note_parts(warehouse.connection, found)


def _added(
    scratch: duckdb.DuckDBPyConnection, table: str, chosen: Sequence[Part], bounds: dict[str, datetime]
) -> object:
    """The sum of a day's parts as an Arrow table, by the statement that folds an hour."""
    shares = f"pipeline.removed_{table}"
    for item in (table, shares):
        scratch.execute(sqlfiles.load("tables/clear", table=item).text)
    for part in chosen:
        restore = archive.restoring(part.archived_as, prefix="pipeline.removed_")
        scratch.execute(restore.text, {"path": str(part.path)})
    scratch.execute(sqlfiles.load(f"rollups/{table}").text, {**bounds, **HOURLY[table]})
    return scratch.sql(sqlfiles.load("tables/rows", table=table).text).to_arrow_table()
