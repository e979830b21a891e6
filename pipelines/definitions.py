"""The Dagster definitions: `intellirouter dagster`, `dg check defs`, `dg launch --job refresh`."""

from __future__ import annotations

import dagster as dg

from pipelines.defs import (
    anomalies,
    automation,
    bills,
    configurations,
    copies,
    erasures,
    experiments,
    load,
    outside,
    prices,
    publish,
    recomputing,
    reports,
    retention,
    rollups,
)
from pipelines.defs.common import described, sourced, workspace_of

ASSETS: list[dg.AssetsDefinition | dg.AssetSpec] = [
    *outside.OUTSIDE,
    load.records,
    erasures.honoured_erasures,
    rollups.hourly_rollups,
    rollups.daily_marts,
    bills.bills,
    rollups.security_events_daily,
    rollups.scores,
    experiments.experiment_results,
    publish.published_scores,
    anomalies.budget_status,
    publish.savings,
    publish.published_usage,
    publish.model_registry,
    anomalies.anomalies,
    anomalies.sent_alerts,
    configurations.configurations,
    publish.compliance_logs,
    publish.reconciliations,
    publish.decision_factors,
    publish.task_classifier,
    publish.published_warehouse,
    copies.postgres_mirror,
    reports.published_reports,
    retention.retained_records,
    recomputing.recomputed_days,
    prices.price_book,
]

defs = dg.Definitions(
    assets=[sourced(asset) for asset in dg.map_asset_specs(described, ASSETS)],
    jobs=[
        automation.refresh_job,
        automation.retention_job,
        automation.prices_job,
        automation.recompute_job,
        automation.mirror_job,
        automation.reports_job,
        automation.housekeeping,
    ],
    schedules=[
        automation.refresh_schedule,
        automation.retention_schedule,
        automation.prices_schedule,
        automation.reports_schedule,
        automation.housekeeping_schedule,
    ],
    sensors=[automation.new_segments, automation.stale_mirror],
    resources={"workspace": workspace_of()},
    # One process for a whole run: half a second instead of eleven, and one writer of the warehouse.
    executor=dg.in_process_executor,
)
