"""A closed month never changes: later changes are restatements, with old, new and reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from pipelines import flow, refresh
from pipelines.billing import closed, restatements
from pipelines.billing.bill import monthly_bill, status
from pipelines.billing.restatements import Restatement
from pipelines.errors import BillError, FrozenBillError, QueryError
from pipelines.flow import close_month
from pipelines.retention import retention
from pipelines.rollups.rollups import fold_stale_hours
from pipelines.warehouse.loading import load_all
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.errors import ConfigError
from router.keys import audit_trail
from router.records import Record
from tests.pipelines.helpers import make_record, seal_records, stopped_after

if TYPE_CHECKING:
    from router.config import Settings

OCTOBER = datetime(2026, 10, 15, 12, tzinfo=UTC)
AFTER = datetime(2026, 11, 3, tzinfo=UTC)


def load(settings: Settings, *records: Record) -> None:
    """Seal records, and refresh without Dagster."""
    seal_records(settings, records)
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)


def sums(settings: Settings, month: str = "2026-10") -> list[tuple[Any, ...]]:
    """Status, requests, billed cost and restated cost of each line."""
    names = ("organization_id", "status", "requests", "billed_cost_usd", "restated_usd")
    return [tuple(row[name] for name in names) for row in monthly_bill(settings, month).rows]


@pytest.mark.smoke
def test_late_records_are_a_restatement(settings: Settings, query: Any) -> None:
    """The closed line stays, and the difference is a row with old, new and reason, found once."""
    load(settings, make_record(OCTOBER))
    close_month(settings, "2026-10", now=AFTER)
    load(settings, make_record(OCTOBER, cost_usd=Decimal("0.25")))
    load(settings)
    assert sums(settings) == [("acme", "closed", 1, Decimal("0.0015"), Decimal("0.25"))]
    assert query(
        "select month, old_requests, new_requests, old_usd, new_usd, difference_usd, reason, source"
        " from billing_restatements"
    ) == [("2026-10", 1, 2, Decimal("0.0015"), Decimal("0.2515"), Decimal("0.25"), "late records", "refresh")]


def test_a_late_line_is_a_line_of_its_own(settings: Settings) -> None:
    """A model that no closed line has is shown with its cost, on the organisation's terms."""
    settings.home.mkdir(parents=True)
    (settings.home / "organizations.yaml").write_text("organizations: [{id: acme, mark_up: 1}]")
    load(settings, make_record(OCTOBER))
    close_month(settings, "2026-10", now=AFTER)
    load(settings, make_record(OCTOBER, model_selected="small", cost_usd=Decimal("0.25")))
    assert sums(settings) == [
        ("acme", "closed", 1, Decimal("0.003"), Decimal(0)),
        ("acme", "closed", 0, None, Decimal("0.5")),
    ]


def test_closed_lines_survive_rebuild_retention_and_erasure(settings: Settings, query: Any) -> None:
    """Frozen rows and restatements are in the lake, and name no person."""
    load(settings, make_record(OCTOBER), make_record(OCTOBER, user_id="u2"))
    close_month(settings, "2026-10", now=AFTER)
    load(settings, make_record(OCTOBER, user_id="u2"))
    frozen = {path: path.read_bytes() for path in (settings.lake / "bills").rglob("*.*")}
    tables = (
        "select * from billing_records order by all",
        "select * from billing_restatements order by all",
    )
    before = [query(table) for table in tables]
    assert len(before[1]) == 1
    flow.erase(settings, "u2")
    with Warehouse(settings) as warehouse:
        flow.retain(warehouse, now=AFTER + timedelta(days=400), force=True)
        assert warehouse.count("request_analytics") == 0
    with Warehouse(settings) as warehouse:
        set_aside(settings.build_file)
        flow.run_refresh(warehouse)
    assert [query(table) for table in tables] == before
    assert {path: path.read_bytes() for path in (settings.lake / "bills").rglob("*.*")} == frozen


