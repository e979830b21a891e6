"""The mart `budget_status`: spending in the running period, and where it will end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipelines import flow
from pipelines.anomalies.anomaly_commands import budgets_command
from pipelines.anomalies.budgets import compute_budgets
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

NOW = datetime(2026, 6, 19, 12, 0, tzinfo=UTC)
"""A Friday, in a month of 30 days."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def limit(settings: Settings, *budgets: str) -> None:
    """Write limits.yaml."""
    settings.home.mkdir(parents=True, exist_ok=True)
    entries = "\n".join(f"  - {{{budget}}}" for budget in budgets)
    settings.limits_file.write_text(f"budgets:\n{entries}\n")


def spend(settings: Settings, *moments: datetime, usd: str | None = "1", **changes: Any) -> None:
    """Record a request at each moment."""
    cost = None if usd is None else Decimal(usd)
    seal_records(settings, [make_record(at, cost_usd=cost, **changes) for at in moments])


def status(warehouse: Warehouse, columns: str) -> list[tuple[Any, ...]]:
    """Rows of the mart as of NOW."""
    flow.catch_up(warehouse)
    result = compute_budgets(warehouse, now=NOW)
    assert result.problem is None
    return warehouse.connection.sql(f"select {columns} from budget_status order by all").fetchall()  # noqa: S608 - names


@pytest.mark.smoke
@pytest.mark.parametrize(("period", "spent"), [("day", 2), ("week", 3), ("month", 4)])
def test_a_period_is_that_of_the_utc_calendar(
    settings: Settings, warehouse: Warehouse, period: str, spent: int
) -> None:
    """A day, an ISO week and a month count the requests since their own start, and no earlier one."""
    limit(settings, f"id: b, scope: organization, subject: acme, usd: 8, period: {period}, mode: hard")
    spend(settings, NOW, NOW - 11 * HOUR, NOW - 2 * DAY, NOW - 7 * DAY, NOW - 30 * DAY)
    found = status(warehouse, "spent_usd, remaining_usd, spent_share, requests")
    assert found == [(spent, 8 - spent, spent / 8, spent)]


@pytest.mark.parametrize(
    ("scope", "field", "column"),
    [
        ("organization", "organization_id", "organization_id"),
        ("key", "api_key_id", "api_key_id"),
        ("user", "user_id", "user_id"),
        ("session", "session_id", "session_id"),
    ],
)
def test_an_entry_that_names_a_subject_replaces_the_one_for_all(
    settings: Settings, warehouse: Warehouse, scope: str, field: str, column: str
) -> None:
    """The rows have the budget that the router holds each subject to."""
    limit(
        settings,
        f"id: each, scope: {scope}, subject: '*', usd: 5, period: day, mode: soft",
        f"id: one, scope: {scope}, subject: b, usd: 9, period: day, mode: soft",
    )
    spend(settings, NOW, **{field: "a"})
    spend(settings, NOW, **{field: "b"})
    assert status(warehouse, f"budget_id, {column}, limit_usd") == [("each", "a", 5), ("one", "b", 9)]


def test_an_unknown_cost_is_counted_and_not_free(settings: Settings, warehouse: Warehouse) -> None:
    """If no cost is known, the spending and what is left of the budget are NULL."""
    limit(
        settings,
        "id: some, scope: organization, subject: acme, usd: 8, period: day, mode: hard",
        "id: none, scope: key, subject: k1, usd: 8, period: day, mode: hard",
    )
    spend(settings, NOW)
    spend(settings, NOW, usd=None, api_key_id="k1")
    columns = "budget_id, spent_usd, remaining_usd, spent_share, requests, requests_without_cost"
    assert status(warehouse, columns) == [("none", None, None, None, 1, 1), ("some", 1, 7, 1 / 8, 2, 1)]


def test_a_named_budget_without_a_request_is_untouched(settings: Settings, warehouse: Warehouse) -> None:
    """It shows as 0 spent, with no pace. A user's appears with the first request of the period."""
    limit(
        settings,
        "id: k, scope: key, subject: k9, usd: 8, period: month, mode: hard",
        "id: u, scope: user, subject: ada, usd: 8, period: month, mode: hard",
    )
    spend(settings, NOW)
    assert status(warehouse, "budget_id, requests, spent_usd, projected_usd") == [("k", 0, 0, None)]


def test_the_rest_of_the_period_repeats_the_last_week(settings: Settings, warehouse: Warehouse) -> None:
    """A cost on Saturdays is expected on the Saturdays that are left, and on no other day."""
    limit(settings, "id: b, scope: key, subject: k1, usd: 20, period: month, mode: soft")
    saturday = NOW - 6 * DAY
    spend(settings, NOW, NOW - 14 * DAY, api_key_id="k1", usd="0.5")
    spend(settings, saturday, usd="3", api_key_id="k1")
    # The week before cost 3.50. Until 1 July there are a week and the hours from Friday noon to Tuesday.
    expected = Decimal("4.00") + Decimal("3.50") + Decimal(3)
    found = status(warehouse, "projected_usd, projected_share, projection")
    assert found == [(expected, float(expected / 20), "last_week")]


