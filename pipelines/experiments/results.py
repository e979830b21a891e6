"""`experiment_results`: each variant's figures compared with the control's, valid at every look.

Intervals are confidence sequences (`pipelines.statistics.sequences`), so you may read them after each
refresh and stop at the first verdict. With several treatments each is compared at alpha divided by their
number. Metrics are not corrected for each other.

Cost is compared over requests with a known cost, quality over requests that were judged (their latest
judgement), latency over requests that succeeded, success over all requests. Requests count for the
variant they were assigned to, whichever model answered in the end.

Within a phase (`phases`) sums are compared. Over phases the differences are joined: each counts by the
observations of its phase, whichever variant had them, so that another split of the traffic moves no mean.
Phases in which the variant or the control was treated in another way are listed, and not joined.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pipelines.experiments.phases import Phase
from pipelines.statistics.clusters import Sums, count_design_effect, summarise
from pipelines.statistics.sample_ratio import ALPHA as SAMPLE_RATIO_ALPHA
from pipelines.statistics.sample_ratio import sample_ratio_p
from pipelines.statistics.sequences import ALPHA, Interval, mean_interval, rate_interval
from router.policies.experiments import METRICS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from pipelines.statistics.clusters import Summary
    from pipelines.warehouse.warehouse import Warehouse
    from router.policies.experiments import Direction, Metric, Unit

FIRST_LOOK = 100
"""Independent observations of each variant before means are compared: the intervals are asymptotic."""
MIN_GROUPS = 20
"""Groups of units each variant needs for a comparison: their spread is measured between them."""
PHASE_LOOK = 20
"""Independent observations of each variant before a phase is joined with others."""
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
    phases: int = 1
    """Phases that the difference, or the control's mean, is joined over."""
    units_in_several_variants: int | None = None
    """Units that were treated by more than one variant. None where a unit is one request, or not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """A variant's metric over its phases."""

    parts: Mapping[str | None, Summary]
    """By design."""
    weights: Mapping[str | None, float]
    """The observations of each phase, over all variants."""

    def shares(self, phases: Collection[str | None]) -> dict[str | None, float]:
        """The weights of some phases, which sum to 1."""
        total = sum(self.weights[phase] for phase in phases)
        return {phase: self.weights[phase] / total for phase in phases}

    def mean(self, phases: Collection[str | None]) -> float:
        """The mean, joined over some phases."""
        return sum(share * self.parts[phase].mean for phase, share in self.shares(phases).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The facts about an experiment that its results need."""

    unit: Unit
    shares: Mapping[str, float]
    """The share of each variant, the control's first."""
    metrics: Mapping[Metric, Direction]
    is_shadow: bool
    text: str | None = None
    """The design of the present phase, as JSON."""

    def joins(self, text: str | None, variant: str) -> bool:
        """Whether the variant is treated now as it was in a phase."""
        if text is None or self.text is None or text == self.text:
            return True
        then, now = Phase.read(text), Phase.read(self.text)
        return (
            (then.unit, then.mode) == (now.unit, now.mode)
            and variant in then.treatments
            and then.treatments[variant] == now.treatments.get(variant)
        )


Group = dict[str, Any]
"""A row of `sql/marts/experiment_results.sql`."""


def compute_results(warehouse: Warehouse) -> bool:
    """Bring `experiment_results` and `experiment_phases` up to date. Return whether anything changed."""
    found = warehouse.run("marts/experiment_results")
    columns = [item[0] for item in found.description or []]
    experiments: dict[str, list[Group]] = {}
    for row in found.fetchall():
        group = dict(zip(columns, row, strict=True))
        experiments.setdefault(group["experiment_id"], []).append(group)
    designs = _designs(warehouse)
    switched = dict(warehouse.run("marts/units_in_several_variants").fetchall()) if experiments else {}
    rows = [
        asdict(row)
        for name, groups in sorted(experiments.items())
        for row in results_of(name, groups, designs.get(name), switched.get(name))
    ]
    rows.sort(key=lambda row: (row["experiment_id"], row["variant"], row["metric"]))
    phases = [
        row
        for name, groups in sorted(experiments.items())
        for row in phases_of(name, groups, designs.get(name))
    ]
    changed = warehouse.replace_rows("experiment_phases", phases)
    return warehouse.replace_rows("experiment_results", rows) or changed


def results_of(
    experiment_id: str, groups: Sequence[Group], design: Design | None, switched: int | None = None
) -> list[ResultRow]:
    """The rows of one experiment. Without its design, only the means.

    `switched` is the number of units that were in several variants.
    """
    unit = "request" if design is None else design.unit
    mine = [group for group in groups if group["unit"] == unit]
    variants = sorted({group["variant"] for group in mine}) if design is None else list(design.shares)
    ratio_p = None if design is None else _ratio_p(mine, design)
    rows = []
    for metric in METRICS if design is None else design.metrics:
        joints = {name: _joint(mine, name, metric, design, are_alike=unit != "request") for name in variants}
        control = None if design is None else joints[variants[0]]
        for name in variants:
            joint, is_control = joints[name], design is not None and name == variants[0]
            phases = list(joint.parts)
            between = difference = None
            if design is not None and control is not None and not is_control:
                phases = [phase for phase in phases if phase in control.parts]
                between = _difference(metric, control, joint, phases, design)
                if phases:
                    difference = joint.mean(phases) - control.mean(phases)
            own = _own_interval(metric, joint)
            parts = joint.parts.values()
            rows.append(
                ResultRow(
                    experiment_id=experiment_id,
                    variant=name,
                    metric=metric,
                    is_control=is_control,
                    requests=sum(group["requests"] for group in mine if group["variant"] == name),
                    observations=sum(group.count for group in _sums(mine, name, metric)),
                    design_effect=(
                        sum(part.count for part in parts) / sum(part.effective for part in parts)
                        if parts
                        else None
                    ),
                    mean=joint.mean(joint.parts) if parts else None,
                    mean_low=None if own is None else own.low,
                    mean_high=None if own is None else own.high,
                    difference=difference,
                    difference_low=None if between is None else between.low,
                    difference_high=None if between is None else between.high,
                    sample_ratio_p=ratio_p,
                    verdict=_verdict(design, metric, between, ratio_p, is_control=is_control),
                    phases=len(phases),
                    units_in_several_variants=switched,
                )
            )
    return rows


def phases_of(experiment_id: str, groups: Sequence[Group], design: Design | None) -> list[dict[str, Any]]:
    """The rows of `experiment_phases`: phases in the order of their first hour, with each variant."""
    mine = [group for group in groups if group["unit"] == "request"]
    firsts: dict[str | None, datetime] = {}
    for group in mine:
        known = firsts.get(group["design"])
        firsts[group["design"]] = group["first_hour"] if known is None else min(known, group["first_hour"])
    rows = []
    for number, text in enumerate(sorted(firsts, key=lambda item: (firsts[item], str(item))), start=1):
        phase = None if text is None else Phase.read(text)
        for group in sorted(mine, key=lambda group: str(group["variant"])):
            if group["design"] != text:
                continue
            variant = group["variant"]
            treatment = "[null, null]" if phase is None else phase.treatments.get(variant, "[null, null]")
            policy, model = json.loads(treatment)
            rows.append(
                {
                    "experiment_id": experiment_id,
                    "phase": number,
                    "variant": variant,
                    "share": None if phase is None else phase.shares.get(variant),
                    "policy": policy,
                    "model": model,
                    "is_current": design is not None and text == design.text,
                    "first_hour": group["first_hour"],
                    "last_hour": group["last_hour"],
                    "requests": group["requests"],
                }
            )
    return rows


def _joint(
    groups: Sequence[Group], variant: str, metric: Metric, design: Design | None, *, are_alike: bool
) -> Joint:
    """A variant's figures by phase, of the phases in which it is treated as it is now."""
    parts: dict[str | None, Summary] = {}
    weights: dict[str | None, float] = {}
    for text in sorted({group.get("design") for group in groups}, key=str):
        inside = [group for group in groups if group.get("design") == text]
        if design is not None and not design.joins(text, variant):
            continue
        summary = summarise(_sums(inside, variant, metric), are_alike=are_alike)
        if summary is not None:
            parts[text] = summary
            variants = {group["variant"] for group in inside}
            weights[text] = sum(item.count for name in variants for item in _sums(inside, name, metric))
    return Joint(parts=parts, weights=weights)


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


def _own_interval(metric: Metric, joint: Joint) -> Interval | None:
    shares = joint.shares(joint.parts) if joint.parts else {}
    if not shares:
        return None
    if metric in BOUNDED:
        return _joined_rates(joint, shares, ALPHA)
    effective = sum(part.effective for part in joint.parts.values())
    if effective < FIRST_LOOK:
        return None
    return mean_interval(joint.mean(joint.parts), _variance(joint, shares), effective)


def _joined_rates(joint: Joint, shares: Mapping[str | None, float], alpha: float) -> Interval:
    """The interval of a rate: those of the phases, which hold together, added by their shares."""
    low = high = 0.0
    for phase, share in shares.items():
        part = joint.parts[phase]
        own = rate_interval(part.mean * part.effective, part.effective, alpha=alpha / len(shares))
        low, high = low + share * own.low, high + share * own.high
    return Interval(low=low, high=high)


def _variance(joint: Joint, shares: Mapping[str | None, float]) -> float:
    """The variance of a joined mean."""
    parts = joint.parts
    return sum(share**2 * parts[phase].variance / parts[phase].effective for phase, share in shares.items())


def _difference(
    metric: Metric, control: Joint, treated: Joint, common: Sequence[str | None], design: Design
) -> Interval | None:
    """Treated less control over the phases that both have. None while there is too little data."""
    phases = [
        phase
        for phase in common
        if design.unit == "request"
        or min(control.parts[phase].groups, treated.parts[phase].groups) >= MIN_GROUPS
    ]
    if len(phases) > 1:  # a phase that has just begun has no variance that could be believed
        phases = [
            phase
            for phase in phases
            if min(control.parts[phase].effective, treated.parts[phase].effective) >= PHASE_LOOK
        ]
    if not phases:
        return None
    alpha = ALPHA / (len(design.shares) - 1)
    shares = control.shares(phases)
    if metric == "success":
        # Failures are rare, and a variance of rare events is known late: the interval of each rate
        # holds from the start, at half of alpha each.
        before, after = (_joined_rates(item, shares, alpha / 2) for item in (control, treated))
        return Interval(low=after.low - before.high, high=after.high - before.low)
    if any(sum(item.parts[phase].effective for phase in phases) < FIRST_LOOK for item in (control, treated)):
        return None
    return mean_interval(
        treated.mean(phases) - control.mean(phases),
        _variance(control, shares) + _variance(treated, shares),
        sum(
            1 / (1 / control.parts[phase].effective + 1 / treated.parts[phase].effective) for phase in phases
        ),
        alpha=alpha,
    )


def _ratio_p(groups: Sequence[Group], design: Design) -> float | None:
    """The p-value of the planned shares, each phase against its own. None while there are too few groups.

    The least of several, times their number: the chance that it ever misleads stays the same.
    """
    found = []
    for text in {group.get("design") for group in groups}:
        inside = [group for group in groups if group.get("design") == text]
        shares = design.shares if text is None else Phase.read(text).shares
        p = _ratio_p_of_phase(inside, design.unit, shares)
        found += [] if p is None else [p]
    return min(1.0, min(found) * len(found)) if found else None


def _ratio_p_of_phase(groups: Sequence[Group], unit: Unit, shares: Mapping[str, float]) -> float | None:
    variants = list(shares)
    table: dict[str, list[int]] = {}
    for group in groups:
        if group["variant"] in shares:
            cells = table.setdefault(group["cluster"], [0] * len(variants))
            cells[variants.index(group["variant"])] += group["requests"]
    if not table or (unit != "request" and len(table) < MIN_GROUPS):
        return None
    effect = 1.0 if unit == "request" else count_design_effect(list(table.values()))
    counts = [sum(column) / effect for column in zip(*table.values(), strict=True)]
    return sample_ratio_p(counts, list(shares.values()))


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
    latest = dict(warehouse.run("marts/latest_designs").fetchall())
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
            text=latest.get(name),
        )
    return designs
