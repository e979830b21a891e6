"""Our side: the recorded requests of the days of a bill, as sides by group or by request."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.errors import ReconciliationError
from pipelines.reconciliation.bills import STANDARD, TOKEN_KINDS, ZERO
from pipelines.reconciliation.names import Names, providers_of
from pipelines.reconciliation.rates import per_token, rate_lists
from pipelines.reconciliation.sides import Key, Side
from pipelines.warehouse import sqlfiles
from router.catalog.catalog import Catalog
from router.catalog.price_book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date
    from zoneinfo import ZoneInfo

    import duckdb

    from pipelines.reconciliation.bills import Bill, Kind
    from pipelines.reconciliation.cells import Rate
    from pipelines.reconciliation.exports.reading import Shape
    from router.catalog.prices import Price
    from router.config import Settings

BATCH = 20_000
AROUND = timedelta(days=1)
"""A request near midnight may be on the bill of the next day, so those of a day around are looked at."""


@dataclass(slots=True, kw_only=True)
class Ours:
    """The requests that a bill should hold."""

    connection: duckdb.DuckDBPyConnection
    bill: Bill
    zone: ZoneInfo
    names: Names
    providers: list[str]
    prices: dict[str, Price]
    _rates: dict[tuple[str | None, str | None, Kind], dict[date, Rate]] = field(default_factory=dict)
    _tiers: dict[Key, set[str]] = field(default_factory=dict)
    _tier_rates: dict[Key, dict[str, dict[Kind, Decimal]]] = field(default_factory=dict)
    _models: list[tuple[str, str | None]] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        settings: Settings,
        connection: duckdb.DuckDBPyConnection,
        bill: Bill,
        *,
        zone: ZoneInfo,
        shape: Shape | None,
        asked: Collection[str],
    ) -> Ours:
        """ReconciliationError if no request of these days is of the bill's provider, or they have expired."""
        since, until = bounds(bill, zone)
        _require_kept(connection, since)
        catalog = Catalog.load(settings.catalog_file)
        found = connection.execute(
            sqlfiles.load("reconciliation/our_models").text,
            {"since": since - AROUND, "until": until + AROUND},
        ).fetchall()
        recorded = {row[0] for row in found if row[0] is not None}
        names = Names(catalog=catalog)
        providers = providers_of(shape, catalog, recorded, asked)
        ours = cls(
            connection=connection,
            bill=bill,
            zone=zone,
            names=names,
            providers=providers,
            prices=prices_of(settings, catalog),
        )
        ours._models = sorted({(row[1], row[2]) for row in found if row[0] in providers}, key=str)
        return ours

    def requests(self) -> Iterator[tuple[str | None, Key, Side]]:
        """Each request with the provider's id, and one side for those of a group without."""
        yield from self._sides(by_id=True, around=AROUND)

    def groups(self) -> dict[Key, Side]:
        """All requests by group."""
        found: dict[Key, Side] = {}
        for _, key, side in self._sides(by_id=False, around=timedelta(0)):
            found.setdefault(key, Side()).add(side)
        return found

    def rate_of(self, key: Key, kind: Kind) -> Rate | None:
        """The price of a token by the nearest day of the model and tier, else by the catalog."""
        known = self._rates.get((key.model, key.tier, kind))
        if known:
            return known[min(known, key=lambda day: abs(day - key.day))]
        noon = datetime.combine(key.day, time(12), self.zone)
        for model in self.names.catalog.models.values():
            price = model.price_at(noon) if model.provider_model == key.model else None
            rates = None if price is None else price.rates_at(noon, 0, key.tier)
            if rates is not None and kind in per_token(rates):
                return (per_token(rates)[kind],) * 2
        return None

    def widest_of(self, key: Key, kind: Kind) -> Rate | None:
        """The lowest and the highest price of a token of a model and tier on all days."""
        days = self._rates.get((key.model, key.tier, kind))
        if not days:
            return self.rate_of(key, kind)
        return min(low for low, _ in days.values()), max(high for _, high in days.values())

    def tier_rates(self, key: Key) -> dict[str, dict[Kind, Decimal]]:
        """The catalog's prices of a token by tier. Empty if the bill names tiers."""
        if self.bill.has_tiers:
            return {}
        if key not in self._tier_rates:
            self._tier_rates[key] = dict(self._catalog_tiers(key))
        return self._tier_rates[key]

    def _catalog_tiers(self, key: Key) -> Iterator[tuple[str, dict[Kind, Decimal]]]:
        noon = datetime.combine(key.day, time(12), self.zone)
        for model in self.names.catalog.models.values():
            price = model.price_at(noon) if model.provider_model == key.model else None
            if price is not None and price.service_tiers and not price.windows:
                for tier in (STANDARD, *(entry.name for entry in price.service_tiers)):
                    rates = price.rates_at(noon, 0, tier)
                    if rates is not None:
                        yield tier, per_token(rates)
                return

    def _sides(self, *, by_id: bool, around: timedelta) -> Iterator[tuple[str | None, Key, Side]]:
        since, until = bounds(self.bill, self.zone)
        parameters: dict[str, Any] = {
            **rate_lists(self.prices.values(), STANDARD),
            "selected": [selected for selected, _ in self._models],
            "answered": [answered for _, answered in self._models],
            "named": [self.names.ours(*pair) for pair in self._models],
            "providers": self.providers,
            "zone": self.zone.key,
            "since": since - around,
            "until": until + around,
            "by_id": by_id,
        }
        cursor = self.connection.execute(sqlfiles.load("reconciliation/our_requests").text, parameters)
        names = [item[0] for item in cursor.description or []]
        while rows := cursor.fetchmany(BATCH):
            for values in rows:
                row = dict(zip(names, values, strict=True))
                key = self._key(row)
                side = _side(row)
                side.fold(self.bill.kinds)
                for kind, (low, high) in side.rates.items():
                    days = self._rates.setdefault((key.model, key.tier, kind), {})
                    before = days.get(key.day, (low, high))
                    days[key.day] = (min(low, before[0]), max(high, before[1]))
                yield row["request_id"], key, side

    def tiers(self, key: Key) -> int:
        """The number of tiers of ours in a group."""
        return len(self._tiers.get(key, ())) or 1

    def _key(self, row: dict[str, Any]) -> Key:
        model = row["model"] if self.bill.has_models else None
        tier = row["service_tier"] if self.bill.has_tiers else None
        key = Key(row["day"], model, tier)
        self._tiers.setdefault(key, set()).add(row["service_tier"])
        return key


