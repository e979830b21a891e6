"""The parts that all assets share: the locked warehouse as a resource, the writers' pool, labels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.defs.facts import table_of
from pipelines.warehouse import dictionary, sqlfiles
from pipelines.warehouse.checks import CheckResult
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings

POOL = "duckdb_writer"
KINDS = {"duckdb"}
CURRENT = dg.FreshnessPolicy.time_window(warn_window=timedelta(minutes=15), fail_window=timedelta(hours=1))
"""Dagster refreshes every five minutes, so that two ticks may fail without a word."""
PUBLISHED = "intellirouter"
"""DuckDB's name of the database in `intellirouter.duckdb`, where people query the tables."""
CHECKOUT = (Path(__file__).resolve().parents[2] / "pyproject.toml").is_file()
"""Whether this file is in a checkout. An installation has no such file."""
FINANCE = "finance"
MONEY = {
    "task_cost_daily",
    "usage_by_org_daily",
    "billing_usage",
    "billing_records",
    "billing_restatements",
    "budget_status",
    "savings",
    "price_book",
    "model_prices",
    "reconciliations",
    "reconciliation_differences",
    "published_reports",
}
"""Assets that finance owns. The others belong to the team of their group."""
OWNERS = {
    "serving": "platform",
    "records": "platform",
    "rollups": "analytics",
    "marts": "analytics",
    "registry": "platform",
    "publish": "analytics",
    "housekeeping": "platform",
    "loop": "platform",
}
WINDOW = "in the hours that a run touches"
"""The window of a check before a run has one, in words."""
ROWS_SHOWN = 100
QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
"""The UI keeps every event of a run. At DEBUG, 150 lines for each would also fill the terminal."""
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""For a run of a command: at WARNING, an error would fill 100 lines before the command's own one."""
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


def described(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec with its owner, and for a table with its columns and the SQL that fills it."""
    name = spec.key.to_user_string()
    spec = spec.merge_attributes(
        owners=[f"team:{FINANCE if name in MONEY else OWNERS[spec.group_name or '']}"]
    )
    table = dictionary.tables().get(name)
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
    files = statements().get(name, [])
    text = "\n\n".join(f"`sql/{file.key}.sql`\n\n```sql\n{file.text}```" for file in files)
    return spec.merge_attributes(
        metadata={
            "dagster/table_name": f"{PUBLISHED}.main.{name}",
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "sql": dg.MetadataValue.md(text),
        }
    )


def sourced(asset: dg.AssetsDefinition | dg.AssetSpec) -> dg.AssetsDefinition | dg.AssetSpec:
    """In a checkout, the asset with links that open its Python and its SQL in an editor."""
    if not CHECKOUT or isinstance(asset, dg.AssetSpec):
        return asset
    op: Any = asset.op
    code = op.compute_fn.decorated_fn.__code__
    python = _link(Path(code.co_filename), code.co_firstlineno)

    def linked(spec: dg.AssetSpec) -> dg.AssetSpec:
        files = statements().get(spec.key.to_user_string(), [])
        links = [_link(sqlfiles.folder() / f"{file.key}.sql") for file in files]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            references = dg.CodeReferencesMetadataValue(code_references=[*links[:1], python])
        return spec.merge_attributes(metadata={"dagster/code_references": references})

    return asset.map_asset_specs(linked)


def _link(path: Path, line: int | None = None) -> dg.LocalFileCodeReference:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=path.name)


@cache
def statements() -> dict[str, list[sqlfiles.SqlFile]]:
    """The statement that fills each table, if there is one, and the migration that creates it."""
    found: dict[str, list[sqlfiles.SqlFile]] = {}
    for room in ("rollups", "marts"):
        for key in sqlfiles.names(room):
            table = key.rpartition("/")[2]
            if table in dictionary.tables() and table not in sqlfiles.load(key).reads:  # else a question
                found[table] = [sqlfiles.load(key)]
    for key in sqlfiles.names("migrations"):
        file = sqlfiles.load(key)
        for table in re.findall(r"^create (?:table|view) ([a-z_]+)\b(?!\.)", file.text, re.MULTILINE):
            found.setdefault(table, []).append(file)
    return found


def check_specs(asset: str, *names: str) -> list[dg.AssetCheckSpec]:
    """Specs of the checks that the asset's own step runs."""
    return [dg.AssetCheckSpec(name, asset=asset, description=_sentence(name)) for name in names]


def check_result(asset: str, found: CheckResult) -> dg.AssetCheckResult:
    """A check's outcome with its failing rows, as the Dagster UI shows it."""
    metadata: dict[str, dg.MetadataValue] = {"failures": dg.MetadataValue.int(len(found.failures))}
    if found.window is not None:
        metadata["window"] = dg.MetadataValue.text(found.window)
        metadata["question"] = dg.MetadataValue.text(_sentence(found.name, window=found.window))
    if found.failures:
        metadata["failing_rows"] = _failing_rows(found)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=found.name,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN if found.is_warning else dg.AssetCheckSeverity.ERROR,
        description=found.description,
        metadata=metadata,
    )


def whole_result(asset: str, name: str, results: Sequence[CheckResult]) -> dg.AssetCheckResult:
    """The outcome of many checks as one, with the failing rows of each that failed."""
    failed = [found for found in results if not found.passed]
    metadata: dict[str, dg.MetadataValue] = {
        "checks": dg.MetadataValue.int(len(results)),
        "failed_checks": dg.MetadataValue.int(len(failed)),
        "failures": dg.MetadataValue.int(sum(len(found.failures) for found in failed)),
    }
    windows = {found.window for found in results if found.window is not None}
    if windows:
        metadata["window"] = dg.MetadataValue.text("; ".join(sorted(windows)))
    metadata |= {found.name: _failing_rows(found) for found in failed}
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not failed,
        description="; ".join(f"{found.name}: {found.description}" for found in failed) or "ok",
        metadata=metadata,
    )


def _failing_rows(found: CheckResult) -> dg.MetadataValue:
    if found.rows:
        return table_of(found.columns, found.rows[:ROWS_SHOWN])
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in found.failures[:ROWS_SHOWN]))


def _sentence(name: str, *, window: str = WINDOW) -> str:
    if name == "lake_is_clean":
        return "Files of the lake that were not read, with the reason."
    return sqlfiles.load(f"checks/{name}").sentence.replace("between $start and $end", window)
