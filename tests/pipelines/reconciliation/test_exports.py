"""Exports of providers: their real shapes are read, and what cannot be read is named with the remedy."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import ReconciliationError
from pipelines.reconciliation.exports.columns import Columns
from pipelines.reconciliation.exports.reading import read

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.reconciliation.bills import Bill
    from pipelines.reconciliation.exports.reading import Shape

DAYS = ("1793404800,1793491200,2026-10-31T00:00:00,2026-11-01T00:00:00",
        "1793491200,1793577600,2026-11-01T00:00:00,2026-11-02T00:00:00")  # fmt: skip
OPENAI_CSV = f"""\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,quantity_unit,line_item
{DAYS[0]},,,,,
{DAYS[1]},0.00383598000000000000,usd,300,tokens,"gpt-5-2025-08-07, input"
{DAYS[1]},0.5,usd,40,tokens,"priority | gpt-5-2025-08-07, cached input"
{DAYS[1]},0.25,usd,10,tokens,"gpt-5-2025-08-07, output"
{DAYS[1]},0.01,usd,1,calls,web search tool calls
"""
ANTHROPIC_USAGE = {
    "data": [
        {
            "starting_at": "2026-11-01T00:00:00Z",
            "ending_at": "2026-11-02T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": 1500,
                    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                    "cache_read_input_tokens": 200,
                    "output_tokens": 500,
                    "server_tool_use": {"web_search_requests": 10},
                    "model": "claude-haiku-4-5",
                    "service_tier": "batch",
                }
            ],
        },
        {"starting_at": "2026-11-02T00:00:00Z", "ending_at": "2026-11-03T00:00:00Z", "results": []},
    ],
    "has_more": False,
    "next_page": None,
}
CONSOLE_USAGE = """\
usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens
2026-11-01,claude-haiku-4-5,key,Default,message,0-200k,10,20,30,40,50
"""
CONSOLE_COSTS = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type
2026-11-01,Claude Haiku 4.5,Default,key,message,0-200k,input_no_cache,0.19,0.19,token
2026-11-01,Claude Haiku 4.5,Default,key,message,0-200k,input_cache_write_5m,1.25,1.25,token
"""
OPENROUTER_CSV = """\
Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens
2026-11-01 00:00:00,anthropic/claude-opus-4.7,430.07,0,7,100,20,5
"""
GENERATION = {
    "data": {
        "id": "gen-1",
        "created_at": "2026-11-01T23:33:19.433273+00:00",
        "model": "openai/gpt-5",
        "total_cost": 0.0015,
        "tokens_prompt": 9,
        "tokens_completion": 24,
        "native_tokens_prompt": 10,
        "native_tokens_completion": 25,
        "native_tokens_cached": 3,
    }
}


def bill_of(folder: Path, name: str, content: str | dict[str, Any], shape: Shape | None, **more: Any) -> Bill:
    """The bill in a file of this content."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read(path, shape, **more)


def facts(bill: Bill) -> list[tuple[Any, ...]]:
    """Model, tier, kind, tokens and dollars of each line."""
    return [(line.model, line.tier, line.kind, line.tokens, line.usd) for line in bill.lines]


@pytest.mark.smoke
def test_the_cost_csv_of_openai_names_tier_model_and_kind(tmp_path: Path) -> None:
    """`line_item` is split; a row without an amount is a day without use, and belongs to the period."""
    bill = bill_of(tmp_path, "costs.csv", OPENAI_CSV, "openai")
    assert facts(bill) == [
        ("gpt-5-2025-08-07", "standard", "input", 300, Decimal("0.00383598")),
        ("gpt-5-2025-08-07", "priority", "cached_input", 40, Decimal("0.5")),
        ("gpt-5-2025-08-07", "standard", "output", 10, Decimal("0.25")),
        ("web search tool calls", None, "tools", 1, Decimal("0.01")),
    ]
    assert (bill.since, bill.until, bill.unit) == (date(2026, 10, 31), date(2026, 11, 1), Decimal("1e-8"))


def test_the_usage_report_of_anthropic_counts_by_kind(tmp_path: Path) -> None:
    """Both lives of a cache write are one kind, and an empty bucket is a day of the period."""
    bill = bill_of(tmp_path, "usage.json", ANTHROPIC_USAGE, "anthropic")
    assert [(line.kind, line.tokens, line.tier) for line in bill.lines] == [
        ("input", 1500, "batch"),
        ("cached_input", 200, "batch"),
        ("cache_write", 1500, "batch"),
        ("output", 500, "batch"),
    ]
    assert (bill.until, bill.has_costs, bill.has_tokens) == (date(2026, 11, 2), False, True)


def test_the_cost_report_of_anthropic_is_in_cents(tmp_path: Path) -> None:
    """`123.78912` is $1.2378912."""
    line = {"currency": "USD", "amount": "123.78912", "cost_type": "tokens", "token_type": "output_tokens"}
    page = {"data": [{"starting_at": "2026-11-01T00:00:00Z", "results": [line]}], "has_more": False}
    bill = bill_of(tmp_path, "costs.json", page, "anthropic")
    assert facts(bill) == [(None, None, "output", None, Decimal("1.2378912"))]


def test_the_csv_files_of_the_console_are_read(tmp_path: Path) -> None:
    """The console has one file of tokens and one of dollars, rounded to cents."""
    usage = bill_of(tmp_path, "usage.csv", CONSOLE_USAGE, "anthropic")
    assert [line.tokens for line in usage.lines] == [10, 40, 50, 50]
    costs = bill_of(tmp_path, "costs.csv", CONSOLE_COSTS, "anthropic")
    assert [(line.kind, line.usd) for line in costs.lines] == [
        ("input", Decimal("0.19")),
        ("cache_write", Decimal("1.25")),
    ]
    assert costs.unit == Decimal("0.01")


def test_the_exports_of_openrouter_are_read(tmp_path: Path) -> None:
    """Activity counts requests; a generation has its id, and the provider's own number of tokens."""
    activity = bill_of(tmp_path, "activity.csv", OPENROUTER_CSV, "openrouter")
    assert facts(activity) == [
        ("anthropic/claude-opus-4.7", None, "input", 100, None),
        ("anthropic/claude-opus-4.7", None, "output", 20, None),
        ("anthropic/claude-opus-4.7", None, "total", None, Decimal("430.07")),
    ]
    assert activity.lines[0].requests == 7
    generation = bill_of(tmp_path, "generations.jsonl", GENERATION, "openrouter")
    assert [(line.request_id, line.kind, line.tokens) for line in generation.lines] == [
        ("gen-1", "input", 7),
        ("gen-1", "cached_input", 3),
        ("gen-1", "output", 25),
        ("gen-1", "total", None),
    ]


