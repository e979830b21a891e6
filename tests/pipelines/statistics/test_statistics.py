"""Intervals that hold at every look, and checks that raise no false alarm."""

from __future__ import annotations

from decimal import Decimal
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.experiments.results import Design, ResultRow, results_of
from pipelines.statistics.clusters import Sums, count_design_effect, summarise
from pipelines.statistics.sample_ratio import ALPHA, sample_ratio_p
from pipelines.statistics.sequences import mean_interval, rate_interval

Z_95 = 1.959964
DESIGN = Design(
    unit="request",
    shares={"control": 0.5, "treated": 0.5},
    metrics={"quality": "higher"},
    is_shadow=False,
)


def test_a_rates_interval_is_right_at_every_look() -> None:
    """Of 100 series watched for 400 looks at most 5 are ever wrong; Wilson's interval is in over 25."""
    rng = np.random.default_rng(1)
    looks, chance = 400, 0.8
    wrong = wilson_wrong = 0
    for _ in range(100):
        totals = np.cumsum(rng.random(looks) < chance)
        found = [rate_interval(int(total), look + 1) for look, total in enumerate(totals)]
        wrong += any(not item.low <= chance <= item.high for item in found)
        looked = np.arange(1, looks + 1)
        errors = np.abs(totals / looked - chance) / np.sqrt(chance * (1 - chance) / looked)
        wilson_wrong += bool((errors > Z_95).any())
    assert wrong <= 5
    assert wilson_wrong > 25


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.001, 0.2))
def test_a_rates_interval_holds_its_mean_and_lies_in_0_to_1(total: int, missing: int, alpha: float) -> None:
    """Whatever was counted: 0 <= low <= mean <= high <= 1, wider when surer."""
    found = rate_interval(total, total + missing, alpha=alpha)
    surer = rate_interval(total, total + missing, alpha=alpha / 2)
    assert 0 <= surer.low <= found.low <= total / (total + missing) <= found.high <= surer.high <= 1


def test_a_rates_interval_ends_where_the_likelihood_ratio_does() -> None:
    """Of 3 in 10 at alpha 0.05: B(4, 8) / (p^3 (1-p)^7) is 1/20-fold of 1 at both ends."""
    found = rate_interval(3, 10)
    beta = 1 / 1320  # 3! 7! / 11!
    for end in (found.low, found.high):
        assert beta / (end**3 * (1 - end) ** 7) == pytest.approx(20, rel=1e-6)
    assert rate_interval(0, 0).high - rate_interval(0, 0).low == 1


@pytest.mark.smoke
def test_a_means_interval_is_the_papers_formula() -> None:
    """One width computed by hand from theorem 2.2, tuned for where it is read."""
    found = mean_interval(0.0, 0.25 / 1000, 1000, tuned_for=1000)
    # r² · 1000 = -2 ln 0.05 + ln(-2 ln 0.05) + 1 = 8.782; ln(sqrt(9.782)/0.05) = 4.136
    assert found.high == pytest.approx(sqrt(0.25 / 1000 * 2 * 9.782 / 8.782 * 4.136), rel=1e-3)
    assert found.low == -found.high


def looks_at(
    rng: np.random.Generator, chances: tuple[float, float], looks: int, step: int
) -> list[ResultRow]:
    """The treated variant's result at each look, the requests growing by `step` for each variant."""
    arms = [np.cumsum(rng.binomial(step, chance, looks)) for chance in chances]
    rows = []
    for look in range(looks):
        groups = [
            _group(name, int(arm[look]), (look + 1) * step)
            for name, arm in zip(DESIGN.shares, arms, strict=True)
        ]
        rows.append(results_of("e", groups, DESIGN)[-1])
    return rows


def _group(variant: str, good: int, judged: int) -> dict[str, Any]:
    return {
        "unit": "request",
        "variant": variant,
        "cluster": "all",
        "requests": judged,
        "requests_with_quality": judged,
        "quality": Decimal(good),
        "quality_squared": Decimal(good),
    }


def test_peeking_finds_no_false_winner() -> None:
    """Equal variants looked at 100 times: at most 5% of 100 series call one, a z-test in over 20%."""
    rng = np.random.default_rng(2)
    called = tested = 0
    for _ in range(100):
        rows = looks_at(rng, (0.8, 0.8), 100, 100)
        called += any(row.verdict in ("better", "worse") for row in rows)
        tested += any(
            row.difference is not None
            and row.mean is not None
            and abs(row.difference) > Z_95 * sqrt(2 * row.mean * (1 - row.mean) / row.observations)
            for row in rows
        )
    assert called <= 5
    assert tested > 20


def test_four_points_are_found() -> None:
    """0.80 against 0.84 is found in at least 95 of 100 series of 20,000 requests, never reversed."""
    rng = np.random.default_rng(3)
    verdicts = [{row.verdict for row in looks_at(rng, (0.8, 0.84), 100, 100)} for _ in range(100)]
    assert sum("better" in found for found in verdicts) >= 95
    assert sum("worse" in found for found in verdicts) == 0


@pytest.mark.smoke
def test_the_sample_ratio_check_knows_a_fault_from_chance() -> None:
    """Over 100 looks a kept plan raises no alarm in 200 series; a loss of 10% of a variant does."""
    rng = np.random.default_rng(4)
    alarms = dict.fromkeys((0.5, 0.9 / 1.9), 0)
    for chance in alarms:
        for _ in range(200):
            counts = np.cumsum(rng.binomial(200, chance, 100))
            alarms[chance] += any(
                sample_ratio_p([int(count), 200 * (look + 1) - int(count)], [0.5, 0.5]) < ALPHA
                for look, count in enumerate(counts)
            )
    assert list(alarms.values()) == [0, 200]


def test_design_effects_are_what_repetition_makes_them() -> None:
    """Groups that answer alike count as few; groups that mix count in full."""
    alike = [
        Sums(count=50, total=Decimal(50 * (index % 2)), squares=Decimal(50 * (index % 2)))
        for index in range(40)
    ]
    mixed = [Sums(count=50, total=Decimal(25), squares=Decimal(25)) for _ in range(40)]
    found = summarise(alike, are_alike=True)
    assert found is not None
    assert found.effective == pytest.approx(40, rel=0.05)
    for groups, are_alike in ((mixed, True), (alike, False)):
        whole = summarise(groups, are_alike=are_alike)
        assert whole is not None
        assert whole.effective == 2000
    assert count_design_effect([[50, 0], [0, 50]] * 20) == pytest.approx(50, rel=0.05)
    assert count_design_effect([[25, 25]] * 40) == 1.0
