"""Collects the parts of a comparison: each part of a group is in agreement or has one cause.

The rows of a group add up to what each side says. A part that only one side has leaves the other NULL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from pipelines.reconciliation.bills import ZERO
from router.catalog.prices import QUANTUM

if TYPE_CHECKING:
    from datetime import date

    from pipelines.reconciliation.bills import Cause, Kind
    from pipelines.reconciliation.sides import Key


class Difference(NamedTuple):
    """One row of the result. NULL: that side has nothing, or does not say."""

    day: date
    model: str | None
    service_tier: str | None
    kind: Kind
    cause: Cause | None
    """None: both sides agree."""
    ours_tokens: int | None
    theirs_tokens: int | None
    ours_usd: Decimal | None
    theirs_usd: Decimal | None
    difference_usd: Decimal | None
    """Theirs less ours; a side that has nothing counts as 0. NULL if neither names an amount."""


@dataclass(slots=True)
class Sums:
    """A part in the words of both sides."""

    ours_tokens: Decimal | None = None
    theirs_tokens: Decimal | None = None
    ours_usd: Decimal | None = None
    theirs_usd: Decimal | None = None


@dataclass(slots=True)
class Ledger:
    """The parts so far. Amounts are rounded when they come in, so that parts add up to the last digit."""

    _sums: dict[tuple[Key, Kind, Cause | None], Sums] = field(default_factory=dict)
    _taken: dict[tuple[Key, Kind], Sums] = field(default_factory=dict)

    def add(
        self,
        key: Key,
        kind: Kind,
        cause: Cause | None,
        *,
        ours_tokens: Decimal | None = None,
        theirs_tokens: Decimal | None = None,
        ours_usd: Decimal | None = None,
        theirs_usd: Decimal | None = None,
    ) -> None:
        """Add a part."""
        for sums in (
            self._sums.setdefault((key, kind, cause), Sums()),
            self._taken.setdefault((key, kind), Sums()),
        ):
            sums.ours_tokens = _plus(sums.ours_tokens, _whole(ours_tokens))
            sums.theirs_tokens = _plus(sums.theirs_tokens, _whole(theirs_tokens))
            sums.ours_usd = _plus(sums.ours_usd, _money(ours_usd))
            sums.theirs_usd = _plus(sums.theirs_usd, _money(theirs_usd))

    def merge(self, other: Ledger) -> None:
        """Add all parts of another comparison."""
        for (key, kind, cause), sums in other._sums.items():
            self.add(
                key,
                kind,
                cause,
                ours_tokens=sums.ours_tokens,
                theirs_tokens=sums.theirs_tokens,
                ours_usd=sums.ours_usd,
                theirs_usd=sums.theirs_usd,
            )

    def taken(self, key: Key, kind: Kind) -> Sums:
        """The sums of all parts of a group and kind so far."""
        return self._taken.get((key, kind)) or Sums()

    def rows(self) -> list[Difference]:
        """All parts by day, model, tier, kind and cause."""
        found = [_row(key, kind, cause, sums) for (key, kind, cause), sums in self._sums.items()]
        found = [row for row in found if any(value not in (None, 0) for value in row[5:])]
        return sorted(found, key=lambda row: [str(value or "") for value in row[:5]])


def _row(key: Key, kind: Kind, cause: Cause | None, sums: Sums) -> Difference:
    ours, theirs = sums.ours_usd, sums.theirs_usd
    return Difference(
        day=key.day,
        model=key.model,
        service_tier=key.tier,
        kind=kind,
        cause=cause,
        ours_tokens=None if sums.ours_tokens is None else int(sums.ours_tokens),
        theirs_tokens=None if sums.theirs_tokens is None else int(sums.theirs_tokens),
        ours_usd=ours,
        theirs_usd=theirs,
        difference_usd=None if ours is None and theirs is None else (theirs or ZERO) - (ours or ZERO),
    )


def _plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    if other is None:
        return one
    return other if one is None else one + other


def _whole(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.to_integral_value()


def _money(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(QUANTUM)
