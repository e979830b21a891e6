"""An evaluation as a table, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines.reports.reports import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation.evaluate import Evaluation

MONEY = "cost_usd"


def answer(evaluations: Sequence[Evaluation]) -> Answer:
    """A row for each policy, metric and estimator."""
    import pyarrow as pa

    rows = [row for evaluation in evaluations for row in _rows(evaluation)]
    return Answer(table=pa.Table.from_pylist(rows, schema=_schema()))


def notes(evaluation: Evaluation) -> list[str]:
    """What to know before the figures are believed."""
    support = f"{evaluation.supported:.1%} of its decisions supported"
    size = f"effective sample size {evaluation.effective:.0f}, mean weight {evaluation.mean_weight:.3f}"
    requests = f"{evaluation.requests} requests in {evaluation.sessions} sessions"
    lines = [f"{evaluation.policy_id}: {requests}, {support}, {size}"]
    if evaluation.quality is None:
        lines.append("  quality: too few of these requests were judged")
    else:
        known = evaluation.quality.known
        lines.append(f"  quality: estimated on {known} judged requests ({known / evaluation.requests:.1%})")
    if evaluation.fallbacks:
        lines.append(
            f"  {evaluation.fallbacks} requests fell back: they count for the model that was decided on"
        )
    if evaluation.unchanged:
        lines.append(
            f"  {evaluation.unchanged} requests named their model: the same under any policy, left out"
            f" (${evaluation.unchanged_cost_usd:.6g})"
        )
    if evaluation.left_out:
        lines.append(
            f"  {evaluation.left_out} requests left out: their draw or its scores are no longer there"
        )
    if evaluation.sampled < 1:
        lines.append(f"  a sample of {evaluation.sampled:.1%} of the sessions was read")
    return lines


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Every figure by its name."""
    return asdict(evaluation)


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for metric, found in ((MONEY, evaluation.cost_usd), ("quality", evaluation.quality)):
        if found is None:
            continue
        for name in ("logged", "snips", "doubly_robust"):
            item = getattr(found, name)
            is_logged = name == "logged"
            rows.append(
                {
                    "policy": evaluation.policy_id,
                    "metric": metric,
                    "estimate": name,
                    "per_request": item.value,
                    "low": item.low,
                    "high": item.high,
                    "difference": None if is_logged else item.difference,
                    "difference_low": None if is_logged else item.difference_low,
                    "difference_high": None if is_logged else item.difference_high,
                    "total": item.value * evaluation.requests if metric == MONEY else None,
                    "known": found.known,
                    "effective": found.effective,
                }
            )
    return rows


def _schema() -> Any:
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("policy", "metric", "estimate")]
    numbers = ("per_request", "low", "high", "difference", "difference_low", "difference_high", "total")
    return pa.schema(
        [
            *texts,
            *((name, pa.float64()) for name in numbers),
            ("known", pa.int64()),
            ("effective", pa.float64()),
        ]
    )
