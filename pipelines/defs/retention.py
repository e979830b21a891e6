"""Housekeeping: remove old records, and keep the knowledge from them."""

# No `from __future__ import annotations`: Dagster reads the type of `config` when it is decorated.
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from pipelines import flow
from pipelines.defs.common import KINDS, POOL, Workspace, whole_result
from pipelines.lake import compaction
from pipelines.retention import purge
from pipelines.warehouse import checks, publishing
from router.config import Settings
from router.records import DATASETS


class RetentionConfig(dg.Config):
    """The options of a run in the launchpad."""

    now: str | None = None
    """ISO moment to count from. Default: the clock."""
    dry_run: bool = False
    """List the rows to remove, and change nothing."""
    force: bool = False
    """Accept a moment far beyond the newest record."""


@dg.asset(
    deps=list(DATASETS),
    group_name="housekeeping",
    kinds=KINDS,
    pool=POOL,
    check_specs=[
        dg.AssetCheckSpec(
            "everything_reconciles",
            asset="retained_records",
            description="Every check of a refresh, over all the raw rows that are kept.",
        )
    ],
)
def retained_records(
    context: dg.AssetExecutionContext, config: RetentionConfig, workspace: Workspace
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Drop raw records older than the retention period, keep rollups, publish."""
    now = datetime.now(UTC) if config.now is None else datetime.fromisoformat(config.now).astimezone(UTC)
    result = flow.retain(workspace, now=now, dry_run=config.dry_run, force=config.force)
    results = checks.check_everything(workspace)
    runs: list[str] = []
    if not config.dry_run:
        publishing.publish_warehouse(workspace)
        runs = purge.purge_runs(context.instance)
    yield dg.MaterializeResult(
        metadata={
            "is_dry_run": result.is_dry_run,
            "expired_before": result.expired_before.isoformat(),
            "rows": dg.MetadataValue.json(result.rows),
            "organizations": dg.MetadataValue.json(result.organizations),
            "held": dg.MetadataValue.json(result.held),
            "rewritten": dg.MetadataValue.json(result.rewritten),
            "partitions": dg.MetadataValue.json(result.partitions),
            "archived_days": dg.MetadataValue.json([str(day) for day in result.archived_days]),
            "score_files": dg.MetadataValue.json(result.score_files),
            "dagster_runs": len(runs),
        }
    )
    yield whole_result("retained_records", "everything_reconciles", results)


@dg.op
def purge_old_runs(context: dg.OpExecutionContext) -> None:
    """Remove Dagster's own old runs: a busy router makes thousands a day."""
    removed = purge.purge_runs(context.instance)
    context.log.info("removed %d old runs", len(removed))


@dg.op
def compact_lake(context: dg.OpExecutionContext) -> None:
    """Merge the small segments of finished hours, while neither routers nor a refresh wait for it."""
    result = compaction.compact(Settings.load().lake, now=datetime.now(UTC))
    context.log.info("merged %d segments into %d", result.merged, len(result.written))
