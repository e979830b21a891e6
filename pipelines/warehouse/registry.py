"""The model registry as tables: `models` with today's prices, `model_prices` with all of them."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import sqlfiles
from router.catalog.catalog import Catalog
from router.catalog.price_book import BOOK_NAME, PriceBook, row_to_json
from router.configuration.documents import CATALOG, PRICES
from router.configuration.opening import open_source
from router.errors import ConfigError
from router.health.breaker import BreakerRules, is_ejection
from router.scores.snapshot import ALL_TASKS, ANY_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.warehouse.warehouse import Warehouse
    from router.catalog.catalog import Model

PER_1K = Decimal(1000)
CONTENT = "#"
"""Precedes the hash of the rates in a price's id."""
EJECTED = "ejected"
"""The status of a model that the routers leave out for a while, because it or its provider fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistryResult:
    """The result of loading the registry's tables."""

    models: int | None = None
    problem: str | None = None
    """Why the tables were not changed. None if they were loaded."""


def load_model_registry(warehouse: Warehouse, *, now: datetime | None = None) -> ModelRegistryResult:
    """Load the catalog into `models` and `model_prices`, with the statuses of `now`."""
    path = warehouse.settings.catalog_file
    if not path.exists():
        return ModelRegistryResult(problem=f"no catalog at `{path}`: the tables were not changed")
    try:
        catalog = Catalog.load(path)
    except ConfigError as error:
        return ModelRegistryResult(problem=f"{error}; the tables were not changed")
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    moment = now or datetime.now(UTC)
    qualities, ejected = _qualities(warehouse), _ejected(warehouse, moment)
    before = _rows(warehouse, "models")
    models = [
        _dated(
            _model_row(model, qualities.get(model.id), moment, is_ejected=model.id in ejected),
            before,
            changed if not before else moment,
        )
        for model in sorted(catalog.models.values(), key=lambda model: model.id)
    ]
    prices = [row for model in catalog.models.values() for row in _price_rows(model)]
    warehouse.replace_rows("models", models)
    # Keep rows that left the catalog: old records name them.
    named = {row["price_id"] for row in prices}
    stored = _rows(warehouse, "model_prices") or _rows_of_history(warehouse)
    kept = [row for row in stored if row["price_id"] not in named]
    prices += kept + _rows_of_earlier_ids(warehouse, prices, known={row["price_id"] for row in kept})
    warehouse.replace_rows("model_prices", sorted(prices, key=lambda row: str(row["price_id"])))
    return ModelRegistryResult(models=len(models))


def _rows_of_history(warehouse: Warehouse) -> list[dict[str, Any]]:
    """After a rebuild, the rows of every catalog in the history of the configuration, each as it was last."""
    rows: dict[str, dict[str, Any]] = {}
    read: set[tuple[str | None, str | None]] = set()
    try:
        with closing(open_source(warehouse.settings)) as source:
            for version in source.versions():
                catalog, book = version.documents.get(CATALOG), version.documents.get(PRICES)
                if catalog is None or (catalog, book) in read:
                    continue
                read.add((catalog, book))
                with suppress(ConfigError):  # a catalog that this release cannot read
                    prices = None if book is None else PriceBook.parse(source.document(book), BOOK_NAME)
                    models = Catalog.parse(source.document(catalog), prices, Path(CATALOG)).models
                    for model in models.values():
                        rows |= {row["price_id"]: row for row in _price_rows(model)}
    except (ConfigError, OSError):
        return []  # `load_configurations` says so
    return list(rows.values())


def _rows_of_earlier_ids(
    warehouse: Warehouse, prices: list[dict[str, Any]], *, known: set[str]
) -> list[dict[str, Any]]:
    """Rows for records of a release whose ids named no content, with the content that is first seen."""
    earlier = {row["price_id"].partition(CONTENT)[0]: row for row in prices if CONTENT in row["price_id"]}
    missing = sorted(earlier.keys() - known - {row["price_id"] for row in prices})
    found = warehouse.run("marts/recorded_price_ids", price_ids=missing).fetchall() if missing else []
    return [{**earlier[price_id], "price_id": price_id} for (price_id,) in found]


def _qualities(warehouse: Warehouse) -> dict[str, dict[str, float]]:
    """Posterior mean quality by model and task, where it is known."""
    found: dict[str, dict[str, float]] = {}
    for model, task_type, mean in warehouse.run(
        "marts/measured_quality", all_tasks=ALL_TASKS, any_model=ANY_MODEL
    ).fetchall():
        found.setdefault(model, {})[task_type] = mean
    return found


def _rows(warehouse: Warehouse, table: str) -> list[dict[str, Any]]:
    found = warehouse.run(sqlfiles.load("tables/rows", table=table))
    columns = [item[0] for item in found.description or []]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def _ejected(warehouse: Warehouse, now: datetime) -> set[str]:
    """Models that the last decision found ejected, unless that was longer ago than an ejection can last."""
    rules = BreakerRules.of(warehouse.settings)
    longest = timedelta(seconds=rules.max_ejection_s * (1 + rules.jitter))
    found = warehouse.run("marts/last_exclusions", since=now - longest).fetchall()
    return {model for model, exclusion in found if is_ejection(exclusion)}


def _dated(row: dict[str, Any], before: list[dict[str, Any]], moment: datetime) -> dict[str, Any]:
    """The row with the moment at which anything in it last changed."""
    for known in before:
        if {**known, "last_updated": None} == {**row, "last_updated": None}:
            return known
    return {**row, "last_updated": moment}


def _model_row(
    model: Model, qualities: dict[str, float] | None, now: datetime, *, is_ejected: bool
) -> dict[str, Any]:
    price = model.price_at(now)
    return {
        "id": model.id,
        "name": model.name or model.provider_model,
        "provider": model.provider,
        "input_price_per_1k": _per_1k(None if price is None else price.input_usd_per_mtok),
        "output_price_per_1k": _per_1k(None if price is None else price.output_usd_per_mtok),
        "context_window": model.context_window,
        "capabilities": None if model.capabilities is None else json.dumps(sorted(model.capabilities)),
        "quality_scores": None if qualities is None else json.dumps(qualities),
        "availability_status": _status(model, is_ejected=is_ejected),
        "last_updated": now,
    }


def _status(model: Model, *, is_ejected: bool) -> str:
    """The catalog's `unavailable` is a person's word, and stays."""
    return EJECTED if is_ejected and model.availability_status != "unavailable" else model.availability_status


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
