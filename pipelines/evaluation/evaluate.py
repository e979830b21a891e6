"""`evaluate`: another policy on the recorded traffic, or a refusal that names the missing data."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import EvaluationError
from pipelines.evaluation.estimators import Sample, effective_size, estimate
from pipelines.evaluation.judging import judging_depends
from pipelines.evaluation.log import read_log
from pipelines.evaluation.target import target_odds
from pipelines.rollups.tables import ODDS_FLOOR
from router.catalog.catalog import Catalog
from router.errors import UnknownTaskError

if TYPE_CHECKING:
    from datetime import datetime

    import numpy.typing as npt

    from pipelines.evaluation.estimators import Estimates
    from pipelines.evaluation.log import Floats, Log
    from router.config import Settings
    from router.policies.policy import Policy

MIN_SUPPORTED = 0.95
"""Share of the target's decisions that the log must support."""
MIN_EFFECTIVE = 30.0
"""Effective sample size required for an estimate."""
MIN_DRAWN = 100
"""Requests with a draw required for an estimate."""
DEPENDS = 2.5
"""Standard errors beyond which judged answers are taken to differ from the others: 1 log in 80 by chance."""
FLOOR = 0.05
"""Least share of the requests that a refusal advises to spread over all eligible models."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The cost and quality that a policy would have had."""

    policy_id: str
    environment: str
    requests: int
    """Requests that a draw decided and that the policy could be asked about."""
    sessions: int
    """Independent among them: sessions, and requests without one."""
    supported: float
    """Share of the policy's decisions for a model that was drawn in such requests."""
    effective: float
    """Effective sample size, in sessions."""
    mean_weight: float
    """Close to 1 when the recorded propensities are right."""
    fallbacks: int
    unchanged: int
    """Requests that named their model, the same under any policy. Not among `requests`."""
    unchanged_cost_usd: float
    left_out: int
    """Requests without their draw, or without the scores that it read: these are gone."""
    elsewhere: int
    """Requests of other environments in the window, which say nothing of this one."""
    sampled: float
    """Share of the sessions in the window that were read."""
    cost_usd: Estimates | None
    """Per request. None when no cost is known."""
    quality: Estimates | None
    """Per request. None when too few requests were judged."""
    judging_depends: float = 0.0
    """See `judging.judging_depends`: beyond DEPENDS either way, judged answers are not like the others."""

    @property
    def is_judging_biased(self) -> bool:
        """Whether the judged answers seem to differ from those without a judgement."""
        return abs(self.judging_depends) > DEPENDS


def evaluate(
    settings: Settings,
    policy: Policy,
    *,
    since: datetime,
    task: str | None = None,
    environment: str | None = None,
) -> Evaluation:
    """Evaluate `policy` on the requests since `since`, of one task or of all.

    They are of one environment, by default the one that the router's scores are of.
    EvaluationError when there is no traffic, no chance in it, or no overlap with what the policy does.
    """
    catalog = Catalog.load(settings.catalog_file)
    if task is not None and task not in catalog.tasks:
        raise UnknownTaskError(task, catalog.tasks)
    log = read_log(settings, since=since, task=task, environment=environment)
    _refuse_without_chance(log, since, task)
    odds, is_known = target_odds(log, policy, catalog=catalog, settings=settings)
    return evaluation_of(log, odds, is_known, policy)


