"""The model registry as tables: `models` with today's prices, `model_prices` with all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import sqlfiles
from router.catalog.catalog import Catalog
from router.catalog.price_book import row_to_json
from router.errors import ConfigError
from router.scores.snapshot import ALL_TASKS, ANY_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.warehouse.warehouse import Warehouse
    from router.catalog.catalog import Model

PER_1K = Decimal(1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistryResult:
    """The result of loading the registry's tables."""

    models: int | None = None
    problem: str | None = None
    """Why the tables were not changed. None if they were loaded."""


def load_model_registry(warehouse: Warehouse) -> ModelRegistryResult:
    """Load the catalog into `models` and `model_prices`."""
    path = warehouse.settings.catalog_file
    if not path.exists():
        return ModelRegistryResult(problem=f"no catalog at `{path}`: the tables were not changed")
    try:
        catalog = Catalog.load(path)
    except ConfigError as error:
        return ModelRegistryResult(problem=f"{error}; the tables were not changed")
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    qualities = _qualities(warehouse)
    models = [
        _model_row(model, qualities.get(model.id), changed)
        for model in sorted(catalog.models.values(), key=lambda model: model.id)
    ]
    prices = [row for model in catalog.models.values() for row in _price_rows(model)]
    warehouse.replace_rows("models", models)
    # Keep rows that left the catalog: old records name them.
    named = {row["price_id"] for row in prices}
    found = warehouse.run(sqlfiles.load("tables/rows", table="model_prices"))
    columns = [item[0] for item in found.description or []]
    kept = (dict(zip(columns, row, strict=True)) for row in found.fetchall())
    prices += [row for row in kept if row["price_id"] not in named]
    warehouse.replace_rows("model_prices", sorted(prices, key=lambda row: str(row["price_id"])))
    return ModelRegistryResult(models=len(models))


def _qualities(warehouse: Warehouse) -> dict[str, dict[str, float]]:
    """Posterior mean quality by model and task, where it is known."""
    found: dict[str, dict[str, float]] = {}
    for model, task_type, mean in warehouse.run(
        "marts/measured_quality", all_tasks=ALL_TASKS, any_model=ANY_MODEL
    ).fetchall():
        found.setdefault(model, {})[task_type] = mean
    return found


def _model_row(model: Model, qualities: dict[str, float] | None, changed: datetime) -> dict[str, Any]:
    price = model.price_at(datetime.now(UTC))
    return {
        "id": model.id,
        "name": model.name or model.provider_model,
        "provider": model.provider,
        "input_price_per_1k": _per_1k(None if price is None else price.input_usd_per_mtok),
        "output_price_per_1k": _per_1k(None if price is None else price.output_usd_per_mtok),
        "context_window": model.context_window,
        "capabilities": None if model.capabilities is None else json.dumps(sorted(model.capabilities)),
        "quality_scores": None if qualities is None else json.dumps(qualities),
        "availability_status": model.availability_status,
        "last_updated": changed,
    }


def _per_1k(per_mtok: Decimal | None) -> Decimal | None:
    return None if per_mtok is None else per_mtok / PER_1K


def _price_rows(model: Model) -> Iterator[dict[str, Any]]:
    for price, following in pairwise([*model.prices, None]):
        if price is not None:
            row = row_to_json(price)
            yield {
                "price_id": price.price_id,
                "model": model.id,
                "valid_from": price.start,
                "valid_to": None if following is None else following.start,
                "input_usd_per_mtok": price.input_usd_per_mtok,
                "output_usd_per_mtok": price.output_usd_per_mtok,
                "cached_input_usd_per_mtok": price.cached_input_usd_per_mtok,
                "cache_write_usd_per_mtok": price.cache_write_usd_per_mtok,
                "cache_write_1h_usd_per_mtok": price.cache_write_1h_usd_per_mtok,
                "reasoning_usd_per_mtok": price.reasoning_usd_per_mtok,
                "request_usd": price.request_usd,
                "tiers": _json(row.get("tiers")),
                "windows": _json(row.get("windows")),
            }


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
