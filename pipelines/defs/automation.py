"""When the jobs run. Nothing depends on a tick's time: a missed one costs nothing."""

from __future__ import annotations

import hashlib
import time

import dagster as dg

from pipelines.defs import copies, reports
from pipelines.defs.common import QUIET
from pipelines.defs.prices import price_book
from pipelines.defs.recomputing import recomputed_days
from pipelines.defs.retention import compact_lake, purge_old_runs, retained_records
from pipelines.warehouse.pending import pending_segments
from router.config import Settings

SENSOR_INTERVAL_S = 15
"""Dagster keeps and logs every tick: at 5 seconds the ticks drowned everything else."""
RETRY_INTERVAL_S = 60
"""Interval at which the sensor asks again for segments that a failed run left pending."""
STUCK_AFTER_S = 3600.0
"""A run unfinished for longer does not hold the sensor back: its process is gone."""
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

refresh_job = dg.define_asset_job(
    "refresh",
    config=QUIET,
    selection=dg.AssetSelection.all()
    - dg.AssetSelection.assets(
        retained_records, recomputed_days, price_book, copies.postgres_mirror, reports.published_reports
    ),
    description="Load new records, fold them into rollups and scores, publish both.",
)
retention_job = dg.define_asset_job(
    "retention",
    config={**QUIET, "ops": {"retained_records": {"config": {"dry_run": False, "force": False}}}},
    selection=dg.AssetSelection.assets(retained_records),
    description="Drop records older than the retention period, check everything, publish.",
)

prices_job = dg.define_asset_job(
    "prices_refresh",
    config=QUIET,
    selection=dg.AssetSelection.assets(price_book),
    description="Compare the price book with public list prices, and let a person decide on suspicious ones.",
)

recompute_job = dg.define_asset_job(
    "recompute",
    config=QUIET,
    selection=dg.AssetSelection.assets(recomputed_days),
    description="Compute days again from their records: choose the days of a backfill.",
)

mirror_job = dg.define_asset_job(
    "mirror",
    config=QUIET,
    selection=dg.AssetSelection.assets(copies.postgres_mirror),
    description="Bring the copy in PostgreSQL up to the published warehouse.",
)

reports_job = dg.define_asset_job(
    "reports",
    config=QUIET,
    selection=dg.AssetSelection.assets(reports.published_reports),
    description="Draw the pages of the organisations whose figures changed, if REPORTS is set.",
)


@dg.job(config=QUIET, description="Merge small segments, remove Dagster's own old runs.")
def housekeeping() -> None:
    """Hourly: a router seals 720 files an hour, and the runs of one busy day are a gigabyte."""
    compact_lake()
    purge_old_runs()


@dg.sensor(
    job=refresh_job,
    minimum_interval_seconds=SENSOR_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Refresh as soon as a segment waits.",
)
def new_segments(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Compare the lake with the segments that the published warehouse has loaded."""
    if _is_unfinished(context.instance, "refresh"):
        return dg.SkipReason("a refresh is queued or running")
    pending = pending_segments(Settings.load())
    if not pending:
        return dg.SkipReason("every segment is loaded")
    # The key keeps one waiting set from being asked for twice, and changes once a minute, so that
    # a failed run is tried again.
    names = hashlib.sha256("\n".join(pending).encode()).hexdigest()[:16]
    return dg.RunRequest(
        run_key=f"{names}-{int(time.time() // RETRY_INTERVAL_S)}", tags={"segments": str(len(pending))}
    )


@dg.sensor(
    job=mirror_job,
    minimum_interval_seconds=SENSOR_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Copy to PostgreSQL what was published, if MIRROR_URL is set.",
)
def stale_mirror(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Compare the published warehouse with the one that the mirror's last run copied."""
    if not copies.waits():
        return dg.SkipReason("there is no mirror, or it is up to date")
    if _is_unfinished(context.instance, "mirror"):
        return dg.SkipReason("a mirror run is queued or running")
    return dg.RunRequest(run_key=f"mirror-{int(time.time() // RETRY_INTERVAL_S)}")


refresh_schedule = dg.ScheduleDefinition(
    name="refresh_every_5_minutes",
    job=refresh_job,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Loads segments that the sensor may have missed, and publishes changed prices.",
)
retention_schedule = dg.ScheduleDefinition(
    name="retention_daily",
    job=retention_job,
    cron_schedule="17 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Removes records past their retention period, and checks every record that stays.",
)
prices_schedule = dg.ScheduleDefinition(
    name="prices_daily",
    job=prices_job,
    cron_schedule="7 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Reads public list prices, and lists those that a person has to accept.",
)
reports_schedule = dg.ScheduleDefinition(
    name="reports_hourly",
    job=reports_job,
    cron_schedule="27 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Draws the pages of organisations whose figures changed, if REPORTS is set.",
)
housekeeping_schedule = dg.ScheduleDefinition(
    name="housekeeping_hourly",
    job=housekeeping,
    cron_schedule="41 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Merges small segments, and removes runs of Dagster that are old.",
)


def _is_unfinished(instance: dg.DagsterInstance, job: str) -> bool:
    records = instance.get_run_records(filters=dg.RunsFilter(job_name=job, statuses=_UNFINISHED), limit=10)
    return any(time.time() - record.create_timestamp.timestamp() < STUCK_AFTER_S for record in records)
