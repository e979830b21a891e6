"""Every report against figures that were worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipelines.errors import QueryError
from pipelines.reports import reports
from pipelines.reports.pages.questions import question_of
from pipelines.reports.periods import month
from router.config import Settings
from tests.pipelines.reports import fixed

D = Decimal
EXPECTED: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {
    "daily-usage": (
        ("day", "organization_id", "daily_cost", "request_count", "requests_with_cost", "success_rate"),
        [
            (date(2026, 6, 10), "acme", D("0.75"), 2, 2, 1.0),
            (date(2026, 6, 11), "acme", D("0.125"), 2, 1, 0.5),
            (date(2026, 6, 12), "globex", D(1), 1, 1, 1.0),
            (date(2026, 6, 15), None, D("0.03125"), 1, 1, 1.0),
            (date(2026, 6, 30), "globex", D("0.0625"), 1, 1, 1.0),
        ],
    ),
    "month-by-month": (
        ("month", "requests", "requests_with_cost", "cost_usd", "change_usd", "change_share"),
        [(date(2026, 6, 1), 7, 6, D("1.96875"), None, None)],
    ),
    "cost-per-task": (
        ("task_type", "model_selected", "requests", "requests_with_cost", "cost_usd", "quality_mean"),
        [
            ("chat", "large", 2, 2, D("1.5"), 1.0),
            ("chat", "small", 3, 3, D("0.34375"), None),
            ("code", "large", 2, 1, D("0.125"), 0.5),
        ],
    ),
    "cost-per-model": (
        ("model_selected", "provider", "requests", "requests_with_cost", "cost_usd", "tokens_input"),
        [("large", "fake", 4, 3, D("1.625"), 400), ("small", "fake", 3, 3, D("0.34375"), 400)],
    ),
    "cost-per-organization": (
        ("organization_id", "requests", "requests_with_cost", "cost_usd"),
        [("globex", 2, 2, D("1.0625")), ("acme", 4, 3, D("0.875")), (None, 1, 1, D("0.03125"))],
    ),
    "cost-per-user": (
        ("organization_id", "user_id", "requests", "requests_with_cost", "cost_usd"),
        [
            ("globex", "u9", 2, 2, D("1.0625")),
            ("acme", "u1", 2, 2, D("0.75")),
            ("acme", "u2", 2, 1, D("0.125")),
            (None, None, 1, 1, D("0.03125")),
        ],
    ),
    "cost-per-key": (
        ("organization_id", "api_key_id", "requests", "requests_with_cost", "cost_usd"),
        [
            ("globex", "k9", 2, 2, D("1.0625")),
            ("acme", "k1", 2, 2, D("0.75")),
            ("acme", "k2", 2, 1, D("0.125")),
            (None, None, 1, 1, D("0.03125")),
        ],
    ),
    "cost-per-tag": (
        ("tag", "value", "requests", "requests_with_cost", "cost_usd"),
        [
            ("team", None, 5, 4, D("1.21875")),
            ("team", "a", 1, 1, D("0.5")),
            ("team", "b", 1, 1, D("0.25")),
        ],
    ),
    "top-growth": (
        (
            "organization_id",
            "task_type",
            "model_selected",
            "requests_before",
            "cost_usd_before",
            "growth_usd",
        ),
        [
            ("globex", "chat", "large", 0, D(0), D(1)),
            ("acme", "chat", "large", 1, D("0.25"), D("0.25")),
            ("acme", "chat", "small", 0, D(0), D("0.25")),
            ("acme", "code", "large", 0, D(0), D("0.125")),
            ("globex", "chat", "small", 0, D(0), D("0.0625")),
            (None, "chat", "small", 0, D(0), D("0.03125")),
        ],
    ),
    "unknown-cost": (
        ("provider", "model_selected", "requests", "requests_without_cost", "unknown_share"),
        [("fake", "large", 4, 1, 0.25)],
    ),
    "savings": (
        ("scope", "organization_id", "saved_usd", "saved_usd_low", "saved_usd_high", "reason"),
        [
            ("all", None, 0.5, 0.25, 0.75, None),
            ("organization", "globex", None, None, None, "too few requests"),
        ],
    ),
    "model-comparison": (
        ("task_type", "model_selected", "requests", "quality_mean", "efficiency_ratio", "avg_latency"),
        [
            ("chat", "small", 3, None, 0.5, 1300 / 3),
            ("chat", "large", 2, 1.0, 0.5, 150.0),
            ("code", "large", 1, 0.5, 0.5, 500.0),
        ],
    ),
    "quality-trend": (
        ("day", "requests", "requests_with_cost", "cost_usd", "requests_with_quality", "quality_mean"),
        [
            (date(2026, 6, 10), 2, 2, D("0.75"), 1, 1.0),
            (date(2026, 6, 11), 2, 1, D("0.125"), 1, 0.5),
            (date(2026, 6, 12), 1, 1, D(1), 0, None),
            (date(2026, 6, 15), 1, 1, D("0.03125"), 0, None),
            (date(2026, 6, 30), 1, 1, D("0.0625"), 0, None),
        ],
    ),
    "cache-share": (
        (
            "model_selected",
            "requests",
            "requests_with_cache",
            "tokens_input",
            "tokens_cached_input",
            "cached_share",
        ),
        [("large", 4, 2, 200, 50, 0.25), ("small", 3, 0, None, None, None)],
    ),
    "latency": (
        ("task_type", "model_selected", "requests", "latency_ms_p50", "ttft_ms_p50"),
        [
            ("chat", "small", 3, 400.0, None),
            ("chat", "large", 2, 150.0, 10.0),
            ("code", "large", 1, 500.0, None),
        ],
    ),
    "failures": (
        ("model_selected", "provider", "error_type", "status_code", "failures", "cost_usd"),
        [("large", "fake", "provider_error", 503, 1, D("0.125"))],
    ),
    "exploration-share": (
        ("day", "task_type", "requests", "explorations"),
        [
            (date(2026, 6, 10), "chat", 2, 0),
            (date(2026, 6, 11), "code", 2, 0),
            (date(2026, 6, 12), "chat", 1, 1),
            (date(2026, 6, 15), "chat", 1, 0),
            (date(2026, 6, 30), "chat", 1, 0),
        ],
    ),
    "redirected-models": (
        ("day", "model_selected", "model_answered", "requests", "requests_without_cost", "cost_usd"),
        [(date(2026, 6, 10), "small", "another", 1, 0, D("0.25"))],
    ),
    "budgets": (
        ("budget_id", "organization_id", "spent_usd", "remaining_usd", "spent_share", "projected_share"),
        [
            ("month", "globex", D("1.0625"), D("2.9375"), 0.265625, None),
            ("month", "acme", D("0.875"), D("3.125"), 0.21875, 0.75),
        ],
    ),
    "unusual-traffic": (
        ("incident_id", "subject", "metric", "seen", "expected", "seen_by_expected"),
        [("i1", "globex", "requests", 9.0, 2.0, 4.5), ("i2", "acme", "requests", 5.0, 0.0, None)],
    ),
    "reconciliation": (
        ("file_name", "cause", "parts", "ours_usd", "theirs_usd", "difference_usd"),
        [
            ("june.csv", "missing_here", 1, None, D("0.25"), D("0.25")),
            ("june.csv", "price", 1, D("0.5"), D("0.625"), D("0.125")),
            ("june.csv", "both sides agree", 1, D(1), D(1), D(0)),
        ],
    ),
    "experiments": (
        ("experiment_id", "variant", "is_control", "mean", "difference", "verdict"),
        [
            ("experiment-7", "control", True, 0.5, None, "control"),
            ("experiment-7", "cheap", False, 0.25, -0.25, "better"),
        ],
    ),
}
ELSEWHERE = {"exploration-cost"}
"""Reports whose figures another test holds."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The published warehouse of `fixed`."""
    settings = fixed.fill(Settings.load({}, home=tmp_path_factory.mktemp("fixed") / "data"))
    fixed.fill_marts(settings)
    return settings


