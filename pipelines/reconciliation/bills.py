"""A provider's bill as lines of one form, whichever export it came from."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import date

Kind = Literal["input", "cached_input", "cache_write", "output", "tools", "credits", "total"]
"""Fresh input, input from a cache, input written to one, output with reasoning, charges that are not by
token, money back, and money that the file does not split by kind."""
TOKEN_KINDS: tuple[Kind, ...] = ("input", "cached_input", "cache_write", "output")
Cause = Literal[
    "missing_here",
    "missing_there",
    "served_model",
    "served_tier",
    "price",
    "tokens",
    "tools",
    "cut_stream",
    "day_boundary",
    "credits",
    "missing_here or tokens",
    "missing_there or tokens",
    "price or served_tier",
    "unexplained",
]
"""Two names: the file cannot show which of them it is."""
STANDARD = "standard"
"""The tier of requests that name none."""
ZERO = Decimal(0)


class BillLine(NamedTuple):
    """One quantity or amount of a bill. None: the file does not say."""

    day: date
    """In the zone of the bill."""
    model: str | None
    tier: str | None
    kind: Kind
    tokens: int | None = None
    usd: Decimal | None = None
    request_id: str | None = None
    requests: int | None = None
    """Requests of the line. A file with one line for each kind counts them on one of them."""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """The lines of a file, and the facts that it states."""

    lines: tuple[BillLine, ...]
    since: date
    """The first day that the file covers."""
    until: date
    """The last one."""
    kinds: frozenset[Kind]
    """The kinds of tokens that it separates. It counts the tokens of others as `input`."""
    unit: Decimal
    """The smallest amount that it writes, in US dollars."""
    notes: tuple[str, ...] = ()

    @cached_property
    def has_tokens(self) -> bool:
        """Whether it counts tokens."""
        return any(line.tokens is not None for line in self.lines)

    @cached_property
    def has_costs(self) -> bool:
        """Whether it names amounts."""
        return any(line.usd is not None and line.kind != "credits" for line in self.lines)

    @cached_property
    def has_kinds(self) -> bool:
        """Whether its amounts are by kind of token."""
        return any(line.usd is not None and line.kind in TOKEN_KINDS for line in self.lines)

    @cached_property
    def has_models(self) -> bool:
        """Whether its lines name models."""
        return any(line.model is not None for line in self.lines)

    @cached_property
    def has_tiers(self) -> bool:
        """Whether its lines name tiers of service."""
        return any(line.tier is not None for line in self.lines)

    @cached_property
    def has_request_ids(self) -> bool:
        """Whether it lists single requests."""
        return any(line.request_id is not None for line in self.lines)

    @cached_property
    def has_requests(self) -> bool:
        """Whether it counts requests."""
        return any(line.requests is not None for line in self.lines)