def test_a_new_subject_goes_on_as_it_began(settings: Settings, warehouse: Warehouse) -> None:
    """Without a week of history the mean since the first request is repeated, from an hour on."""
    limit(settings, "id: b, scope: user, subject: '*', usd: 20, period: day, mode: soft")
    spend(settings, NOW, NOW - 3 * HOUR, user_id="early")
    spend(settings, NOW - timedelta(minutes=30), user_id="late")
    columns = "user_id, projected_usd, projection"
    assert status(warehouse, columns) == [("early", 10, "mean"), ("late", None, None)]


def test_records_of_a_clock_ahead_do_not_count_yet(settings: Settings, warehouse: Warehouse) -> None:
    """A router whose clock is a day ahead spends nothing of today, and moves no period."""
    limit(settings, "id: b, scope: organization, subject: acme, usd: 8, period: day, mode: hard")
    spend(settings, NOW - HOUR, NOW + 30 * HOUR)
    assert status(warehouse, "spent_usd, as_of") == [(1, NOW - HOUR)]


def test_the_highest_share_that_is_reached_is_named(settings: Settings, warehouse: Warehouse) -> None:
    """`alert_at` is a share or a list. Without it, 80% and all of the budget are watched."""
    limit(
        settings,
        "id: a, scope: organization, subject: acme, usd: 4, period: day, mode: soft, alert_at: 0.9",
        "id: b, scope: key, subject: k1, usd: 4, period: day, mode: soft, alert_at: [0.5, 0.7, 1]",
        "id: c, scope: user, subject: u1, usd: 3, period: day, mode: soft",
    )
    spend(settings, NOW, NOW, NOW, api_key_id="k1")
    columns = "budget_id, alert_at, alert_reached"
    found = status(warehouse, columns)
    assert found == [("a", [0.9], None), ("b", [0.5, 0.7, 1.0], 0.7), ("c", [0.8, 1.0], 1.0)]


def test_a_broken_file_leaves_the_table(settings: Settings, warehouse: Warehouse) -> None:
    """The refresh goes on, and the result names the file and the fault."""
    limit(settings, "id: b, scope: organization, subject: acme, usd: 8, period: day, mode: hard")
    spend(settings, NOW)
    before = status(warehouse, "*")
    limit(settings, "id: b, scope: organization, subject: acme, usd: -1, period: day, mode: hard")
    problem = compute_budgets(warehouse, now=NOW).problem
    assert problem is not None
    assert "limits.yaml" in problem
    assert "got `-1`" in problem
    assert warehouse.connection.sql("from budget_status").fetchall() == before


def test_an_erased_person_leaves_the_table_and_the_organisation_keeps_its_spending(
    settings: Settings,
) -> None:
    """The certificate covers the mart, even while limits.yaml still names the person."""
    now = datetime.now(UTC)
    limit(
        settings,
        "id: o, scope: organization, subject: acme, usd: 8, period: month, mode: hard",
        "id: p, scope: user, subject: ada-lovelace, usd: 8, period: month, mode: hard",
    )
    spend(settings, now, user_id="ada-lovelace")
    flow.erase(settings, "ada-lovelace")
    from pipelines.warehouse.warehouse import Warehouse

    with Warehouse(settings) as warehouse:
        found = warehouse.rows("select budget_id, user_id, spent_usd from budget_status")
    assert found == [("o", None, Decimal(1))]


def test_the_command_prints_the_closest_budget_first(settings: Settings) -> None:
    """`intellirouter budgets` shows every budget of the published warehouse, also as CSV."""
    from pipelines.warehouse.warehouse import Warehouse

    now = datetime.now(UTC)
    limit(
        settings,
        "id: far, scope: organization, subject: acme, usd: 8, period: month, mode: hard",
        "id: near, scope: key, subject: k1, usd: 2, period: month, mode: hard",
    )
    spend(settings, now, api_key_id="k1")
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
    run = CliRunner().invoke(budgets_command, ["--home", str(settings.home), "--format", "csv"])
    lines = run.output.splitlines()
    assert lines[0].startswith("budget_id,scope,subject,period,mode,period_end,limit_usd,spent_usd")
    assert [line.split(",")[0] for line in lines[1:]] == ["near", "far"]
    one = ["--home", str(settings.home), "--organization", "acme", "--format", "csv"]
    assert CliRunner().invoke(budgets_command, one).output.count("\n") == 2
