"""The report of a move: exact where the log knows, an interval where it does not, else a question."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from pipelines.importing import import_commands
from pipelines.importing.moving_in import MovingIn, moving_in
from pipelines.importing.moving_in_text import answer, text
from pipelines.importing.price_names import book_name
from pipelines.importing.spend_logs import import_logs
from pipelines.refresh import refresh
from pipelines.reports.report_command import report_command
from router.config import Settings

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
UNTIL = datetime(2026, 12, 1, tzinfo=UTC)


def log(number: int, model: str, spend: float | None, **changes: Any) -> dict[str, Any]:
    """A row of 1,000 input and 100 output tokens."""
    values = {
        "request_id": f"{model}-{number}",
        "startTime": f"2026-11-{2 + number % 10:02d} 10:00:00",
        "endTime": f"2026-11-{2 + number % 10:02d} 10:00:01",
        "model": model,
        "model_group": "main",
        "custom_llm_provider": "openai",
        "spend": spend,
        "total_tokens": 1100,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "request_tags": "[]",
    }
    return {**values, **changes}


def report_of(settings: Settings, instance: dg.DagsterInstance, rows: list[dict[str, Any]]) -> MovingIn:
    """The report of a log of these rows."""
    path = settings.home.parent / "logs.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    import_logs(settings, str(path))
    assert refresh(settings, instance=instance).success
    return moving_in(settings, since=SINCE, until=UNTIL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of `report`."""
    return tmp_path_factory.mktemp("moving") / "data"


@pytest.fixture(scope="module")
def report(home: Path, instance: dg.DagsterInstance) -> MovingIn:
    """40 requests on gpt-4o at its list price, 40 on gpt-4o-mini at twice its list price, and a stranger."""
    rows = [log(number, "gpt-4o", 0.0035) for number in range(40)]
    rows += [log(number, "gpt-4o-mini", 0.00042) for number in range(40)]
    rows += [log(number, "own-model", 0.01, request_tags='["task:math"]') for number in range(3)]
    rows += [log(50, "gpt-4o", None)]
    return report_of(Settings.load({}, home=home), instance, rows)


@pytest.mark.smoke
def test_a_model_is_known_by_the_names_of_litellm() -> None:
    """Dated names, prefixes and other names of providers lead to one row of the book."""
    assert book_name("gpt-4o-2024-08-06", "openai") == "openai/gpt-4o"
    assert book_name("openai/gpt-4o", "openai") == "openai/gpt-4o"
    assert book_name("gemini/gemini-2.5-pro", "gemini") == "google/gemini-2.5-pro"
    assert book_name("own-model", "openai") is None
    assert book_name("m", "no-such-provider") is None


def test_the_parts_add_up(report: MovingIn) -> None:
    """The groups hold every request and every known cost once."""
    total = 40 * Decimal("0.0035") + 40 * Decimal("0.00042") + 3 * Decimal("0.01")
    assert (report.requests, report.with_cost, report.cost_usd) == (84, 83, total)
    assert sum(group.requests for group in report.groups) == 84
    assert [group.name for group in report.groups] == ["model group main", "task math"]


def test_the_price_book_is_compared_on_the_same_requests(report: MovingIn) -> None:
    """A list price agrees, twice the price is named, and an unknown model has no figure."""
    found = {price.model: price for price in report.prices}
    assert float(found["gpt-4o"].book_usd or 0) == pytest.approx(0.14)
    assert found["gpt-4o"].compared_usd == Decimal("0.14")
    assert float(found["gpt-4o-mini"].book_usd or 0) == pytest.approx(0.0084)
    assert (found["own-model"].ref, found["own-model"].book_usd) == (None, None)
    said = text(report)
    assert "gpt-4o: $0.1400 agrees with `openai/gpt-4o`" in said
    assert "gpt-4o-mini: $0.0168 spent, $0.0084 by `openai/gpt-4o-mini`: $0.0084 less" in said
    assert "own-model: $0.0300; the price book does not know it" in said


def test_routing_is_the_assumed_share_of_the_difference(report: MovingIn) -> None:
    """Of 40 requests that could move, the share costs as the cheaper model. Equal costs have no interval."""
    moved = 40 * (0.0035 - 0.00042)
    assert report.comparable_usd == pytest.approx(0.14)
    for routed in report.routed:
        expected = float(report.cost_usd or 0) - routed.share * moved
        assert (routed.cost_usd, routed.low_usd, routed.high_usd) == pytest.approx((expected,) * 3)


def test_an_interval_follows_the_spread(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Costs that differ give an interval around the figure, and a larger share a wider one."""
    rows = [log(number, "gpt-4o", 0.003 + number % 5 / 1000) for number in range(60)]
    rows += [log(number, "gpt-4o-mini", 0.0001 + number % 7 / 10000) for number in range(60)]
    routed = report_of(settings, instance, rows).routed
    widths = [item.high_usd - item.low_usd for item in routed]
    assert all(item.low_usd < item.cost_usd < item.high_usd for item in routed)
    assert widths == sorted(widths)


def test_a_question_names_what_the_log_cannot_answer(report: MovingIn) -> None:
    """The pair with money at stake and without judgements is a question in words."""
    (question,) = report.questions
    assert (question.dear, question.cheap) == ("gpt-4o", "gpt-4o-mini")
    assert question.at_stake_usd == pytest.approx(40 * (0.0035 - 0.00042))
    assert "Does `gpt-4o-mini` answer model group main as well as `gpt-4o`?" in text(report)


def test_programs_get_a_table(report: MovingIn) -> None:
    """Every part is in the table, with NULL for what is not known."""
    rows = answer(report).table.to_pylist()
    assert {item["part"] for item in rows} == {"group", "price", "routing", "question"}
    (own,) = (item for item in rows if item["name"] == "own-model")
    assert (own["other"], own["other_usd"]) == (None, None)


def test_an_empty_period_says_so(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Without requests there is no amount, and no division by zero."""
    report_of(settings, instance, [log(1, "gpt-4o", 0.1)])
    found = moving_in(settings, since=UNTIL)
    assert "0 requests" in text(found)
    assert "an unknown amount" in text(found)


def test_the_command_prints_or_writes(report: MovingIn, home: Path, tmp_path: Path) -> None:
    """`report moving-in` prints sentences, and a file gets the table."""
    arguments = ["moving-in", "--home", str(home), "--since", "2026-11-01"]
    assert import_commands.COMMANDS  # its module adds the report
    printed = CliRunner().invoke(report_command, arguments, catch_exceptions=False)
    assert "4. Questions that only exploration answers" in printed.output
    out = tmp_path / "moving.csv"
    CliRunner().invoke(report_command, [*arguments, "--output", str(out)], catch_exceptions=False)
    assert out.read_text().startswith("part,name,other,requests")
