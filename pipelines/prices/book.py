"""Source against book: what becomes a new row, and what waits for a person.

No row of the book is changed or removed, and none is added with a start in the past: what a request
of yesterday costs stays what it cost yesterday.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A price that the source says and the book does not hold."""

    ref: str
    price: Price
    """With the start it would have."""
    standing: Price | None
    """The price it would replace; None for a model that is new to the book."""
    findings: tuple[Finding, ...]

    @property
    def id(self) -> str:
        """Names the model and the content, so that the same price is asked for once."""
        return f"{self.ref}@{_content_hash(self.price)[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a source would make of a book."""

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
    """Apply what is plausible in `listed` to `rows`, hold back what is not."""
    current = {ref: price for ref, items in listed.items() if (price := price_at(items, now)) is not None}
    after: dict[str, tuple[Price, ...]] = dict(rows)
    applied, held = [], []
    for ref in sorted(listed):
        for price, standing in _differences(rows.get(ref, ()), listed[ref], now):
            found = findings(ref, price, standing=standing, listed=current, max_factor=max_factor)
            change = Change(ref=ref, price=price, standing=standing, findings=found)
            if found:
                held.append(change)
                break  # what follows a price that waits is compared when it has been accepted
            applied.append(change)
            after[ref] = added(ref, after.get(ref, ()), price)
    return Comparison(
        applied=tuple(applied), held=tuple(held), unlisted=frozenset(rows.keys() - listed.keys()), rows=after
    )


def added(ref: str, rows: tuple[Price, ...], price: Price) -> tuple[Price, ...]:
    """`rows` and `price`, under an id of its own, after those that start when it does."""
    revision = sum(row.start == price.start for row in rows)
    named = replace(price, price_id=row_id(ref, price.start, revision))
    return tuple(sorted((*rows, named), key=lambda row: row.start))


def _differences(
    rows: tuple[Price, ...], listed: tuple[Price, ...], now: datetime
) -> Iterator[tuple[Price, Price | None]]:
    """The rows to add, with the price each replaces, so that from `now` on the book says what is listed."""
    if not rows:
        yield from ((price, None) for price in listed)  # its history as it is told: nothing hangs on it yet
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
    """Whether two rows charge alike."""
    return _bare(one) == _bare(other)


def _bare(price: Price) -> Price:
    return replace(price, price_id="", start=ALWAYS)


def _content_hash(price: Price) -> str:
    return hashlib.sha256(orjson.dumps(row_to_json(_bare(price)))).hexdigest()
