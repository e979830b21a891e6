"""Budgets in their periods, series that left their usual course, and the alerts of both."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.anomalies import alerts
from pipelines.defs.common import KINDS, POOL, Workspace, check_result, check_specs
from pipelines.defs.facts import table_facts
from pipelines.warehouse import checks


@dg.asset(deps=["usage_hourly", "request_analytics", "documents"], group_name="marts", kinds=KINDS, pool=POOL)
def budget_status(workspace: Workspace) -> dg.MaterializeResult[None]:
    """Each budget of limits.yaml: spent, left, and where its period will end at this pace."""
    result = alerts.notice_budgets(workspace)
    if result.problem is not None:
        return dg.MaterializeResult(metadata={"note": result.problem})
    return dg.MaterializeResult(
        metadata={
            "reached_an_alert": result.reached,
            "projected_beyond_limit": result.over,
            **table_facts(workspace, "budget_status"),
        }
    )


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "anomalies",
            deps=["usage_hourly", "request_analytics", "score_changes", "models"],
            group_name="marts",
            kinds=KINDS,
            description="Series of cost, traffic, errors and answers that left their usual course.",
        )
    ],
    check_specs=check_specs("anomalies", *checks.TRAFFIC_CHECKS),
    pool=POOL,
)
def anomalies(workspace: Workspace) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Watch the hours that are new."""
    result = alerts.notice_anomalies(workspace)
    facts: dict[str, int | str] = {
        "hours": result.hours,
        "new_rows": result.rows,
        "open": result.open_now,
        "series_watched": result.watched,
        "series_too_young": result.too_young,
    }
    if not result.watched:
        facts["note"] = "no series has three days of traffic yet: none is watched"
    yield dg.MaterializeResult(
        asset_key="anomalies", metadata={**facts, **table_facts(workspace, "anomalies")}
    )
    for check in checks.check_traffic(workspace):
        yield check_result("anomalies", check)


@dg.asset(deps=["anomalies", "budget_status"], group_name="publish", kinds={"json"}, pool=POOL)
def sent_alerts(workspace: Workspace) -> dg.MaterializeResult[None]:
    """The alerts of `alerts/alerts.jsonl` at ALERT_WEBHOOK_URL."""
    result = alerts.send_alerts(workspace)
    facts: dict[str, int | str] = {
        "delivered": result.delivered,
        "waiting": result.waiting,
        "dead_letters": result.dead,
    }
    return dg.MaterializeResult(
        metadata=facts if result.problem is None else {**facts, "note": result.problem}
    )
