"""Chooses the reader of a file, and completes the bill."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pipelines.errors import ReconciliationError
from pipelines.reconciliation.bills import Bill, BillLine
from pipelines.reconciliation.exports import anthropic, focus, openai, openrouter
from pipelines.reconciliation.exports.files import rows_of
from pipelines.reconciliation.exports.values import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, tzinfo
    from pathlib import Path

    from pipelines.reconciliation.bills import Kind
    from pipelines.reconciliation.exports.columns import Columns
    from pipelines.reconciliation.exports.files import Row

Shape = Literal["openai", "anthropic", "openrouter", "focus"]
READERS = {"openai": openai, "anthropic": anthropic, "openrouter": openrouter, "focus": focus}


def read(
    path: Path,
    shape: Shape | None,
    *,
    columns: Columns | None = None,
    zone: tzinfo | None = None,
    since: date | None = None,
    until: date | None = None,
) -> Bill:
    """The bill in a file. `since` and `until` are its days, where it has no lines at its ends.

    ReconciliationError names what cannot be read, and the remedy.
    """
    rows = rows_of(path)
    names = set().union(*rows[:1000])
    reading = Reading(path=path, zone=zone)
    lines = tuple(_lines(rows, names, shape, columns, reading))
    kept = tuple(
        line
        for line in lines
        if (since is None or line.day >= since) and (until is None or line.day <= until)
    )
    if not kept:
        raise ReconciliationError(
            f"`{path}` has no usage"
            + (f" from {since or 'its start'} to {until or 'its end'}" if lines else "")
            + ": export the days that you want to compare"
        )
    credits_usd = sum((line.usd or Decimal(0) for line in kept if line.kind == "credits"), Decimal(0))
    if credits_usd:
        reading.note(
            f"the bill holds credits of {credits_usd} US dollars: they lower what you pay, and no cost of a"
            " request here changes"
        )
    return Bill(
        lines=kept,
        since=since or min(reading.days),
        until=until or max(reading.days),
        kinds=_kinds(names, shape, columns),
        unit=Decimal(1).scaleb(-reading.decimals),
        notes=tuple(reading.notes),
    )


def _lines(
    rows: list[Row], names: set[str], shape: Shape | None, columns: Columns | None, reading: Reading
) -> Iterator[BillLine]:
    if columns is not None:
        columns.require(names, reading)
        for row in rows:
            yield from columns.lines(row, reading)
        return
    if shape is None:
        raise ReconciliationError(
            "the shape of the file is not clear: add --provider, or name its columns with --columns"
        )
    reader = READERS[shape]
    if not reader.fits(names):
        fitting = [name for name, other in READERS.items() if other.fits(names)]
        raise ReconciliationError(
            f"`{reading.path}` is no export of `{shape}` that is known here; it has the columns"
            f" `{', '.join(sorted(names)[:12])}`. "
            + (f"It looks like `--provider {fitting[0]}`" if fitting else "Name them with --columns")
        )
    for row in rows:
        yield from reader.lines(row, reading)


def _kinds(names: set[str], shape: Shape | None, columns: Columns | None) -> frozenset[Kind]:
    if columns is not None:
        return columns.kinds
    if shape == "openrouter" and not openrouter.has_generations(names):
        return openrouter.DAILY_KINDS
    kinds: frozenset[Kind] = READERS[shape or "focus"].KINDS
    return kinds
