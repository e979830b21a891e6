"""Explains from the stored record why a model was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.decision.plan import intervals, pick
from router.records import Candidate, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.request.decision import Decision


NOTABLE_SHARE = 0.0001
"""Smallest share of the random numbers with which a candidate is listed as another possible draw."""
MAX_RIVALS = 8
"""Most candidates that are listed with their distance, nearest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision a person can follow."""

    request_id: str
    model: str | None
    """The decision's choice; None when every candidate was excluded."""
    reproduced: str | None
    """The choice repeated from the stored candidates, probabilities and random number. If it differs, the
    record was changed. None when they are not stored (schema version 1 lacks the random number)."""
    reasons: tuple[str, ...]
    """Why this model, in sentences."""
    excluded: Mapping[str, str]
    """Candidates that could not be chosen, and why."""
    what_if: tuple[str, ...]
    """Changes that would have led to another choice."""

    def text(self) -> str:
        """The explanation as lines."""
        lines = [f"request {self.request_id}: {self.model or 'no model'}", *self.reasons]
        if self.excluded:
            lines += ["", "excluded"]
            lines += [f"  {model}: {reason}" for model, reason in self.excluded.items()]
        if self.what_if:
            lines += ["", "what would have changed the choice"]
            lines += [f"  {sentence}" for sentence in self.what_if]
        return "\n".join(lines)


def explain(decided: Decision | RequestRecord | Mapping[str, Any]) -> Explanation:
    """Explain a Decision, a record, or a row of the table `request_analytics` (a mapping)."""
    row = _Row(decided)
    candidates = [
        item if isinstance(item, Candidate) else Candidate(**item) for item in row.get("candidates") or ()
    ]
    model = row.get("model_decided") or row.get("model")
    eligible = [item for item in candidates if item.is_eligible]
    return Explanation(
        request_id=str(row.get("id") or row.get("request_id")),
        model=model,
        reproduced=_reproduced(candidates, row.get("draw")),
        reasons=tuple(_reasons(row, model, eligible)),
        excluded={item.model: item.exclusion or "excluded" for item in candidates if not item.is_eligible},
        what_if=tuple(_what_if(row, model, eligible, candidates)),
    )


class _Row:
    """Reads attributes of an object, or members of a mapping."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def get(self, name: str) -> Any:
        if hasattr(self._source, "get"):
            return self._source.get(name)
        return getattr(self._source, name, None)


def _reproduced(candidates: Sequence[Candidate], draw: float | None) -> str | None:
    """The model that `draw` picks; without one, the model whose probability is 1."""
    drawn, shares = intervals(candidates)
    if not drawn or (draw is None and len(drawn) > 1):
        return None
    return pick(drawn, shares, draw or 0.0)


def _reasons(row: _Row, model: str | None, eligible: Sequence[Candidate]) -> list[str]:
    reasons = [
        (
            f"policy `{row.get('policy_id')}` version {row.get('policy_version')},"
            f" task `{row.get('task_type')}` ({row.get('task_type_source')}),"
            f" strategy {row.get('strategy')}: {row.get('reason')}"
        )
    ]
    if row.get("snapshot_id"):
        age = row.get("snapshot_age_s")
        reasons.append(
            f"scores of snapshot {row.get('snapshot_id')}"
            + (f", published {age:.0f} s before" if age is not None else "")
        )
    else:
        reasons.append("no scores were published yet: prior qualities and list prices decided")
    if row.get("experiment_id"):
        reasons.append(f"experiment `{row.get('experiment_id')}`, variant `{row.get('variant')}`")
    chosen = next((item for item in eligible if item.model == model), None)
    if chosen is not None:
        reasons.append(f"{model}: {_expectations(chosen)}")
        draw = row.get("draw")
        if draw is not None:
            reasons.append(f"the random number {draw:.6f} fell into its share of {chosen.probability:.4f}")
    served = row.get("model_selected")
    if model is not None and served is not None and served != model:
        reasons.append(f"`{model}` failed, `{served}` was tried last")
    return reasons


def _expectations(item: Candidate) -> str:
    parts = [
        ("expected quality", item.quality, "{:.3f}"),
        ("cost", item.cost_usd, "${:.6f}"),
        ("latency", item.latency_ms, "{:.0f} ms"),
        ("utility", item.utility, "{:.4f}"),
        ("probability", item.probability, "{:.4f}"),
    ]
    return ", ".join(
        f"{name} {'not known' if value is None else form.format(value)}" for name, value, form in parts
    )


def _what_if(
    row: _Row, model: str | None, eligible: Sequence[Candidate], candidates: Sequence[Candidate]
) -> list[str]:
    """For each other candidate, the smallest change that makes it the choice."""
    strategy, draw = row.get("strategy"), row.get("draw")
    chosen = next((item for item in eligible if item.model == model), None)
    sentences = []
    if strategy == "pinned":
        return ["`model: auto` would have left the choice to the policy"]
    if strategy == "sticky":
        return ["a new session would have left the choice to the policy"]
    if strategy == "experiment":
        return [f"outside of experiment `{row.get('experiment_id')}` the policy would have chosen"]
    if draw is not None and strategy == "thompson":
        low = 0.0
        for item in candidates:
            share = item.probability or 0.0
            if share >= NOTABLE_SHARE and item.model != model:
                sentences.append(f"`{item.model}` for a random number from {low:.4f} to {low + share:.4f}")
            low += share
    rivals = [
        (item.utility, item.model) for item in eligible if item.model != model and item.utility is not None
    ]
    if chosen is not None and chosen.utility is not None:
        for utility, name in sorted(rivals, reverse=True)[:MAX_RIVALS]:
            gap = chosen.utility - utility
            if gap > 0:
                sentences.append(f"`{name}` is behind by {gap:.4f} of utility: that much more quality for it")
            elif strategy == "thompson":
                sentences.append(f"`{name}` leads by {-gap:.4f} of utility: without exploration it is chosen")
    best = max((item.utility for item in eligible if item.utility is not None), default=None)
    sentences.extend(
        f"`{item.model}` has the highest utility: had it not been excluded"
        for item in candidates
        if not item.is_eligible and item.utility is not None and (best is None or item.utility > best)
    )
    return sentences
