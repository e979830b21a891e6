"""`experiment_results`: each variant's figures compared with the control's, valid at every look.

Intervals are confidence sequences (`pipelines.statistics.sequences`), so you may read them after each
refresh and stop at the first verdict. With several treatments each is compared at alpha divided by their
number. Metrics are not corrected for each other.

Cost is compared over requests with a known cost, quality over requests that were judged (their latest
judgement), latency over requests that succeeded, success over all requests. Requests count for the
variant they were assigned to, whichever model answered in the end.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pipelines.statistics.clusters import Sums, count_design_effect, summarise
from pipelines.statistics.sample_ratio import ALPHA as SAMPLE_RATIO_ALPHA
from pipelines.statistics.sample_ratio import sample_ratio_p
from pipelines.statistics.sequences import ALPHA, Interval, mean_interval, rate_interval
from router.policies.experiments import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.statistics.clusters import Summary
    from pipelines.warehouse.warehouse import Warehouse
    from router.policies.experiments import Direction, Metric, Unit

FIRST_LOOK = 100
"""Independent observations of each variant before means are compared: the intervals are asymptotic."""
MIN_GROUPS = 20
"""Groups of units each variant needs for a comparison: their spread is measured between them."""
BOUNDED: tuple[Metric, ...] = ("quality", "success")
"""Metrics from 0 to 1, with an own interval that holds from the first observation on."""

Verdict = Literal[
    "control",
    "better",
    "worse",
    "undecided",
    "too few units",
    "sample ratio broken",
    "shadow",
    "not in experiments.yaml",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One variant's metric, in the mart's columns and their order."""

    experiment_id: str
    variant: str
    metric: Metric
    is_control: bool
    requests: int
    """Assigned to the variant."""
    observations: int
    """Assigned requests with a known metric."""
    design_effect: float | None
    """Requests that carry as much information as one independent request."""
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    difference: float | None
    """Difference to the control's mean. Negative is lower."""
    difference_low: float | None
    difference_high: float | None
    sample_ratio_p: float | None
    """The experiment's always-valid p-value of the planned shares."""
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The facts about an experiment that its results need."""

    unit: Unit
    shares: Mapping[str, float]
    """The share of each variant, the control's first."""
    metrics: Mapping[Metric, Direction]
    is_shadow: bool


Group = dict[str, Any]
"""A row of `sql/marts/experiment_results.sql`."""


def compute_results(warehouse: Warehouse) -> bool:
    """Bring `experiment_results` up to date. Return whether anything changed."""
    found = warehouse.run("marts/experiment_results")
    columns = [item[0] for item in found.description or []]
    experiments: dict[str, list[Group]] = {}
    for row in found.fetchall():
        group = dict(zip(columns, row, strict=True))
        experiments.setdefault(group["experiment_id"], []).append(group)
    designs = _designs(warehouse)
    rows = [
        asdict(row)
        for name, groups in sorted(experiments.items())
        for row in results_of(name, groups, designs.get(name))
    ]
    rows.sort(key=lambda row: (row["experiment_id"], row["variant"], row["metric"]))
    return warehouse.replace_rows("experiment_results", rows)


def results_of(experiment_id: str, groups: Sequence[Group], design: Design | None) -> list[ResultRow]:
    """The rows of one experiment. Without its design, only the means."""
    unit = "request" if design is None else design.unit
    mine = [group for group in groups if group["unit"] == unit]
    variants = sorted({group["variant"] for group in mine}) if design is None else list(design.shares)
    ratio_p = None if design is None else _ratio_p(mine, design)
    rows = []
    for metric in METRICS if design is None else design.metrics:
        sums = {name: _sums(mine, name, metric) for name in variants}
        summaries = {name: summarise(sums[name], are_alike=unit != "request") for name in variants}
        control = None if design is None else summaries[variants[0]]
        for name in variants:
            summary, is_control = summaries[name], design is not None and name == variants[0]
            own = None if summary is None else _own_interval(metric, summary)
            between = None
            if design is not None and not is_control:
                between = _difference(metric, control, summary, design)
            difference = None
            if control is not None and summary is not None and not is_control:
                difference = summary.mean - control.mean
            rows.append(
                ResultRow(
                    experiment_id=experiment_id,
                    variant=name,
                    metric=metric,
                    is_control=is_control,
                    requests=sum(group["requests"] for group in mine if group["variant"] == name),
                    observations=sum(group.count for group in sums[name]),
                    design_effect=None if summary is None else summary.design_effect,
                    mean=None if summary is None else summary.mean,
                    mean_low=None if own is None else own.low,
                    mean_high=None if own is None else own.high,
                    difference=difference,
                    difference_low=None if between is None else between.low,
                    difference_high=None if between is None else between.high,
                    sample_ratio_p=ratio_p,
                    verdict=_verdict(design, metric, between, ratio_p, is_control=is_control),
                )
            )
    return rows


