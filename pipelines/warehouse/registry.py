"""The model registry as tables: `models` with today's prices, `model_prices` with all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from router.catalog.catalog import Catalog
from router.catalog.price_book import row_to_json
from router.errors import ConfigError
from router.scores.snapshot import ALL_TASKS, ANY_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.warehouse.warehouse import Warehouse
    from router.catalog.catalog import Model

PER_1K = Decimal(1000)
_TABLES = {"models": 10, "model_prices": 13}
"""Each table and the number of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistryResult:
    """What happened to the registry's tables."""

    models: int | None = None
    problem: str | None = None
    """Why the tables were left as they are; None when they were not."""


def load_model_registry(warehouse: Warehouse) -> ModelRegistryResult:
    """Make `models` and `model_prices` say what the catalog says."""
    path = warehouse.settings.catalog_file
    if not path.exists():
        return ModelRegistryResult(problem=f"no catalog at `{path}`: the tables were left as they are")
    try:
        catalog = Catalog.load(path)
    except ConfigError as error:
        return ModelRegistryResult(problem=f"{error}; the tables were left as they are")
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    qualities = _qualities(warehouse)
    models = [
        _model_row(model, qualities.get(model.id), changed)
        for model in sorted(catalog.models.values(), key=lambda model: model.id)
    ]
    prices = [row for model in catalog.models.values() for row in _price_rows(model)]
    _replace(warehouse, "models", models)
    # A row that left the catalog is kept: an old record names it.
    named = {row[0] for row in prices}
    prices += [row for row in warehouse.rows("select * from model_prices") if row[0] not in named]
    _replace(warehouse, "model_prices", sorted(prices, key=lambda row: row[0]))
    return ModelRegistryResult(models=len(models))


def _qualities(warehouse: Warehouse) -> dict[str, dict[str, float]]:
    """Posterior mean quality by model and task, where it is known."""
    found: dict[str, dict[str, float]] = {}
    for model, task_type, mean in warehouse.rows(
        "select model, task_type, quality_mean from task_model_scores"
        " where quality_mean is not null and requests > 0 and task_type <> $all_tasks and model <> $any_model"
        " order by model, task_type",
        all_tasks=ALL_TASKS,
        any_model=ANY_MODEL,
    ):
        found.setdefault(model, {})[task_type] = mean
    return found


def _model_row(model: Model, qualities: dict[str, float] | None, changed: datetime) -> tuple[Any, ...]:
    price = model.price_at(datetime.now(UTC))
    return (
        model.id,
        model.name or model.provider_model,
        model.provider,
        _per_1k(None if price is None else price.input_usd_per_mtok),
        _per_1k(None if price is None else price.output_usd_per_mtok),
        model.context_window,
        None if model.capabilities is None else json.dumps(sorted(model.capabilities)),
        None if qualities is None else json.dumps(qualities),
        model.availability_status,
        changed,
    )


def _per_1k(per_mtok: Decimal | None) -> Decimal | None:
    return None if per_mtok is None else per_mtok / PER_1K


def _price_rows(model: Model) -> Iterator[tuple[Any, ...]]:
    for price, following in pairwise([*model.prices, None]):
        if price is not None:
            row = row_to_json(price)
            yield (
                price.price_id,
                model.id,
                price.start,
                None if following is None else following.start,
                price.input_usd_per_mtok,
                price.output_usd_per_mtok,
                price.cached_input_usd_per_mtok,
                price.cache_write_usd_per_mtok,
                price.cache_write_1h_usd_per_mtok,
                price.reasoning_usd_per_mtok,
                price.request_usd,
                _json(row.get("tiers")),
                _json(row.get("windows")),
            )


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _replace(warehouse: Warehouse, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Write the rows unless the table holds just these."""
    standing = warehouse.rows(f"select * from {table} order by 1")  # noqa: S608
    if standing == rows:
        return
    marks = ", ".join("?" * _TABLES[table])
    with warehouse.transaction() as connection:
        connection.execute(f"delete from {table}")  # noqa: S608
        if rows:
            connection.executemany(f"insert into {table} values ({marks})", rows)  # noqa: S608
