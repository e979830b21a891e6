"""The experiments as a table: `routing_experiments` says what `experiments.yaml` says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.catalog.catalog import Catalog
from router.errors import ConfigError
from router.policies.assignment import load_experiments
from router.policies.policy import Policies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.warehouse.warehouse import Warehouse
    from router.policies.experiments import ExperimentEntry

COLUMNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRegistryResult:
    """What happened to the table."""

    experiments: int | None = None
    problem: str | None = None
    """Why the table was left as it is; None when it was not."""


def load_experiment_registry(warehouse: Warehouse) -> ExperimentRegistryResult:
    """Make `routing_experiments` say what the file says; one that cannot be used changes nothing."""
    settings = warehouse.settings
    try:
        models = Catalog.load(settings.catalog_file).models if settings.catalog_file.exists() else None
        policies = Policies.load(settings.policies_file).by_id
        loaded = load_experiments(settings.experiments_file, policies=policies, models=models)
    except ConfigError as error:
        return ExperimentRegistryResult(problem=f"{error}; the table was left as it is")
    rows = sorted(_row(experiment.entry) for experiment in loaded)
    _replace(warehouse, rows)
    return ExperimentRegistryResult(experiments=len(rows))


def _row(entry: ExperimentEntry) -> tuple[Any, ...]:
    return (
        entry.id,
        entry.unit,
        entry.mode,
        entry.start,
        entry.stop,
        _sorted(entry.environments),
        _sorted(entry.organizations),
        _sorted(entry.task_types),
        json.dumps([variant.model_dump(exclude_none=True) for variant in entry.variants]),
        json.dumps(entry.metrics),
    )


def _sorted(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _replace(warehouse: Warehouse, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write the rows unless the table holds just these: the same again would only grow the file."""
    if warehouse.rows("select * from routing_experiments order by id") == rows:
        return
    with warehouse.transaction() as connection:
        connection.execute("delete from routing_experiments")
        if rows:
            marks = ", ".join("?" * COLUMNS)
            connection.executemany(f"insert into routing_experiments values ({marks})", rows)  # noqa: S608
