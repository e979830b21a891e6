"""Savings as a sentence to repeat, and as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines.evaluation.wording import COST, compared, compared_points, money
from pipelines.reports.reports import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation.savings import Saving


def sentence(found: Saving) -> str:
    """The saving in one sentence, with its interval, or why it is not known."""
    against = f"the policy `{found.baseline}`" if found.is_policy else f"always `{found.baseline}`"
    if found.saved_usd is None or found.saved_usd_low is None or found.saved_usd_high is None:
        return f"The saving against {against} is not known: {found.reason}."
    cost = found.cost_usd or 0.0
    whole = cost + found.saved_usd
    share = "" if whole <= 0 else f", {abs(found.saved_usd) / whole:.0%} of its cost"
    spent = compared(
        -found.saved_usd,
        -found.saved_usd_high,
        -found.saved_usd_low,
        words=COST,
        show=money,
        after=f" than {against}{share}",
        most=cost,
    )
    if found.quality_difference is None:
        return f"The router cost {spent}; too few answers were judged to compare quality."
    scored = compared_points(
        found.quality_difference, found.quality_difference_low, found.quality_difference_high
    )
    return f"The router cost {spent}, and scored {scored}."


def coverage(found: Saving) -> str:
    """Name the requests that the figures cover."""
    source = (
        "" if found.source == "rows" else "; from the sums of `propensity_hourly`, a request for each draw"
    )
    return (
        f"{found.supported_share:.1%} of {found.requests:,} requests of `{found.environment}` that the router"
        f" decided are covered; evidence of {found.effective:.0f} requests on `{found.baseline}`{source}"
    )


def answer(found: Sequence[Saving]) -> Answer:
    """A row for each saving."""
    import pyarrow as pa

    texts = ("baseline", "environment", "scope", "organization_id", "task_type", "reason", "source")
    kinds = {"requests": pa.int64(), "is_policy": pa.bool_()}
    schema = pa.schema(
        [(name, kinds.get(name, pa.string() if name in texts else pa.float64())) for name in asdict(found[0])]
    )
    return Answer(table=pa.Table.from_pylist([asdict(item) for item in found], schema=schema))
