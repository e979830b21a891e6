"""What-ifs and savings from the rollup `propensity_hourly` of the published warehouse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.errors import EvaluationError
from pipelines.evaluation.savings import Saving, savings
from pipelines.evaluation.what_if import WhatIf, what_if
from pipelines.reports.periods import on_grid
from pipelines.reports.reports import opened
from pipelines.warehouse import sqlfiles
from router.catalog.catalog import Catalog
from router.errors import UnknownTaskError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from router.config import Settings

HOUR = timedelta(hours=1)


def what_ifs(
    settings: Settings,
    model: str,
    *,
    since: datetime,
    until: datetime | None = None,
    task: str | None = None,
    environment: str | None = None,
) -> list[WhatIf]:
    """The estimate for a model over the whole hours from `since` to `until`: of all tasks, then of each.

    EvaluationError for a model that neither the catalog nor the rollup has. UnknownTaskError as `evaluate`.
    """
    catalog = Catalog.load(settings.catalog_file)
    with opened(settings) as connection:
        environment = environment or _scored(settings, connection)
        rows = _rows(connection, since, until, environment, task)
    decided = {row["model_decided"] for row in rows}
    if model not in catalog.models and model not in decided:
        raise EvaluationError(f"unknown model `{model}`: {nearest(model, [*catalog.models, *decided])}")
    tasks = sorted({row["task_type"] for row in rows})
    if task is not None and task not in tasks and task not in catalog.tasks:
        raise UnknownTaskError(task, catalog.tasks)
    parts = [
        what_if(
            [row for row in rows if row["task_type"] == name], model, environment=environment, task_type=name
        )
        for name in tasks
    ]
    return parts if task is not None else [what_if(rows, model, environment=environment), *parts]


def savings_of_period(
    settings: Settings,
    *,
    since: datetime,
    until: datetime | None = None,
    baseline: str | None = None,
    environment: str | None = None,
    by: Sequence[str] = (),
    from_rollups: bool = False,
) -> list[Saving]:
    """The savings of a period, from the raw rows, or from the sums where the rows have expired.

    `from_rollups` asks for the sums in any case: EvaluationError if the baseline is a policy.
    """
    catalog = Catalog.load(settings.catalog_file)
    name = baseline or settings.baseline_model
    is_model = name in catalog.models
    if from_rollups and name is not None and not is_model:
        raise EvaluationError(
            f"the catalog has no model `{name}`, and the sums know models only:"
            f" {nearest(name, catalog.models)}"
        )
    first = raw_rows_begin(settings) if is_model else None
    if name is not None and is_model and (from_rollups or (first is not None and since < first)):
        return rolled_savings(settings, name, since=since, until=until, environment=environment, by=by)
    return savings(settings, since=since, until=until, baseline=baseline, environment=environment, by=by)


def rolled_savings(
    settings: Settings,
    model: str,
    *,
    since: datetime,
    until: datetime | None = None,
    environment: str | None = None,
    by: Sequence[str] = (),
) -> list[Saving]:
    """The saving against one model, as `savings.savings` gives it, from the sums in place of the rows."""
    with opened(settings) as connection:
        environment = environment or _scored(settings, connection)
        rows = _rows(connection, since, until, environment, None, by_organization="organization" in by)
    scopes = [("all", rows, {}), *(scope for name in by for scope in _scopes(rows, name))]
    return [
        _saving(what_if(part, model, environment=environment, **names), scope)
        for scope, part, names in scopes
    ]


def raw_rows_begin(settings: Settings) -> datetime | None:
    """The moment before which retention removed the raw rows. None if it has not."""
    with opened(settings) as connection:
        found = connection.execute(sqlfiles.load("retention/expired_before").text).fetchone()
    return None if found is None else found[0]


def _scopes(
    rows: list[dict[str, Any]], by: str
) -> Iterator[tuple[str, list[dict[str, Any]], dict[str, str | None]]]:
    key = "task_type" if by == "task" else "organization_id"
    for name in sorted({row[key] for row in rows}, key=lambda name: (name is not None, name or "")):
        yield by, [row for row in rows if row[key] == name], {key: name}


def _saving(found: WhatIf, scope: str) -> Saving:
    cost, better = found.cost_usd, found.quality
    return Saving(
        baseline=found.model,
        is_policy=False,
        environment=found.environment,
        organization_id=found.organization_id,
        task_type=found.task_type,
        scope=scope,
        requests=found.decisions,
        supported_share=found.supported_share,
        effective=found.effective,
        cost_usd=None if found.cost_usd_logged is None else found.cost_usd_logged * found.decisions,
        saved_usd=None if cost is None else cost.difference * found.decisions,
        saved_usd_low=None if cost is None else cost.difference_low * found.decisions,
        saved_usd_high=None if cost is None else cost.difference_high * found.decisions,
        quality_difference=None if better is None else -better.difference,
        quality_difference_low=None if better is None else -better.difference_high,
        quality_difference_high=None if better is None else -better.difference_low,
        reason=found.reason,
        source="rollups",
    )


def _scored(settings: Settings, connection: duckdb.DuckDBPyConnection) -> str:
    """The environment that the scores are of."""
    found = connection.execute(
        sqlfiles.load("marts/scored_environment").text,
        {"environment": settings.environment, "now": datetime.now(UTC)},
    ).fetchone()
    return settings.environment if found is None else str(found[0])


def _rows(
    connection: duckdb.DuckDBPyConnection,
    since: datetime,
    until: datetime | None,
    environment: str,
    task: str | None,
    *,
    by_organization: bool = False,
) -> list[dict[str, Any]]:
    found = connection.execute(
        sqlfiles.load("evaluation/propensity_sums").text,
        {
            "since": on_grid(since, HOUR),
            "until": datetime.now(UTC) if until is None else on_grid(until, HOUR),
            "environment": environment,
            "task": task,
            "by_organization": by_organization,
        },
    )
    columns = [name for name, *_ in found.description or []]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