def evaluation_of(log: Log, odds: Floats, is_known: npt.NDArray[np.bool_], policy: Policy) -> Evaluation:
    """The evaluation from the policy's odds on each request of the log, where they are known."""
    usable = is_known & (log.action >= 0) & (log.propensity > 0)
    left_out = log.left_out + int((~usable).sum())
    if not usable.any():
        raise EvaluationError(
            f"none of the {len(usable)} requests can be evaluated: the scores they were decided by are gone,"
            f" or `{policy.id}` has no eligible model. Evaluate a shorter window, or check its constraints"
        )
    log, odds = log.select(usable), odds[usable]
    is_supported = log.odds >= ODDS_FLOOR
    supported = float((odds * is_supported).sum(axis=1).mean())
    if supported < MIN_SUPPORTED:
        raise EvaluationError(_unsupported(log, odds, is_supported, policy, supported))
    rows = np.arange(len(log.action))
    trusted = is_supported[rows, log.action]
    sample = Sample(
        task=log.task,
        action=log.action,
        cluster=np.unique(log.cluster, return_inverse=True)[1].reshape(-1),
        weights=np.where(trusted, odds[rows, log.action] / log.propensity, 0.0),
        target=odds,
    )
    effective = effective_size(sample.weights, sample.cluster)
    if effective < MIN_EFFECTIVE:
        raise EvaluationError(
            f"`{policy.id}` decides so unlike the recorded policies that {len(rows)} requests carry as little"
            f" information as {effective:.0f} would. At least {MIN_EFFECTIVE:.0f} are needed: evaluate"
            f" a longer window (--since), or {_explore(log)}"
        )
    quality = estimate(sample, log.quality)
    answered = log.select(log.is_answered)
    return Evaluation(
        policy_id=policy.id,
        environment=log.environment,
        requests=len(rows),
        sessions=int(sample.cluster.max()) + 1,
        supported=supported,
        effective=effective,
        mean_weight=float(sample.weights.mean()),
        fallbacks=log.fallbacks,
        unchanged=log.unchanged,
        unchanged_cost_usd=log.unchanged_cost_usd,
        left_out=left_out,
        elsewhere=log.elsewhere,
        sampled=log.kept_share,
        cost_usd=estimate(sample, log.cost_usd, scale=largest(log.cost_usd)),
        quality=quality if quality is not None and quality.effective >= MIN_EFFECTIVE else None,
        judging_depends=judging_depends(answered.task, answered.action, answered.quality, answered.looks),
    )


def advised_floor(models: int) -> float:
    """The `exploration_floor` that draws each of so many models at least as often as ODDS_FLOOR."""
    return max(FLOOR, ceil(110 * ODDS_FLOOR * models) / 100)


def _explore(log: Log) -> str:
    floor = advised_floor(len(log.models))
    return (
        f"give the recorded policies an `exploration_floor` of {floor:g} (that share of the requests spread"
        " over all eligible models, the dear and the unlikely too), and evaluate again when they have"
        " served for a while"
    )


def largest(values: Floats) -> float:
    """The largest known value, at least a millionth."""
    known = values[~np.isnan(values)]
    return max(float(known.max()), 1e-6) if len(known) else 1e-6


def _refuse_without_chance(log: Log, since: datetime, task: str | None) -> None:
    of_task = f" in `{log.environment}`" + ("" if task is None else f" of task `{task}`")
    others = f"; others have {log.elsewhere} (--environment)" if log.elsewhere else ""
    if len(log.action) < MIN_DRAWN:
        raise EvaluationError(
            f"{len(log.action)} requests{of_task} since `{since:%Y-%m-%d %H:%M}Z` were decided by the router,"
            f" {log.unchanged} named their model{others}. At least {MIN_DRAWN} are needed: evaluate a longer"
            " window (--since), send requests with `auto`, or run `intellirouter refresh` if they are new"
        )
    if np.all(log.propensity >= 1 - 1e-9):
        raise EvaluationError(
            f"all {len(log.action)} requests{of_task} were decided without chance, so they do not show the"
            f" outcome of other choices: {_explore(log)}"
        )


def _unsupported(
    log: Log, odds: Floats, is_supported: npt.NDArray[np.bool_], policy: Policy, supported: float
) -> str:
    missing = (odds * ~is_supported).mean(axis=0)
    worst = [index for index in np.argsort(-missing)[:3] if missing[index] >= 0.005]
    named = ", ".join(f"`{log.models[index]}` ({missing[index]:.0%} of its decisions)" for index in worst)
    return (
        f"the recorded traffic supports {supported:.0%} of what `{policy.id}` would decide, at least"
        f" {MIN_SUPPORTED:.0%} is needed: it sends requests to {named} where the recorded policies did so"
        f" less than once in {1 / ODDS_FLOOR:.0f}; {_explore(log)}, or serve `{policy.id}` to a share of the"
        " traffic as an experiment"
    )
