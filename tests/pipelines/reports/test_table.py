"""Tables for people: no number is broken, amounts are rounded, and a total is the sum of all rows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.errors import QueryError
from pipelines.reports.output import Output, render, write
from pipelines.reports.reports import Answer
from pipelines.reports.table import lines

MONEY = pa.decimal128(38, 12)
COSTS = [Decimal("1170.187299390000"), None, Decimal("0.000000012")]
WIDE = Answer(
    table=pa.table(
        {
            "organization_id": ["acme", None, "an-organisation-with-a-long-name"],
            "requests": [1_234_567, 3, 5],
            "cost_usd": pa.array(COSTS, MONEY),
            "cost_usd_per_request": pa.array([Decimal("0.000138"), None, Decimal("0.00002")], MONEY),
            "tokens_input": [43_898_487, 2, None],
            "tokens_output": [13_898_487, 2, 3],
            "saved_usd": pa.array([Decimal(-2), None, Decimal("588.3")], MONEY),
        }
    )
)


SUMS = {"cost_usd": "1000", "cost_usd_before": "0.25", "growth_usd": "0", "cost_usd_per_request": "0.00025"}


def text(answer: Answer, **how: Any) -> str:
    return "\n".join(lines(answer, **{"width": 200, **how}))


@pytest.mark.smoke
@pytest.mark.parametrize("width", [200, 100, 80, 60, 30])
def test_no_number_is_broken_at_any_width(width: int) -> None:
    """The largest numbers are whole on one line, and no line of a table is wider than the terminal."""
    shown = text(WIDE, width=width, totals=True)
    for whole in ("1,234,567", "1,170.19", "43,898,487", "588.30"):
        assert whole in shown
    assert all(len(line) <= max(width, 60) for line in shown.splitlines())


def test_amounts_are_cents_and_small_ones_keep_four_digits() -> None:
    """An amount that rounds to nothing is not shown as nothing. `exact` shows every digit."""
    shown = text(WIDE)
    for part in ("1,170.19", "<0.01", "0.0001380", "0.0000200", "-2.00"):
        assert f" {part} " in shown
    exact = text(WIDE, exact=True)
    assert " 1170.18729939 " in exact
    assert " 0.000000012 " in exact


def test_the_total_is_of_all_rows_and_of_sums_only() -> None:
    """An average has no total. Unknown amounts are left out of it."""
    total = text(WIDE, totals=True).splitlines()[-2]
    assert [part.strip() for part in total.split("│")[1:-1]] == [
        "total", "1,234,575", "1,170.19", "", "43,898,489", "13,898,492", "586.30",
    ]  # fmt: skip


def test_one_row_has_no_total() -> None:
    assert "total" not in text(Answer(table=WIDE.table.slice(0, 1)), totals=True)


@pytest.mark.parametrize("width", [200, 30])
def test_no_rows_are_said_and_not_drawn(width: int) -> None:
    """A frame without rows looks like a fault, and nothing at all like a crash."""
    assert text(Answer(table=WIDE.table.slice(0, 0)), width=width, totals=True).startswith(
        "no rows (columns: organization_id, requests, cost_usd,"
    )


def test_a_long_answer_has_fewer_columns_and_names_the_others() -> None:
    shown = text(Answer(table=pa.concat_tables([WIDE.table] * 10)), width=60)
    assert shown.splitlines()[-1].startswith("left out: tokens_input, tokens_output")
    assert max(map(len, shown.splitlines()[:-1])) <= 60


def test_prices_per_million_tokens_are_exact() -> None:
    """A price is no amount: cents would change it."""
    price = Answer(table=pa.table({"input_usd_per_mtok": pa.array([Decimal("0.075"), Decimal(15)], MONEY)}))
    assert " 0.075 " in text(price)


def test_sums_of_money_have_the_same_decimals() -> None:
    """A column of small sums next to large ones would read as another unit. Averages keep their digits."""
    table = {name: pa.array([Decimal(value)], MONEY) for name, value in SUMS.items()}
    (row,) = [line for line in text(Answer(table=pa.table(table))).splitlines() if "1,000.00" in line]
    assert [part.strip() for part in row.split("│")[1:-1]] == ["1,000.00", "0.25", "0.00", "0.0002500"]


def test_counts_are_no_amounts() -> None:
    """A sum of counts is a decimal without digits after the point, whatever its name."""
    counts = pa.array([Decimal(0), Decimal(12_345)], pa.decimal128(38, 0))
    shown = text(Answer(table=pa.table({"requests_with_cost": counts})))
    assert [line.strip("│ ") for line in shown.splitlines()[3:5]] == ["0", "12,345"]


def test_decimals_are_numbers_in_json() -> None:
    """With every digit. As texts only on request."""
    answer = Answer(table=pa.table({"cost_usd": pa.array([Decimal("0.100000000001"), None], MONEY)}))
    assert render(answer, "json") == '[\n {"cost_usd": 0.100000000001},\n {"cost_usd": null}\n]\n'
    assert '"0.100000000001"' in render(answer, "json", text_decimals=True)


def test_the_suffix_of_a_file_names_its_format(tmp_path: Path) -> None:
    """A name that says nothing is refused: it would hold a drawing."""
    write(WIDE, Output.of(None, tmp_path / "bill.csv"))
    assert (tmp_path / "bill.csv").read_text().startswith("organization_id,requests,")
    with pytest.raises(
        QueryError, match=r"bill.xlsx` is not clear: add --format, or end the name with one of"
    ):
        Output.of(None, tmp_path / "bill.xlsx")
    assert Output.of("table", tmp_path / "bill").format == "table"
