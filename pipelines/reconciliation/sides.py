"""One side's amounts of a request or a group: tokens and dollars by kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from pipelines.reconciliation.bills import TOKEN_KINDS, ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from pipelines.reconciliation.bills import Kind


class Key(NamedTuple):
    """A group. Model and tier are None where the bill does not name them."""

    day: date
    model: str | None
    tier: str | None


@dataclass(slots=True)
class Side:
    """The sums of one side. A kind that is missing is not known."""

    tokens: dict[Kind, Decimal] = field(default_factory=dict)
    usd: dict[Kind, Decimal] = field(default_factory=dict)
    requests: int | None = None
    lines: int = 0
    """Amounts in the sums: each may be rounded."""
    without_cost: int = 0
    without_usage: int = 0
    rates: dict[Kind, tuple[Decimal, Decimal]] = field(default_factory=dict)
    """The lowest and the highest price of a token."""
    apart: dict[Kind, Decimal] = field(default_factory=dict)
    """Tokens before `fold`."""
    fresh_usd: Decimal = ZERO
    """Dollars of fresh input before `fold`."""

    @property
    def total(self) -> Decimal | None:
        """All dollars; None if no amount is known."""
        return sum(self.usd.values(), ZERO) if self.usd else None

    def count(self, kind: Kind) -> Decimal:
        """Tokens of a kind; 0 if there are none."""
        return self.tokens.get(kind, ZERO)

    def add(self, other: Side) -> None:
        """Add the other side's sums."""
        for mine, its in ((self.tokens, other.tokens), (self.usd, other.usd), (self.apart, other.apart)):
            for kind, value in its.items():
                mine[kind] = mine.get(kind, ZERO) + value
        for kind, (low, high) in other.rates.items():
            before = self.rates.get(kind, (low, high))
            self.rates[kind] = (min(low, before[0]), max(high, before[1]))
        if other.requests is not None:
            self.requests = (self.requests or 0) + other.requests
        self.lines += other.lines
        self.fresh_usd += other.fresh_usd
        self.without_cost += other.without_cost
        self.without_usage += other.without_usage

    def fold(self, kinds: Iterable[Kind]) -> None:
        """Count tokens of other kinds as `input`, as a bill does that separates only `kinds`."""
        self.apart, self.fresh_usd = dict(self.tokens), self.usd.get("input", ZERO)
        for kind in TOKEN_KINDS:
            if kind in kinds or kind == "input":
                continue
            used = self.tokens.get(kind)
            for held in (self.tokens, self.usd):
                if kind in held:
                    held["input"] = held.get("input", ZERO) + held.pop(kind)
            rate = self.rates.pop(kind, None)
            if rate is not None and used:
                low, high = self.rates.get("input", rate)
                self.rates["input"] = (min(low, rate[0]), max(high, rate[1]))
