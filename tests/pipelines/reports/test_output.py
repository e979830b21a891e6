"""Answers in files that other tools read: spreadsheets, terminals, pandas."""

from __future__ import annotations

import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.reports.output import Output, render, write
from pipelines.reports.reports import Answer
from pipelines.reports.table import cell


@pytest.mark.parametrize(
    "name", ['=HYPERLINK("http://x")', "+1+1", "-1+1", "@SUM(1)", "\tx", "\rx", "\nx", "\uff1d1+1", "\uff20x"]
)
def test_a_spreadsheet_runs_no_name_as_a_formula(name: str) -> None:
    text = render(Answer(table=pa.table({"user_id": [name]})), "csv")
    assert text.splitlines()[1].strip('"').startswith("'")


@pytest.mark.parametrize("name", ["a\r=1+1", "a\n=1+1", "a\r\n=1+1", "\r=1+1"])
def test_a_name_begins_no_row(name: str) -> None:
    """A spreadsheet begins a row at a bare carriage return too, unless the value is quoted."""
    text = render(Answer(table=pa.table({"organization_id": ["acme"], "user_id": [name]})), "csv")
    kept = name if name.startswith("a") else f"'{name}"
    assert text == f'organization_id,user_id\nacme,"{kept}"\n'


def test_numbers_and_names_stay_as_they_are_in_csv() -> None:
    table = pa.table({"cost": [Decimal("-1.50")], "count": [-3], "share": [-0.5], "name": ["a=b"]})
    assert render(Answer(table=table), "csv").splitlines()[1] == "-1.5,-3,-0.5,a=b"


@pytest.mark.parametrize("code", ["\x1b", "\x07", "\u202e", "\u2066", "\x9b"])
def test_a_terminal_is_not_steered_by_a_name(code: str) -> None:
    shown = cell(f"a{code}b")
    assert code not in shown
    assert shown.startswith("a\\")


def test_names_of_any_script_are_shown_as_they_are() -> None:
    for name in ("café", "日本", "שלום", "\N{FAMILY}\u200d\N{GRINNING FACE}"):
        assert cell(name) == name


def test_sums_are_plain_integers_in_parquet(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("out") / "x.parquet"
    huge = pa.decimal128(38, 0)
    table = pa.table(
        {
            "requests": pa.array([Decimal(3), None], huge),
            "beyond": pa.array([Decimal(10**30), None], huge),
            "cost_usd": pa.array([Decimal("1.25"), None], pa.decimal128(38, 12)),
        }
    )
    write(Answer(table=table), Output.of(None, file))
    found = pq.read_table(io.BytesIO(file.read_bytes())).schema
    assert [found.field(name).type for name in ("requests", "beyond", "cost_usd")] == [
        pa.int64(),
        huge,
        pa.decimal128(38, 12),
    ]
