"""`task_model_scores`, `score_changes` and `model_versions`: the scores for the router's choices."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import TYPE_CHECKING, Any

from pipelines.rollups.tables import BLOCK, GAMMA
from pipelines.scores import changes, outcomes, versions
from pipelines.scores.change_detection import DISCOUNT
from pipelines.scores.quality_model import Outcomes, estimate
from pipelines.warehouse import sqlfiles
from router.catalog.catalog import Catalog
from router.errors import ConfigError
from router.scores.snapshot import ALL_TASKS, ANY_MODEL, ScoreRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    import duckdb

    from pipelines.scores.outcomes import Counted
    from pipelines.scores.quality_model import Belief, Cell
    from pipelines.warehouse.warehouse import Warehouse

Z_95 = 1.959964
WIDER, WIDER_WITH_FEW, FEW = 1.2, 0.2, 10.0
"""Factors of the intervals' width: how models and tasks are spread is estimated from the same outcomes,
and without outcomes of its own a cell depends on it. Without them 85 to 94% of the intervals hold the
truth (tests/benchmarks/score_coverage.py)."""
_SCORE_COLUMNS = tuple(item.name for item in fields(ScoreRow))
_LATENCIES = tuple(name for name in _SCORE_COLUMNS if "_ms_" in name)
OWED = ("outcomes_drawn", *(f"outcomes_{source}" for source in outcomes.SOURCES))
"""Columns of `task_model_scores` with the parts of `effective_sample_size`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Traffic of one cell. With `*` in either place, the sum over all."""

    task_type: str
    model: str
    requests: int
    successes: int
    requests_with_quality: int
    requests_with_cost: int
    cost_usd: Decimal | float | None
    requests_with_tokens: int
    tokens_input: int | None
    tokens_output: int | None
    cost_usd_with_tokens: Decimal | float | None
    tokens_input_with_cost: int | None
    tokens_output_with_cost: int | None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    latency_ms_p99: float | None = None
    ttft_ms_p50: float | None = None
    ttft_ms_p95: float | None = None
    ttft_ms_p99: float | None = None


def score(warehouse: Warehouse) -> bool:
    """Bring the scores, the changes and the versions up to date. Return whether scores or changes moved.

    The scores are those of one environment, the pipelines' own INTELLIROUTER_ENVIRONMENT (where it has
    no traffic, the one with traffic in most hours). A staging router may use production's scores. A
    load test there never ranks production's models.
    """
    found = warehouse.run(
        "marts/scored_environment", environment=warehouse.settings.environment, now=datetime.now(UTC)
    ).fetchone()
    if found is None:
        return False
    environment, last_hour = found
    scope = {
        "environment": environment,
        "start": last_hour - timedelta(days=warehouse.settings.scores_lookback_days),
    }
    catalog = _catalog(warehouse)
    if catalog is not None:
        versions.note_versions(warehouse, catalog)
    noted = changes.find_changes(warehouse, last_hour=last_hour, **scope)
    is_noted = warehouse.replace_rows("score_changes", noted)
    counted = _counted(warehouse, scope)
    totals = [
        Totals(**row)
        for row in _dicts(
            warehouse.run(
                "marts/task_model_totals", **scope, all_tasks=ALL_TASKS, any_model=ANY_MODEL, gamma=GAMMA
            )
        )
    ]
    rows = rows_of(totals, {cell: item.outcomes for cell, item in counted.items()}, _priors(catalog))
    owed = _owed(counted)
    nothing = dict.fromkeys(OWED, 0.0)
    fresh = [asdict(row) | owed.get((row.task_type, row.model), nothing) for row in rows]
    return warehouse.replace_rows("task_model_scores", fresh) or is_noted


def score_rows(warehouse: Warehouse) -> list[ScoreRow]:
    """The scores as the router's rows."""
    found = _dicts(warehouse.run(sqlfiles.load("tables/rows", table="task_model_scores")))
    return [ScoreRow(**{name: row[name] for name in _SCORE_COLUMNS}) for row in found]