def _verdict(
    design: Design | None,
    metric: Metric,
    between: Interval | None,
    ratio_p: float | None,
    *,
    is_control: bool,
) -> Verdict:
    if design is None:
        return "not in experiments.yaml"
    if design.is_shadow:
        return "shadow"  # every variant was served alike: there is nothing to compare
    if ratio_p is not None and ratio_p < SAMPLE_RATIO_ALPHA:
        return "sample ratio broken"
    if is_control:
        return "control"
    if between is None:
        return "too few units"
    if between.low <= 0 <= between.high:
        return "undecided"
    return "better" if (between.low > 0) == (design.metrics[metric] == "higher") else "worse"


def _own_interval(metric: Metric, summary: Summary) -> Interval | None:
    if metric in BOUNDED:
        return rate_interval(summary.mean * summary.effective, summary.effective)
    if summary.effective < FIRST_LOOK:
        return None
    return mean_interval(summary.mean, summary.variance / summary.effective, summary.effective)


def _difference(
    metric: Metric, control: Summary | None, treated: Summary | None, design: Design
) -> Interval | None:
    """Treated less control. None while there is too little data."""
    if control is None or treated is None:
        return None
    if design.unit != "request" and min(control.groups, treated.groups) < MIN_GROUPS:
        return None
    alpha = ALPHA / (len(design.shares) - 1)
    if metric == "success":
        # Failures are rare, and a variance of rare events is known late: the interval of each rate
        # holds from the start, at half of alpha each.
        before, after = (
            rate_interval(item.mean * item.effective, item.effective, alpha=alpha / 2)
            for item in (control, treated)
        )
        return Interval(low=after.low - before.high, high=after.high - before.low)
    if min(control.effective, treated.effective) < FIRST_LOOK:
        return None
    return mean_interval(
        treated.mean - control.mean,
        control.variance / control.effective + treated.variance / treated.effective,
        1 / (1 / control.effective + 1 / treated.effective),
        alpha=alpha,
    )


def _ratio_p(groups: Sequence[Group], design: Design) -> float | None:
    """The p-value of the planned shares. None while there are too few groups."""
    variants = list(design.shares)
    table: dict[str, list[int]] = {}
    for group in groups:
        if group["variant"] in design.shares:
            cells = table.setdefault(group["cluster"], [0] * len(variants))
            cells[variants.index(group["variant"])] += group["requests"]
    if not table or (design.unit != "request" and len(table) < MIN_GROUPS):
        return None
    effect = 1.0 if design.unit == "request" else count_design_effect(list(table.values()))
    counts = [sum(column) / effect for column in zip(*table.values(), strict=True)]
    return sample_ratio_p(counts, list(design.shares.values()))


def _sums(groups: Sequence[Group], variant: str, metric: Metric) -> list[Sums]:
    sums = []
    for group in groups:
        if group["variant"] != variant:
            continue
        if metric == "success":
            successes = Decimal(group["successes"])
            sums.append(Sums(count=group["requests"], total=successes, squares=successes))
            continue
        name = "latency" if metric == "latency_ms" else metric.removesuffix("_usd")
        if count := group[f"requests_with_{name}"]:
            sums.append(Sums(count=count, total=group[metric], squares=group[f"{metric}_squared"]))
    return sums


def _designs(warehouse: Warehouse) -> dict[str, Design]:
    designs = {}
    for name, unit, mode, variants, metrics in warehouse.rows(
        "select id, unit, mode, variants, metrics from routing_experiments"
    ):
        entries = json.loads(variants)
        total = sum(entry["share"] for entry in entries)
        designs[name] = Design(
            unit=unit,
            shares={entry["name"]: entry["share"] / total for entry in entries},
            metrics=json.loads(metrics),
            is_shadow=mode == "shadow",
        )
    return designs
