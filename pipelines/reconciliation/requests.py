"""Compares single requests, where the bill lists them by the id that the provider gave."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.reconciliation.bills import TOKEN_KINDS, ZERO
from pipelines.reconciliation.ledger import Ledger
from pipelines.reconciliation.sides import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.reconciliation.bills import Cause
    from pipelines.reconciliation.cells import Cell, Comparing
    from pipelines.reconciliation.sides import Key

Request = tuple["Key", Side]


@dataclass(slots=True)
class Requests:
    """All requests of one bill."""

    comparing: Comparing
    _equal: dict[Key, tuple[Side, Side]] = field(default_factory=dict)
    """The sums of the requests that agree, on each side."""

    def compare(
        self, ours: Iterator[tuple[str, Request]], theirs: Mapping[str, Request]
    ) -> dict[str, Request]:
        """Note the parts of every request of ours, and return those of theirs that are not known here.

        `ours` may hold requests of the days around the bill: they count if the bill has them.
        """
        left = dict(theirs)
        for request_id, (key, side) in ours:
            other = left.pop(request_id, None)
            if other is not None:
                self._pair(key, side, *other)
            elif self.comparing.bill.since <= key.day <= self.comparing.bill.until:
                self._one_sided(key, side, Side(), "missing_there")
        for key, sums in self._equal.items():
            self.explain(key, *sums)
        return left

    def missing_here(self, left: Mapping[str, Request]) -> None:
        """Note requests of the bill that are not known here."""
        for key, side in left.values():
            self._one_sided(key, Side(), side, "missing_here")

    def _pair(self, key: Key, ours: Side, their_key: Key, theirs: Side) -> None:
        cause = _moved(key, their_key)
        if cause is None:
            self._same_group(key, ours, theirs)
        elif cause == "day_boundary":
            # The same charge on another day: a difference in price or tokens is apart from that.
            self._one_sided(key, ours, Side(), cause)
            self._shifted(their_key, ours, theirs)
        else:
            self._one_sided(key, ours, Side(), cause)
            self._one_sided(their_key, Side(), theirs, cause)

    def _same_group(self, key: Key, ours: Side, theirs: Side) -> None:
        cell = self.comparing.cell(key, ours, theirs)
        if cell.delta or not self._is_equal(cell):
            self.explain(key, ours, theirs)
            return
        one, other = self._equal.setdefault(key, (Side(), Side()))
        one.add(ours)
        other.add(theirs)

    def explain(self, key: Key, ours: Side, theirs: Side) -> None:
        """Note the parts of one request, or of several that agree."""
        comparing = replace(self.comparing, ledger=Ledger())  # the parts of other requests do not count
        self._explain(comparing, comparing.cell(key, ours, theirs))
        self.comparing.ledger.merge(comparing.ledger)

    def _is_equal(self, cell: Cell) -> bool:
        if not cell.by_kind:
            paid, billed = cell.ours.total, cell.theirs.total
            return _near(paid, billed, self.comparing.tolerance(cell, billed or ZERO))
        return all(
            _near(
                cell.ours.usd.get(kind, ZERO),
                cell.theirs.usd.get(kind, ZERO),
                self.comparing.tolerance(cell, cell.theirs.usd.get(kind, ZERO)),
            )
            for kind in (*TOKEN_KINDS, "tools")
        )

    def _explain(self, comparing: Comparing, cell: Cell) -> None:
        comparing.price(cell)
        cause: Cause = "cut_stream" if cell.ours.without_usage else "tokens"
        for kind, tokens in list(cell.delta.items()):
            usd = cell.value(kind, abs(tokens))
            counted = abs(tokens) if comparing.is_exact else None
            if tokens > 0:
                comparing.ledger.add(cell.key, kind, cause, theirs_tokens=counted, theirs_usd=usd)
            else:
                comparing.ledger.add(cell.key, kind, cause, ours_tokens=counted, ours_usd=usd)
            cell.take(kind, tokens, cause)
        comparing.settle(cell)

    def _shifted(self, key: Key, ours: Side, theirs: Side) -> None:
        """On the day of the bill, the part that ours agrees with is the shift; the rest has its own cause."""
        ledger, apart = self.comparing.ledger, Ledger()
        Requests(replace(self.comparing, ledger=apart)).explain(key, ours, theirs)
        for row in apart.rows():
            if row.cause is None:
                ledger.add(
                    key,
                    row.kind,
                    "day_boundary",
                    theirs_tokens=_decimal(row.theirs_tokens),
                    theirs_usd=row.theirs_usd,
                )
                continue
            tokens = _decimal(row.ours_tokens)
            ledger.add(key, row.kind, "day_boundary", theirs_tokens=tokens, theirs_usd=row.ours_usd)
            less = None if tokens is None else -tokens
            ledger.add(
                key,
                row.kind,
                row.cause,
                theirs_tokens=_decimal(row.theirs_tokens) if less is None else less,
                theirs_usd=row.difference_usd,
            )

    def _one_sided(self, key: Key, ours: Side, theirs: Side, cause: Cause) -> None:
        ledger = self.comparing.ledger
        if theirs.tokens and not self.comparing.has_costs:
            theirs = self.comparing.cell(key, ours, theirs).theirs
        for kind in {**ours.tokens, **ours.usd, **theirs.tokens, **theirs.usd}:
            ledger.add(
                key,
                kind,
                cause,
                ours_tokens=ours.tokens.get(kind),
                theirs_tokens=theirs.tokens.get(kind),
                ours_usd=ours.usd.get(kind),
                theirs_usd=theirs.usd.get(kind),
            )


def _moved(ours: Key, theirs: Key) -> Cause | None:
    """The cause of a request that is in different groups. None: it is in one."""
    if ours.model != theirs.model:
        return "served_model"
    if ours.tier != theirs.tier:
        return "served_tier"
    return "day_boundary" if ours.day != theirs.day else None


def _near(one: Decimal | None, other: Decimal | None, tolerance: Decimal) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= tolerance


def _decimal(value: int | None) -> Decimal | None:
    """The number as a Decimal."""
    return None if value is None else Decimal(value)
