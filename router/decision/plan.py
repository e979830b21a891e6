"""The decision: pure functions, so that it can be replayed and tested offline.

A `Plan` is everything a decision needs except the random number: the candidates of one (policy, task,
needs, preferences), their probabilities and the order of fallback. All similar requests share a plan,
so a decision is one random number and a binary search. The stored propensity is exactly the one used.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from router.request.decision import Choice
from router.scores.exploration import exception_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from router.catalog.catalog import Model
    from router.errors import BudgetExceededError
    from router.policies.policy import Policy
    from router.records import Candidate, Strategy
    from router.request.preferences import Preferences
    from router.scores.board import RankedTable
    from router.scores.exploration import Claim


MAX_CLAIMS = 2
"""Most models named in the reason for the best model's choice because they are not ruled out."""


class Purse(Protocol):
    """The money of one request: `router.serving.funds.Funds`."""

    def exclusions(self, plan: Plan, models: Mapping[str, Model]) -> dict[str, str]:
        """The plan's eligible models that do not fit the tightest hard budget, and why."""

    def refusal(self, plan: Plan, models: Mapping[str, Model]) -> BudgetExceededError:
        """The error of a request if every model is over budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The candidates of a kind of request, ready for a choice."""

    candidates: tuple[Candidate, ...]
    """Every model; the probabilities of the eligible sum to 1, most probable first."""
    drawn: tuple[str, ...]
    """The eligible models that can be drawn."""
    shares: tuple[float, ...]
    """Upper ends of their intervals of [0, 1); the last is 1."""
    ranking: tuple[str, ...]
    """The eligible models in the order of fallback, best first."""
    exclusions: Mapping[str, str]
    strategy: Strategy
    allow_fallbacks: bool
    exploration_usd: float = 0.0
    """Expected cost of a draw beyond that of the best model, from the models that cost more."""
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """The claims of the eligible models that are not ruled out."""
    exceptions: Mapping[str, float] = field(default_factory=dict)
    """The models that are tried because they may be exceptions at the task, with the chance of each."""
    _ceilings: dict[tuple[int, int], int | None] = field(default_factory=dict, repr=False)
    _choices: dict[tuple[Strategy, str], Choice] = field(default_factory=dict, repr=False)
    _frugal: list[Plan] = field(default_factory=list, repr=False)

    @property
    def frugal(self) -> Plan:
        """The plan without exploration at a cost: models dearer than the best give it their share."""
        if not self._frugal:
            self._frugal.append(self._without_cost())
        return self._frugal[0]

    def _without_cost(self) -> Plan:
        best = next(item for item in self.candidates if item.model == self.ranking[0])
        dearer = {item.model for item in self.candidates if _extra_usd(item, best) > 0}
        freed = sum(item.probability or 0.0 for item in self.candidates if item.model in dearer)
        candidates = [
            replace(item, probability=0.0)
            if item.model in dearer
            else replace(item, probability=(item.probability or 0.0) + freed)
            if item.model == best.model
            else item
            for item in self.candidates
        ]
        candidates.sort(key=_share, reverse=True)
        drawn, shares = intervals(candidates)
        return replace(
            self,
            candidates=tuple(candidates),
            drawn=drawn,
            shares=shares,
            exploration_usd=0.0,
            _choices={},
            _frugal=[],
        )

    def draw(self, random: float) -> Choice | None:
        """The model with the share of [0, 1) that holds `random`; None when no model is eligible."""
        if not self.drawn:
            return None
        return self._choice(self.strategy, pick(self.drawn, self.shares, random))

    def fixed(self, strategy: Strategy, model: str) -> Choice | None:
        """The choice of `model`, without chance; None when it is not eligible."""
        return self._choice(strategy, model) if model in self.ranking else None

    def ceiling(
        self, models: Mapping[str, Model], at: datetime, *, input_tokens: int, output_tokens: int
    ) -> int | None:
        """A bound on the cost of every eligible model, in pico-dollars; None when a cost is unknown.

        Both counts are rounded up to a power of two, so that similar requests share the bound.
        """
        key = (input_tokens.bit_length(), output_tokens.bit_length())
        if key not in self._ceilings:
            prices = [models[name].price_at(at) for name in self.ranking]
            worst = [price.worst_case_picousd(1 << key[0], 1 << key[1]) for price in prices if price]
            known = [amount for amount in worst if amount is not None]
            self._ceilings[key] = max(known, default=0) if len(known) == len(prices) else None
        return self._ceilings[key]

    def _choice(self, strategy: Strategy, model: str) -> Choice:
        choice = self._choices.get((strategy, model))
        if choice is None:
            choice = self._choices[strategy, model] = self._make(strategy, model)
        return choice

    def _make(self, strategy: Strategy, model: str) -> Choice:
        best = self.ranking[0]
        candidates = self.candidates
        if strategy in ("pinned", "sticky", "experiment"):
            candidates = tuple(
                replace(item, probability=1.0 if item.model == model else 0.0) for item in candidates
            )
        propensity = next(item.probability or 0.0 for item in candidates if item.model == model)
        return Choice(
            model=model,
            fallbacks=()
            if strategy == "pinned" or not self.allow_fallbacks
            else tuple(name for name in self.ranking if name != model),
            propensity=propensity,
            strategy=strategy,
            is_exploration=strategy == "thompson" and model != best,
            reason=_REASONS[strategy] or self._reason(model, best),
            candidates=candidates,
        )

    def _reason(self, model: str, best: str) -> str:
        """The reason for a choice by utility."""
        of = f"of {len(self.ranking)} eligible"
        if model != best:
            parts = [f"explores beside `{best}`, the best {of}"]
            if model in self.claims:
                parts.append(self.claims[model].text())
            if model in self.exceptions:
                parts.append(exception_text(model, self.exceptions[model]))
            return "; ".join(parts)
        if len(self.claims) == len(self.ranking) > 1 and not any(
            claim.outcomes for claim in self.claims.values()
        ):
            return f"best {of} by prior quality and price: no outcome was judged yet"
        rivals = sorted(
            (claim for name, claim in self.claims.items() if name != model),
            key=lambda claim: claim.chance,
            reverse=True,
        )
        return "; ".join([f"best {of}", *(claim.text() for claim in rivals[:MAX_CLAIMS])])


