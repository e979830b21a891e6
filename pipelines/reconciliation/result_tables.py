"""A reconciliation as a table and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.reconciliation.ledger import Difference
from pipelines.reports.reports import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from pipelines.billing.restatements import Restatement
    from pipelines.reconciliation.reconcile import Reconciliation

TOTALS = ("ours_usd", "theirs_usd", "difference_usd")


def answer(rows: Sequence[Difference]) -> Answer:
    """The rows as a table of Arrow."""
    import pyarrow as pa

    usd = pa.decimal128(38, 12)
    types = {
        "day": pa.date32(),
        "ours_tokens": pa.int64(),
        "theirs_tokens": pa.int64(),
        **dict.fromkeys(TOTALS, usd),
    }
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], types.get(name, pa.string()))
        for name in Difference._fields
    }
    return Answer(table=pa.table(columns))


def restatements(rows: Sequence[Restatement]) -> Answer:
    """Restatements as a table of Arrow."""
    import pyarrow as pa

    usd = pa.decimal128(38, 12)
    texts = ("month", "organization_id", "model", "price_id", "service_tier")
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in texts
    }
    columns["requests"] = pa.array([row.new_requests for row in rows], pa.int64())
    for name in ("old_usd", "new_usd", "difference_usd"):
        columns[name] = pa.array([getattr(row, name) for row in rows], usd)
    return Answer(table=pa.table(columns))


def head(found: Reconciliation) -> Iterator[str]:
    """The lines over the rows: the compared parts, the totals, and the dollars of each cause."""
    how = "request id" if found.matched_by == "request_id" else "day, model, tier and kind"
    yield (
        f"reconciliation of {found.file_name} ({found.provider}), {found.since} to {found.until}"
        f" {found.timezone}, by {how}; amounts in US dollars"
    )
    yield (
        f"ours {money(found.ours_usd)}, theirs {money(found.theirs_usd)},"
        f" difference {money(found.theirs_usd - found.ours_usd)}"
    )
    causes = found.by_cause()
    if not causes:
        yield "both sides agree on every row"
    for cause, usd in sorted(causes.items(), key=lambda item: -item[1]):
        yield f"  {cause}: {money(usd)}"
    if found.explained_share is not None:
        yield f"explained: {100 * found.explained_share:.2f}% of the differing dollars"
    yield from (f"note: {note}" for note in found.notes)


def money(usd: Decimal) -> str:
    """Dollars with cents, and with more digits if they are few."""
    return f"{usd:.2f}" if abs(usd) >= 1 else f"{usd:.6f}"


def differences(found: Reconciliation) -> list[Difference]:
    """The rows on which the sides differ."""
    return [row for row in found.rows if row.cause is not None]
