"""The saving of the router: its difference to a baseline on the same requests, with a 95% interval.

The baseline is one model, or a policy by name. Its cost is estimated from the requests that chance gave
to it, by the doubly robust estimator. The price of its tokens is never put on another model's tokens:
models write answers of different length, so that figure can be wrong several times over.

A saving covers the requests that could have gone to the baseline by chance. Where these are too few,
it is not known, and `reason` says why. Requests that name their model would cost the same under any
baseline and are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.errors import EvaluationError
from pipelines.evaluation.estimators import Sample, effective_size, estimate
from pipelines.evaluation.evaluate import MIN_DRAWN, MIN_EFFECTIVE, largest
from pipelines.evaluation.log import read_log
from pipelines.evaluation.target import target_odds
from pipelines.rollups.tables import ODDS_FLOOR
from router.catalog.catalog import Catalog
from router.errors import nearest
from router.policies.policy import Policies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import duckdb

    from pipelines.evaluation.estimators import Flags
    from pipelines.evaluation.log import Floats, Log
    from router.config import Settings

UNSUPPORTED_SHARE = 0.01
"""Share of the baseline's odds on one request that models without support may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """The saving on some requests. Differences are the router's minus the baseline's."""

    baseline: str
    is_policy: bool
    """Whether the baseline is a policy. Else it is one model for everything."""
    environment: str
    organization_id: str | None
    """None: requests without one, or of all (`scope`)."""
    task_type: str | None
    """None: all tasks."""
    scope: str
    """`all`, `organization` or `task`."""
    requests: int
    """Requests that the router decided."""
    supported_share: float
    """Share of them that the figures cover: chance could have given them to the baseline."""
    effective: float
    """Requests on the baseline that carry as much evidence."""
    cost_usd: float | None = None
    """US dollars of the covered requests."""
    saved_usd: float | None = None
    """US dollars that they would have cost more on the baseline. Negative: less."""
    saved_usd_low: float | None = None
    saved_usd_high: float | None = None
    quality_difference: float | None = None
    """Quality (0..1) by which the router's answers are better. None: too few were judged."""
    quality_difference_low: float | None = None
    quality_difference_high: float | None = None
    reason: str | None = None
    """Why the saving is not known. None when it is."""
    source: Literal["rows", "rollups"] = "rows"
    """Whether it is computed from the requests, or from the sums that outlive them."""


def savings(
    settings: Settings,
    *,
    since: datetime,
    until: datetime | None = None,
    baseline: str | None = None,
    environment: str | None = None,
    by: Sequence[str] = (),
    build: duckdb.DuckDBPyConnection | None = None,
) -> list[Saving]:
    """The saving on all requests from `since` to `until`, then of each part, by each of `by`.

    `by` holds `organization`, `task` or both: the log is read once.

    `baseline` is a model or a policy; by default BASELINE_MODEL. EvaluationError when there is none.
    """
    catalog = Catalog.load(settings.catalog_file)
    name = baseline or settings.baseline_model
    if name is None:
        raise EvaluationError(
            "there is nothing to compare with: name a model or a policy with --baseline,"
            " or set BASELINE_MODEL"
        )
    is_policy = name not in catalog.models
    policies = Policies.load(settings.policies_file).by_id if is_policy else {}
    if is_policy and name not in policies:
        raise EvaluationError(
            f"`{name}` is no model of the catalog and no policy:"
            f" {nearest(name, [*catalog.models, *policies])}"
        )
    log = read_log(settings, since=since, until=until, environment=environment, build=build)
    if not is_policy:
        odds = np.zeros((len(log.action), len(log.models)))
        if name in log.models:
            odds[:, log.models.index(name)] = 1.0
        is_known = odds.sum(axis=1) > 0
    else:
        odds, is_known = target_odds(log, policies[name], catalog=catalog, settings=settings)
    found = partial(saving, baseline=name, is_policy=is_policy)
    parts = [
        found(log.select(mine), odds[mine], is_known[mine], **scope)
        for scope_name in by
        for mine, scope in _parts(log, scope_name)
    ]
    return [found(log, odds, is_known), *parts]


def saving(
    log: Log,
    odds: Floats,
    is_known: Flags,
    baseline: str,
    *,
    is_policy: bool = False,
    scope: str = "all",
    organization_id: str | None = None,
    task_type: str | None = None,
) -> Saving:
    """The saving on the requests of a log, from the baseline's odds where they are known."""
    total = len(log.action)
    missing = np.where(log.odds >= ODDS_FLOOR, 0.0, odds).sum(axis=1)
    usable = is_known & (log.action >= 0) & (log.propensity > 0) & (missing <= UNSUPPORTED_SHARE)
    covered, wanted = log.select(usable), odds[usable]
    rows = np.arange(len(covered.action))
    trusted = covered.odds[rows, covered.action] >= ODDS_FLOOR
    weights = np.where(trusted, wanted[rows, covered.action], 0.0) / covered.propensity
    cluster = np.unique(covered.cluster, return_inverse=True)[1].reshape(-1)
    effective = effective_size(weights, cluster) if len(rows) else 0.0
    scale = 1.0 / log.kept_share

    def made(reason: str | None, **figures: Any) -> Saving:
        return Saving(
            baseline=baseline,
            is_policy=is_policy,
            environment=log.environment,
            organization_id=organization_id,
            task_type=task_type,
            scope=scope,
            requests=round(total * scale),
            supported_share=len(rows) / total if total else 0.0,
            effective=effective,
            reason=reason,
            **figures,
        )

    if total < MIN_DRAWN:
        return made(f"the router decided {total} requests, at least {MIN_DRAWN} are needed")
    if effective < MIN_EFFECTIVE:
        return made(
            f"chance gave `{baseline}` as much evidence as {effective:.0f} requests, at least"
            f" {MIN_EFFECTIVE:.0f} are needed: set `baseline_exploration` in the policy,"
            " or take a longer time"
        )
    sample = Sample(task=covered.task, action=covered.action, cluster=cluster, weights=weights, target=wanted)
    cost = estimate(sample, covered.cost_usd, scale=largest(covered.cost_usd))
    if cost is None or cost.effective < MIN_EFFECTIVE:
        return made(f"the cost of too few requests on `{baseline}` is known: give it prices in catalog.yaml")
    quality = estimate(sample, covered.quality)
    number, found = len(rows) * scale, cost.doubly_robust
    better = None if quality is None or quality.effective < MIN_EFFECTIVE else quality.doubly_robust
    return made(
        None,
        cost_usd=cost.logged.value * number,
        saved_usd=found.difference * number,
        saved_usd_low=found.difference_low * number,
        saved_usd_high=found.difference_high * number,
        quality_difference=None if better is None else -better.difference,
        quality_difference_low=None if better is None else -better.difference_high,
        quality_difference_high=None if better is None else -better.difference_low,
    )


def _parts(log: Log, by: str) -> Iterator[tuple[Flags, dict[str, Any]]]:
    """The requests of each organisation or each task, by name, and how a saving names them."""
    of_tasks = by == "task"
    codes, names = (log.task, log.tasks) if of_tasks else (log.organization, log.organizations)
    for code in sorted(set(codes.tolist()), key=lambda code: (names[code] is not None, names[code] or "")):
        yield codes == code, {"scope": by, "task_type" if of_tasks else "organization_id": names[code]}