_REASONS: Mapping[Strategy, str] = {
    "pinned": "the request names the model",
    "sticky": "the session stays with its model",
    "experiment": "the experiment's variant names the model",
    "preferred": "first in the order the request prefers",
    "thompson": "",
    "greedy": "",
}


def make_plan(
    table: RankedTable,
    exclusions: Mapping[str, str],
    *,
    policy: Policy,
    preferences: Preferences | None = None,
    providers: Mapping[str, str] | None = None,
    baseline: str | None = None,
) -> Plan:
    """The plan over the models of a table that are not in `exclusions` (model to reason), if any.

    `providers` maps each model to its provider, which `preferences.order` may name. `baseline` is the
    model that `policy.baseline_exploration` gives a share.
    """
    eligible = [item for item in table.candidates if item.model not in exclusions]
    order = _preferred(eligible, preferences, providers or {}) if preferences and eligible else None
    if order is not None:
        strategy: Strategy = "preferred"
    else:
        strategy = "greedy" if preferences and preferences.deterministic else policy.strategy
        order = sorted(eligible, key=lambda item: item.utility or 0.0, reverse=True)
        # Within a near tie the table's best is the cheapest, not the one of highest utility.
        order.sort(key=lambda item: item.model != table.best)
    best = order[0] if order else None
    probabilities = (
        _rescaled(eligible, best, is_whole=not exclusions)
        if strategy == "thompson"
        else {item.model: float(item is best) for item in eligible}
    )
    if strategy == "thompson" and policy.exploration_floor > 0:
        probabilities = _with_floor(probabilities, policy.exploration_floor)
    if strategy == "thompson" and baseline in probabilities:
        probabilities = _with_least(probabilities, baseline, policy.baseline_exploration)
    candidates = [
        replace(item, is_eligible=False, exclusion=exclusions[item.model], probability=0.0)
        if item.model in exclusions
        else replace(item, probability=probabilities[item.model])
        for item in table.candidates
    ]
    candidates.sort(key=_share, reverse=True)
    drawn, shares = intervals(candidates)
    return Plan(
        candidates=tuple(candidates),
        drawn=drawn,
        shares=shares,
        ranking=tuple(item.model for item in order),
        exclusions=exclusions,
        strategy=strategy,
        allow_fallbacks=preferences is None or preferences.allow_fallbacks,
        exploration_usd=0.0
        if best is None or strategy != "thompson"
        else sum(probabilities[item.model] * _extra_usd(item, best) for item in eligible),
        claims={
            item.model: claim
            for item in eligible
            if strategy == "thompson" and (claim := table.claims.get(item.model)) and claim.is_open
        },
        exceptions=table.exceptions,
    )


