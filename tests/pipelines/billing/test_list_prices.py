"""The list cost is the public price of the request's day, or unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pipelines import flow
from pipelines.billing.bill import monthly_bill
from pipelines.warehouse.warehouse import Warehouse
from router.catalog.catalog import Catalog
from router.catalog.price_book import ALWAYS, PriceBook
from router.catalog.prices import Price, Tier, Usage, cost
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from router.config import Settings

OCTOBER = datetime(2026, 10, 15, 12, tzinfo=UTC)
RATES = {"input_usd_per_mtok": Decimal(2), "output_usd_per_mtok": Decimal(8)}
TOKENS = Usage(tokens_input=100, tokens_output=50)


def price(start: datetime, factor: int = 1, **changes: Any) -> Price:
    """A row of the book."""
    rates: dict[str, Any] = {name: rate * factor for name, rate in RATES.items()}
    return Price(price_id=f"book/fake/large@{start:%Y%m%d}", start=start, **rates, **changes)


def prepare(settings: Settings, rows: tuple[Price, ...], own: dict[str, Any] | None = None) -> Catalog:
    """A catalog with one model, its own price if any, and a price book with its public prices."""
    model = {"id": "large", "provider": "fake", **({} if own is None else {"prices": [own]})}
    content = {
        "providers": {"fake": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}},
        "models": [model],
        "tasks": ["math"],
    }
    book = PriceBook.of({"fake/large": rows}, unlisted=frozenset(), source="test", updated_at=OCTOBER)
    settings.price_book_file.parent.mkdir(parents=True)
    settings.price_book_file.write_bytes(book.to_json())
    settings.catalog_file.write_text(yaml.safe_dump(content))
    return Catalog.load(settings.catalog_file)


def bill(settings: Settings, catalog: Catalog, *moments: datetime, extra: str = "0") -> list[tuple[Any, ...]]:
    """List and contracted cost of each line, of requests priced as the router prices them."""
    model = catalog.models["large"]
    records = []
    for moment in moments:
        paid, row = cost(TOKENS, model, moment), model.price_at(moment)
        assert paid is not None
        assert row is not None
        records.append(make_record(moment, price_id=row.price_id, cost_usd=paid + Decimal(extra)))
    seal_records(settings, records)
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
    names = ("requests", "requests_with_list_cost", "list_cost_usd", "contracted_cost_usd")
    return [tuple(row[name] for name in names) for row in monthly_bill(settings, "2026-10").rows]


def test_a_price_of_the_book_is_the_list_price(settings: Settings) -> None:
    """Whatever the request paid for, tiers and searches included."""
    tier = Tier(above_input_tokens=50, input_usd_per_mtok=Decimal(4), output_usd_per_mtok=Decimal(16))
    catalog = prepare(settings, (price(ALWAYS, tiers=(tier,)),))
    assert bill(settings, catalog, OCTOBER, extra="0.01") == [(1, 1, Decimal("0.0112"), Decimal("0.0112"))]


def test_a_price_of_ones_own_is_compared_with_the_public_price_of_the_day(settings: Settings) -> None:
    """The tokens are counted at the public price in force at the request."""
    own = {"start": "2026-01-01", "input_usd_per_mtok": 1, "output_usd_per_mtok": 4}
    catalog = prepare(settings, (price(ALWAYS), price(OCTOBER, 10)), own)
    before, after = OCTOBER - timedelta(minutes=1), OCTOBER
    assert bill(settings, catalog, before, after, after) == [
        (3, 3, Decimal("0.0126"), Decimal("0.0009")),
    ]


@pytest.mark.parametrize("reason", ["not in the book", "tiers", "not explained by tokens"])
def test_an_unknown_list_cost_is_counted(settings: Settings, reason: str) -> None:
    """It is NULL, and the contracted cost stays."""
    own = {"start": "2026-01-01", "input_usd_per_mtok": 1, "output_usd_per_mtok": 4}
    tier = Tier(above_input_tokens=50, input_usd_per_mtok=Decimal(4), output_usd_per_mtok=Decimal(16))
    rows = {"not in the book": (), "tiers": (price(ALWAYS, tiers=(tier,)),)}.get(reason, (price(ALWAYS),))
    catalog = prepare(settings, rows, own)
    extra = "0.01" if reason == "not explained by tokens" else "0"
    assert bill(settings, catalog, OCTOBER, extra=extra) == [(1, 0, None, Decimal("0.0003") + Decimal(extra))]
