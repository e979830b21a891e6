"""A small warehouse whose every figure is worked out by hand.

June 2026, UTC: two organisations, a request without one, an unknown cost, a failure that was paid for, and a
request in the last hours of the month, which other time zones count to July.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines import flow
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.records import Tag
from router.serving.recording import REDIRECTED
from tests.pipelines.helpers import make_feedback, make_record, seal_records

if TYPE_CHECKING:
    from router.config import Settings
    from router.records import Record

SINCE, UNTIL = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


def records() -> list[Record]:
    """The requests, and what people judged of them."""
    first = make_record(
        _at("06-10T10:00"),
        api_key_id="k1",
        task_type="chat",
        cost_usd=Decimal("0.5"),
        tokens_cached_input=20,
        latency_ms=100.0,
        ttft_ms=10.0,
        tags=[Tag(key="team", value="a")],
    )
    redirected = make_record(
        _at("06-10T11:00"),
        api_key_id="k1",
        task_type="chat",
        model_selected="small",
        cost_usd=Decimal("0.25"),
        tokens_input=200,
        tokens_output=100,
        latency_ms=300.0,
        model_answered="another",
        reason=f"test; {REDIRECTED} `another`",
        tags=[Tag(key="team", value="b")],
    )
    unknown = make_record(
        _at("06-11T10:00"),
        user_id="u2",
        api_key_id="k2",
        task_type="code",
        cost_usd=None,
        tokens_cached_input=30,
        latency_ms=500.0,
    )
    failed = make_record(
        _at("06-11T23:30"),
        user_id="u2",
        api_key_id="k2",
        task_type="code",
        cost_usd=Decimal("0.125"),
        success=False,
        status_code=503,
        error_type="provider_error",
        latency_ms=900.0,
    )
    explored = make_record(
        _at("06-12T10:00"),
        organization_id="globex",
        user_id="u9",
        api_key_id="k9",
        task_type="chat",
        cost_usd=Decimal(1),
        latency_ms=200.0,
        is_exploration=True,
    )
    last = make_record(
        _at("06-30T19:45"),
        organization_id="globex",
        user_id="u9",
        api_key_id="k9",
        task_type="chat",
        model_selected="small",
        cost_usd=Decimal("0.0625"),
        latency_ms=400.0,
    )
    nobodys = make_record(
        _at("06-15T12:00"),
        organization_id=None,
        user_id=None,
        api_key_id=None,
        task_type="chat",
        model_selected="small",
        cost_usd=Decimal("0.03125"),
        latency_ms=600.0,
    )
    earlier = make_record(_at("05-20T10:00"), api_key_id="k1", task_type="chat", cost_usd=Decimal("0.25"))
    requests = [first, redirected, unknown, failed, explored, last, nobodys, earlier]
    return [*requests, make_feedback(first, 1.0), make_feedback(unknown, 0.5)]


SAVING: dict[str, Any] = {
    "baseline": "large",
    "environment": "production",
    "since": SINCE,
    "as_of": UNTIL,
    "requests": 4,
    "supported_share": 0.75,
    "effective": 4.0,
    "cost_usd": 0.875,
}
SAVINGS = [
    SAVING
    | {"scope": "all", "organization_id": None, "saved_usd": 0.5, "saved_usd_low": 0.25}
    | {"saved_usd_high": 0.75, "quality_difference": -0.125, "reason": None},
    SAVING
    | {"scope": "organization", "organization_id": "globex", "saved_usd": None, "saved_usd_low": None}
    | {"saved_usd_high": None, "quality_difference": None, "reason": "too few requests"},
]
RESULT: dict[str, Any] = {
    "experiment_id": "experiment-7",
    "metric": "cost_usd",
    "requests": 3,
    "observations": 3,
}
RESULTS = [
    RESULT
    | {"variant": "control", "is_control": True, "mean": 0.5, "difference": None, "verdict": "control"},
    RESULT
    | {"variant": "cheap", "is_control": False, "mean": 0.25, "difference": -0.25, "verdict": "better"},
]


BUDGET: dict[str, Any] = {
    "budget_id": "month",
    "scope": "organization",
    "period": "month",
    "mode": "hard",
    "period_start": SINCE,
    "period_end": UNTIL,
    "as_of": UNTIL,
    "limit_usd": Decimal(4),
    "alert_at": [0.5],
}
BUDGETS = [
    BUDGET
    | {"organization_id": "acme", "requests": 4, "requests_without_cost": 1, "spent_usd": Decimal("0.875")}
    | {"remaining_usd": Decimal("3.125"), "spent_share": 0.21875, "projected_usd": Decimal(3)}
    | {"projected_share": 0.75},
    BUDGET
    | {"organization_id": "globex", "requests": 2, "requests_without_cost": 0, "spent_usd": Decimal("1.0625")}
    | {"remaining_usd": Decimal("2.9375"), "spent_share": 0.265625, "projected_usd": None}
    | {"projected_share": None},
]
ANOMALY: dict[str, Any] = {
    "environment": "production",
    "scope": "organization",
    "metric": "requests",
    "since": _at("06-12T10:00"),
    "detected_at": _at("06-12T11:00"),
    "ended_at": None,
    "expected_low": 1.0,
    "expected_high": 3.0,
    "contributors": "[]",
}
ANOMALIES = [
    ANOMALY | {"anomaly_id": "a1", "incident_id": "i1", "subject": "globex", "expected": 2.0, "seen": 9.0},
    ANOMALY | {"anomaly_id": "a2", "incident_id": "i2", "subject": "acme", "expected": 0.0, "seen": 5.0},
]
RECONCILIATION: dict[str, Any] = {
    "provider": "openai",
    "catalog_providers": "fake",
    "timezone": "UTC",
    "matched_by": "group",
    "differing_usd": Decimal(0),
    "unexplained_usd": Decimal(0),
    "explained_share": None,
    "reconciled_at": UNTIL,
}
RECONCILIATIONS = [
    RECONCILIATION
    | {"id": "b1", "file_name": "june.csv", "first_day": date(2026, 6, 1), "last_day": date(2026, 6, 30)}
    | {"ours_usd": Decimal("1.5"), "theirs_usd": Decimal("1.875"), "difference_usd": Decimal("0.375")},
    RECONCILIATION
    | {"id": "b2", "file_name": "may.csv", "first_day": date(2026, 5, 1), "last_day": date(2026, 5, 31)}
    | {"ours_usd": Decimal("0.25"), "theirs_usd": Decimal("0.25"), "difference_usd": Decimal(0)},
]
PART: dict[str, Any] = {"reconciliation_id": "b1", "day": date(2026, 6, 10), "kind": "input"}
PARTS = [
    PART | {"cause": cause, "ours_usd": ours, "theirs_usd": theirs, "difference_usd": difference}
    for cause, ours, theirs, difference in (
        (None, Decimal(1), Decimal(1), Decimal(0)),
        ("price", Decimal("0.5"), Decimal("0.625"), Decimal("0.125")),
        ("missing_here", None, Decimal("0.25"), Decimal("0.25")),
    )
]
PARTS.append(PARTS[0] | {"reconciliation_id": "b2"})


def fill(settings: Settings, found: list[Record] | None = None) -> Settings:
    """Publish the warehouse of these records."""
    seal_records(settings, records() if found is None else found)
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
    return settings


def fill_marts(settings: Settings) -> None:
    """Put rows into the marts that the records do not fill, and publish them."""
    with Warehouse(settings) as warehouse:
        warehouse.replace_rows("savings", SAVINGS)
        warehouse.replace_rows("budget_status", BUDGETS)
        warehouse.replace_rows("anomalies", ANOMALIES)
        warehouse.replace_rows("reconciliations", RECONCILIATIONS)
        warehouse.replace_rows("reconciliation_differences", PARTS)
        warehouse.replace_rows("experiment_results", RESULTS)
        publish_warehouse(warehouse)
