"""Anthropic: usage and cost reports of the admin API (JSON), and the CSV files of the console.

The cost report writes cents as text. `uncached_input_tokens` excludes what was read from the cache or
written to it. The console names models for people (`Claude Haiku 4.5`) and rounds to cents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.reconciliation.bills import BillLine
from pipelines.reconciliation.exports.values import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.reconciliation.bills import Kind
    from pipelines.reconciliation.exports.files import Row
    from pipelines.reconciliation.exports.values import Reading

KINDS: frozenset[Kind] = frozenset({"input", "cached_input", "cache_write", "output"})
USAGE = (
    ("input", ("uncached_input_tokens", "usage_input_tokens_no_cache")),
    ("cached_input", ("cache_read_input_tokens", "usage_input_tokens_cache_read")),
    ("cache_write", ("usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h")),
    ("output", ("output_tokens", "usage_output_tokens")),
)
CENTS = 100


def fits(names: set[str]) -> bool:
    """Whether the columns are those of a report of Anthropic."""
    return bool(names & {"starting_at", "usage_date_utc"})


def lines(row: Row, reading: Reading) -> Iterator[BillLine]:
    """The lines of a row. A row without figures is a day without use."""
    day = reading.day(row.get("starting_at") or row.get("usage_date_utc"), is_utc=True)
    model = text(row, "model_version", "model")
    tier = text(row, "service_tier")
    if "batch" in (text(row, "usage_type") or "").lower():
        tier = "batch"
    usd = reading.usd(row.get("cost_usd"))
    if usd is None:
        usd = reading.usd(row.get("amount"), per=CENTS, currency=row.get("currency"))
    if usd is not None:
        kind = _kind(text(row, "token_type"), text(row, "cost_type"))
        if kind == "tools" and model is None:
            model = text(row, "description", "cost_type")
        if kind == "total" and model is None:
            model = None
        yield BillLine(day, model, tier, "credits" if usd < 0 else kind, usd=usd)
        return
    written = row.get("cache_creation")
    if isinstance(written, dict):
        row = {**row, "usage_input_tokens_cache_write_5m": sum(_whole(value) for value in written.values())}
    found: tuple[Kind, tuple[str, ...]]
    for found in USAGE:  # type: ignore[assignment]
        kind, columns = found
        counts = [reading.count(row.get(name)) for name in columns if name in row]
        if counts:
            yield BillLine(day, model, tier, kind, tokens=sum(count or 0 for count in counts))


def _kind(token_type: str | None, cost_type: str | None) -> Kind:
    name = (token_type or "").lower()
    if "output" in name:
        return "output"
    if "cache_creation" in name or "cache_write" in name:
        return "cache_write"
    if "cache_read" in name:
        return "cached_input"
    if "input" in name:
        return "input"
    return "total" if (cost_type or "tokens").lower().startswith("token") else "tools"


def _whole(value: Any) -> int:
    return int(value or 0)
