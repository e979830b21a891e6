"""`ScoreBoard`: turns the snapshot, the catalog and a policy into one ranked table per task and size of
request, so that a decision is a look-up.

`snapshot` is the file it reads. `ranking` computes the shares. `exploration` adds shares for models that
are not ruled out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from router.catalog.prices import Usage, cost
from router.records import Candidate
from router.scores.exploration import (
    CLAIM_SHARE,
    EXCEPTIONS,
    NEGLIGIBLE,
    Claim,
    claim_limit,
    exception_chance,
    prospects,
    with_claims,
)
from router.scores.ranking import Arm, best_arm, greedy_shares, probabilities_of_best, thompson_shares
from router.scores.snapshot import (
    ALL_TASKS,
    ANY_MODEL,
    SCHEMA_VERSION,
    ScoreFile,
    ScoreRow,
    ScoreSnapshot,
    ScoreSource,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from decimal import Decimal

    from router.catalog.catalog import Catalog, Model
    from router.policies.policy import Policy

__all__ = [
    "ALL_TASKS",
    "ANY_MODEL",
    "SCHEMA_VERSION",
    "RankedTable",
    "ScoreBoard",
    "ScoreFile",
    "ScoreRow",
    "ScoreSnapshot",
    "ScoreSource",
    "tokens_bucket",
]

PRIOR_QUALITY = 0.5
"""Expected quality of a model without any feedback or `quality_scores`."""
PRIOR_WEIGHT = 2.0
"""Weight of a quality prior, in outcomes. It is small, so that the first real outcomes overrule it."""
UNSEEN_TASK_WEIGHT = 10.0
"""Weight of a model's overall mean, in outcomes, in a task without traffic."""
TOKENS_WEIGHT = 5.0
"""Weight of the task's mean tokens, in requests, in a model's own mean."""
TYPICAL_USAGE = Usage(tokens_input=500, tokens_output=250)
"""Prices are compared at this usage until traffic shows the real one."""
EXPLORATION = 0.16
"""Share of the posterior variance that Thompson sampling draws from: a sixth has less regret than the whole
or a quarter on recorded traffic of 10,000 to 18,000 requests (tests/benchmarks/online_regret.py)."""
REFERENCE_WEIGHT = 10.0
"""Outcomes at which half of a model's chance of being best counts for the reference cost."""
REFERENCE_QUANTILE = 1 / 3
"""A third, not a half: too large a unit costs money on every request, and claims correct too small a unit
(tests/benchmarks/online_regret.py, sparse feedback)."""
COLD_START_OUTCOMES = 50.0
"""A model with fewer outcomes over all tasks is new."""
COLD_START_RATIO = 0.25
"""A model with less than this share of the mean outcomes of all models is also new: while no model has
many outcomes, a small lead does not make one established."""
PERCENT_POINTS = 100.0


