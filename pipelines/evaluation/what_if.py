"""The cost and quality of one model on past traffic, from the rollup `propensity_hourly`.

The sums outlive the raw rows, so the window may be years long. A stratum is a task and a size class. In
each, the model's outcomes weighted by 1 / propensity estimate the mean of all its requests (SNIPS, Hájek
1971), and strata count by their decisions. A stratum with few draws of the model is joined with the rest
of its task. Weights undo a router that sends the hard requests to one model.

Sums of squares give the variance. A draw counts for its own request: later requests of its session are
not in the rollup. The difference to the router's mean takes both as independent, which makes its interval
wider than it need be, never narrower.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields
from math import sqrt
from typing import TYPE_CHECKING

from pipelines.evaluation.estimators import Estimate, half_width, least_half_width
from pipelines.evaluation.evaluate import MIN_DRAWN, MIN_EFFECTIVE, MIN_SUPPORTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LEAST_IN_STRATUM = 10.0
"""Effective draws of the model that a stratum needs to have a mean of its own."""
NANO = 1e-9
MICRO = 1e-6


@dataclass(slots=True)
class Sums:
    """Sums over the decisions of one stratum, in dollars, qualities and plain weights."""

    decisions: float = 0.0
    weight: float = 0.0
    weight_squared: float = 0.0
    known: float = 0.0
    """Decisions with a known outcome. The sums below are over these."""
    outcome: float = 0.0
    outcome_squared: float = 0.0
    weight_known: float = 0.0
    weight_squared_known: float = 0.0
    weighted: float = 0.0
    """Of outcome / p."""
    weighted_squared: float = 0.0
    """Of (outcome / p)²."""
    weight_squared_outcome: float = 0.0
    """Of outcome / p²."""

    def add(self, other: Sums) -> None:
        """Count the other's decisions too."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    @property
    def effective(self) -> float:
        """Kish's effective number of draws with a known outcome."""
        squares = self.weight_squared_known
        return self.weight_known * self.weight_known / squares if squares > 0 else 0.0

    def mean(self) -> tuple[float, float]:
        """The weighted mean, and its variance."""
        mean = self.weighted / self.weight_known
        squares = self.weighted_squared - 2 * mean * self.weight_squared_outcome
        squares += mean * mean * self.weight_squared_known
        return mean, max(squares, 0.0) / self.weight_known**2


