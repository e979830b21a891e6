"""From usage to the lines of bills."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import sqlfiles
from router.catalog.prices import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import duckdb

    from pipelines.billing.accounts import Accounts, Bill, BillKey
    from pipelines.billing.list_prices import ListPrices

LineKey = tuple[str | None, str | None, str | None, str | None]
"""(model, provider, price, service tier) of a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a bill. Sums are None where no request's value is known."""

    model: str | None
    """The model that answered."""
    provider: str | None
    price_id: str | None
    service_tier: str | None
    requests: int
    failures: int
    requests_with_cost: int
    requests_with_tokens: int
    tokens_input: int | None
    tokens_cached_input: int | None
    tokens_cache_write: int | None
    tokens_output: int | None
    tokens_reasoning: int | None
    requests_with_list_cost: int
    list_cost_usd: Decimal | None
    contracted_cost_usd: Decimal | None

    @property
    def key(self) -> LineKey:
        return self.model, self.provider, self.price_id, self.service_tier


IDENTITY = ("model", "provider", "price_id", "service_tier")
_SUMS = tuple(item.name for item in fields(Line) if item.name not in IDENTITY)


def bills_with_usage(
    connection: duckdb.DuckDBPyConnection, accounts: Accounts, closed: Mapping[BillKey, Bill]
) -> list[Bill]:
    """Every bill that may have usage, open or closed."""
    found = connection.execute(sqlfiles.load("marts/billed_organizations").text).fetchall()
    return [
        bill
        for organization, first, last in found
        for bill in accounts.bills(organization, first.astimezone(UTC), last.astimezone(UTC), closed)
    ]


def lines_of(
    connection: duckdb.DuckDBPyConnection, bills: Sequence[Bill], prices: ListPrices
) -> dict[BillKey, list[Line]]:
    """The lines of each bill with usage, in order of their keys."""
    if not bills:
        return {}
    changes = prices.changes()
    found = connection.execute(
        sqlfiles.load("marts/billing_usage_of_months").text,
        {
            "organizations": [bill.organization_id for bill in bills],
            "since": [bill.since for bill in bills],
            "until": [bill.until for bill in bills],
            "changes": changes,
        },
    )
    names = [item[0] for item in found.description or []]
    parts: dict[tuple[int, LineKey], list[Line]] = defaultdict(list)
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        number, period = row.pop("bill"), row.pop("list_period")
        line = _part(row, prices, changes[period - 1] if period else None)
        parts[number, line.key].append(line)
    lines: dict[BillKey, list[Line]] = defaultdict(list)
    for number, key in sorted(parts, key=lambda item: (item[0], [text or "" for text in item[1]])):
        lines[bills[number].key].append(_whole(parts[number, key]))
    return lines


def _part(row: dict[str, Any], prices: ListPrices, at: datetime | None) -> Line:
    """The part of a line in which one public price holds."""
    listed = prices.cost(
        Usage(
            tokens_input=row["tokens_input"],
            tokens_output=row["tokens_output"],
            tokens_cached_input=row["tokens_cached_input"],
            tokens_cache_write=row["tokens_cache_write"],
            tokens_reasoning=row["tokens_reasoning"],
            service_tier=row["service_tier"],
        ),
        paid=row["contracted_cost_usd"],
        requests=row["requests"],
        price_id=row["price_id"],
        model=row["model"],
        provider=row["provider"],
        at=at,
    )
    known = 0 if listed is None else row["requests_with_cost"]
    return Line(**row, requests_with_list_cost=known, list_cost_usd=listed)


def _whole(parts: list[Line]) -> Line:
    first = parts[0]
    sums = {name: _sum(getattr(part, name) for part in parts) for name in _SUMS}
    return first if len(parts) == 1 else Line(**{name: getattr(first, name) for name in IDENTITY}, **sums)


def _sum(values: Iterable[Any]) -> Any:
    """The sum of the known values. None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None
