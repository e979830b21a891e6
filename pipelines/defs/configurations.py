"""The history of the configuration, as tables with validity."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.configurations.history import load_configurations
from pipelines.defs.common import KINDS, POOL, Workspace
from pipelines.defs.facts import table_facts

DESCRIPTIONS = {
    "config_versions": "Each version of the configuration: who, when, and the hash that records carry.",
    "config_documents": "The documents of every version, while they did not change.",
    "routing_configs": "The policies of every version, and who has which assigned.",
    "models_history": "The models of every version of the catalog.",
    "organizations": "The organisations of organizations.yaml.",
    "organizations_history": "The same, of every version.",
}


@dg.multi_asset(
    specs=[
        dg.AssetSpec(name, deps=["documents"], group_name="registry", kinds=KINDS, description=text)
        for name, text in DESCRIPTIONS.items()
    ],
    pool=POOL,
)
def configurations(workspace: Workspace) -> Iterator[dg.MaterializeResult[None]]:
    """Add the versions that the tables lack."""
    result = load_configurations(workspace)
    facts: dict[str, str | int] = {"versions": result.versions, "added": result.added}
    if result.problem is not None:
        facts["note"] = result.problem
    for name in DESCRIPTIONS:
        yield dg.MaterializeResult(asset_key=name, metadata={**facts, **table_facts(workspace, name)})
