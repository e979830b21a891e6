"""FOCUS 1.x: cost and usage of any provider, one row a charge.

Amounts are `BilledCost`. The model is `x_Model`, else the resource or the SKU; the kind of token is read
from the SKU and the description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.reconciliation.bills import BillLine
from pipelines.reconciliation.exports.values import number, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.reconciliation.bills import Kind
    from pipelines.reconciliation.exports.files import Row
    from pipelines.reconciliation.exports.values import Reading

KINDS: frozenset[Kind] = frozenset({"input", "cached_input", "cache_write", "output"})
CREDITS = ("credit", "adjustment")
UNITS = {"1k tokens": 1_000, "1m tokens": 1_000_000, "1000 tokens": 1_000, "1000000 tokens": 1_000_000}
"""Tokens of one unit. Any other unit with `token` in its name is one token."""


def fits(names: set[str]) -> bool:
    """Whether the columns are those of FOCUS."""
    return {"chargeperiodstart", "billedcost"} <= names


def lines(row: Row, reading: Reading) -> Iterator[BillLine]:
    """The line of a row."""
    day = reading.day(row["chargeperiodstart"])
    usd = reading.usd(row.get("billedcost"), currency=row.get("billingcurrency"))
    category = (text(row, "chargecategory") or "usage").lower()
    model = text(row, "x_model", "resourcename", "resourceid", "skuid", "servicename")
    request_id = text(row, "x_providerrequestid", "x_requestid")
    tier = text(row, "x_servicetier", "x_tier")
    if category in CREDITS or (usd is not None and usd < 0):
        yield BillLine(day, model, tier, "credits", usd=usd, request_id=request_id)
        return
    if category == "tax":
        reading.note("taxes of the bill are left out: costs here are before tax")
        return
    unit = (text(row, "consumedunit", "pricingunit") or "").lower()
    quantity = number(row.get("consumedquantity"), reading.path)
    described = " ".join(
        str(row.get(name) or "").lower()
        for name in ("x_kind", "x_tokentype", "skumeter", "skuid", "skupricedetails", "chargedescription")
    )
    kind = kind_of(described)
    requests = reading.count(row.get("x_requests"))
    tokens = None
    if kind != "tools" and quantity is not None and "token" in unit:
        tokens = int(quantity * UNITS.get(unit, 1))
    yield BillLine(day, model, tier, kind, tokens=tokens, usd=usd, request_id=request_id, requests=requests)


def kind_of(described: str) -> Kind:
    """The kind of a charge by the words that describe it, in lower case."""
    words = described.replace("_", " ").replace("-", " ")
    if any(word in words for word in ("web search", "file search", "code interpreter", "tool", "container")):
        return "tools"
    if any(word in words for word in ("cache write", "cache creation", "cached write")):
        return "cache_write"
    if "cache" in words:
        return "cached_input"
    if "output" in words or "completion" in words:
        return "output"
    if "input" in words or "prompt" in words:
        return "input"
    return "total"
