"""The decision: a pure function, so that it can be replayed and tested offline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from router.records import Candidate, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.policy import Policy
    from router.scores import RankedTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The outcome of `choose`."""

    model: str
    fallbacks: tuple[str, ...]
    propensity: float
    strategy: Strategy
    is_exploration: bool
    reason: str
    candidates: tuple[Candidate, ...]


def choose(
    table: RankedTable,
    exclusions: Mapping[str, str],
    *,
    policy: Policy,
    random: float,
    pinned: str | None = None,
    sticky: str | None = None,
) -> Choice | None:
    """Pick one candidate; None when `exclusions` (model to reason) leave none, or not the pinned one.

    `random` in [0, 1) decides among the eligible in proportion to their probability. `pinned` is a
    model the caller named, `sticky` the one its session is with; either is taken when eligible.
    """
    candidates = _among_eligible(table.candidates, exclusions) if exclusions else table.candidates
    eligible = [item for item in candidates if item.is_eligible]
    if not eligible:
        return None
    names = {item.model for item in eligible}
    if pinned is not None and pinned not in names:
        return None
    best = table.best if table.best in names else max(eligible, key=lambda item: item.utility or 0.0).model
    strategy: Strategy
    if pinned is not None:
        chosen, propensity, strategy, reason = pinned, 1.0, "pinned", "the request names the model"
    elif sticky is not None and sticky in names:
        chosen, propensity, strategy, reason = sticky, 1.0, "sticky", "the session stays with its model"
    else:
        picked = _draw(eligible, random)
        chosen, propensity, strategy = picked.model, picked.probability or 0.0, policy.strategy
        reason = f"best of {len(eligible)} eligible" if chosen == best else f"explores beside `{best}`"
    if strategy in ("pinned", "sticky"):
        candidates = tuple(
            replace(item, probability=1.0 if item.model == chosen else 0.0) for item in candidates
        )
    return Choice(
        model=chosen,
        fallbacks=()
        if strategy == "pinned"
        else tuple(
            item.model
            for item in sorted(eligible, key=lambda item: item.utility or 0.0, reverse=True)
            if item.model != chosen
        ),
        propensity=propensity,
        strategy=strategy,
        is_exploration=strategy in ("thompson", "greedy") and chosen != best,
        reason=reason,
        candidates=candidates,
    )


def _draw(eligible: list[Candidate], random: float) -> Candidate:
    """The candidate in whose share of [0, 1) `random` falls."""
    passed = 0.0
    for item in eligible:
        passed += item.probability or 0.0
        if random < passed:
            return item
    return eligible[0]  # rounding left a sliver above the last share: the most probable takes it


def _among_eligible(
    candidates: tuple[Candidate, ...], exclusions: Mapping[str, str]
) -> tuple[Candidate, ...]:
    """Mark the excluded and rescale the others' probabilities to sum to 1."""
    total = sum(item.probability or 0.0 for item in candidates if item.model not in exclusions)
    eligible = [item for item in candidates if item.model not in exclusions]
    # Where every likely model is excluded the rest have no share to rescale: the best takes all.
    fallback = max(eligible, key=lambda item: item.utility or 0.0).model if eligible and total <= 0 else None
    return tuple(
        replace(item, is_eligible=False, exclusion=exclusions[item.model], probability=0.0)
        if item.model in exclusions
        else replace(
            item,
            probability=(item.probability or 0.0) / total
            if total > 0
            else (1.0 if item.model == fallback else 0.0),
        )
        for item in candidates
    )