@dataclass(slots=True)
class Stratum:
    """One task and size class: all decisions, and those for the model."""

    everyone: Sums = field(default_factory=Sums)
    model: Sums = field(default_factory=Sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """One model in place of the router's choices, on the decisions that chance made."""

    model: str
    environment: str
    organization_id: str | None
    task_type: str | None
    """None: all tasks."""
    decisions: int
    drawn: int
    """Of these, those that drew the model."""
    supported_share: float
    """Share of the decisions that could have drawn it, estimated by the sum of its weights."""
    effective: float
    """Independent draws that carry as much evidence of its cost."""
    cost_usd: Estimate | None = None
    """US dollars per decision. None when it is not known: see `reason`."""
    cost_usd_logged: float | None = None
    quality: Estimate | None = None
    """0 to 1, per decision. None when too few answers of the model were judged."""
    quality_logged: float | None = None
    reason: str | None = None
    """Why the cost is not known."""


def sums_of(row: Mapping[str, float | None], *, of_cost: bool) -> Sums:
    """The sums of a row of `sql/evaluation/propensity_sums.sql`, in whole units."""

    def value(name: str, unit: float) -> float:
        return (row[name] or 0.0) * unit

    plain = Sums(
        decisions=value("decisions", 1),
        weight=value("weight_micro", MICRO),
        weight_squared=value("weight_squared_micro", MICRO),
    )
    if of_cost:
        plain.known = value("decisions_with_cost", 1)
        plain.outcome = value("cost_nano", NANO)
        plain.outcome_squared = value("cost_squared_nano2", NANO * NANO)
        plain.weight_known = value("weight_micro_with_cost", MICRO)
        plain.weight_squared_known = value("weight_squared_micro_with_cost", MICRO)
        plain.weighted = value("cost_weighted_nano", NANO)
        plain.weighted_squared = value("cost_weighted_squared_nano2", NANO * NANO)
        plain.weight_squared_outcome = value("cost_weight_squared_nano", NANO)
    else:
        plain.known = value("decisions_with_quality", 1)
        plain.outcome = value("quality_micro", MICRO)
        plain.outcome_squared = value("quality_squared_micro", MICRO)
        plain.weight_known = value("weight_micro_with_quality", MICRO)
        plain.weight_squared_known = value("weight_squared_micro_with_quality", MICRO)
        plain.weighted = value("quality_weighted_micro", MICRO)
        plain.weighted_squared = value("quality_weighted_squared_micro", MICRO)
        plain.weight_squared_outcome = value("quality_weight_squared_micro", MICRO)
    return plain


def what_if(
    rows: Sequence[Mapping[str, object]],
    model: str,
    *,
    environment: str,
    organization_id: str | None = None,
    task_type: str | None = None,
) -> WhatIf:
    """The estimate for a model from rows of `sql/evaluation/propensity_sums.sql`."""
    cost, quality = _strata(rows, model, of_cost=True), _strata(rows, model, of_cost=False)
    everyone, mine = _total(item.everyone for item in cost), _total(item.model for item in cost)
    supported = min(mine.weight / everyone.decisions, 1.0) if everyone.decisions else 0.0

    def made(reason: str | None, **figures: Estimate | float | None) -> WhatIf:
        return WhatIf(
            model=model,
            environment=environment,
            organization_id=organization_id,
            task_type=task_type,
            decisions=round(everyone.decisions),
            drawn=round(mine.decisions),
            supported_share=supported,
            effective=mine.effective,
            reason=reason,
            **figures,  # type: ignore[arg-type]
        )

    if everyone.decisions < MIN_DRAWN:
        return made(f"chance made {everyone.decisions:.0f} decisions, at least {MIN_DRAWN} are needed")
    if mine.effective < MIN_EFFECTIVE:
        return made(
            f"chance gave `{model}` as much evidence as {mine.effective:.0f} requests, at least"
            f" {MIN_EFFECTIVE:.0f} are needed: set `exploration_floor` in the policy, or take a longer time"
        )
    doubt = 2 * sqrt(mine.weight_squared) / everyone.decisions
    if supported + doubt < MIN_SUPPORTED:
        return made(
            f"`{model}` could have been drawn for {supported:.0%} of the decisions, at least"
            f" {MIN_SUPPORTED:.0%} is needed: it was excluded or too unlikely for the others"
        )
    estimated, judged = _estimate(cost), _estimate(quality)
    few = judged is None or _total(item.model for item in quality).effective < MIN_EFFECTIVE
    return made(
        None if estimated else f"the cost of `{model}` is not known: give it prices in catalog.yaml",
        cost_usd=estimated[0] if estimated else None,
        cost_usd_logged=estimated[1] if estimated else None,
        quality=None if judged is None or few else judged[0],
        quality_logged=None if judged is None or few else judged[1],
    )


def _strata(rows: Iterable[Mapping[str, object]], model: str, *, of_cost: bool) -> list[Stratum]:
    """The strata, those with few draws of the model joined with the rest of their task."""
    found: dict[tuple[object, object], Stratum] = defaultdict(Stratum)
    for row in rows:
        stratum = found[row["task_type"], row["size_class"]]
        sums = sums_of(row, of_cost=of_cost)  # type: ignore[arg-type]
        stratum.everyone.add(sums)
        if row["model_decided"] == model:
            stratum.model.add(sums)
    rich: list[Stratum] = []
    rest: dict[object, Stratum] = defaultdict(Stratum)
    for (task, _), stratum in found.items():
        if stratum.model.effective >= LEAST_IN_STRATUM:
            rich.append(stratum)
        else:
            rest[task].everyone.add(stratum.everyone)
            rest[task].model.add(stratum.model)
    return rich + list(rest.values())


def _total(parts: Iterable[Sums]) -> Sums:
    total = Sums()
    for part in parts:
        total.add(part)
    return total


def _estimate(strata: Sequence[Stratum]) -> tuple[Estimate, float] | None:
    """The model's mean with its interval, and the logged mean. None without a known outcome of the model."""
    shown = [item for item in strata if item.model.weight_known > 0 and item.everyone.known > 0]
    whole = sum(item.everyone.decisions for item in shown)
    if not shown or whole <= 0:
        return None
    value = variance = logged = logged_variance = 0.0
    for item in shown:
        share = item.everyone.decisions / whole
        mean, spread = item.model.mean()
        own = item.everyone.outcome / item.everyone.known
        scatter = max(item.everyone.outcome_squared / item.everyone.known - own * own, 0.0)
        value, variance = value + share * mean, variance + share * share * spread
        logged += share * own
        logged_variance += share * share * scatter / item.everyone.known
    mine = _total(item.model for item in shown)
    known = _total(item.everyone for item in shown)
    least = least_half_width(sqrt(known.outcome_squared / known.known), mine.effective)
    half = half_width(variance, mine.effective, least)
    between = half_width(variance + logged_variance, mine.effective, least)
    return Estimate.around(value, half, difference=value - logged, between=between), logged
