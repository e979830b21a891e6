"""Compares one group or one request by kind of token: price first, then the number of tokens.

With tokens on both sides, a difference splits into the rate (theirs less ours, times their tokens) and the
tokens (theirs less ours, times our rate). A bill without tokens is divided by our rates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.reconciliation.bills import TOKEN_KINDS, ZERO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipelines.reconciliation.bills import Bill, Cause, Kind
    from pipelines.reconciliation.ledger import Ledger
    from pipelines.reconciliation.sides import Key, Side

    Rate = tuple[Decimal, Decimal]
    RateOf = Callable[[Key, Kind], Rate | None]

NOISE = Decimal("1e-9")
"""The share of an amount that sums of doubles may be off by."""
OURS = Decimal("1e-12")
"""The unit of our amounts."""


@dataclass(slots=True)
class Cell:
    """A group on both sides, and the tokens that are left to explain."""

    key: Key
    ours: Side
    theirs: Side
    by_kind: bool = True
    """Whether both sides split their dollars by kind."""
    delta: dict[Kind, Decimal] = field(default_factory=dict)
    """Tokens of theirs less ours that have no cause yet."""
    slack: dict[Kind, Decimal] = field(default_factory=dict)
    """Tokens that are no difference: a bill without tokens is rounded."""
    rates: dict[Kind, Rate] = field(default_factory=dict)
    """Dollars of a token: the lowest and the highest price of the group."""
    last: Cause | None = None
    """The latest cause that took tokens from the group."""
    more_requests: int | None = None
    """Requests of theirs less ours that have no cause yet. None: the bill does not count them."""
    rest: Cause | None = None
    """The cause of dollars that are left where all tokens have one, if other groups show it."""
    is_moved: bool = False
    tiers: int = 1
    """Tiers of ours in the group, where the bill does not name them."""

    @property
    def is_open(self) -> bool:
        """Whether tokens are left to explain."""
        return bool(self.delta)

    def value(self, kind: Kind, tokens: Decimal) -> Decimal:
        """Dollars of tokens at our rate: the group's mean, if it has several."""
        held, paid = self.ours.count(kind), self.ours.usd.get(kind)
        low, high = self.rates.get(kind, (ZERO, ZERO))
        if low != high and held and paid is not None:
            return tokens * paid / held
        if kind not in self.rates:  # without a rate of ours, theirs
            counted, billed = self.theirs.count(kind), self.theirs.usd.get(kind)
            return tokens * billed / counted if counted and billed is not None else ZERO
        return tokens * (low + high) / 2

    def take(self, kind: Kind, tokens: Decimal, cause: Cause) -> None:
        """Explain some tokens: positive ones of theirs, negative ones of ours."""
        left = self.delta.get(kind, ZERO) - tokens
        if abs(left) <= self.slack.get(kind, ZERO):
            self.delta.pop(kind, None)
        else:
            self.delta[kind] = left
        self.last = cause