def rows(settings: Settings, name: str, columns: tuple[str, ...], **window: Any) -> list[tuple[Any, ...]]:
    """Some columns of a report's answer for June."""
    answer = reports.report(settings, name, **{"since": fixed.SINCE, "until": fixed.UNTIL, **window})
    found = answer.table.select(list(columns)).to_pylist()
    return [tuple(row.values()) for row in found]


def test_every_report_has_figures_by_hand() -> None:
    """A new report comes with its expected rows."""
    assert {*EXPECTED, *ELSEWHERE} == set(reports.report_names())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_report_has_the_figures_worked_out_by_hand(filled: Settings, name: str) -> None:
    """Every row of a report, in its order, is the one that a person computes from the records."""
    columns, expected = EXPECTED[name]
    assert rows(filled, name, columns) == expected


def test_a_month_is_compared_with_the_one_before_it(filled: Settings) -> None:
    """The change is against the month before, and the first month has none."""
    found = rows(
        filled,
        "month-by-month",
        ("month", "cost_usd", "change_usd", "change_share"),
        since=datetime(2026, 5, 1, tzinfo=UTC),
    )
    assert found == [
        (date(2026, 5, 1), D("0.25"), None, None),
        (date(2026, 6, 1), D("1.96875"), D("1.71875"), 6.875),
    ]


