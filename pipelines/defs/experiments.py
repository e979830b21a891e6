"""The results of experiments so far."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.defs.common import KINDS, POOL, Workspace
from pipelines.defs.facts import table_facts
from pipelines.experiments import registry, results


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "routing_experiments",
            deps=["documents"],
            group_name="registry",
            kinds=KINDS,
            description="The experiments as `experiments.yaml` states them.",
        ),
        dg.AssetSpec(
            "experiment_results",
            deps=["experiment_hourly"],
            group_name="marts",
            kinds=KINDS,
            description="Each variant compared with its control, with intervals that hold at every look.",
        ),
        dg.AssetSpec(
            "experiment_phases",
            deps=["experiment_hourly"],
            group_name="marts",
            kinds=KINDS,
            description="Phases of each experiment: a change of shares or variants starts one.",
        ),
    ],
    pool=POOL,
)
def experiment_results(workspace: Workspace) -> Iterator[dg.MaterializeResult[None]]:
    """Read the experiments and compare, without a change to the table when the file is broken."""
    loaded = registry.load_experiment_registry(workspace)
    facts: dict[str, str | int] = {}
    if loaded.experiments is not None:
        facts["experiments"] = loaded.experiments
    if loaded.problem is not None:
        facts["note"] = loaded.problem
    shown = table_facts(workspace, "routing_experiments")
    yield dg.MaterializeResult(asset_key="routing_experiments", metadata={**facts, **shown})
    changed = results.compute_results(workspace)
    shown = table_facts(workspace, "experiment_results")
    yield dg.MaterializeResult(asset_key="experiment_results", metadata={"changed": changed, **shown})
    shown = table_facts(workspace, "experiment_phases")
    yield dg.MaterializeResult(asset_key="experiment_phases", metadata=shown)
