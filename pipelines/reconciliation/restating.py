"""What past requests would have cost at another price: restatements, while `cost_usd` stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.billing.restatements import Restatement, read_all
from pipelines.errors import ReconciliationError
from pipelines.reconciliation.ours import prices_of
from pipelines.reports.periods import zone_of
from pipelines.reports.reports import opened
from pipelines.warehouse import sqlfiles
from router.catalog.catalog import Catalog
from router.catalog.price_entries import PriceEntry
from router.catalog.prices import Usage, cost
from router.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from router.catalog.prices import Price
    from router.config import Settings

SOURCE = "prices restate"
LINE = ("month", "organization_id", "model", "provider", "price_id", "service_tier")
"""The line of a bill that a restatement changes."""
BATCH = 20_000
RATES = ("input", "output", "cached_input", "cache_write", "reasoning")
"""The rates that `--price` names, in dollars per million tokens."""


@dataclass(slots=True)
class _Sums:
    old_usd: Decimal = Decimal(0)
    new_usd: Decimal = Decimal(0)
    requests: int = 0
    without_old: int = 0


def restate(
    settings: Settings, model: str, price: str, *, since: datetime, until: datetime, reason: str | None = None
) -> list[Restatement]:
    """The restatements of a model's requests, by month, organisation, price and tier.

    `price` are rates (`input=1.25,output=10`) or the id of a price row. A month is one of the organisation's
    zone. Charges that are not by token stay. ReconciliationError if there is nothing to restate.
    """
    catalog = Catalog.load(settings.catalog_file)
    known = prices_of(settings, catalog)
    new = _price(price, known, since)
    zones: dict[str | None, ZoneInfo] = {}
    sums: dict[tuple[Any, ...], _Sums] = {}
    with opened(settings) as connection:
        cursor = connection.execute(
            sqlfiles.load("reconciliation/priced_requests").text,
            {"model": model, "since": since, "until": until},
        )
        while rows := cursor.fetchmany(BATCH):
            for moment, organization, named, provider, price_id, tier, paid, *tokens in rows:
                usage = Usage(*tokens)._replace(
                    service_tier=tier
                )  # the statement has the order of its fields
                now = cost(usage, new, moment)
                if now is None:
                    continue  # its usage or its tier is not known at the new price
                before = cost(usage, known.get(price_id), moment)
                other = Decimal(0) if paid is None or before is None else paid - before
                if organization not in zones:
                    zones[organization] = zone_of(settings, organization)
                month = f"{moment.astimezone(zones[organization]):%Y-%m}"
                found = sums.setdefault((month, organization, named, provider, price_id, tier), _Sums())
                found.requests += 1
                found.new_usd += now + other
                found.old_usd += paid or 0
                found.without_old += paid is None
    restated = _rows(sums, reason or f"price {price}")
    if not restated:
        raise ReconciliationError(
            f"no request of `{model}` from {since.astimezone(UTC):%Y-%m-%d} to"
            f" {until.astimezone(UTC):%Y-%m-%d} has tokens to price:"
            f" {nearest(model, catalog.models)}. Give the model's id in the catalog, and days that it served"
        )
    return restated


def require_new(settings: Settings, rows: Sequence[Restatement]) -> None:
    """ReconciliationError if restatements of the same lines are kept: both would count."""
    kept = {tuple(old[name] for name in LINE) for old in read_all(settings) if old["source"] == SOURCE}
    for row in rows:
        if tuple(getattr(row, name) for name in LINE) in kept:
            raise ReconciliationError(
                f"requests of `{row.model}` in {row.month} at `{row.price_id}` are restated already, and both"
                " restatements would count: see `billing_restatements`. Add --dry-run to compare"
            )


def _rows(sums: dict[tuple[Any, ...], _Sums], reason: str) -> list[Restatement]:
    return [
        Restatement(
            month=month,
            organization_id=organization,
            model=named,
            provider=provider,
            price_id=price_id,
            service_tier=tier,
            old_requests=found.requests,
            new_requests=found.requests,
            old_usd=found.old_usd if found.without_old < found.requests else None,
            new_usd=found.new_usd,
            reason=reason,
            source=SOURCE,
        )
        for (month, organization, named, provider, price_id, tier), found in sorted(
            sums.items(), key=lambda item: str(item[0])
        )
    ]


def _price(text: str, known: dict[str, Price], since: datetime) -> Price:
    """The row of an id, or a row of the rates. ReconciliationError for neither."""
    if text in known:
        return known[text]
    if "=" not in text:
        raise ReconciliationError(
            f"no price row `{text}`: {nearest(text, known)}; `intellirouter prices list` names them."
            " Or give rates: input=1.25,output=10"
        )
    rates: dict[str, Decimal] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in RATES:
            raise ReconciliationError(f"--price knows no `{name}`: {nearest(name, RATES)}")
        try:
            rates[f"{name}_usd_per_mtok"] = Decimal(value)
        except ArithmeticError:
            raise ReconciliationError(
                f"--price has `{value}` for `{name}`: write dollars per million tokens"
            ) from None
    if "input_usd_per_mtok" not in rates:
        raise ReconciliationError("--price needs `input`: write input=1.25,output=10")
    is_free = not rates["input_usd_per_mtok"] or rates.get("output_usd_per_mtok") == 0
    try:
        entry = PriceEntry.model_validate({"start": since, "is_free": is_free, **rates})
        return entry.to_price("restated")
    except ValueError as error:
        raise ReconciliationError(f"--price `{text}` cannot be used: {error}") from error