_Key = tuple[str, int, str, int | None]
"""Policy, its version, task, size class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedTable:
    """Candidates of one (policy, task, size of request), most probable first."""

    candidates: tuple[Candidate, ...]
    """Every catalog model, as if all were eligible: `probability` sums to 1."""
    best: str | None
    """The model of highest utility; among near-ties the cheapest."""
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """How far each model is from being ruled out; empty if the policy does not explore."""
    exceptions: Mapping[str, float] = field(default_factory=dict)
    """The models whose share is that of an exception, with the chance of each: see `exploration`."""


def tokens_bucket(tokens_input: int) -> int:
    """The size class of a request: tables are computed for powers of two of its input tokens."""
    return max(tokens_input, 1).bit_length()


def _bucket_tokens(bucket: int) -> int:
    """The tokens that a bucket represents: the middle of its range."""
    return (3 << bucket) // 4


class ScoreBoard:
    """A snapshot combined with a catalog. It is immutable except for its cache of ranked tables."""

    def __init__(
        self, snapshot: ScoreSnapshot | None, catalog: Catalog, *, excluded: Collection[str] = ()
    ) -> None:
        """`excluded` are models that can serve no request. They have no claim on exploration."""
        self.snapshot = snapshot
        self._catalog = catalog
        self._cells = {(row.task_type, row.model): row for row in snapshot.rows} if snapshot else {}
        self._excluded = frozenset(excluded)
        self._tables: dict[_Key, RankedTable] = {}
        self._claims: dict[tuple[str, int], dict[str, Claim]] = {}
        """Claims by policy and its version."""
        self.asked: set[_Key] = set()
        """The tables that decisions looked up."""
        self._made_at = datetime.now(UTC)
        self._prices = {model.id: model.price_at(self._made_at) for model in catalog.models.values()}
        self._answering = [model for model in catalog.models.values() if model.vectors is None]
        """The models that set the reference cost. Models that embed cost next to nothing and are left out."""
        stated = [model.quality_score(ALL_TASKS) for model in self._answering]
        priors = [prior for prior in stated if prior is not None]
        self._prior_mean = sum(priors) / len(priors) if priors else PRIOR_QUALITY

    def warm(self, policies: Mapping[str, Policy], earlier: ScoreBoard) -> None:
        """Compute the tables that decisions asked the `earlier` board for, off the request path."""
        for policy_id, version, task_type, bucket in earlier.asked.copy():  # decisions go on adding to it
            policy = policies.get(policy_id)
            if policy is not None and policy.version == version:
                self._tables[policy_id, version, task_type, bucket] = self._rank(policy, task_type, bucket)

    def table(self, policy: Policy, task_type: str, input_tokens_bucket: int | None = None) -> RankedTable:
        """The ranked table of a policy on a task, computed on first use.

        `input_tokens_bucket` is `tokens_bucket` of the request's input; None: the task's mean.
        """
        key = (policy.id, policy.version, task_type, input_tokens_bucket)
        self.asked.add(key)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = self._rank(policy, task_type, input_tokens_bucket)
        return table

    def quality(self, task_type: str, model: Model) -> tuple[float, float]:
        """(mean, variance) of the model's believed quality on the task."""
        cell = self._cells.get((task_type, model.id))
        if cell is not None and cell.quality_mean is not None and cell.quality_variance is not None:
            return cell.quality_mean, cell.quality_variance
        stated = model.quality_score(task_type)
        prior = self._prior_mean if stated is None else stated
        anywhere = self._known(ALL_TASKS, ANY_MODEL)
        overall = self._known(ALL_TASKS, model.id)
        here = self._known(task_type, ANY_MODEL)
        if here is not None and anywhere is not None:
            # Seen elsewhere: this task's mean, plus the model's distance from the mean of all tasks.
            apart, variance = (
                (prior - self._prior_mean, anywhere[1])
                if overall is None
                else (overall[0] - anywhere[0], overall[1])
            )
            return _within_bounds(here[0] + apart), max(here[1] - anywhere[1], 0.0) + variance
        if overall is not None:
            return overall[0], overall[1] + _variance(overall[0], UNSEEN_TASK_WEIGHT)
        if anywhere is not None:
            mean = _within_bounds(anywhere[0] + prior - self._prior_mean)
            return mean, anywhere[1] + _variance(mean, UNSEEN_TASK_WEIGHT)
        if stated is None:
            prior = PRIOR_QUALITY
        return prior, _variance(prior, PRIOR_WEIGHT)

    def cost_usd(self, task_type: str, model: Model, tokens_input: int | None = None) -> float | None:
        """Expected cost of a request of the task; None if it is unknown.

        It is the catalog's current price for the request's input tokens (None: the task's mean) and the
        expected output tokens. Without a price or tokens it is the mean cost of past traffic.
        """
        price = self._prices[model.id]
        usage = None
        if price is not None:
            usage = self._usage(task_type, model, tokens_input)
            if usage is not None and model.cost_source == "prices":
                return _as_float(cost(usage, price, self._made_at))
        for task in (task_type, ALL_TASKS):
            cell = self._cells.get((task, model.id))
            if cell is not None and cell.cost_usd_mean is not None:
                return cell.cost_usd_mean
        return None if price is None else _as_float(cost(usage or TYPICAL_USAGE, price, self._made_at))

    def latency_ms(self, task_type: str, model: Model) -> float | None:
        """Median latency from traffic; None if it is unknown."""
        for task in (task_type, ALL_TASKS):
            cell = self._cells.get((task, model.id))
            if cell is not None and cell.latency_ms_p50 is not None:
                return cell.latency_ms_p50
        return None

    def reference_cost_usd(self) -> float | None:
        """Mean cost per request of the model that is best over all tasks: the unit of cost_weight.

        The best model has to be learnt. Each model's cost is weighted by its chance of being best,
        and less the fewer outcomes it has. The unit is the REFERENCE_QUANTILE of the weighted costs: a
        mean would follow one dear model with a small chance. A unit that is too small rules out no model:
        see `exploration`.
        """
        return self._reference_cost_usd

    @cached_property
    def _reference_cost_usd(self) -> float | None:
        return self._reference(self._mean_cost_usd)

    @cached_property
    def _reference_latency_ms(self) -> float | None:
        """Median latency of the model that is best over all tasks, weighted alike: latency_weight's unit."""
        return self._reference(lambda model: self.latency_ms(ALL_TASKS, model))

    @cached_property
    def _weights(self) -> list[float]:
        """How much each answering model counts for the references."""
        beliefs = [self.quality(ALL_TASKS, model) for model in self._answering]
        chances_ = probabilities_of_best([mean for mean, _ in beliefs], [variance for _, variance in beliefs])
        sizes = [self._outcomes_of(model) for model in self._answering]
        return [
            chance * size / (size + REFERENCE_WEIGHT) for chance, size in zip(chances_, sizes, strict=True)
        ]

    def _outcomes_of(self, model: Model) -> float:
        """Judged outcomes over all tasks, at their present weight."""
        cell = self._cells.get((ALL_TASKS, model.id))
        return 0.0 if cell is None else cell.effective_sample_size

    def _reference(self, figure: Callable[[Model], float | None]) -> float | None:
        found = [
            (value, weight)
            for model, weight in zip(self._answering, self._weights, strict=True)
            if (value := figure(model))
        ]
        total = sum(weight for _, weight in found)
        if total <= 0:  # no outcome yet: all models count alike
            found, total = [(value, 1.0) for value, _ in found], float(len(found))
        below = 0.0
        for value, weight in sorted(found):
            below += weight
            if below >= REFERENCE_QUANTILE * total:
                return value
        return None

    def _mean_cost_usd(self, model: Model) -> float | None:
        """The model's expected cost over the traffic of all tasks, including tasks it has not served."""
        total, requests = 0.0, 0
        for task, row in self._traffic.items():
            value = self.cost_usd(task, model)
            if value is not None:
                total += row.requests * value
                requests += row.requests
        return total / requests if requests else self.cost_usd(ALL_TASKS, model)

    @cached_property
    def _traffic(self) -> dict[str, ScoreRow]:
        return {
            task: row
            for (task, model), row in self._cells.items()
            if model == ANY_MODEL and task != ALL_TASKS
        }

    @cached_property
    def _new_below(self) -> float:
        """Fewest outcomes of an established model."""
        if (ALL_TASKS, ANY_MODEL) not in self._cells:
            return COLD_START_OUTCOMES
        return min(COLD_START_OUTCOMES, COLD_START_RATIO * self._outcomes_per_model)

    @cached_property
    def _outcomes_per_model(self) -> float:
        """Judged outcomes over all tasks, at their present weight, as a mean over the models."""
        everyone = self._cells.get((ALL_TASKS, ANY_MODEL))
        return 0.0 if everyone is None else everyone.effective_sample_size / len(self._catalog.models)

    def _known(self, task_type: str, model_id: str) -> tuple[float, float] | None:
        cell = self._cells.get((task_type, model_id))
        if cell is None or cell.quality_mean is None or cell.quality_variance is None:
            return None
        return cell.quality_mean, cell.quality_variance

    def _usage(self, task_type: str, model: Model, tokens_input: int | None) -> Usage | None:
        """Expected tokens of a request; None while traffic shows nothing about its output.

        Models count the same text differently, so the given input is scaled by the model's own
        requests of the task.
        """
        here = self._cells.get((task_type, ANY_MODEL)) or self._cells.get((ALL_TASKS, ANY_MODEL))
        if here is None or here.tokens_output_mean is None or not here.tokens_input_mean:
            return None
        own = self._cells.get((task_type, model.id))
        mean_input, mean_output = here.tokens_input_mean, here.tokens_output_mean
        if own is not None and own.tokens_output_mean is not None and own.tokens_input_mean is not None:
            trust = own.requests / (own.requests + TOKENS_WEIGHT)
            mean_input += (own.tokens_input_mean - mean_input) * trust
            mean_output += (own.tokens_output_mean - mean_output) * trust
        if tokens_input is not None:
            mean_input *= tokens_input / here.tokens_input_mean
        return Usage(tokens_input=round(mean_input), tokens_output=round(mean_output))

    def _rank(self, policy: Policy, task_type: str, bucket: int | None) -> RankedTable:
        models = list(self._catalog.models.values())
        tokens_input = None if bucket is None else _bucket_tokens(bucket)
        costs = [self.cost_usd(task_type, model, tokens_input) for model in models]
        latencies = [self.latency_ms(task_type, model) for model in models]
        beliefs = [self.quality(task_type, model) for model in models]
        arms = self._arms(policy, models, beliefs, costs, latencies)
        claims: Mapping[str, Claim] = {}
        exceptions: dict[str, float] = {}
        if policy.strategy == "thompson":
            shares = thompson_shares(
                arms,
                near_tie=policy.near_tie,
                min_exploration=policy.min_exploration,
                cold_start_share=policy.cold_start_share,
            )
            claims = self._claims_under(policy)
            leader = max(arm.mean for arm in arms)
            chances = [
                # Its utility is above the leader's if its quality makes up for its costs.
                self._exception_chance(task_type, model, bar=leader + quality - arm.mean)
                if model.id in claims
                else 0.0
                for model, arm, (quality, _) in zip(models, arms, beliefs, strict=True)
            ]
            least = [EXCEPTIONS * self._judged_share * chance for chance in chances]
            exceptions = {
                model.id: chance
                for model, share, chance, kept in zip(models, shares, chances, least, strict=True)
                if kept > max(share, NEGLIGIBLE)
            }
            shares = with_claims(
                shares,
                [claims.get(model.id) for model in models],
                [arm.cost for arm in arms],
                least,
                cap=min(CLAIM_SHARE, policy.cold_start_share),
            )
        else:
            shares = greedy_shares(arms, near_tie=policy.near_tie)
        candidates = [
            Candidate(
                model=model.id,
                is_eligible=True,
                quality=beliefs[index][0],
                cost_usd=costs[index],
                latency_ms=latencies[index],
                utility=arms[index].mean,
                probability=shares[index],
            )
            for index, model in enumerate(models)
        ]
        best = best_arm(arms, near_tie=policy.near_tie)
        candidates.sort(key=lambda item: (item.probability, item.utility), reverse=True)
        return RankedTable(
            candidates=tuple(candidates),
            best=None if best is None else models[best].id,
            claims=claims,
            exceptions=exceptions,
        )

    def _exception_chance(self, task_type: str, model: Model, *, bar: float) -> float:
        """The chance that the model's quality on the task is above `bar`, by only its outcomes there."""
        cell = self._cells.get((task_type, model.id))
        outcomes = 0.0 if cell is None else cell.effective_sample_size
        quality = None if cell is None else cell.quality_observed
        if quality is None and outcomes > 0:  # a snapshot of an earlier release
            return 0.0
        return exception_chance(bar, quality or 0.0, outcomes)

    @cached_property
    def _judged_share(self) -> float:
        """The part of all requests that is judged."""
        everyone = self._cells.get((ALL_TASKS, ANY_MODEL))
        if everyone is None or not everyone.requests:
            return 0.0
        return min(everyone.requests_with_quality / everyone.requests, 1.0)

    def _claims_under(self, policy: Policy) -> dict[str, Claim]:
        """The claim on exploration of each model that the policy permits, by its quality over all tasks."""
        key = policy.id, policy.version
        claims = self._claims.get(key)
        if claims is None:
            claims = self._claims[key] = self._make_claims(policy)
        return claims

    def _make_claims(self, policy: Policy) -> dict[str, Claim]:
        models = [
            model
            for model in self._answering
            if model.id not in self._excluded and policy.permits(model.id, model.provider)
        ]
        beliefs = [self.quality(ALL_TASKS, model) for model in models]
        unit = self._reference_cost_usd or 0.0
        costs = [unit if (cost := self._mean_cost_usd(model)) is None else cost for model in models]
        margins = [[policy.lead_for(own, other) for other in costs] for own in costs]
        found = prospects([mean for mean, _ in beliefs], [variance for _, variance in beliefs], margins)
        limit = claim_limit(self._outcomes_per_model)
        claims = {}
        for model, prospect in zip(models, found, strict=True):
            cell = self._cells.get((ALL_TASKS, model.id))
            mean = None if cell is None else cell.cost_usd_mean
            claims[model.id] = Claim(
                model=model.id,
                **prospect._asdict(),
                outcomes=self._outcomes_of(model),
                limit=limit,
                cost_usd=None if cell is None or mean is None else cell.requests * mean,
            )
        return claims

    def _arms(
        self,
        policy: Policy,
        models: list[Model],
        beliefs: list[tuple[float, float]],
        costs: list[float | None],
        latencies: list[float | None],
    ) -> list[Arm]:
        """Utility of each model. An unknown cost or latency counts as the reference's."""
        reference_cost = self._reference_cost_usd
        reference_latency = self._reference_latency_ms if policy.latency_weight else None
        new_below = self._new_below
        arms = []
        for model, (mean, variance), cost_usd, latency_ms in zip(
            models, beliefs, costs, latencies, strict=True
        ):
            relative_cost = _relative(cost_usd, reference_cost)
            if policy.usd_per_quality_point is None:
                mean -= policy.cost_weight * relative_cost
            else:
                expected = cost_usd if cost_usd is not None else reference_cost or 0.0
                mean -= expected / (PERCENT_POINTS * float(policy.usd_per_quality_point))
            if policy.latency_weight:
                mean -= policy.latency_weight * _relative(latency_ms, reference_latency)
            overall = self._cells.get((ALL_TASKS, model.id))
            arms.append(
                Arm(
                    mean=mean,
                    variance=EXPLORATION * variance,
                    cost=relative_cost,
                    is_new=overall is None or overall.effective_sample_size < new_below,
                )
            )
        return arms


def _relative(value: float | None, reference: float | None) -> float:
    return 1.0 if value is None or not reference else value / reference


def _within_bounds(quality: float) -> float:
    return min(max(quality, 0.0), 1.0)


def _variance(mean: float, weight: float) -> float:
    return max(mean * (1.0 - mean), 0.01) / (weight + 1.0)


def _as_float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