def test_a_month_can_be_closed_after_its_raw_rows_expired(settings: Settings) -> None:
    """The rollup outlives the rows, so that lines are exact in the organisation's zone."""
    settings.home.mkdir(parents=True)
    (settings.home / "organizations.yaml").write_text(
        "organizations: [{id: acme, time_zone: Asia/Kathmandu}]"
    )
    edge = datetime(2026, 10, 31, 18, 15, tzinfo=UTC)  # midnight in Kathmandu
    load(settings, *(make_record(edge + timedelta(seconds=at), price_id="a@1") for at in (-1, 0, 1)))
    with Warehouse(settings) as warehouse:
        expiring = retention.plan_retention(warehouse, now=AFTER + timedelta(days=200))
        retention.remove_expired(warehouse, expiring)
        flow.run_refresh(warehouse)
        assert warehouse.count("request_analytics") == 0
    refresh.rebuild(settings)
    close_month(settings, "2026-10", now=AFTER)
    assert sums(settings) == [("acme", "closed", 1, Decimal("0.0015"), Decimal(0))]
    assert sums(settings, "2026-11")[0][2] == 2


def test_no_quarter_is_billed_twice_after_a_change_of_zone(settings: Settings) -> None:
    """A closed month keeps its zone, and the next one starts where it ends."""
    ends = [datetime(2026, 10, 31, 20, tzinfo=UTC), datetime(2026, 11, 30, 20, tzinfo=UTC)]
    load(settings, *map(make_record, ends))  # both are of the next day in Kolkata
    close_month(settings, "2026-10", now=AFTER)
    (settings.home / "organizations.yaml").write_text("organizations: [{id: acme, time_zone: Asia/Kolkata}]")
    load(settings)
    assert [sums(settings, month)[0][1:3] for month in ("2026-10", "2026-12")] == [
        ("closed", 1),
        ("provisional", 1),
    ]
    with pytest.raises(BillError, match="no requests in `2026-11`"):
        monthly_bill(settings, "2026-11")
    with pytest.raises(BillError, match=r"was closed in `UTC`.*cannot be shown in `Asia/Kolkata`"):
        monthly_bill(settings, "2026-10", zone="Asia/Kolkata")