def bounds(bill: Bill, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The moments at which the bill's days start and end."""
    start = datetime.combine(bill.since, time(0), zone)
    end = datetime.combine(bill.until + timedelta(days=1), time(0), zone)
    return start.astimezone(UTC), end.astimezone(UTC)


def prices_of(settings: Settings, catalog: Catalog) -> dict[str, Price]:
    """Every price of the catalog and of the price book, by its id."""
    found = {price.price_id: price for model in catalog.models.values() for price in model.prices}
    try:
        book = PriceBook.read(settings.price_book_file)
    except FileNotFoundError:
        return found
    for ref in book.models:
        for price in book.prices(ref):
            found.setdefault(price.price_id, price)
    return found


def _side(row: dict[str, Any]) -> Side:
    side = Side(
        requests=row["requests"],
        without_cost=row["requests"] - row["requests_with_cost"],
        without_usage=row["requests_without_usage"],
    )
    for kind in TOKEN_KINDS:
        if row[f"tokens_{kind}"]:
            side.tokens[kind] = Decimal(row[f"tokens_{kind}"])
        if row[f"usd_{kind}"]:
            side.usd[kind] = row[f"usd_{kind}"]
        low, high = row[f"low_{kind}"], row[f"high_{kind}"]
        if low is not None:
            side.rates[kind] = (low.scaleb(-6), high.scaleb(-6))
    if row["usd_tools"]:
        side.usd["tools"] = row["usd_tools"]
    if row["usd_unsplit"]:
        side.usd["total"] = row["usd_unsplit"]
    if not side.usd and row["usd_total"] is not None:
        side.usd["total"] = ZERO
    return side


def _require_kept(connection: duckdb.DuckDBPyConnection, since: datetime) -> None:
    row = connection.execute(sqlfiles.load("retention/expired_before").text).fetchone()
    if row is not None and row[0] is not None and since < row[0]:
        raise ReconciliationError(
            f"the requests of before {row[0]:%Y-%m-%d} have expired, and the bill starts on"
            f" {since:%Y-%m-%d}: compare bills within ANALYTICS_RETENTION_DAYS, or give --since"
        )
