"""Hourly aggregates, and the marts and scores that follow from them."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.defs import facts
from pipelines.defs.common import KINDS, POOL, Workspace, check_result, check_specs
from pipelines.rollups import rollups, security
from pipelines.rollups.tables import HOURLY
from pipelines.scores import scoring
from pipelines.warehouse import checks


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "usage_quarter_hourly",
            deps=["request_analytics", "feedback", "honoured_erasures"],
            group_name="rollups",
            kinds=KINDS,
            description="Requests, tokens, money and quality per quarter of an hour and group.",
        ),
        dg.AssetSpec(
            "usage_hourly",
            deps=["usage_quarter_hourly"],
            group_name="rollups",
            kinds=KINDS,
            description="The same per whole hour: a view.",
        ),
        dg.AssetSpec(
            "latency_buckets_hourly",
            deps=["request_analytics", "honoured_erasures"],
            group_name="rollups",
            kinds=KINDS,
            description="Latency as DDSketch bucket counts per hour, task and model.",
        ),
        dg.AssetSpec(
            "experiment_hourly",
            deps=["request_analytics", "feedback", "honoured_erasures"],
            group_name="rollups",
            kinds=KINDS,
            description="Counts, sums and squares per hour, experiment, variant and group of units.",
        ),
        dg.AssetSpec(
            "billing_usage",
            deps=["request_analytics", "honoured_erasures"],
            group_name="rollups",
            kinds=KINDS,
            description="What bills count, per quarter of an hour, organisation, model, price and tier.",
        ),
        dg.AssetSpec(
            "propensity_hourly",
            deps=["request_analytics", "feedback", "honoured_erasures"],
            group_name="rollups",
            kinds=KINDS,
            description="Decisions that chance made, weighted by the inverse of their chance.",
        ),
        dg.AssetSpec(
            "quality_blocks_hourly",
            deps=["request_analytics", "feedback", "honoured_erasures"],
            group_name="rollups",
            kinds=KINDS,
            description="Judged outcomes in blocks, in order, for the change detector.",
        ),
    ],
    check_specs=check_specs("usage_hourly", *checks.ROLLUP_CHECKS),
    pool=POOL,
)
def hourly_rollups(workspace: Workspace) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Fold the hours that the load touched."""
    hours = rollups.fold_stale_hours(workspace)
    touched: dict[str, int | str] = {"hours": len(hours), "engine": workspace.settings.engine}
    if hours:
        touched |= {"first_hour": hours[0].isoformat(), "last_hour": hours[-1].isoformat()}
    newest = facts.newest_request(workspace)
    for table in HOURLY:
        shown = facts.table_facts(workspace, table, newest=newest)
        yield dg.MaterializeResult(asset_key=table, metadata={**touched, **shown})
    yield dg.MaterializeResult(asset_key="usage_hourly", metadata=touched)
    for check in checks.check_hours(workspace, checks.ROLLUP_CHECKS, hours):
        yield check_result("usage_hourly", check)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            mart,
            deps=["usage_quarter_hourly"],
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
    costs = facts.cost_facts(workspace)
    for mart, days in done.items():
        shown = costs | facts.table_facts(workspace, mart)
        yield dg.MaterializeResult(asset_key=mart, metadata={"days": len(days), **shown})
    for check in checks.check_days(workspace, checks.DAILY_CHECKS, done["task_cost_daily"]):
        yield check_result("task_cost_daily", check)


@dg.asset(deps=["security_events", "honoured_erasures"], group_name="marts", kinds=KINDS, pool=POOL)
def security_events_daily(workspace: Workspace) -> dg.MaterializeResult[None]:
    """Refusals per day, organisation and kind."""
    changed = security.build_security_events_daily(workspace)
    shown = facts.table_facts(workspace, "security_events_daily")
    return dg.MaterializeResult(metadata={"rows_changed": changed, **shown})


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            table,
            deps=deps,
            group_name="marts",
            kinds=KINDS,
            description=description,
        )
        for table, deps, description in (
            (
                "task_model_scores",
                [
                    "usage_quarter_hourly",
                    "latency_buckets_hourly",
                    "quality_blocks_hourly",
                    "score_changes",
                    "model_versions",
                    "documents",
                ],
                "Quality, cost and latency of each model on each task.",
            ),
            ("score_changes", ["quality_blocks_hourly"], "When a model's quality on a task moved."),
            ("model_versions", ["documents"], "Which version of each model serves, and since when."),
        )
    ],
    check_specs=check_specs("score_changes", *checks.SCORE_CHECKS),
    pool=POOL,
)
def scores(workspace: Workspace) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """The scores that the router chooses by."""
    changed = scoring.score(workspace)
    for table in ("score_changes", "model_versions", "task_model_scores"):
        shown = facts.table_facts(workspace, table)
        if table == "task_model_scores":
            shown |= facts.score_facts(workspace)
        yield dg.MaterializeResult(asset_key=table, metadata={"changed": changed, **shown})
    for check in checks.check_scores(workspace):
        yield check_result("score_changes", check)
