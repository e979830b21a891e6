"""Lists prices and pending prices as columns, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.errors import QueryError
from pipelines.prices.refresh import read_book, read_pending
from router.catalog.catalog import Catalog
from router.catalog.prices import Price
from router.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.config import Settings

_SHOWN = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "reasoning_usd_per_mtok",
)
MAX_MODELS = 200
"""At most this many models of the book are listed for one pattern."""


def price_table(settings: Settings, model: str | None) -> dict[str, list[Any]]:
    """The dated rows of all catalog models, of the one named `model`, or of book names that contain it."""
    catalog = Catalog.load(settings.catalog_file) if settings.catalog_file.exists() else None
    known = {} if catalog is None else {item.id: item.prices for item in catalog.models.values()}
    if model is None:
        return _columns((name, row) for name in sorted(known) for row in known[name])
    if model in known:
        return _columns((model, row) for row in known[model])
    book = read_book(settings)
    found = sorted(ref for ref in (book.models if book else ()) if model.lower() in ref.lower())
    if book is None or not found:
        raise QueryError(
            f"no price of `{model}`: it is neither a model of the catalog nor part of a name in the price"
            f" book; {nearest(model, [*known, *(book.models if book else ())])}."
            " Run `intellirouter prices refresh` to update the book"
        )
    if len(found) > MAX_MODELS:
        raise QueryError(f"`{model}` is part of {len(found)} names in the price book: give a longer part")
    return _columns((ref, row) for ref in found for row in book.prices(ref))


def pending_table(settings: Settings) -> dict[str, list[Any]]:
    """The prices that wait for a person, with the price in force meanwhile."""
    items = read_pending(settings)

    def rate(price: Price | None, name: str) -> Any:
        return None if price is None else getattr(price, name)

    return {
        "id": [item.id for item in items],
        "reason": [item.reason for item in items],
        "input_now": [rate(item.standing, _SHOWN[0]) for item in items],
        "output_now": [rate(item.standing, _SHOWN[1]) for item in items],
        "input_pending": [rate(item.price, _SHOWN[0]) for item in items],
        "output_pending": [rate(item.price, _SHOWN[1]) for item in items],
        "found_at": [item.found_at for item in items],
    }


def _columns(rows: Iterable[tuple[str, Price]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("model", "start", *_SHOWN, "tiers", "windows", "price_id")
    }
    for model, row in rows:
        columns["model"].append(model)
        columns["start"].append(row.start)
        for name in _SHOWN:
            columns[name].append(getattr(row, name))
        columns["tiers"].append(len(row.tiers))
        columns["windows"].append(len(row.windows))
        columns["price_id"].append(row.price_id)
    return columns
