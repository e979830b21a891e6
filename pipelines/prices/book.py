"""Compares the source with the book. A price becomes a new row, or waits for a person.

No row of the book is changed or removed, and a known model gets no row with a start in the past. The cost
of an earlier request therefore never changes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from pipelines.prices.checks import Finding, findings
from pipelines.prices.source import row_id
from router.catalog.price_book import ALWAYS, row_to_json
from router.catalog.prices import price_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from router.catalog.prices import Price


AGAIN = "."
"""Precedes the number of a row whose start and rates an earlier row of the book has too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A price of the source that the book does not hold."""

    ref: str
    price: Price
    """The new price, with its start."""
    standing: Price | None
    """The price it would replace. None for a model that is new to the book."""
    findings: tuple[Finding, ...]

    @property
    def id(self) -> str:
        """Made from the model and the price, so that a person is asked only once for the same price."""
        return f"{self.ref}@{_content_hash(self.price)[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of comparing a source with a book."""

    applied: tuple[Change, ...]
    held: tuple[Change, ...]
    unlisted: frozenset[str]
    """Models of the book that the source does not name: their prices are kept."""
    rows: Mapping[str, tuple[Price, ...]]
    """The book's rows with the applied changes."""


def compare(
    rows: Mapping[str, tuple[Price, ...]],
    listed: Mapping[str, tuple[Price, ...]],
    *,
    now: datetime,
    max_factor: float,
) -> Comparison:
    """Add plausible prices of `listed` to `rows`, and hold back the others."""
    current = {ref: price for ref, items in listed.items() if (price := price_at(items, now)) is not None}
    after: dict[str, tuple[Price, ...]] = dict(rows)
    applied, held = [], []
    for ref in sorted(listed):
        for price, standing in _differences(rows.get(ref, ()), listed[ref], now):
            found = findings(ref, price, standing=standing, listed=current, max_factor=max_factor)
            change = Change(ref=ref, price=price, standing=standing, findings=found)
            if found:
                held.append(change)
                break  # later prices of the model are compared once this one is accepted
            applied.append(change)
            after[ref] = added(ref, after.get(ref, ()), price)
    return Comparison(
        applied=tuple(applied), held=tuple(held), unlisted=frozenset(rows.keys() - listed.keys()), rows=after
    )


def added(ref: str, rows: tuple[Price, ...], price: Price) -> tuple[Price, ...]:
    """Add `price` to `rows` under its own id, after rows with the same start."""
    name = row_id(ref, price)
    again = sum(row.price_id.partition(AGAIN)[0] == name for row in rows)  # a price that came back
    named = replace(price, price_id=f"{name}{AGAIN}{again + 1}" if again else name)
    return tuple(sorted((*rows, named), key=lambda row: row.start))


def _differences(
    rows: tuple[Price, ...], listed: tuple[Price, ...], now: datetime
) -> Iterator[tuple[Price, Price | None]]:
    """The rows to add, each with the price it replaces, so that the book equals the source from `now` on."""
    if not rows:
        yield from ((price, None) for price in listed)  # all its history: no cost depends on it yet
        return
    starts = {row.start for row in (*rows, *listed) if row.start > now}
    after = rows
    for moment in (now, *sorted(starts)):
        wanted, has = price_at(listed, moment), price_at(after, moment)
        if wanted is not None and (has is None or not same_content(wanted, has)):
            price = replace(wanted, start=moment)
            yield price, has
            after = tuple(sorted((*after, price), key=lambda row: row.start))


def same_content(one: Price, other: Price) -> bool:
    """Whether two rows have the same rates."""
    return _bare(one) == _bare(other)


def _bare(price: Price) -> Price:
    return replace(price, price_id="", start=ALWAYS)


def _content_hash(price: Price) -> str:
    return hashlib.sha256(orjson.dumps(row_to_json(_bare(price)))).hexdigest()
