"""Aggregates that follow the rows: only what a load touched is computed again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.rollups import removed_rollups
from pipelines.scores.change_detection import BLOCK
from pipelines.scores.scoring import GAMMA
from pipelines.warehouse.archive import DAILY_MARTS, midnight
from pipelines.warehouse.ranges import runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.warehouse.warehouse import Warehouse

MIN_PROPENSITY = 0.01
"""A rarer draw counts as one of this chance: a single outcome never counts more than a hundredfold."""
EXPERIMENT_BUCKETS = 64
"""Groups of users and of sessions that an experiment's spread is taken over."""
HOURLY: Mapping[str, Mapping[str, Any]] = {
    "usage_hourly": {},
    "latency_buckets_hourly": {"gamma": GAMMA},
    "quality_blocks_hourly": {"block_size": BLOCK, "min_propensity": MIN_PROPENSITY},
    "experiment_hourly": {"buckets": EXPERIMENT_BUCKETS},
}
"""The rollups that raw rows add to, and what their statements are given beside the hours."""
RUN_OF_DAYS = 7
RUN_OF_HOURS = 24 * RUN_OF_DAYS
"""Hours folded in one statement at most: it bounds the memory of a rebuild."""
CONSTANTS: dict[str, dict[str, float]] = {
    "usage_hourly": {},
    "latency_buckets_hourly": {"gamma": GAMMA},
    "experiment_hourly": {"buckets": EXPERIMENT_BUCKETS},
}
"""Every hourly rollup of raw rows, and what its statement is given beside the hours."""


def fold_stale_hours(warehouse: Warehouse) -> list[datetime]:
    """Compute the rollups of every stale hour again; the hours that were.

    Hours whose raw rows have expired are left as they are: what they say cannot be computed again.
    """
    removed_rollups.take_in(warehouse)
    warehouse.connection.execute(
        "delete from pipeline.stale_hours where hour < (select max(expired_before) from pipeline.retention)"
    )
    hours = [hour for (hour,) in warehouse.rows("select hour from pipeline.stale_hours order by hour")]
    for start, end in runs(hours, timedelta(hours=1), longest=RUN_OF_HOURS):
        with warehouse.transaction() as connection:
            for table, parameters in HOURLY.items():
                warehouse.run(f"rollups/{table}_clear", start=start, end=end)
                warehouse.run(f"rollups/{table}", start=start, end=end, **parameters)
            warehouse.run("rollups/stale_days", start=start, end=end, marts=list(DAILY_MARTS))
            connection.execute(
                "delete from pipeline.change_states where next_hour > $start", {"start": start}
            )
            connection.execute(
                "delete from pipeline.stale_hours where hour >= $start and hour < $end",
                {"start": start, "end": end},
            )
    return hours


def build_daily_marts(warehouse: Warehouse) -> dict[str, list[datetime]]:
    """Compute the stale days of each daily mart again; the days that were."""
    done = {}
    for mart in DAILY_MARTS:
        found = warehouse.rows(
            "select day from pipeline.stale_days where mart = $mart order by day", mart=mart
        )
        days = [midnight(day) for (day,) in found]
        for start, end in runs(days, timedelta(days=1), longest=RUN_OF_DAYS):
            with warehouse.transaction() as connection:
                warehouse.run(f"marts/{mart}_clear", start=start, end=end)
                warehouse.run(f"marts/{mart}", start=start, end=end)
                connection.execute(
                    "delete from pipeline.stale_days"
                    " where mart = $mart and day >= cast($start as date) and day < cast($end as date)",
                    {"mart": mart, "start": start, "end": end},
                )
        done[mart] = days
    return done