COSTS = [
    (name, next(column for column in columns if column in ("cost_usd", "daily_cost")))
    for name, (columns, _) in EXPECTED.items()
    if name not in ("failures", "redirected-models", "cost-per-tag")
    and any(column in ("cost_usd", "daily_cost") for column in columns)
]
"""The reports whose rows share nothing and leave nothing out, and their column of money."""


@pytest.mark.parametrize(("name", "column"), [*COSTS, ("top-growth", "cost_usd")])
def test_the_total_of_a_report_is_that_of_the_raw_rows(filled: Settings, name: str, column: str) -> None:
    """No request is lost or counted twice, to the last digit."""
    assert sum(cost for (cost,) in rows(filled, name, (column,)) if cost is not None) == D("1.96875")


ZONES = {
    "UTC": D("1.96875"),
    "Asia/Kolkata": D("1.90625"),  # the last request of June is in July there
    "America/Los_Angeles": D("1.96875"),
}


@pytest.mark.parametrize("zone", ZONES)
def test_a_local_month_has_the_total_of_its_raw_rows(filled: Settings, zone: str) -> None:
    """In each zone, every report of costs adds up to the requests of that local month."""
    june = month(ZoneInfo(zone), "2026-06")
    window = {"since": june.since, "until": june.until, "timezone": zone}
    answer = next(
        reports.answers(
            filled,
            "select sum(cost_usd) as cost_usd from request_analytics"
            " where timestamp >= cast($since as timestamptz) and timestamp < cast($until as timestamptz)",
            parameters={"since": june.since.isoformat(), "until": june.until.isoformat()},
        )
    )
    assert answer.table.to_pylist() == [{"cost_usd": ZONES[zone]}]
    for name, column in [*COSTS, ("top-growth", "cost_usd")]:
        found = rows(filled, name, (column,), **window)
        assert sum(cost for (cost,) in found if cost is not None) == ZONES[zone], name


def test_the_rows_of_a_tag_add_up_to_all_requests(filled: Settings) -> None:
    """The requests without the tag are a row of their own."""
    found = rows(filled, "cost-per-tag", ("requests", "cost_usd"))
    assert (sum(row[0] for row in found), sum(row[1] for row in found)) == (7, D("1.96875"))


@pytest.mark.parametrize("name", [name for name in EXPECTED if question_of(name).is_by_organization])
def test_an_organisation_sees_its_own_rows_only(filled: Settings, name: str) -> None:
    """No report shows a name or an amount of another organisation."""
    answer = reports.report(filled, name, since=fixed.SINCE, until=fixed.UNTIL, organization="acme")
    shown = str(answer.table.to_pylist())
    assert [word for word in ("globex", "u9", "k9", "Decimal('1.0") if word in shown] == []


def test_requests_without_an_organisation_have_an_empty_name(filled: Settings) -> None:
    """An empty name asks for them, and no name for all requests."""
    columns = ("requests", "cost_usd")
    assert rows(filled, "cost-per-model", columns, organization="") == [(1, D("0.03125"))]


def test_a_report_of_all_organisations_is_refused_to_one(filled: Settings) -> None:
    """Experiments are not counted by organisation, so that none of their figures is one organisation's."""
    with pytest.raises(QueryError, match="`experiments` is not kept by organisation"):
        rows(filled, "experiments", ("variant",), organization="acme")


@pytest.mark.parametrize("name", reports.report_names())
def test_a_chart_draws_columns_of_its_report(filled: Settings, name: str) -> None:
    """The file with the charts names columns that the SQL next to it returns."""
    answer = reports.report(filled, name, since=fixed.SINCE, until=fixed.UNTIL)
    for chart in question_of(name).charts:
        assert chart.columns <= set(answer.columns)
