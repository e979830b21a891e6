"""`task_model_scores` and `score_changes`: what the router chooses by, from the rollups."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from itertools import groupby
from math import sqrt
from typing import TYPE_CHECKING

from pipelines.rollups.tables import GAMMA
from pipelines.scores import change_detection
from pipelines.scores.quality_model import Outcomes, estimate
from pipelines.warehouse import sqlfiles
from router.catalog.catalog import Catalog
from router.errors import ConfigError
from router.scores.snapshot import ALL_TASKS, ANY_MODEL, ScoreRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from pipelines.scores.change_detection import Change
    from pipelines.scores.quality_model import Belief, Cell
    from pipelines.warehouse.warehouse import Warehouse

Z_95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Traffic of one cell; of `*` in either place the sum over all."""

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
    """Bring `task_model_scores` and `score_changes` up to date; whether anything changed."""
    last_hour = warehouse.value(sqlfiles.load("rollups/last_hour"))
    if last_hour is None:
        return False
    start = last_hour - timedelta(days=warehouse.settings.scores_lookback_days)
    outcomes, found = _outcomes(warehouse, start)
    totals = [
        Totals(**dict(zip(_TOTALS, row, strict=True)))
        for row in warehouse.run(
            "marts/task_model_totals", start=start, all_tasks=ALL_TASKS, any_model=ANY_MODEL, gamma=GAMMA
        ).fetchall()
    ]
    fresh = {
        "task_model_scores": [asdict(row) for row in rows_of(totals, outcomes, _priors(warehouse))],
        "score_changes": [
            {"task_type": task_type, "model": model} | asdict(change)
            for (task_type, model), items in found
            for change in items
        ],
    }
    if all(warehouse.holds(table, rows) for table, rows in fresh.items()):
        return False
    with warehouse.transaction():
        for table, rows in fresh.items():
            warehouse.overwrite(table, rows)
    return True


def score_rows(warehouse: Warehouse) -> list[ScoreRow]:
    """The scores as the router's rows."""
    found = warehouse.run(sqlfiles.load("tables/rows", table="task_model_scores")).fetchall()
    return [ScoreRow(**dict(zip(_COLUMNS, row, strict=True))) for row in found]


def rows_of(
    totals: Iterable[Totals], outcomes: Mapping[Cell, Outcomes], priors: Mapping[str, float]
) -> list[ScoreRow]:
    """The score rows of all cells, in order; `outcomes` are the judged ones, changes discounted.

    A cell without requests has a row as well where its task and its model have outcomes elsewhere:
    what to expect of it.
    """
    totals = sorted(totals, key=_cell_of)
    requests = {
        item.task_type: item.requests
        for item in totals
        if item.model == ANY_MODEL and item.task_type != ALL_TASKS
    }
    beliefs = estimate(outcomes, requests, priors)
    sizes = _sizes(outcomes)
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


def _outcomes(
    warehouse: Warehouse, start: datetime
) -> tuple[dict[Cell, Outcomes], list[tuple[Cell, list[Change]]]]:
    """Each cell's outcomes as they count today, and the changes in them."""
    outcomes: dict[Cell, Outcomes] = {}
    found = []
    rows = warehouse.run("marts/quality_blocks", start=start).fetchall()
    for cell, members in groupby(rows, key=lambda row: (row[0], row[1])):
        blocks = [
            change_detection.Block(start_at, count, float(quality), float(squared))
            for _, _, start_at, count, quality, squared in members
        ]
        noted, outcomes[cell] = change_detection.detect(blocks)
        if noted:
            found.append((cell, noted))
    return outcomes, found


def _priors(warehouse: Warehouse) -> dict[str, float]:
    """The catalog's expected qualities; none while it cannot be used, which the registry reports."""
    try:
        catalog = Catalog.load(warehouse.settings.catalog_file)
    except ConfigError:
        return {}
    stated = {model.id: model.quality_score(ALL_TASKS) for model in catalog.models.values()}
    return {model: prior for model, prior in stated.items() if prior is not None}


def _sizes(outcomes: Mapping[Cell, Outcomes]) -> dict[Cell, float]:
    """Effective sample sizes, over all tasks and models too."""
    sizes: dict[Cell, float] = {}
    for task, model in sorted(outcomes):
        for cell in ((task, model), (task, ANY_MODEL), (ALL_TASKS, model), (ALL_TASKS, ANY_MODEL)):
            sizes[cell] = sizes.get(cell, 0.0) + outcomes[task, model].count
    return sizes


def _standardised_costs(totals: Sequence[Totals], requests: Mapping[str, int]) -> dict[Cell, float | None]:
    """Mean cost of each cell; a model's over all tasks weighs its tasks by everyone's requests, so
    that being sent the short tasks does not make it look cheap."""
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


def _row(item: Totals, belief: Belief | None, size: float, cost_usd_mean: float | None) -> ScoreRow:
    deviation = 0.0 if belief is None else sqrt(belief.variance)
    return ScoreRow(
        task_type=item.task_type,
        model=item.model,
        requests=item.requests,
        requests_with_quality=item.requests_with_quality,
        requests_with_cost=item.requests_with_cost,
        effective_sample_size=size,
        quality_mean=None if belief is None else belief.mean,
        quality_variance=None if belief is None else belief.variance,
        quality_low=None if belief is None else max(belief.mean - Z_95 * deviation, 0.0),
        quality_high=None if belief is None else min(belief.mean + Z_95 * deviation, 1.0),
        cost_usd_mean=cost_usd_mean,
        cost_usd_per_input_token=_ratio(item.cost_usd_with_tokens, item.tokens_input_with_cost),
        cost_usd_per_output_token=_ratio(item.cost_usd_with_tokens, item.tokens_output_with_cost),
        tokens_input_mean=_ratio(item.tokens_input, item.requests_with_tokens),
        tokens_output_mean=_ratio(item.tokens_output, item.requests_with_tokens),
        success_rate=_ratio(item.successes, item.requests),
        **{name: value for name, value in asdict(item).items() if "_ms_" in name},
    )


def _ratio(total: Decimal | float | None, count: int | None) -> float | None:
    return float(total) / count if total is not None and count else None


_COLUMNS = [item.name for item in fields(ScoreRow)]
_TOTALS = [item.name for item in fields(Totals)]