def _dicts(found: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of a result by their columns' names."""
    names = [item[0] for item in found.description or []]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _counted(warehouse: Warehouse, scope: Mapping[str, Any]) -> dict[Cell, Counted]:
    """Each cell's outcomes as they count today."""
    rows = warehouse.run(
        "marts/quality_outcomes",
        **scope,
        group_size=BLOCK,
        discount=DISCOUNT,
        old_outcomes=versions.OLD_OUTCOMES,
    ).fetchall()
    return outcomes.count(
        outcomes.Part(
            cell=(task, model),
            is_drawn=is_drawn,
            source=source,
            outcomes=Outcomes(count, quality, squared),
            weight=weight,
            weight_squared=weight_squared,
        )
        for task, model, is_drawn, source, count, quality, squared, weight, weight_squared in rows
    )


def _owed(counted: Mapping[Cell, Counted]) -> dict[Cell, dict[str, float]]:
    """The sources of each cell's outcomes, and of those over all tasks or models."""
    of_cell = {
        cell: {
            "outcomes_drawn": item.drawn,
            **{f"outcomes_{source}": share for source, share in item.by_source.items()},
        }
        for cell, item in counted.items()
    }
    sums = {name: _sizes({cell: item[name] for cell, item in of_cell.items()}) for name in OWED}
    return {cell: {name: sums[name][cell] for name in OWED} for cell in sums[OWED[0]]}


def rows_of(
    totals: Iterable[Totals], judged: Mapping[Cell, Outcomes], priors: Mapping[str, float]
) -> list[ScoreRow]:
    """The score rows of all cells, in order. `judged` are the outcomes as they count.

    A cell without requests also has a row, with its expected quality, where its task and its model
    have outcomes elsewhere.
    """
    totals = sorted(totals, key=_cell_of)
    requests = {
        item.task_type: item.requests
        for item in totals
        if item.model == ANY_MODEL and item.task_type != ALL_TASKS
    }
    beliefs = estimate(judged, requests, priors)
    sizes = _sizes({cell: item.count for cell, item in judged.items()})
    costs = _standardised_costs(totals, requests)
    with_requests = {_cell_of(item) for item in totals}
    totals = sorted(
        [*totals, *(_nothing(*cell) for cell in beliefs if cell not in with_requests)], key=_cell_of
    )
    return [
        _row(
            item,
            beliefs.get((item.task_type, item.model)),
            sizes.get((item.task_type, item.model), 0.0),
            costs.get((item.task_type, item.model)),
            judged.get((item.task_type, item.model)),
        )
        for item in totals
    ]


def _cell_of(item: Totals) -> Cell:
    return item.task_type, item.model


def _nothing(task_type: str, model: str) -> Totals:
    """The traffic of a cell that had none."""
    return Totals(
        task_type=task_type,
        model=model,
        requests=0,
        successes=0,
        requests_with_quality=0,
        requests_with_cost=0,
        cost_usd=None,
        requests_with_tokens=0,
        tokens_input=None,
        tokens_output=None,
        cost_usd_with_tokens=None,
        tokens_input_with_cost=None,
        tokens_output_with_cost=None,
    )


def _catalog(warehouse: Warehouse) -> Catalog | None:
    """The catalog. None while it cannot be used, which the registry reports."""
    try:
        return Catalog.load(warehouse.settings.catalog_file)
    except ConfigError:
        return None


def _priors(catalog: Catalog | None) -> dict[str, float]:
    """The catalog's expected qualities."""
    models = () if catalog is None else catalog.models.values()
    stated = {model.id: model.quality_score(ALL_TASKS) for model in models}
    return {model: prior for model, prior in stated.items() if prior is not None}


def _sizes(sizes_of_cells: Mapping[Cell, float]) -> dict[Cell, float]:
    """Sums over cells, over all tasks and models too."""
    sizes: dict[Cell, float] = {}
    for task, model in sorted(sizes_of_cells):
        for cell in ((task, model), (task, ANY_MODEL), (ALL_TASKS, model), (ALL_TASKS, ANY_MODEL)):
            sizes[cell] = sizes.get(cell, 0.0) + sizes_of_cells[task, model]
    return sizes


def _standardised_costs(totals: Sequence[Totals], requests: Mapping[str, int]) -> dict[Cell, float | None]:
    """Mean cost of each cell. A model's mean over all tasks weighs its tasks by the requests of all models,
    so that a model that is sent the short tasks does not look cheap."""
    means = {
        (item.task_type, item.model): float(item.cost_usd) / item.requests_with_cost
        if item.requests_with_cost and item.cost_usd is not None
        else None
        for item in totals
    }
    sums: dict[str, tuple[float, int]] = {}
    for (task, model), mean in means.items():
        if task != ALL_TASKS and model != ANY_MODEL and mean is not None:
            total, weight = sums.get(model, (0.0, 0))
            sums[model] = total + requests[task] * mean, weight + requests[task]
    return means | {(ALL_TASKS, model): total / weight for model, (total, weight) in sums.items()}


def _row(
    item: Totals,
    belief: Belief | None,
    size: float,
    cost_usd_mean: float | None,
    outcomes_here: Outcomes | None,
) -> ScoreRow:
    half = 0.0 if belief is None else interval_z(size) * sqrt(belief.variance)
    return ScoreRow(
        task_type=item.task_type,
        model=item.model,
        requests=item.requests,
        requests_with_quality=item.requests_with_quality,
        requests_with_cost=item.requests_with_cost,
        effective_sample_size=size,
        quality_mean=None if belief is None else belief.mean,
        quality_variance=None if belief is None else belief.variance,
        quality_low=None if belief is None else max(belief.mean - half, 0.0),
        quality_high=None if belief is None else min(belief.mean + half, 1.0),
        cost_usd_mean=cost_usd_mean,
        cost_usd_per_input_token=_ratio(item.cost_usd_with_tokens, item.tokens_input_with_cost),
        cost_usd_per_output_token=_ratio(item.cost_usd_with_tokens, item.tokens_output_with_cost),
        tokens_input_mean=_ratio(item.tokens_input, item.requests_with_tokens),
        tokens_output_mean=_ratio(item.tokens_output, item.requests_with_tokens),
        success_rate=_ratio(item.successes, item.requests),
        quality_observed=outcomes_here.mean
        if outcomes_here is not None and outcomes_here.count > 0
        else None,
        **{name: getattr(item, name) for name in _LATENCIES},
    )


def interval_z(size: float) -> float:
    """Standard deviations on either side of the mean in a 95% interval of a row with `size` outcomes."""
    return Z_95 * (WIDER + WIDER_WITH_FEW * FEW / (FEW + size))


def _ratio(total: Decimal | float | None, count: int | None) -> float | None:
    return float(total) / count if total is not None and count else None