def test_parquet_and_other_csv_files_are_read(tmp_path: Path) -> None:
    """FOCUS as Parquet, and any CSV by a mapping of its columns."""
    path = tmp_path / "focus.parquet"
    row = {"ChargePeriodStart": "2026-11-01T00:00:00Z", "BilledCost": Decimal("1.5"),
           "BillingCurrency": "USD", "x_Model": "m", "SkuMeter": "Output Tokens", "ConsumedUnit": "1K Tokens",
           "ConsumedQuantity": 2}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), path)
    assert facts(read(path, "focus")) == [("m", None, "output", 2000, Decimal("1.5"))]
    mapped = Columns.parse("day=Date, model=LLM, input=In, output=Out, cost=Paid")
    csv = "Date,LLM,In,Out,Paid\n2026-11-01,m,10,2,$0.5\n"
    bill = bill_of(tmp_path, "own.csv", csv, None, columns=mapped, zone=ZoneInfo("UTC"))
    assert facts(bill) == [
        ("m", None, "input", 10, None),
        ("m", None, "output", 2, None),
        ("m", None, "total", None, Decimal("0.5")),
    ]


def test_a_moment_is_on_its_day_in_the_zone_of_the_bill(tmp_path: Path) -> None:
    """23:33 UTC is the next day in Berlin."""
    bill = bill_of(tmp_path, "g.json", GENERATION, "openrouter", zone=ZoneInfo("Europe/Berlin"))
    assert {line.day for line in bill.lines} == {date(2026, 11, 2)}


def test_money_back_is_named_as_credits(tmp_path: Path) -> None:
    """A negative amount is no use of a model, and a note says what it does."""
    row = OPENAI_CSV.splitlines()[2].replace("0.00383598000000000000", "-5")
    bill = bill_of(tmp_path, "costs.csv", f"{OPENAI_CSV}{row}\n", "openai")
    assert bill.lines[-1].kind == "credits"
    assert any("credits of -5 US dollars" in note for note in bill.notes)


@pytest.mark.parametrize(
    ("content", "shape", "words"),
    [
        (OPENAI_CSV.replace("usd", "eur"), "openai", ("`eur`", "bill in USD")),
        (OPENAI_CSV, "anthropic", ("no export of `anthropic`", "`--provider openai`")),
        ("a,b\n1,2\n", "openai", ("`a, b`", "--columns")),
        (OPENAI_CSV.replace("0.5,usd", "0,5,usd"), "openai", ("another number of fields", "Export it again")),
        (OPENAI_CSV.replace("0.5,usd", "half,usd"), "openai", ("`half` where a number belongs",)),
        (
            "ChargePeriodStart,BilledCost\n2026-11-01 00:00:00,1\n",
            "focus",
            ("with no offset", "--timezone"),
        ),
        ("", "openai", ("has no rows",)),
    ],
)
def test_a_file_that_cannot_be_compared_is_refused_with_the_remedy(
    tmp_path: Path, content: str, shape: Shape, words: tuple[str, ...]
) -> None:
    """Another currency, another provider, unknown columns, damage, local time and nothing at all."""
    with pytest.raises(ReconciliationError) as caught:
        bill_of(tmp_path, "bill.csv", content, shape)
    for word in words:
        assert word in str(caught.value)


def test_one_page_of_several_is_refused(tmp_path: Path) -> None:
    """A part of the pages would show requests as missing there."""
    with pytest.raises(ReconciliationError, match="one page of several"):
        bill_of(
            tmp_path, "usage.json", {**ANTHROPIC_USAGE, "has_more": True, "next_page": "page_2"}, "anthropic"
        )


@pytest.mark.parametrize("mapping", ["day", "day=Date", "days=Date,cost=Paid", "cost=Paid"])
def test_a_mapping_without_day_or_figures_is_refused(mapping: str) -> None:
    """The message shows a mapping that works."""
    with pytest.raises(ReconciliationError, match="--columns"):
        Columns.parse(mapping)
