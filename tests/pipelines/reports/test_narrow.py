"""Reports in a narrow terminal: the key, the cost and the measure stay, and the others are named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipelines.reports import reports
from pipelines.reports.columns import cells_of
from pipelines.reports.pages.questions import question_of
from pipelines.reports.reports import Answer, report_names
from pipelines.reports.table import lines
from router.config import Settings
from tests.pipelines.reports import fixed

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = {
    "budgets": {"period_start"},
    "failures": set(),
    "reconciliation": {"reconciliation_id"},
    "redirected-models": {"provider"},
    "unusual-traffic": {"incident_id", "scope"},
}
"""Columns of a key that others tell apart as well."""
MONEY = ("cost_usd", "daily_cost", "avg_cost", "spent_usd")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """An answer of each report with long names, large amounts and 20 rows."""
    settings = fixed.fill(Settings.load({}, home=tmp_path_factory.mktemp("narrow") / "data"))
    found = {name: reports.report(settings, name) for name in report_names()}
    return {
        name: Answer(table=pa.table(list(wide(answer)), answer.columns)) for name, answer in found.items()
    }


def wide(answer: Answer) -> Iterator[pa.Array]:
    """Columns of the same types with values that take much room."""
    for item in answer.table.schema:
        kind = item.type
        value: Any = 123_456
        if pa.types.is_string(kind):
            value = "a-name-that-nobody-can-shorten-well"
        elif pa.types.is_timestamp(kind):
            value = datetime(2026, 11, 27, 15, 26, 36, 707, tzinfo=UTC)
        elif pa.types.is_date(kind):
            value = date(2026, 11, 27)
        elif pa.types.is_boolean(kind):
            value = True
        elif pa.types.is_floating(kind):
            value = 0.123456
        elif pa.types.is_decimal(kind) and kind.scale:
            value = Decimal("1234.56")
        yield pa.array([value] * 20, kind)


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("name", report_names())
def test_the_key_the_cost_and_the_measure_stay(answers: dict[str, Answer], name: str, width: int) -> None:
    """Columns give way by their importance, and a line below names them and the ways to see them."""
    answer, question = answers[name], question_of(name)
    shown = list(lines(answer, width=width, totals=question.has_totals, rounded=True, keep=question.keep))
    named = shown[-1].removeprefix("left out: ").split("; ")
    left = set(named[0].split(", ")) if len(named) > 1 else set()
    assert max(map(cells_of, shown[:-1])) <= width
    assert left <= set(answer.columns)
    key = set(reports.file_of(name).header["grain"].split(", ")) - ELSEWHERE.get(name, set())
    if name == "budgets":
        key = {"budget_id"}  # its subjects leave where they do not fit
    if name == "failures" and width == 60:
        key -= {"status_code", "provider"}
    measures = {question.charts[0].measures[0]} | ({*MONEY} & {*answer.columns})
    assert (key | measures) & left == set()
    if left:
        assert named[1] == "see them in a wider terminal, with --vertical or with --format csv"


@pytest.mark.parametrize("name", report_names())
def test_the_kept_columns_are_of_the_report(answers: dict[str, Answer], name: str) -> None:
    """A column that was renamed is noticed."""
    assert set(question_of(name).keep) - set(answers[name].columns) == set()


def test_texts_without_a_value_leave_first() -> None:
    """A name that no row has tells nothing, and a name is not cut for it."""
    names = pa.array([None] * 20, pa.string())
    table = {
        "organization_id": names,
        "user_id": ["a-rather-long-name-of-a-user"] * 20,
        "cost_usd": [1.5] * 20,
    }
    shown = list(
        lines(Answer(table=pa.table(table)), width=40, keep=["user_id", "organization_id", "cost_usd"])
    )
    assert shown[-1].startswith("left out: organization_id;")
    shown = list(lines(Answer(table=pa.table(table)), width=80, keep=["user_id"]))
    assert "left out" not in shown[-1]


def test_a_narrow_table_can_be_vertical(answers: dict[str, Answer]) -> None:
    """On request, every value has a line of its own, for any number of rows."""
    shown = list(lines(answers["cost-per-task"], width=60, vertical=True, keep=["task_type"]))
    assert sum(line.startswith("quality_mean ") for line in shown) == 20
    assert "a-name-that-nobody-can-shorten-well" in "".join(shown)


def test_a_moment_is_a_second_in_utc() -> None:
    """Microseconds and an offset take the room of two columns. `exact` keeps them."""
    table = pa.table(
        {"at": pa.array([datetime(2026, 11, 27, 15, 26, 36, 707, tzinfo=UTC)], pa.timestamp("us", "UTC"))}
    )
    assert "│ 2026-11-27 15:26:36Z │" in list(lines(Answer(table=table), width=80))
    assert "15:26:36.000707+00:00" in "".join(lines(Answer(table=table), width=80, exact=True))


def test_the_total_keeps_its_name_without_the_first_column() -> None:
    """A first column that leaves takes no total away, and sums of nothing are no row."""
    names = pa.array([None] * 20, pa.string())
    table = pa.table({"organization_id": names, "user_id": ["a-rather-long-name"] * 20, "requests": [2] * 20})
    shown = list(lines(Answer(table=table), width=36, totals=True, keep=["user_id", "requests"]))
    assert [part.strip() for part in shown[-3].split("│")[1:-1]] == ["total", "40"]
    averages = table.append_column("quality_mean", pa.array([0.5] * 20))
    keep = ["user_id", "quality_mean"]
    assert "total" not in "".join(lines(Answer(table=averages), width=36, totals=True, keep=keep))