@dataclass(slots=True, kw_only=True)
class Comparing:
    """The steps that groups and single requests share."""

    bill: Bill
    ledger: Ledger
    rate_of: RateOf
    tiers_of: Callable[[Key], int]
    tier_rates_of: Callable[[Key], Mapping[str, Mapping[Kind, Decimal]]]
    """The prices of a token by tier, where the bill does not name tiers."""
    widest_of: RateOf
    """The lowest and highest price of a token of a model on all days."""
    has_costs: bool
    is_exact: bool
    """Whether the bill counts tokens."""
    has_kinds: bool
    is_grouped: bool = False
    """Whether each cell holds many requests."""

    def cell(self, key: Key, ours: Side, theirs: Side) -> Cell:
        """Set a group up: rates, token differences and the charges that are not by token."""
        split = (self.has_kinds or not self.has_costs) and "total" not in {**ours.usd, **theirs.usd}
        cell = Cell(key, ours, theirs, by_kind=split, tiers=self.tiers_of(key))
        if self.bill.has_requests:
            cell.more_requests = (theirs.requests or 0) - (ours.requests or 0)
        for kind in TOKEN_KINDS:
            rate = ours.rates.get(kind) or self.rate_of(key, kind)
            if rate is not None:
                cell.rates[kind] = rate
            counted = self._their_tokens(cell, kind)
            if counted is None:
                continue
            difference = counted - ours.count(kind)
            if abs(difference) > cell.slack.get(kind, ZERO):
                cell.delta[kind] = difference
        if not self.has_costs:
            theirs.usd = {kind: cell.value(kind, count) for kind, count in theirs.tokens.items() if count}
        return cell

    def tolerance(self, cell: Cell, amount: Decimal) -> Decimal:
        """Dollars that rounding may add to the amount of a group."""
        count = cell.ours.requests or 0
        return cell.theirs.lines * self.bill.unit / 2 + OURS * count + NOISE * abs(amount)

    def price(self, cell: Cell) -> None:
        """Note what their tokens cost more or less than at our rates."""
        if not self.has_costs or not cell.theirs.tokens:
            return
        if cell.by_kind:
            for kind in TOKEN_KINDS:
                billed, rate = cell.theirs.usd.get(kind), cell.rates.get(kind)
                if billed is not None and rate is not None:
                    counted = cell.theirs.count(kind)
                    self._gap(cell, kind, billed, (rate[0] * counted, rate[1] * counted))
            return
        billed, paid = cell.theirs.total, cell.ours.total
        if billed is None or self._other_tier(cell, billed):
            return
        if not cell.delta and paid is not None and not cell.ours.without_cost:
            self._gap(cell, "total", billed, (paid, paid))
            return
        low = high = cell.ours.usd.get("tools", ZERO)
        for kind, counted in cell.theirs.tokens.items():
            if not counted:
                continue
            rate = self.widest_of(cell.key, kind) if self.is_grouped else cell.rates.get(kind)
            if rate is None:
                return
            low, high = low + rate[0] * counted, high + rate[1] * counted
        self._gap(cell, "total", billed, (low, high))

    def _other_tier(self, cell: Cell, billed: Decimal) -> bool:
        """Note an amount that is exactly that of another tier."""
        theirs = cell.theirs.tokens
        if cell.ours.apart != cell.ours.tokens:  # the bill mixes kinds of different prices
            theirs = {} if cell.delta else cell.ours.apart
        paid = cell.ours.total if not cell.delta else None
        slack = self.tolerance(cell, billed)
        if not theirs or (paid is not None and abs(billed - paid) <= slack):
            return False
        tools = cell.ours.usd.get("tools", ZERO)
        for rates in self.tier_rates_of(cell.key).values():
            if any(kind not in rates for kind, count in theirs.items() if count):
                continue
            amount = sum((rates[kind] * count for kind, count in theirs.items() if count), tools)
            if abs(billed - amount) > slack:
                continue
            if paid is None:
                paid = sum((cell.value(kind, count) for kind, count in theirs.items()), tools)
            if abs(billed - paid) <= slack:
                return False
            self.ledger.add(cell.key, "total", "served_tier", theirs_usd=billed - paid)
            return True
        return False

    def _gap(self, cell: Cell, kind: Kind, billed: Decimal, expected: Rate) -> None:
        low, high = expected
        slack = self.tolerance(cell, billed)
        if low - slack <= billed <= high + slack:
            return
        if low != high and kind != "total":
            low = high = cell.value(kind, cell.theirs.count(kind))
        nearest = low if billed < low else high
        cause = self.rate_cause(cell, billed - nearest) if kind == "total" else "price"
        self.ledger.add(cell.key, kind, cause, theirs_usd=billed - nearest)

    def rate_cause(self, cell: Cell, usd: Decimal) -> Cause:
        """The cause of dollars of a group whose tokens agree: more than any tier asks is the price."""
        rates = self.tier_rates_of(cell.key)
        paid = cell.ours.total
        if cell.tiers < 2 or paid is None or not rates:
            return "price"
        amounts = [
            sum((tier.get(kind, ZERO) * count for kind, count in cell.ours.apart.items()), ZERO)
            for tier in rates.values()
        ]
        return "price or served_tier" if min(amounts) - paid <= usd <= max(amounts) - paid else "price"

    def mixture(self, cell: Cell) -> Decimal:
        """The most that the mean rate of a group misses of the tokens that have a cause."""
        most = ZERO
        for kind in TOKEN_KINDS:
            rate, taken = self.widest_of(cell.key, kind), self.ledger.taken(cell.key, kind)
            if rate is not None:
                tokens = (taken.ours_tokens or ZERO) + (taken.theirs_tokens or ZERO)
                most += tokens * (rate[1] - rate[0])
        return most

    def settle(self, cell: Cell) -> None:
        """Note the parts that agree, and a rest that no cause explains."""
        for kind in TOKEN_KINDS:
            taken = self.ledger.taken(cell.key, kind)
            held, counted = cell.ours.tokens.get(kind), cell.theirs.tokens.get(kind)
            if cell.by_kind:
                self._agree(cell, kind, held, counted, cell.ours.usd.get(kind), cell.theirs.usd.get(kind))
            elif held or counted:
                self.ledger.add(
                    cell.key,
                    kind,
                    None,
                    ours_tokens=_less(held, taken.ours_tokens),
                    theirs_tokens=_less(counted, taken.theirs_tokens),
                )
        if not cell.by_kind:
            self._agree(cell, "total", None, None, cell.ours.total, cell.theirs.total)
        elif "tools" in cell.ours.usd or "tools" in cell.theirs.usd:
            self._agree(cell, "tools", None, None, cell.ours.usd.get("tools"), cell.theirs.usd.get("tools"))

    def _agree(
        self,
        cell: Cell,
        kind: Kind,
        held: Decimal | None,
        counted: Decimal | None,
        paid: Decimal | None,
        billed: Decimal | None,
    ) -> None:
        ours_left, theirs_left = self._left(cell, kind, paid, billed)
        rest = (theirs_left or ZERO) - (ours_left or ZERO)
        if abs(rest) > self.tolerance(cell, billed or paid or ZERO):
            self.ledger.add(cell.key, kind, self._cause(cell, kind), theirs_usd=rest)
            theirs_left = None if theirs_left is None else theirs_left - rest
            if theirs_left is None:
                ours_left = None if ours_left is None else ours_left + rest
        own = self.ledger.taken(cell.key, kind)
        self.ledger.add(
            cell.key,
            kind,
            None,
            ours_tokens=_less(held, own.ours_tokens if cell.by_kind else None),
            theirs_tokens=_less(counted, own.theirs_tokens if cell.by_kind else None),
            ours_usd=ours_left,
            theirs_usd=theirs_left,
        )

    def left(self, cell: Cell) -> Decimal:
        """Dollars of theirs less ours that no part of a group explains yet, where they are not by kind."""
        ours, theirs = self._left(cell, "total", cell.ours.total, cell.theirs.total)
        return (theirs or ZERO) - (ours or ZERO)

    def _left(
        self, cell: Cell, kind: Kind, paid: Decimal | None, billed: Decimal | None
    ) -> tuple[Decimal | None, Decimal | None]:
        kinds: tuple[Kind, ...] = (kind,) if cell.by_kind else ("total", *TOKEN_KINDS, "tools")
        taken = [self.ledger.taken(cell.key, name) for name in kinds]
        ours_taken = sum((part.ours_usd or ZERO for part in taken), ZERO)
        theirs_taken = sum((part.theirs_usd or ZERO for part in taken), ZERO)
        ours_left = None if paid is None else paid - ours_taken
        theirs_left = None if billed is None else billed - theirs_taken
        return ours_left, theirs_left

    def _cause(self, cell: Cell, kind: Kind) -> Cause:
        """The cause of dollars that are left where all tokens have one."""
        if kind == "tools":
            return "tools"
        if cell.ours.without_cost and not cell.ours.without_usage:
            return "price"  # ours is not known
        if cell.rest is not None:
            return cell.rest
        if cell.last is not None and self._is_mixed(cell, kind):
            return cell.last  # the mean rate of the group is not that of the tokens
        if self.is_exact and not cell.delta and cell.theirs.tokens:
            return "price"
        return "unexplained"

    def _is_mixed(self, cell: Cell, kind: Kind) -> bool:
        kinds = (kind,) if cell.by_kind else TOKEN_KINDS
        return any(name in cell.rates and cell.rates[name][0] != cell.rates[name][1] for name in kinds)

    def _their_tokens(self, cell: Cell, kind: Kind) -> Decimal | None:
        """Tokens on the bill: counted, or as many as our rate makes of its dollars."""
        if self.is_exact:
            return cell.theirs.count(kind)
        if not cell.by_kind or kind not in cell.rates:
            return None
        low, high = cell.rates[kind]
        rate = (low + high) / 2
        if cell.ours.count(kind) and cell.ours.usd.get(kind):
            rate = cell.ours.usd[kind] / cell.ours.count(kind)
        if not rate:
            return None
        billed = cell.theirs.usd.get(kind, ZERO)
        cell.slack[kind] = self.tolerance(cell, billed) / rate
        return billed / rate


def _less(value: Decimal | None, taken: Decimal | None) -> Decimal | None:
    return value if value is None or taken is None else value - taken
