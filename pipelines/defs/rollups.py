"""Hourly aggregates, and the marts and scores that follow from them."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines import checks, rollups
from pipelines.defs.common import KINDS, POOL, Workspace, check_result, check_specs


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "usage_hourly",
            deps=["request_analytics", "feedback"],
            group_name="rollups",
            kinds=KINDS,
            description="Requests, tokens, money and quality per hour, organisation, task and model.",
        ),
        dg.AssetSpec(
            "latency_buckets_hourly",
            deps=["request_analytics"],
            group_name="rollups",
            kinds=KINDS,
            description="Latency as DDSketch bucket counts per hour, task and model.",
        ),
        dg.AssetSpec(
            "experiment_hourly",
            deps=["request_analytics", "feedback"],
            group_name="rollups",
            kinds=KINDS,
            description="Counts, sums and squares per hour, experiment, variant and group of units.",
        ),
    ],
    check_specs=check_specs("usage_hourly", *checks.ROLLUP_CHECKS),
    pool=POOL,
)
def hourly_rollups(workspace: Workspace) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Fold the hours that the load touched."""
    hours = rollups.fold_stale_hours(workspace)
    facts: dict[str, int | str] = {"hours": len(hours)}
    if hours:
        facts |= {"first_hour": hours[0].isoformat(), "last_hour": hours[-1].isoformat()}
    for table in rollups.CONSTANTS:
        yield dg.MaterializeResult(asset_key=table, metadata=facts)
    for check in checks.check_hours(workspace, checks.ROLLUP_CHECKS, hours):
        yield check_result("usage_hourly", check)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            mart,
            deps=["usage_hourly"],
            group_name="marts",
            kinds=KINDS,
            description=description,
        )
        for mart, description in (
            ("task_cost_daily", "What each task cost per day, organisation and model."),
            ("usage_by_org_daily", "What each organisation used per day."),
        )
    ],
    check_specs=check_specs("task_cost_daily", *checks.DAILY_CHECKS),
    pool=POOL,
)
def daily_marts(workspace: Workspace) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Sum the days that the rollups touched."""
    done = rollups.build_daily_marts(workspace)
    for mart, days in done.items():
        yield dg.MaterializeResult(asset_key=mart, metadata={"days": len(days)})
    for check in checks.check_days(workspace, checks.DAILY_CHECKS, done["task_cost_daily"]):
        yield check_result("task_cost_daily", check)


@dg.asset(deps=["usage_hourly", "latency_buckets_hourly"], group_name="marts", kinds=KINDS, pool=POOL)
def task_model_scores(workspace: Workspace) -> dg.MaterializeResult[None]:
    """Quality, cost and latency of each model on each task: what the router chooses by."""
    changed = rollups.score(workspace)
    rows = workspace.value("select count(*) from task_model_scores")
    return dg.MaterializeResult(metadata={"rows": rows, "changed": changed})
