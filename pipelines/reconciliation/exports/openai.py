"""OpenAI: usage and costs of the admin API (JSON), and the CSV files of the dashboard.

`line_item` of the costs names tier, model and kind: `priority | gpt-5-2025-08-07, cached input`. The moments
are seconds since 1970. `input_tokens` includes cached tokens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.reconciliation.bills import STANDARD, BillLine
from pipelines.reconciliation.exports.values import is_true, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.reconciliation.bills import Kind
    from pipelines.reconciliation.exports.files import Row
    from pipelines.reconciliation.exports.values import Reading

KINDS: frozenset[Kind] = frozenset({"input", "cached_input", "output"})
_LINE_ITEM = re.compile(
    r"(?:(?P<tier>[a-z ]+?)\s*\|\s*)?(?P<model>[\w.:/-]+)(?:\s+(?:text|audio|image|video))?,\s*"
    r"(?P<batch>batch\s+)?(?P<cached>cached\s+)?(?P<way>input|output)\b.*",
    re.IGNORECASE,
)


def fits(names: set[str]) -> bool:
    """Whether the columns are those of an export of OpenAI."""
    has_time = "start_time" in names
    return has_time and bool(names & {"input_tokens", "amount", "amount_value", "num_model_requests"})


def lines(row: Row, reading: Reading) -> Iterator[BillLine]:
    """The lines of a row. A row without figures is a day without use."""
    day = reading.day(row["start_time"], is_utc=True)
    amount = row.get("amount")
    if isinstance(amount, dict):
        row = {**row, "amount_value": amount.get("value"), "amount_currency": amount.get("currency")}
    usd = reading.usd(row.get("amount_value"), currency=row.get("amount_currency"))
    if usd is not None:
        model, tier, kind = _item(text(row, "line_item"))
        if usd < 0:
            kind = "credits"
        yield BillLine(day, model, tier, kind, tokens=reading.count(row.get("quantity")), usd=usd)
    given = reading.count(row.get("input_tokens"))
    if given is None:
        return
    model = text(row, "model")
    tier = text(row, "service_tier")
    if is_true(row.get("batch")):
        tier = "batch"
    cached = reading.count(row.get("input_cached_tokens")) or 0
    requests = reading.count(row.get("num_model_requests"))
    yield BillLine(day, model, tier, "input", tokens=given - cached, requests=requests)
    yield BillLine(day, model, tier, "cached_input", tokens=cached)
    yield BillLine(day, model, tier, "output", tokens=reading.count(row.get("output_tokens")) or 0)


def _item(item: str | None) -> tuple[str | None, str | None, Kind]:
    if item is None:
        return None, None, "total"
    match = _LINE_ITEM.fullmatch(item)
    if match is None:
        return item, None, "tools"
    tier = "batch" if match["batch"] else match["tier"]
    kind: Kind = "output" if match["way"].lower() == "output" else "input"
    if match["cached"]:
        kind = "cached_input"
    return match["model"], tier or STANDARD, kind
