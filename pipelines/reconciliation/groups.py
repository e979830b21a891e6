"""Compares groups of requests: by day, model and tier, where the bill lists no request.

The steps go from sure to less sure: price; tokens counted twice; groups that moved to another tier, model or
day; requests that one side does not have. A group that lost what another gained has moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING

from pipelines.reconciliation.bills import TOKEN_KINDS, ZERO
from pipelines.reconciliation.sides import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.reconciliation.bills import Cause, Kind
    from pipelines.reconciliation.cells import Cell, Comparing
    from pipelines.reconciliation.sides import Key

SURE = 0.95
"""The share of the larger of two changes that both have in common, for a move that hides nothing else."""
LIKELY = 0.4
ALIKE = 0.9
"""Cosine of the changes by kind of two groups of a move."""
SMALL = Decimal("0.0005")
ERRORS = 6
"""How many median deviations, by the root of their number, a median is off by chance: 3 standard errors."""
DAY = timedelta(days=1)


@dataclass(slots=True)
class Groups:
    """All groups of one bill."""

    comparing: Comparing
    cells: dict[Key, Cell] = field(default_factory=dict)

    def compare(self, ours: Mapping[Key, Side], theirs: Mapping[Key, Side]) -> None:
        """Note the parts of every group."""
        self.comparing = replace(self.comparing, is_grouped=True)
        for key in sorted({*ours, *theirs}, key=str):
            self.cells[key] = self.comparing.cell(key, ours.get(key) or Side(), theirs.get(key) or Side())
        for cell in self.cells.values():
            self.comparing.price(cell)
        if not self.comparing.is_exact:
            self._constant_prices()
        self._counted_twice()
        self._moves(SURE)
        self._moves(LIKELY, whole=True)
        self._moves(LIKELY)
        for cell in self.cells.values():
            self._rest(cell)
        if self.comparing.is_exact:
            self._whole_amounts()
        for cell in self.cells.values():
            self.comparing.settle(cell)

    def _take(
        self, cell: Cell, kind: Kind, tokens: Decimal, cause: Cause, usd: Decimal | None = None
    ) -> None:
        """Note tokens of one side with a cause: positive ones of theirs, negative ones of ours.

        `usd`: their dollars, if they are not those of the group's mean rate.
        """
        usd = cell.value(kind, abs(tokens)) if usd is None else usd
        if tokens > 0:
            counted = tokens if self.comparing.is_exact else None
            self.comparing.ledger.add(cell.key, kind, cause, theirs_tokens=counted, theirs_usd=usd)
        else:
            self.comparing.ledger.add(cell.key, kind, cause, ours_tokens=-tokens, ours_usd=usd)
        cell.take(kind, tokens, cause)

    # price, without tokens on the bill

    def _constant_prices(self) -> None:
        """Take a factor for a wrong price that one kind of a model has on every day."""
        series: dict[tuple[str | None, str | None, Kind], list[Cell]] = {}
        for cell in self.cells.values():
            for kind in TOKEN_KINDS:
                if cell.ours.usd.get(kind) and cell.theirs.usd.get(kind):
                    series.setdefault((cell.key.model, cell.key.tier, kind), []).append(cell)
        for (model, tier, kind), cells in series.items():
            ratios = [self._relative(cell, kind) for cell in cells]
            known = [ratio for ratio in ratios if ratio is not None]
            if len(known) < 3:
                continue
            factor = median(known)
            if abs(factor - 1) <= _chance(known):
                continue
            if self._is_counted_twice(cells, kind):
                continue
            for cell in self.cells.values():  # those too that hold only requests of another day
                if (cell.key.model, cell.key.tier) == (model, tier) and cell.theirs.usd.get(kind):
                    self._reprice(cell, kind, factor)

    def _relative(self, cell: Cell, kind: Kind) -> Decimal | None:
        """How much more a kind costs on the bill, compared with the other kinds of its group."""
        others = [
            cell.theirs.usd[other] / cell.ours.usd[other]
            for other in TOKEN_KINDS
            if other != kind and cell.ours.usd.get(other) and cell.theirs.usd.get(other)
        ]
        own = cell.theirs.usd[kind] / cell.ours.usd[kind]
        if not others:
            return own
        nearest = min(others, key=lambda ratio: abs(ratio - 1))
        return own / nearest if abs(nearest - 1) < abs(own - 1) else Decimal(1)

    def _is_counted_twice(self, cells: list[Cell], kind: Kind) -> bool:
        if kind != "input":
            return False
        off = []
        for cell in cells:
            expected = cell.ours.count("input") + cell.ours.count("cached_input")
            ratio = self._relative(cell, kind)
            if ratio is not None and cell.ours.count("input"):
                off.append(ratio - expected / cell.ours.count("input"))
        return bool(off) and abs(median(off)) <= _chance(off)

    def _reprice(self, cell: Cell, kind: Kind, factor: Decimal) -> None:
        billed = cell.theirs.usd[kind]
        rate = cell.value(kind, Decimal(1))
        if not rate:
            return
        self.comparing.ledger.add(cell.key, kind, "price", theirs_usd=billed - billed / factor)
        left = billed / factor / rate - cell.ours.count(kind)
        cell.delta.pop(kind, None)
        if abs(left) > cell.slack.get(kind, ZERO):
            cell.delta[kind] = left

    # tokens

    def _counted_twice(self) -> None:
        """Find input that holds the cached tokens too, although they are on a line of their own."""
        for sign in (1, -1):
            hits: dict[str | None, int] = {}
            seen: dict[str | None, list[tuple[Cell, Decimal]]] = {}
            for cell in self.cells.values():
                side = cell.theirs if sign > 0 else cell.ours
                cached = side.count("cached_input")
                is_mixed = sign > 0 and cell.ours.apart != cell.ours.tokens
                if is_mixed:
                    cached = cell.ours.apart.get("cached_input", ZERO)
                if not self.comparing.is_exact and sign > 0:
                    cached = cell.ours.count("cached_input") + cell.delta.get("cached_input", ZERO)
                if not cached or not cell.theirs.lines:
                    continue
                change = self._beyond_growth(cell)
                is_hit = change is not None and cached / 2 <= sign * change <= cached * 3 / 2
                tokens = change if is_mixed and is_hit and change is not None else sign * cached
                seen.setdefault(cell.key.model, []).append((cell, tokens))
                if is_hit:
                    hits[cell.key.model] = hits.get(cell.key.model, 0) + 1
            for model, number in hits.items():
                if number >= min(3, len(seen[model])) and number * 3 >= len(seen[model]):
                    for cell, tokens in seen[model]:  # a habit of the bill, so in its other groups too
                        self._take(cell, "input", tokens, "tokens", _fresh(cell, tokens))

    def _beyond_growth(self, cell: Cell) -> Decimal | None:
        """Input tokens of theirs beyond what the growth of output and cached input explains."""
        growths = []
        kinds: tuple[Kind, ...] = ("output", "cached_input")
        for kind in kinds:
            held = cell.ours.count(kind)
            if held:
                growths.append(cell.delta.get(kind, ZERO) / held)
        if not growths or max(growths) - min(growths) > Decimal("0.25"):
            return None
        growth = sum(growths, ZERO) / len(growths)
        return cell.delta.get("input", ZERO) - growth * cell.ours.count("input")

    # moves

    def _moves(self, least: float, *, whole: bool = False) -> None:
        """Pair groups that lost tokens with those that gained them, the most alike first.

        `whole`: only groups that the bill lacks altogether. Requests that it lacks of the other group hide a
        part of what that one gained.
        """
        while True:
            found = self._whole_pairs() if whole else self._pairs(least)
            pairs = sorted(found, key=lambda pair: -pair[0])
            if not pairs:
                return
            used: set[Key] = set()
            for _, lost, gained, cause in pairs:
                if lost.key not in used and gained.key not in used:
                    self._move(lost, gained, cause, whole=whole)
                    used |= {lost.key, gained.key}

    def _pairs(self, least: float) -> Iterator[tuple[float, Cell, Cell, Cause]]:
        for gained in self.cells.values():
            if not any(value > 0 for value in gained.delta.values()):
                continue
            for lost, cause in self._others(gained):
                score = _common(lost, gained)
                if score >= least:
                    yield score, lost, gained, cause

    def _whole_pairs(self) -> Iterator[tuple[float, Cell, Cell, Cause]]:
        for gained in self.cells.values():
            if not any(value > 0 for value in gained.delta.values()):
                continue
            for lost, cause in self._others(gained):
                is_whole = not lost.theirs.lines and not lost.is_moved
                if is_whole and all(
                    gained.delta.get(kind, ZERO) <= -lost.delta.get(kind, ZERO) + gained.slack.get(kind, ZERO)
                    for kind in TOKEN_KINDS
                ):
                    yield _common(lost, gained), lost, gained, cause

    def _others(self, cell: Cell) -> Iterator[tuple[Cell, Cause]]:
        """Groups that the tokens of a group may belong to."""
        day, model, tier = cell.key
        for other in self.cells.values():
            if other.key == cell.key or not any(value < 0 for value in other.delta.values()):
                continue
            is_day, is_model, is_tier = other.key.day == day, other.key.model == model, other.key.tier == tier
            if is_day and is_model:
                yield other, "served_tier"
            elif is_day and is_tier:
                yield other, "served_model"
            elif is_model and is_tier and abs(other.key.day - day) == DAY:
                yield other, "day_boundary"

    def _move(self, lost: Cell, gained: Cell, cause: Cause, *, whole: bool) -> None:
        for kind in TOKEN_KINDS:
            tokens = -lost.delta.get(kind, ZERO)
            # Of a whole group, the bill may lack more than the other group holds: that part did not move.
            hidden = gained.ours.count(kind) if whole else ZERO
            tokens = min(tokens, gained.delta.get(kind, ZERO) + hidden)
            if tokens > 0:
                self._take(lost, kind, -tokens, cause)
                usd = lost.value(kind, tokens) if cause == "day_boundary" else None  # the same prices
                self._take(gained, kind, tokens, cause, usd)
        if lost.more_requests is not None and gained.more_requests is not None:
            moved = -lost.more_requests
            if not whole:
                moved = max(0, min(moved, gained.more_requests))
            lost.more_requests += moved
            gained.more_requests -= moved
        lost.is_moved = gained.is_moved = True

    # the rest

    def _rest(self, cell: Cell) -> None:
        """Give the tokens that are left a cause by the kinds that changed and the number of requests."""
        lost, gained = self._rest_causes(cell)
        for kind, tokens in list(cell.delta.items()):
            self._take(cell, kind, tokens, lost if tokens < 0 else gained)
        for cause in {lost, gained} & {"missing_here", "missing_there"}:
            self._missing_charges(cell, cause)

    def _rest_causes(self, cell: Cell) -> tuple[Cause, Cause]:
        """The cause of tokens that the bill has less, and of those that it has more."""
        lost = [kind for kind, tokens in cell.delta.items() if tokens < 0]
        gained = [kind for kind, tokens in cell.delta.items() if tokens > 0]
        if not cell.theirs.lines:
            return ("missing_there",) * 2
        if not cell.ours.requests:
            return ("missing_here",) * 2
        more = cell.more_requests
        if more == 0:
            return ("cut_stream" if cell.ours.without_usage and not lost else "tokens",) * 2
        if more is not None:  # fewer requests have no more tokens, and more requests no fewer
            return ("tokens", "missing_here") if more > 0 else ("missing_there", "tokens")
        if lost and gained:
            return "missing_there or tokens", "missing_here or tokens"
        used = sum(1 for kind in TOKEN_KINDS if cell.ours.count(kind) or cell.theirs.count(kind))
        if len(lost or gained) == 1 < used:
            return ("tokens",) * 2
        if gained and cell.ours.without_usage and self._fits_cut(cell):
            return ("cut_stream",) * 2
        return "missing_there", "missing_here"

    def _fits_cut(self, cell: Cell) -> bool:
        """Whether the streams without usage could have as many tokens as the bill has more."""
        whole = (cell.ours.requests or 0) - cell.ours.without_usage
        return all(
            tokens * whole <= 4 * cell.ours.count(kind) * cell.ours.without_usage
            for kind, tokens in cell.delta.items()
        )

    def _whole_amounts(self) -> None:
        """Find models whose amounts differ by one share on all days, where amounts are not by kind."""
        models: dict[str | None, list[tuple[Cell, Decimal]]] = {}
        for cell in self.cells.values():
            left = None if cell.by_kind or not cell.theirs.lines else self.comparing.left(cell)
            if left is not None and cell.theirs.total:
                models.setdefault(cell.key.model, []).append((cell, left / cell.theirs.total))
        for parts in models.values():
            shares = [share for _, share in parts]
            is_price = len(parts) > 2 and abs(median(shares)) > _chance(shares)
            for cell, share in parts:
                left = share * (cell.theirs.total or ZERO)
                if is_price or abs(left) > self.comparing.mixture(cell):
                    cell.rest = self.comparing.rate_cause(cell, left)

    def _missing_charges(self, cell: Cell, cause: Cause) -> None:
        """Of a group that one side lacks as a whole, the dollars that are not by token are missing too."""
        ledger, key = self.comparing.ledger, cell.key
        if not cell.theirs.lines:
            for kind, usd in cell.ours.usd.items():
                ledger.add(key, kind, cause, ours_usd=usd - (ledger.taken(key, kind).ours_usd or ZERO))
        elif not cell.ours.requests:
            for kind, usd in cell.theirs.usd.items():
                names = (kind,) if kind != "total" else ("total", *TOKEN_KINDS)
                taken = sum((ledger.taken(key, name).theirs_usd or ZERO for name in names), ZERO)
                ledger.add(key, kind, cause, theirs_usd=usd - taken)


def _chance(values: list[Decimal]) -> Decimal:
    """The distance of a median from the truth that chance explains."""
    middle = median(values)
    spread = median([abs(value - middle) for value in values])
    return max(ERRORS * spread / Decimal(len(values)).sqrt(), SMALL)


def _fresh(cell: Cell, tokens: Decimal) -> Decimal | None:
    """Dollars of fresh input, where the bill counts cached tokens as input too."""
    fresh = cell.ours.apart.get("input")
    if not fresh or cell.ours.apart == cell.ours.tokens:
        return None
    return abs(tokens) * cell.ours.fresh_usd / fresh


def _common(lost: Cell, gained: Cell) -> float:
    """The share of the larger of two changes that both have in common; 0 if they are not alike."""
    common = union = dot = one = other = 0.0
    for kind in TOKEN_KINDS:
        less = float(-lost.delta.get(kind, ZERO))
        more = float(gained.delta.get(kind, ZERO))
        weight = float(lost.value(kind, Decimal(1))) or 1e-12
        common += max(0.0, min(less, more)) * weight
        union += max(less, more, 0.0) * weight
        dot, one, other = dot + less * more, one + less * less, other + more * more
    if not union or not one or not other or dot / (one * other) ** 0.5 < ALIKE:
        return 0.0
    return common / union
