"""An evaluation as a table, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines.evaluation.wording import COST, WHOLE, compared, compared_points, percent
from pipelines.reports.reports import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation.evaluate import Evaluation
    from pipelines.evaluation.what_if import WhatIf

MONEY = "cost_usd"


def answer(evaluations: Sequence[Evaluation]) -> Answer:
    """A row for each policy, metric and estimator."""
    import pyarrow as pa

    rows = [row for evaluation in evaluations for row in _rows(evaluation)]
    return Answer(table=pa.Table.from_pylist(rows, schema=_schema()))


def what_if_answer(found: Sequence[WhatIf]) -> Answer:
    """A row for each what-if: of all tasks (no task), then of each."""
    import pyarrow as pa

    texts = ("model", "environment", "task_type", "reason")
    rows = [_what_if_row(item) for item in found]
    kinds = {"decisions": pa.int64(), "drawn": pa.int64()}
    schema = pa.schema(
        [(name, kinds.get(name, pa.string() if name in texts else pa.float64())) for name in rows[0]]
    )
    return Answer(table=pa.Table.from_pylist(rows, schema=schema))


def _what_if_row(found: WhatIf) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": found.model,
        "environment": found.environment,
        "task_type": found.task_type,
        "decisions": found.decisions,
        "drawn": found.drawn,
        "supported_share": found.supported_share,
        "effective": found.effective,
    }
    for name, item, logged in (
        (MONEY, found.cost_usd, found.cost_usd_logged),
        ("quality", found.quality, found.quality_logged),
    ):
        row |= {
            f"{name}_logged": logged,
            name: None if item is None else item.value,
            f"{name}_low": None if item is None else item.low,
            f"{name}_high": None if item is None else item.high,
            f"{name}_difference_low": None if item is None else item.difference_low,
            f"{name}_difference_high": None if item is None else item.difference_high,
        }
    return {**row, "reason": found.reason}


def notes(evaluation: Evaluation) -> list[str]:
    """The warnings to read before you believe the figures."""
    support = f"{evaluation.supported:.1%} of its decisions supported"
    size = f"effective sample size {evaluation.effective:.0f}, mean weight {evaluation.mean_weight:.3f}"
    requests = (
        f"{evaluation.requests} requests in {evaluation.sessions} sessions of `{evaluation.environment}`"
    )
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
    if evaluation.elsewhere:
        lines.append(f"  {evaluation.elsewhere} requests of other environments left out (--environment)")
    if evaluation.is_judging_biased:
        kind = "better" if evaluation.judging_depends > 0 else "worse"
        lines.append(
            f"  warning: {kind} answers are judged more often than others"
            f" ({abs(evaluation.judging_depends):.1f} standard errors), so the figures of quality are"
            " biased and their intervals too narrow: have a judge or a program judge a random share of"
            " all answers"
        )
    elif evaluation.quality is not None and evaluation.quality.known < evaluation.requests:
        lines.append("  quality assumes that whether an answer is judged does not depend on the answer")
    if evaluation.sampled < 1:
        lines.append(f"  a sample of {evaluation.sampled:.1%} of the sessions was read")
    lines.append(f"  {verdict(evaluation)}")
    return lines


def verdict(evaluation: Evaluation) -> str:
    """The answer in a sentence: paired differences of the doubly robust estimates."""
    parts = []
    if evaluation.quality is not None:
        found, quality = evaluation.quality.doubly_robust, evaluation.quality.logged.value
        ends = found.difference_low, found.difference_high
        parts.append(f"scored {compared_points(found.difference, *ends, of=quality)}")
    if evaluation.cost_usd is not None and evaluation.cost_usd.logged.value > 0:
        found, logged = evaluation.cost_usd.doubly_robust, evaluation.cost_usd.logged.value
        shares = (
            100 * item / logged for item in (found.difference, found.difference_low, found.difference_high)
        )
        parts.append(f"cost {compared(*shares, words=COST, show=percent, least=-WHOLE)}")
    if not parts:
        return f"verdict: nothing is known of what `{evaluation.policy_id}` would have cost or scored"
    return f"verdict: on this traffic `{evaluation.policy_id}` would have {' and '.join(parts)}"


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