def test_a_correction_counts_until_closing_and_is_apart_afterwards(settings: Settings) -> None:
    """A restatement of another source is in the bill of an open month, and never counted twice."""
    record = make_record(OCTOBER)
    load(settings, record)

    def correct(new: str) -> None:
        restatements.add(
            settings,
            [
                Restatement(
                    month="2026-10",
                    organization_id="acme",
                    model="large",
                    provider="fake",
                    price_id=None,
                    old_usd=Decimal("0.0015"),
                    new_usd=Decimal(new),
                    reason="corrected price",
                    source="prices restate",
                )
            ],
        )
        load(settings)

    correct("0.0010")
    assert sums(settings) == [("acme", "provisional", 1, Decimal("0.001"), Decimal(0))]
    close_month(settings, "2026-10", now=AFTER)
    assert sums(settings) == [("acme", "closed", 1, Decimal("0.001"), Decimal(0))]
    correct("0.0012")
    assert sums(settings) == [("acme", "closed", 1, Decimal("0.001"), Decimal("-0.0003"))]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"month": "2026-11"}, BillError, "`2026-11` is not over: it ends at 2026-12-01 00:00 UTC"),
        (
            {"month": "2026-11", "zone": ZoneInfo("America/New_York")},
            BillError,
            "ends at 2026-12-01 05:00 UTC, midnight in `America/New_York`",
        ),
        ({"month": "2026-10", "organization": "globe"}, QueryError, "unknown organisation `globe`.*`globex`"),
        ({"month": "2026-09"}, BillError, "nothing to bill in `2026-09`: .* `2026-10`"),
        ({"month": "October"}, QueryError, "`October` is no month"),
    ],
)
def test_a_close_that_cannot_be_writes_nothing(
    settings: Settings, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """No file and no event."""
    load(settings, make_record(OCTOBER), make_record(AFTER, organization_id="globex"))
    with pytest.raises(error, match=message):
        close_month(settings, now=AFTER, **options)
    assert not (settings.lake / "bills").exists()
    assert audit_trail.read_events(settings.compliance_file) == []


@pytest.mark.smoke
def test_a_month_is_closed_once(settings: Settings) -> None:
    """Organisations can be closed one by one; a second close names the first."""
    load(settings, make_record(OCTOBER), make_record(OCTOBER, organization_id="globex"))
    close_month(settings, "2026-10", organization="acme", now=AFTER)
    assert [row[:2] for row in sums(settings)] == [("acme", "closed"), ("globex", "provisional")]
    with pytest.raises(
        BillError, match=r"`2026-10` of `acme` is closed since 2026-11-03 00:00 UTC, in `UTC`"
    ):
        close_month(settings, "2026-10", organization="acme", now=AFTER)
    assert [bill.organization_id for bill in close_month(settings, "2026-10", now=AFTER).bills] == ["globex"]
    with pytest.raises(BillError, match="`2026-10` of `acme` is closed"):
        close_month(settings, "2026-10", now=AFTER)


def test_the_trail_vouches_for_the_bill(settings: Settings, query: Any) -> None:
    """The event holds the digest of the closed bill, and a changed file is refused by name."""
    load(settings, make_record(OCTOBER))
    closing = close_month(settings, "2026-10", now=AFTER)
    (event,) = audit_trail.read_events(settings.compliance_file)
    assert (event.action, event.subject, event.after["manifest_sha256"]) == (
        "bill.closed",
        "2026-10",
        closing.sha256,
    )
    assert query("select count(*) from compliance_logs where action = 'bill.closed'") == [(1,)]
    content = closing.lines.read_bytes()
    closing.lines.write_bytes(content[:-1] + b"x")
    with pytest.raises(FrozenBillError, match=rf"closed bill `{closing.path}`.*SHA-256; restore it"):
        closed.read_closings(settings)


@pytest.mark.parametrize("calls", range(3))
def test_a_stopped_close_closes_nothing_or_all(settings: Settings, calls: int) -> None:
    """Whatever step it stops before, the month is open, and closing again works."""
    load(settings, make_record(OCTOBER))
    steps = [(closed, "write_atomically"), (audit_trail, "recorded")]
    with pytest.raises(KeyboardInterrupt), stopped_after(calls, steps):
        close_month(settings, "2026-10", now=AFTER)
    assert closed.read_closings(settings) == []
    assert closed.unfinished(settings) == []
    load(settings)
    assert sums(settings)[0][1] == "provisional"
    close_month(settings, "2026-10", now=AFTER)
    assert sums(settings)[0][1] == "closed"
    assert [event.action for event in audit_trail.read_events(settings.compliance_file)] == ["bill.closed"]


def test_status_counts_what_a_refresh_would_restate(settings: Settings) -> None:
    """Each bill has its state and sums; the digest is that of the closed file."""
    load(settings, make_record(OCTOBER), make_record(AFTER))
    closing = close_month(settings, "2026-10", now=AFTER)
    seal_records(settings, [make_record(OCTOBER)])
    with Warehouse(settings) as warehouse:
        for step in (load_all, fold_stale_hours, publish_warehouse):
            step(warehouse)
    rows = status(settings).table.select(["month", "status", "requests", "lines_to_restate", "sha256"])
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("2026-10", "closed", 1, 1, closing.sha256),
        ("2026-11", "provisional", 1, 0, None),
    ]


@pytest.mark.parametrize("fault", ["closed bill", "organizations.yaml"])
def test_a_file_that_cannot_be_used_stops_no_refresh(settings: Settings, query: Any, fault: str) -> None:
    """The bills stay as they were, and everything else is loaded and published; closing is refused."""
    load(settings, make_record(OCTOBER), make_record(OCTOBER - timedelta(days=30)))
    closing = close_month(settings, "2026-10", now=AFTER)
    before = query("select * from billing_records order by all")
    path = closing.lines if fault == "closed bill" else settings.home / "organizations.yaml"
    path.write_bytes(b"organizations: [{id: 1")
    load(settings, make_record(OCTOBER))
    assert query("select count(*) from request_analytics") == [(3,)]
    assert query("select * from billing_records order by all") == before
    with pytest.raises((FrozenBillError, ConfigError), match=re.escape(path.stem)):
        close_month(settings, "2026-09", now=AFTER)
    assert len(list((settings.lake / "bills" / "month=2026-10").iterdir())) == 2
    assert not (settings.lake / "bills" / "month=2026-09").exists()
