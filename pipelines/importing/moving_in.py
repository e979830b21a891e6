"""`report moving-in`: the knowledge that a log has of a move, and its limits.

It holds four parts: the spend by group, the spend against our price book, the cost of routing under stated
assumptions about quality, and the questions that only exploration answers. A log shows one model's answer to
a request. It does not show how another would have answered, so quality is an assumption here, and each figure
names it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from math import sqrt
from typing import TYPE_CHECKING, Any

from pipelines.reports.reports import opened
from pipelines.warehouse import sqlfiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.config import Settings

SHARES = (0.2, 0.5, 0.8)
"""The assumptions: the share of requests that the cheapest model answers as well as the one that served."""
MIN_REQUESTS = 30
"""Requests of a model in a group and size from which its mean cost there is used."""
Z = 1.96
TELLING = 0.05
"""A difference in quality that matters. The questions say how many judged requests show it."""
QUESTIONS = 5
ENOUGH_JUDGED = round(2 * (Z + 0.84) ** 2 * 0.25 / TELLING**2)
"""Judged requests of two models together that show it, at 80% power, for answers that are right or wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Requests of one group and size on one model."""

    name: str
    size: int | None
    model: str
    provider: str | None
    requests: int
    with_cost: int
    cost_usd: Decimal | None
    cost_squared: float | None
    tokens_input: int | None
    tokens_output: int | None
    with_quality: int
    quality: float | None
    first_at: datetime
    last_at: datetime

    @property
    def mean(self) -> float | None:
        """Dollars a request, over the requests with a known cost."""
        return None if not self.with_cost or self.cost_usd is None else float(self.cost_usd) / self.with_cost

    @property
    def variance_of_mean(self) -> float:
        """The variance of `mean`, as that of a sample."""
        mean = self.mean
        if mean is None or self.cost_squared is None or self.with_cost < 2:
            return 0.0
        spread = max(0.0, self.cost_squared / self.with_cost - mean * mean)
        return spread / (self.with_cost - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The spend of one group."""

    name: str
    requests: int
    with_cost: int
    cost_usd: Decimal | None
    models: int
    quality_mean: float | None
    with_quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A model's spend, and the same tokens at the price book's rates."""

    model: str
    provider: str | None
    ref: str | None
    """The name in the price book. None: it does not know the model."""
    requests: int
    with_book: int
    cost_usd: Decimal | None
    compared_usd: Decimal | None
    """The part of the spend that has a figure of the book."""
    book_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The cost under one assumption about quality."""

    share: float
    cost_usd: float
    low_usd: float
    high_usd: float
    """Ends of the 95% interval, from the spread of the costs that the log shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A pair of models in a group: is the cheaper one as good?"""

    name: str
    dear: str
    cheap: str
    at_stake_usd: float
    """The difference in cost over the period, if every request that the dear one served could move."""
    requests_a_day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingIn:
    """The whole report."""

    since: datetime
    until: datetime
    requests: int
    with_cost: int
    cost_usd: Decimal | None
    groups: tuple[Group, ...]
    prices: tuple[Compared, ...]
    comparable_usd: float
    """The part of the spend for which the log shows a cheaper model in the same group and size."""
    routed: tuple[Routed, ...]
    questions: tuple[Question, ...]


def moving_in(
    settings: Settings, *, since: datetime, until: datetime | None = None, organization: str | None = None
) -> MovingIn:
    """Read the published warehouse of a lake, imported or not. WarehouseError if there is none."""
    end = until or datetime.now(UTC)
    bounds = {"since": since, "until": end, "organization": organization}
    with opened(settings) as connection:
        found = connection.sql(sqlfiles.load("importing/moving_strata").text, params=bounds).fetchall()
        strata = [
            Stratum(
                **dict(
                    zip(
                        Stratum.__dataclass_fields__, (*values[:2], values[2] or "", *values[3:]), strict=True
                    )
                )
            )
            for values in found
        ]
        refs, rates = _rates(settings, {(item.model, item.provider) for item in strata})
        rows = connection.sql(
            sqlfiles.load("importing/moving_prices").text, params={**bounds, **rates}
        ).fetchall()
    comparable, routed = _routed(strata)
    return MovingIn(
        since=since,
        until=end,
        requests=sum(item.requests for item in strata),
        with_cost=sum(item.with_cost for item in strata),
        cost_usd=_total(item.cost_usd for item in strata),
        groups=_groups(strata),
        prices=tuple(
            Compared(
                model=model or "",
                provider=provider,
                ref=refs.get((model or "", provider)),
                requests=requests,
                with_book=with_book,
                cost_usd=cost,
                compared_usd=compared,
                book_usd=book,
            )
            for model, provider, requests, _, with_book, cost, compared, book in rows
        ),
        comparable_usd=comparable,
        routed=routed,
        questions=_questions(strata),
    )


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known else None


