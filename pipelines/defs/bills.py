"""Bills, closed and provisional."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.billing.records import load_bills
from pipelines.defs.common import KINDS, POOL, Workspace
from pipelines.defs.facts import table_facts

DESCRIPTIONS = {
    "billing_records": "The lines of bills: of closed months as they were closed, of open months as of now.",
    "billing_restatements": "What changed after a month was closed, with old, new and reason.",
}


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            name, deps=["billing_usage", "documents"], group_name="marts", kinds=KINDS, description=text
        )
        for name, text in DESCRIPTIONS.items()
    ],
    pool=POOL,
)
def bills(workspace: Workspace) -> Iterator[dg.MaterializeResult[None]]:
    """Follow the usage, and restate closed lines that it no longer gives."""
    result = load_bills(workspace)
    for name in DESCRIPTIONS:
        facts: dict[str, str | int] = {"restated": result.restated}
        if result.problem is not None:
            facts["note"] = result.problem
        yield dg.MaterializeResult(asset_key=name, metadata={**facts, **table_facts(workspace, name)})
