"""The experiments as a table: `routing_experiments` holds the content of `experiments.yaml`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.experiments.phases import note_designs
from router.catalog.catalog import Catalog
from router.errors import ConfigError
from router.policies.assignment import load_experiments
from router.policies.policy import Policies

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.policies.experiments import ExperimentEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRegistryResult:
    """The result of loading the table."""

    experiments: int | None = None
    problem: str | None = None
    """Why the table was not changed. None when the file was usable."""


def load_experiment_registry(warehouse: Warehouse) -> ExperimentRegistryResult:
    """Copy the file into `routing_experiments`. A file that cannot be used changes nothing."""
    settings = warehouse.settings
    try:
        models = Catalog.load(settings.catalog_file).models if settings.catalog_file.exists() else None
        policies = Policies.load(settings.policies_file).by_id
        loaded = load_experiments(settings.experiments_file, policies=policies, models=models)
    except ConfigError as error:
        return ExperimentRegistryResult(problem=f"{error}; the table was left as it is")
    rows = [_row(experiment.entry) for experiment in sorted(loaded, key=lambda item: item.entry.id)]
    warehouse.replace_rows("routing_experiments", rows)
    note_designs(warehouse, [experiment.entry for experiment in loaded])
    return ExperimentRegistryResult(experiments=len(rows))


def _row(entry: ExperimentEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "unit": entry.unit,
        "mode": entry.mode,
        "start_at": entry.start,
        "stop_at": entry.stop,
        "environments": _sorted(entry.environments),
        "organizations": _sorted(entry.organizations),
        "task_types": _sorted(entry.task_types),
        "variants": json.dumps([variant.model_dump(exclude_none=True) for variant in entry.variants]),
        "metrics": json.dumps(entry.metrics),
    }


def _sorted(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