def _extra_usd(item: Candidate, best: Candidate) -> float:
    """The cost of the model beyond that of the best; 0 if either cost is unknown."""
    if item.cost_usd is None or best.cost_usd is None:
        return 0.0
    return max(item.cost_usd - best.cost_usd, 0.0)


def _share(item: Candidate) -> float:
    return item.probability or 0.0


def intervals(candidates: Iterable[Candidate]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """(the models that can be drawn, the upper ends of their intervals of [0, 1))."""
    drawn = [item for item in candidates if item.probability]
    shares = list(accumulate(item.probability or 0.0 for item in drawn))
    if shares:  # rounding leaves a sliver below 1, or cuts into it: the last model takes what is left
        shares[-1] = 1.0
    return tuple(item.model for item in drawn), tuple(shares)


def pick(drawn: Sequence[str], shares: Sequence[float], random: float) -> str:
    """The model with the interval that holds `random`."""
    return drawn[bisect_right(shares, random)]


def _rescaled(eligible: Sequence[Candidate], best: Candidate | None, *, is_whole: bool) -> dict[str, float]:
    """The eligible candidates' probabilities, scaled to sum to 1."""
    total = 1.0 if is_whole else sum(item.probability or 0.0 for item in eligible)
    if total <= 0:  # every likely model is excluded and the rest have no share: the best takes all
        return {item.model: float(item is best) for item in eligible}
    return {item.model: (item.probability or 0.0) / total for item in eligible}


def _with_floor(probabilities: Mapping[str, float], floor: float) -> dict[str, float]:
    """The probabilities with a share of `floor` spread evenly over every model."""
    return {
        model: (1.0 - floor) * share + floor / len(probabilities) for model, share in probabilities.items()
    }


def _with_least(probabilities: Mapping[str, float], model: str, least: float) -> dict[str, float]:
    """The probabilities with at least a share of `least` for one model; the others shrink in proportion."""
    others = 1.0 - probabilities[model]
    if probabilities[model] >= least or others <= 0:
        return dict(probabilities)
    scale = (1.0 - least) / others
    return {name: least if name == model else share * scale for name, share in probabilities.items()}


def _preferred(
    eligible: list[Candidate], preferences: Preferences, providers: Mapping[str, str]
) -> list[Candidate] | None:
    """The eligible models in the order a request asks for; None when it asks for none that matters here."""
    by_utility = sorted(eligible, key=lambda item: item.utility or 0.0, reverse=True)
    if preferences.order:
        places = {name: place for place, name in enumerate(preferences.order)}
        last = len(places)

        def place(item: Candidate) -> int:
            return min(places.get(item.model, last), places.get(providers.get(item.model, ""), last))

        ordered = sorted(by_utility, key=place)
        return ordered if place(ordered[0]) < last else None
    if preferences.sort == "price":
        return sorted(by_utility, key=lambda item: _known_first(item.cost_usd))
    if preferences.sort == "latency":
        return sorted(by_utility, key=lambda item: _known_first(item.latency_ms))
    return None


def _known_first(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0
