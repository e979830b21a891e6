"""Savings as a sentence to repeat, and as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines.reports.reports import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.evaluation.savings import Saving


def sentence(found: Saving) -> str:
    """The saving in one sentence, with its interval, or why it is not known."""
    against = f"the policy `{found.baseline}`" if found.is_policy else f"always `{found.baseline}`"
    if found.saved_usd is None or found.saved_usd_low is None or found.saved_usd_high is None:
        return f"The saving against {against} is not known: {found.reason}."
    whole = (found.cost_usd or 0.0) + found.saved_usd
    share = "" if whole <= 0 else f", {abs(found.saved_usd) / whole:.0%} {_word(found.saved_usd)}"
    low, high = found.saved_usd_low, found.saved_usd_high
    doubt = ", which may be chance" if low <= 0 <= high else ""
    text = (
        f"The router cost {money(abs(found.saved_usd))} {'less' if found.saved_usd >= 0 else 'more'} than"
        f" {against}{share} (95% interval: {money(low)} to {money(high)}{doubt})"
    )
    if (
        found.quality_difference is None
        or found.quality_difference_low is None
        or found.quality_difference_high is None
    ):
        return f"{text}; too few answers were judged to compare quality."
    points, least, most = (
        100 * value
        for value in (
            found.quality_difference,
            found.quality_difference_low,
            found.quality_difference_high,
        )
    )
    doubt = ", which may be chance" if least <= 0 <= most else ""
    return (
        f"{text}, and scored {abs(points):.1f} points {'better' if points >= 0 else 'worse'}"
        f" ({least:+.1f} to {most:+.1f}{doubt})."
    )


def coverage(found: Saving) -> str:
    """Name the requests that the figures cover."""
    source = (
        "" if found.source == "rows" else "; from the sums of `propensity_hourly`, a request for each draw"
    )
    return (
        f"{found.supported_share:.1%} of {found.requests:,} requests of `{found.environment}` that the router"
        f" decided are covered; evidence of {found.effective:.0f} requests on `{found.baseline}`{source}"
    )


def money(usd: float) -> str:
    """Dollars for a sentence: cents where they matter."""
    sign = "-" if usd < 0 else ""
    return f"{sign}${abs(usd):,.0f}" if abs(usd) >= 100 else f"{sign}${abs(usd):,.4g}"


def answer(found: Sequence[Saving]) -> Answer:
    """A row for each saving."""
    import pyarrow as pa

    texts = ("baseline", "environment", "scope", "organization_id", "task_type", "reason", "source")
    kinds = {"requests": pa.int64(), "is_policy": pa.bool_()}
    schema = pa.schema(
        [(name, kinds.get(name, pa.string() if name in texts else pa.float64())) for name in asdict(found[0])]
    )
    return Answer(table=pa.Table.from_pylist([asdict(item) for item in found], schema=schema))


def _word(saved: float) -> str:
    return "cheaper" if saved >= 0 else "dearer"
