"""The parts that all assets share: the locked warehouse as a resource, the writers' pool, labels."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.warehouse import dictionary, sqlfiles
from pipelines.warehouse.checks import CheckResult
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings

POOL = "duckdb_writer"
KINDS = {"duckdb"}
Workspace = dg.ResourceParam[Warehouse]


def workspace_of(settings: Settings | None = None) -> dg.ResourceDefinition:
    """The warehouse, locked for the length of a run. Settings come from the environment when None.

    They are read when a run starts, and never enter the run's stored configuration.
    """

    @dg.resource(description="The build database of the data folder, held by one run at a time.")
    def workspace(_context: dg.InitResourceContext) -> Iterator[Warehouse]:
        with Warehouse(settings or Settings.load()) as warehouse:
            yield warehouse

    return workspace


def with_columns(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec of an asset that is a table, with the table's columns as Dagster shows them."""
    table = dictionary.tables().get(spec.key.to_user_string())
    if table is None:
        return spec
    columns = [
        dg.TableColumn(
            column.name,
            column.kind,
            column.description,
            dg.TableColumnConstraints(nullable=column.is_nullable),
        )
        for column in table.columns
    ]
    return spec.merge_attributes(metadata={"dagster/column_schema": dg.TableSchema(columns=columns)})


def check_specs(asset: str, *names: str) -> list[dg.AssetCheckSpec]:
    """Specs of the checks that the asset's own step runs."""
    return [dg.AssetCheckSpec(name, asset=asset, description=_sentence(name)) for name in names]


def check_result(asset: str, found: CheckResult) -> dg.AssetCheckResult:
    """A check's outcome with its failing rows, as the Dagster UI shows it."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=found.name,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN if found.is_warning else dg.AssetCheckSeverity.ERROR,
        description=found.description,
        metadata={
            "failures": len(found.failures),
            "rows": dg.MetadataValue.md("\n".join(f"- {line}" for line in found.failures[:100]) or "none"),
        },
    )


def _sentence(name: str) -> str:
    if name == "lake_is_clean":
        return "Files of the lake that were not read, with the reason."
    return sqlfiles.load(f"checks/{name}").sentence
