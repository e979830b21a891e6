"""The metrics that are watched, each on a scale on which its noise is even.

A share is seen as arcsin(sqrt(share)), whose sampling variance is 1/(4n) for every share. An amount or a
mean is seen as its logarithm. `floor` is the variance that remains with ever so many requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

FEWEST = 5
"""Requests below which an hour shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of a series, from the columns of `pipeline.watched_hours`."""

    name: str
    kind: Literal["volume", "mean", "share"]
    value: str
    """The column with the amount, or the count of the share."""
    of: str
    """The column with the number of requests that the value is about."""
    per: str | None = None
    """The column that the value is divided by, for a mean."""
    noise: float = 1.0
    """Sampling variance of the logarithm, times the number of requests."""

    @property
    def floor(self) -> float:
        """Variance that no number of requests takes away."""
        return {"volume": 0.01, "mean": 0.0025, "share": 0.0004}[self.kind]

    def of_hours(self, columns: Mapping[str, Any]) -> tuple[Any, Any]:
        """Values and sampling variances on the even scale. NaN for hours with too few requests."""
        value, requests = columns[self.value], columns[self.of]
        is_known = requests >= FEWEST
        safe = np.where(is_known, requests, 1.0)
        if self.kind == "share":
            values = np.arcsin(np.sqrt(np.clip(np.where(is_known, value, 0.0) / safe, 0.0, 1.0)))
            return np.where(is_known, values, np.nan), 0.25 / safe
        is_known &= value > 0
        divisor = 1.0 if self.per is None else np.where(is_known, columns[self.per], 1.0)
        values = np.log(np.where(is_known, value, 1.0) / divisor)
        return np.where(is_known, values, np.nan), self.noise / safe

    def plain(self, value: float) -> float:
        """A value of the even scale in its own unit."""
        if self.kind == "share":
            return float(np.sin(np.clip(value, 0.0, np.pi / 2)) ** 2)
        return float(np.exp(min(value, 700.0)))


METRICS = (
    Metric(name="requests", kind="volume", value="requests", of="requests"),
    Metric(name="cost_usd", kind="volume", value="cost_usd", of="requests_with_cost", noise=2.0),
    Metric(
        name="cost_usd_mean",
        kind="mean",
        value="cost_usd",
        of="requests_with_cost",
        per="requests_with_cost",
    ),
    Metric(name="error_share", kind="share", value="errors", of="requests"),
    Metric(name="latency_ms_p95", kind="mean", value="latency_ms_p95", of="successes", noise=5.0),
    # The 95th percentile of few requests is noisy. The mean logarithm sees a slowdown of all of them sooner.
    Metric(name="latency_ms_geomean", kind="mean", value="latency_ms_geomean", of="successes"),
    Metric(name="dear_share", kind="share", value="requests_dear", of="requests_with_price"),
    Metric(name="unknown_cost_share", kind="share", value="requests_without_cost", of="successes"),
    Metric(name="redirected_share", kind="share", value="requests_redirected", of="successes"),
    Metric(
        name="tokens_output_mean",
        kind="mean",
        value="tokens_output",
        of="requests_with_tokens",
        per="requests_with_tokens",
    ),
    Metric(name="cut_share", kind="share", value="requests_cut", of="requests_with_finish"),
    Metric(name="refusal_share", kind="share", value="refusals", of="requests"),
)
"""`cut_share` is that of answers that ended at their bound of tokens."""
BY_NAME = {metric.name: metric for metric in METRICS}
QUALITY = "quality"
"""The metric of incidents that come from `score_changes`."""