def _groups(strata: Sequence[Stratum]) -> tuple[Group, ...]:
    by_name: dict[str, list[Stratum]] = defaultdict(list)
    for item in strata:
        by_name[item.name].append(item)
    groups = []
    for name, items in by_name.items():
        judged = sum(item.with_quality for item in items)
        groups.append(
            Group(
                name=name,
                requests=sum(item.requests for item in items),
                with_cost=sum(item.with_cost for item in items),
                cost_usd=_total(item.cost_usd for item in items),
                models=len({item.model for item in items}),
                quality_mean=sum(item.quality or 0 for item in items) / judged if judged else None,
                with_quality=judged,
            )
        )
    return tuple(sorted(groups, key=lambda group: (-(group.cost_usd or Decimal(0)), group.name)))


def _cells(strata: Sequence[Stratum]) -> dict[tuple[str, int | None], list[Stratum]]:
    """The strata of each group and size, with one for each model."""
    cells: dict[tuple[str, int | None], list[Stratum]] = defaultdict(list)
    for item in strata:
        cells[item.name, item.size].append(item)
    return cells


def _cheapest(items: Sequence[Stratum]) -> Stratum | None:
    """The model with the lowest mean cost, of those that were seen often enough."""
    seen = [item for item in items if item.with_cost >= MIN_REQUESTS and item.mean is not None]
    return min(seen, key=lambda item: (item.mean or 0.0, item.model), default=None)


def _routed(strata: Sequence[Stratum]) -> tuple[float, tuple[Routed, ...]]:
    """The comparable spend, and the cost under each assumption."""
    total = float(_total(item.cost_usd for item in strata) or 0)
    comparable = saved = variance = 0.0
    for items in _cells(strata).values():
        cheap = _cheapest(items)
        if cheap is None:
            continue
        cheap_mean = cheap.mean or 0.0
        moved = 0
        for item in items:
            if item is not cheap and item.cost_usd is not None and (item.mean or 0.0) > cheap_mean:
                comparable += float(item.cost_usd)
                saved += float(item.cost_usd) - item.with_cost * cheap_mean
                moved += item.with_cost
                variance += item.with_cost**2 * item.variance_of_mean
        variance += moved**2 * cheap.variance_of_mean
    spread = Z * sqrt(variance)
    return comparable, tuple(
        Routed(
            share=share,
            cost_usd=total - share * saved,
            low_usd=max(0.0, total - share * (saved + spread)),
            high_usd=total - share * (saved - spread),
        )
        for share in SHARES
    )


def _questions(strata: Sequence[Stratum]) -> tuple[Question, ...]:
    """The pairs with the most money at stake whose quality was not judged often enough."""
    judged: dict[tuple[str, str], int] = defaultdict(int)
    for item in strata:
        judged[item.name, item.model] += item.with_quality
    found: dict[tuple[str, str, str], Question] = {}
    for (name, _), items in _cells(strata).items():
        cheap = _cheapest(items)
        for item in items:
            if cheap is None or item is cheap or item.cost_usd is None or item.model == cheap.model:
                continue
            stake = float(item.cost_usd) - item.with_cost * (cheap.mean or 0.0)
            if stake <= 0 or min(judged[name, item.model], judged[name, cheap.model]) >= ENOUGH_JUDGED // 2:
                continue
            days = max((item.last_at - item.first_at).total_seconds() / 86_400, 1.0)
            key = (name, item.model, cheap.model)
            known = found.get(key) or Question(
                name=name, dear=item.model, cheap=cheap.model, at_stake_usd=0.0, requests_a_day=0.0
            )
            found[key] = replace(
                known,
                at_stake_usd=known.at_stake_usd + stake,
                requests_a_day=known.requests_a_day + item.requests / days,
            )
    return tuple(sorted(found.values(), key=lambda item: -item.at_stake_usd)[:QUESTIONS])


def _rates(
    settings: Settings, models: Iterable[tuple[str, str | None]]
) -> tuple[Mapping[tuple[str, str | None], str], dict[str, list[Any]]]:
    """Names in the price book, and one row of rates for each model, period and size of the input."""
    from pipelines.importing.price_names import priced_models

    names = (
        "models", "providers", "starts", "ends", "aboves", "uptos", "inputs", "cacheds", "writes", "outputs",
        "reasonings", "per_requests",
    )  # fmt: skip
    columns: dict[str, list[Any]] = {name: [] for name in names}
    refs = {}
    for (model, provider), ref, rows in priced_models(settings, models):
        refs[model, provider] = ref
        for row in rows:
            for name, value in zip(names, (model, provider, *row), strict=True):
                columns[name].append(value)
    if not refs:  # an empty list has no type
        columns = {name: [None] for name in names}
    return refs, columns
