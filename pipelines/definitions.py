"""The Dagster definitions: `dg dev`, `dg check defs`, `dg launch --job refresh`."""

from __future__ import annotations

import dagster as dg

from pipelines.defs import (
    automation,
    configurations,
    copies,
    erasures,
    experiments,
    load,
    prices,
    publish,
    retention,
    rollups,
)
from pipelines.defs.common import with_columns, workspace_of

ASSETS = [
    load.records,
    erasures.honoured_erasures,
    rollups.hourly_rollups,
    rollups.daily_marts,
    rollups.security_events_daily,
    rollups.scores,
    experiments.experiment_results,
    publish.published_scores,
    publish.savings,
    publish.published_usage,
    publish.model_registry,
    configurations.configurations,
    publish.compliance_logs,
    publish.decision_factors,
    publish.task_classifier,
    publish.published_warehouse,
    copies.postgres_mirror,
    retention.retained_records,
    prices.price_book,
]

defs = dg.Definitions(
    assets=dg.map_asset_specs(with_columns, ASSETS),
    jobs=[
        automation.refresh_job,
        automation.retention_job,
        automation.prices_job,
        automation.mirror_job,
        automation.housekeeping,
    ],
    schedules=[
        automation.refresh_schedule,
        automation.retention_schedule,
        automation.prices_schedule,
        automation.housekeeping_schedule,
    ],
    sensors=[automation.new_segments, automation.stale_mirror],
    resources={"workspace": workspace_of()},
    # One process for a whole run: half a second instead of eleven, and one writer of the warehouse.
    executor=dg.in_process_executor,
)
