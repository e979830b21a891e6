"""Segments to tables."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.defs import facts
from pipelines.defs.common import KINDS, POOL, Workspace, check_result, check_specs
from pipelines.rollups import archived_rollups
from pipelines.warehouse import checks, loading
from pipelines.warehouse.loading import LoadResult
from router.records import FeedbackRecord, RequestLog, RequestRecord, SecurityEvent

DESCRIPTIONS = {
    RequestRecord.DATASET: "One row for each client request, with its decision, usage, cost and outcome.",
    FeedbackRecord.DATASET: "One row for each judgement of an answer; late by hours or days is normal.",
    SecurityEvent.DATASET: "Refusals of keys, scopes, models, bodies and limits, with their number.",
    RequestLog.DATASET: "The audit trail: what was sent and answered, as far as `body_mode` keeps it.",
}

ALL_CHECKS = (*checks.RECORD_CHECKS, *checks.CLOCK_CHECKS, *checks.ARCHIVE_CHECKS, "lake_is_clean")


@dg.multi_asset(
    specs=[
        dg.AssetSpec(dataset, deps=["lake"], group_name="records", kinds=KINDS, description=description)
        for dataset, description in DESCRIPTIONS.items()
    ],
    check_specs=check_specs(RequestRecord.DATASET, *ALL_CHECKS, *checks.PROVIDER_CHECKS),
    pool=POOL,
)
def records(
    workspace: Workspace,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult | dg.AssetObservation]:
    """Load the segments that the ledger does not know, each exactly once."""
    archived_rollups.take_in(workspace)
    results = loading.load_all(workspace)
    of_lake, newest = facts.lake_facts(workspace)
    yield dg.AssetObservation("lake", metadata=of_lake)
    for dataset, result in results.items():
        shown = facts.table_facts(workspace, dataset, newest=newest)
        yield dg.MaterializeResult(asset_key=dataset, metadata={**_facts(result), **shown})
    hours = sorted(results[RequestRecord.DATASET].hours)
    for check in checks.check_hours(workspace, checks.RECORD_CHECKS, hours):
        yield check_result(RequestRecord.DATASET, check)
    for check in (
        *checks.check_clock(workspace),
        *checks.check_archive(workspace),
        checks.check_lake(workspace),
    ):
        yield check_result(RequestRecord.DATASET, check)
    for check in checks.check_providers(workspace, hours):
        yield check_result(RequestRecord.DATASET, check)


def _facts(result: LoadResult) -> dict[str, int]:
    return {
        "segments": len(result.segments),
        "new_rows": result.rows,
        "duplicates": result.duplicates,
        "expired_segments": result.expired,
        "refused_segments": result.refused,
        "quarantined": len(result.quarantined),
    }
