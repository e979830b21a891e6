"""Bills: exact sums of known costs, by line, for the months of any time zone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from pipelines import flow
from pipelines.billing.bill import monthly_bill
from pipelines.errors import BillError, QueryError
from pipelines.warehouse.warehouse import Warehouse
from router.records import RequestRecord
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.config import Settings

OCTOBER = datetime(2026, 10, 15, 12, tzinfo=UTC)
ZONES = ("Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide", "Europe/Berlin", "America/New_York")
"""Offsets of 30 and 45 minutes, and changes of time in October or November."""


def refresh(settings: Settings) -> None:
    """The whole refresh, without Dagster."""
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)


def traffic(count: int, seed: int) -> list[RequestRecord]:
    """Requests of two organisations, dense around the ends of October and November in every zone."""
    rng = random.Random(seed)
    edges = [datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11, 12)]
    records = []
    for _ in range(count):
        has_cost = rng.random() < 0.8
        records.append(
            make_record(
                rng.choice(edges) + timedelta(seconds=rng.randrange(-16 * 3600, 16 * 3600)),
                organization_id=rng.choice(["acme", "globex", None]),
                model_answered=rng.choice(["large-2026", None]),
                service_tier=rng.choice(["flex", None]),
                price_id=rng.choice(["a@1", "b@1"]) if has_cost else None,
                cost_usd=Decimal(rng.randrange(10**12)).scaleb(-12) if has_cost else None,
                tokens_cached_input=rng.choice([None, 7]),
                success=has_cost,
            )
        )
    return records


def raw_sums(records: list[RequestRecord], zone: str, month: str) -> dict[Any, tuple[int, Decimal]]:
    """Requests and cost of a local month by organisation, added up in Python."""
    sums: dict[Any, tuple[int, Decimal]] = {}
    for record in records:
        if f"{record.timestamp.astimezone(ZoneInfo(zone)):%Y-%m}" == month:
            count, cost = sums.get(record.organization_id, (0, Decimal(0)))
            sums[record.organization_id] = count + 1, cost + (record.cost_usd or 0)
    return sums


def billed_sums(settings: Settings, zone: str | None, month: str) -> dict[Any, tuple[int, Decimal]]:
    """The same from the bill."""
    sums: dict[Any, tuple[int, Decimal]] = {}
    for row in monthly_bill(settings, month, zone=zone).rows:
        count, cost = sums.get(row["organization_id"], (0, Decimal(0)))
        sums[row["organization_id"]] = count + row["requests"], cost + (row["billed_cost_usd"] or 0)
    return sums


def test_a_bill_equals_the_raw_rows_in_every_zone(settings: Settings) -> None:
    """To the last decimal, for months that begin and end within an hour of UTC, over changes of time."""
    records = traffic(1500, seed=1)
    seal_records(settings, records)
    refresh(settings)
    for zone in ZONES:
        for month in ("2026-10", "2026-11"):
            assert billed_sums(settings, zone, month) == raw_sums(records, zone, month), (zone, month)


@pytest.mark.smoke
def test_lines_hold_what_is_known(settings: Settings) -> None:
    """By organisation, answered model, price and tier; an unknown cost is counted apart and in no sum."""
    unknown: dict[str, Any] = {"cost_usd": None, "price_id": None, "success": False}
    seal_records(
        settings,
        [
            make_record(OCTOBER, model_answered="large-2026", price_id="a@1", service_tier="flex"),
            make_record(OCTOBER, model_answered="large-2026", price_id="a@1", service_tier="flex"),
            make_record(OCTOBER, tokens_input=None, tokens_output=None, **unknown),
        ],
    )
    refresh(settings)
    rows = monthly_bill(settings, "2026-10", organization="acme").rows
    shown = (
        "model",
        "price_id",
        "service_tier",
        "requests",
        "requests_unknown_cost",
        "failures",
        "tokens_input",
    )
    assert [
        tuple(row[name] for name in (*shown, "contracted_cost_usd", "billed_cost_usd")) for row in rows
    ] == [
        ("large", None, None, 1, 1, 1, None, None, None),
        ("large-2026", "a@1", "flex", 2, 0, 0, 200, Decimal("0.003"), Decimal("0.003")),
    ]


@pytest.mark.smoke
def test_the_table_follows_the_records(settings: Settings, query: Callable[..., list[Any]]) -> None:
    """`billing_records` has the lines of every month, provisional while it is open."""
    seal_records(settings, [make_record(OCTOBER), make_record(OCTOBER + timedelta(days=30))])
    refresh(settings)
    sql = "select month, status, requests, time_zone from billing_records order by month"
    assert query(sql) == [("2026-10", "provisional", 1, "UTC"), ("2026-11", "provisional", 1, "UTC")]
    seal_records(settings, [make_record(OCTOBER)])
    refresh(settings)
    assert query(sql)[0] == ("2026-10", "provisional", 2, "UTC")


def test_an_organisations_zone_and_terms_hold(settings: Settings) -> None:
    """Its months begin at its midnight, and its mark-up or discount is on the billed cost only."""
    settings.home.mkdir(parents=True)
    (settings.home / "organizations.yaml").write_text(
        "organizations: [{id: acme, time_zone: Asia/Kolkata, mark_up: 0.1}, {id: globex, discount: 0.5}]"
    )
    late = datetime(2026, 9, 30, 18, 30, tzinfo=UTC)  # midnight in Kolkata
    seal_records(settings, [make_record(late), make_record(late, organization_id="globex")])
    refresh(settings)
    ((acme,), (globex,)) = (monthly_bill(settings, month).rows for month in ("2026-10", "2026-09"))
    assert (acme["organization_id"], acme["time_zone"]) == ("acme", "Asia/Kolkata")
    assert (acme["contracted_cost_usd"], acme["billed_cost_usd"]) == (Decimal("0.0015"), Decimal("0.00165"))
    assert (globex["organization_id"], globex["billed_cost_usd"]) == ("globex", Decimal("0.00075"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"month": "Nov 2026"}, QueryError, "`Nov 2026` is no month: give one such as `2026-11`"),
        ({"month": "2026-13"}, QueryError, "`2026-13` is no m"),
        ({"month": "2026-10", "organization": "acmee"}, QueryError, "unknown organisation `acmee`.*`acme`"),
        ({"month": "2026-10", "currency": "EUR"}, QueryError, "bills are in `USD`.*not in `EUR`"),
        ({"month": "2026-10", "zone": "local"}, QueryError, "`local` is not a time zone"),
        ({"month": "2026-12"}, BillError, "no requests in `2026-12`: the last months .* `2026-10`"),
    ],
)
def test_a_bill_that_cannot_be_made_is_an_error(
    settings: Settings, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Never an empty table: it would read as nothing to pay."""
    seal_records(settings, [make_record(OCTOBER)])
    refresh(settings)
    with pytest.raises(error, match=message):
        monthly_bill(settings, **options)
