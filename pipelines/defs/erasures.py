"""Erased persons stay erased, whatever arrives late."""

from __future__ import annotations

import dagster as dg

from pipelines import flow
from pipelines.defs.common import KINDS, POOL, Workspace
from router.records import DATASETS


@dg.asset(deps=list(DATASETS), group_name="records", kinds=KINDS, pool=POOL)
def honoured_erasures(workspace: Workspace) -> dg.MaterializeResult[None]:
    """Remove rows of erased persons that were loaded since, and certify each finished erasure."""
    certificates = flow.honour_erasures(workspace)
    rows = {dataset: sum(item.rows[dataset] for item in certificates) for dataset in DATASETS}
    return dg.MaterializeResult(
        metadata={
            "certificates": len(certificates),
            "rows_removed": sum(rows.values()),
            "rows": dg.MetadataValue.json(rows),
            "files_with_the_id": sum(len(item.remaining) for item in certificates),
        }
    )
