"""Aggregates that follow the rows: only the hours and days that a load touched are computed again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.rollups import engines, removed_rollups
from pipelines.rollups.tables import HOURLY, MOMENTS
from pipelines.warehouse import advance, sqlfiles, usage
from pipelines.warehouse.archive import DAILY_MARTS, midnight
from pipelines.warehouse.ranges import runs
from pipelines.warehouse.sqlfiles import delete_before, delete_between
from router.records import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.rollups.engines import Engine
    from pipelines.warehouse.warehouse import Warehouse

RUN_OF_DAYS = 7
RUN_OF_HOURS = 24 * RUN_OF_DAYS
"""Hours folded in one statement at most: it bounds the memory of a rebuild."""


def fold_stale_hours(warehouse: Warehouse) -> list[datetime]:
    """Compute the rollups of every stale hour again. Return those hours.

    Hours with expired raw rows are not changed, since they cannot be computed again.
    """
    removed_rollups.take_in(warehouse)
    expired_before = warehouse.value(sqlfiles.load("retention/expired_before"))
    if expired_before is not None:
        with warehouse.transaction():  # users leave the files of usage, though the rollups stay
            warehouse.run("rollups/stale_days", start=EPOCH, end=expired_before, marts=[usage.USAGE])
            warehouse.run(delete_before("pipeline.stale_hours", "hour"), cutoff=expired_before)
    hours = [hour for (hour,) in warehouse.rows("select hour from pipeline.stale_hours order by hour")]
    if hours:  # no engine is asked for anything otherwise
        with engines.opened(warehouse.settings) as engine:
            _fold(warehouse, engine, hours)
    return hours


def _fold(warehouse: Warehouse, engine: Engine, hours: Sequence[datetime]) -> None:
    done = 0
    for start, end in runs(hours, timedelta(hours=1), longest=RUN_OF_HOURS):
        with engine.folded(warehouse, start, end) as insert, warehouse.transaction():
            for table in HOURLY:
                warehouse.run(delete_between(table, MOMENTS[table]), start=start, end=end)
                insert(table)
            warehouse.run("rollups/stale_days", start=start, end=end, marts=[*DAILY_MARTS, usage.USAGE])
            warehouse.run("rollups/change_states_from", start=start)
            warehouse.run(delete_between("pipeline.stale_hours", "hour"), start=start, end=end)
        done += (end - start) // timedelta(hours=1)
        advance.report("hours of rollups", done, len(hours))


def mark_stale(warehouse: Warehouse, start: datetime, end: datetime) -> int:
    """Have the hours from `start` to `end` that have records folded again. Returns their number.

    Hours before retention's cutoff are left out.
    """
    warehouse.run("rollups/stale_between", start=start, end=end)
    expired_before = warehouse.value(sqlfiles.load("retention/expired_before"))
    warehouse.run(delete_before("pipeline.stale_hours", "hour"), cutoff=expired_before)
    return warehouse.count("pipeline.stale_hours")


def build_daily_marts(warehouse: Warehouse) -> dict[str, list[datetime]]:
    """Compute the stale days of each daily mart again. Return those days."""
    done = {}
    for mart in DAILY_MARTS:
        found = warehouse.run("rollups/stale_days_of", mart=mart).fetchall()
        days = [midnight(day) for (day,) in found]
        finished = 0
        for start, end in runs(days, timedelta(days=1), longest=RUN_OF_DAYS):
            with warehouse.transaction():
                warehouse.run(delete_between(mart, "day"), start=start, end=end)
                warehouse.run(f"marts/{mart}", start=start, end=end)
                warehouse.run("rollups/forget_stale_days", mart=mart, start=start, end=end)
            finished += (end - start) // timedelta(days=1)
            advance.report(f"days of {mart}", finished, len(days))
        done[mart] = days
    return done
