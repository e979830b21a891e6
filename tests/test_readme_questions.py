"""The documentation's SQL questions mean what their comments say, on records whose answers are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.flow import run_refresh
from pipelines.reports import reports
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import Candidate
from tests.pipelines.helpers import make_feedback, make_record, seal_records
from tests.test_readme import block

if TYPE_CHECKING:
    from router.records import RequestRecord

NOW = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(days=2)
CANDIDATES = [
    Candidate(model="large", is_eligible=True, quality=0.9, cost_usd=0.002, probability=0.75),
    Candidate(model="small", is_eligible=True, quality=0.6, cost_usd=0.001, probability=0.25),
    Candidate(model="blind", is_eligible=False, exclusion="it cannot see"),
]


def _records() -> list[RequestRecord]:
    """Two days, two organisations, two models; one cost is unknown, one request failed, one explored."""
    later = NOW + timedelta(days=1)
    return [
        make_record(NOW, task_type="math", cost_usd=Decimal("0.5")),
        make_record(NOW + timedelta(minutes=1), task_type="math", cost_usd=None),
        make_record(
            NOW + timedelta(minutes=2),
            task_type="math",
            organization_id="other",
            user_id="u2",
            model_selected="small",
            model_decided="small",
            is_exploration=True,
            cost_usd=Decimal("0.25"),
        ),
        make_record(
            NOW + timedelta(minutes=3),
            task_type="chat",
            model_selected="small",
            model_decided="small",
            success=False,
            status_code=503,
            error_type="provider_error",
            cost_usd=Decimal(0),
        ),
        make_record(later, task_type="chat", cost_usd=Decimal("0.125"), candidates=CANDIDATES),
    ]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The rows of each question, by the first words of its comment."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("questions") / "data")
    records = _records()
    judged = [
        make_feedback(record, value)
        for record, value in zip(records, (1.0, 0.5, 0.25, 0.0, 1.0), strict=True)
    ]
    seal_records(settings, [*records, *judged])
    with Warehouse(settings) as warehouse:
        run_refresh(warehouse)
        publish_warehouse(warehouse)
    found = {}
    for query in filter(str.strip, block("sql").split(";")):
        table = reports.query(settings, query).table
        found[query.strip().partition("\n")[0].removeprefix("-- ")] = table.to_pylist()
    return found


def the(answers: dict[str, list[dict[str, Any]]], start: str) -> list[dict[str, Any]]:
    """The rows of the question that starts so."""
    (rows,) = [rows for question, rows in answers.items() if question.startswith(start)]
    return rows


def test_the_worth_of_a_model_is_by_task(answers: dict[str, list[dict[str, Any]]]) -> None:
    """A row for each task and model that was asked, with the mean of its judgements."""
    rows = the(answers, "Which model is worth")
    assert {(row["task_type"], row["model"]): row["requests"] for row in rows if row["requests"]} == {
        ("math", "large"): 2,
        ("math", "small"): 1,
        ("chat", "large"): 1,
        ("chat", "small"): 1,
    }
    quality = {(row["task_type"], row["model"]): row["quality"] for row in rows}
    assert quality["math", "large"] > quality["math", "small"]


def test_spending_is_by_day_organisation_and_user(answers: dict[str, list[dict[str, Any]]]) -> None:
    """A cost that is unknown is counted, and adds nothing."""
    rows = the(answers, "Who spends what")
    found = {(row["day"], row["user_id"]): row for row in rows}
    first, second = NOW.date(), (NOW + timedelta(days=1)).date()
    assert {key: row["cost_usd"] for key, row in found.items()} == {
        (first, "u1"): Decimal("0.5"),
        (first, "u2"): Decimal("0.25"),
        (second, "u1"): Decimal("0.125"),
    }
    assert found[first, "u1"]["requests"] == 3
    assert found[first, "u1"]["requests_without_cost"] == 1


def test_a_decision_has_a_row_for_each_of_its_candidates(answers: dict[str, list[dict[str, Any]]]) -> None:
    """Of the newest request, with the reason against each model that could not be chosen."""
    rows = the(answers, "Why did this request go")
    newest = _records()[-1]
    assert {row["model_decided"] for row in rows} == {newest.model_decided}
    assert {row["model"]: (row["is_eligible"], row["exclusion"], row["probability"]) for row in rows} == {
        item.model: (item.is_eligible, item.exclusion, item.probability) for item in CANDIDATES
    }


def test_the_cost_of_exploration_is_a_mean_of_known_costs(answers: dict[str, list[dict[str, Any]]]) -> None:
    """By task, explored or not."""
    rows = the(answers, "What does exploration cost")
    found = {(row["task_type"], row["is_exploration"]): (row["requests"], row["cost_usd"]) for row in rows}
    assert found["math", False] == (2, pytest.approx(Decimal("0.5")))
    assert found["math", True] == (1, pytest.approx(Decimal("0.25")))


def test_failures_are_counted_by_model_and_kind(answers: dict[str, list[dict[str, Any]]]) -> None:
    """A request that succeeded is in none of the rows."""
    rows = the(answers, "Which models fail")
    kinds = [(row["model_selected"], row["error_type"], row["status_code"], row["requests"]) for row in rows]
    assert kinds == [("small", "provider_error", 503, 1)]
