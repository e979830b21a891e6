"""OpenRouter: activity by day (JSON, CSV), and generations (JSON, and the CSV with `generation_id`).

Moments without an offset are UTC. Prompt tokens include cached ones. Amounts are whole: the file does not
split them by kind.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.reconciliation.bills import BillLine
from pipelines.reconciliation.exports.values import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.reconciliation.bills import Kind
    from pipelines.reconciliation.exports.files import Row
    from pipelines.reconciliation.exports.values import Reading

KINDS: frozenset[Kind] = frozenset({"input", "cached_input", "output"})
DAILY_KINDS: frozenset[Kind] = frozenset({"input", "output"})
PROMPT = ("native_tokens_prompt", "tokens_prompt", "prompt_tokens")
COMPLETION = ("native_tokens_completion", "tokens_completion", "completion_tokens")
CACHED = ("native_tokens_cached", "tokens_cached")
COST = ("cost_total", "total_cost", "usage")


def fits(names: set[str]) -> bool:
    """Whether the columns are those of an export of OpenRouter."""
    return bool(names & set(PROMPT)) and bool(names & set(COST)) and bool(names & {"date", "created_at"})


def has_generations(names: set[str]) -> bool:
    """Whether each row is one request."""
    return "created_at" in names


def lines(row: Row, reading: Reading) -> Iterator[BillLine]:
    """The lines of a row."""
    day = reading.day(row.get("created_at") or row.get("date"), is_utc=True)
    model = text(row, "model_permaslug", "model", "slug")
    request_id = text(row, "generation_id", "id") if "created_at" in row else None
    requests = reading.count(row.get("requests")) if request_id is None else 1
    prompt, cached = (reading.count(text(row, *names)) for names in (PROMPT, CACHED))
    usd = reading.usd(text(row, *COST)) or Decimal(0)
    if any(reading.usd(row.get(name)) for name in ("byok_usage_inference", "byok_usage")):
        reading.note("inference on your own keys is on the bill of their provider, and not compared here")
    if usd < 0:
        yield BillLine(day, model, None, "credits", usd=usd, request_id=request_id)
        return
    yield BillLine(
        day,
        model,
        None,
        "input",
        tokens=(prompt or 0) - (cached or 0),
        request_id=request_id,
        requests=requests,
    )
    if request_id is not None:
        yield BillLine(day, model, None, "cached_input", tokens=cached or 0, request_id=request_id)
    output = reading.count(text(row, *COMPLETION)) or 0
    yield BillLine(day, model, None, "output", tokens=output, request_id=request_id)
    yield BillLine(day, model, None, "total", usd=usd, request_id=request_id)
