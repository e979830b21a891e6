"""Days that a person has computed again, by a backfill in the UI."""

# No `from __future__ import annotations`: Dagster reads the type of `context` when it is decorated.
from datetime import timedelta

import dagster as dg

from pipelines import flow
from pipelines.defs.common import KINDS, POOL, Workspace
from pipelines.defs.facts import cost_facts

FIRST_DAY = "2025-01-01"
"""Days before the first record cost nothing: no hour of theirs has a row."""


@dg.asset(
    deps=["request_analytics", "feedback"],
    group_name="housekeeping",
    kinds=KINDS,
    pool=POOL,
    partitions_def=dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1),
)
def recomputed_days(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[None]:
    """Rollups, marts and scores of the chosen days, from their records, as a rebuild would give them.

    A day whose records have expired keeps the figures that it has.
    """
    span = context.partition_time_window
    hours = flow.recompute(workspace, span.start, span.end)
    return dg.MaterializeResult(
        metadata={
            "from": span.start.isoformat(),
            "to": (span.end - timedelta(days=1)).date().isoformat(),
            "hours_computed": hours,
            **cost_facts(workspace),
        }
    )
