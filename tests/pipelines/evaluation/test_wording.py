"""Sentences on differences: one sign for all of their figures, and no figure that cannot be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.wording import COST, WHOLE, compared, compared_points, money, percent


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((-67, -104.5, -29.5), "67.0% less (95%: 29.5% to 100.0% less)"),
        ((-104.5, -130, -80), "100.0% less (95%: 80.0% to 100.0% less)"),
        ((150, 20, 280), "150.0% more (95%: 20.0% to 280.0% more)"),
        ((-3, -12, 5), "3.0% less (95%: from 12.0% less to 5.0% more, which may be chance)"),
        ((3, 0, 5), "3.0% more (95%: 0.0% to 5.0% more, which may be chance)"),
        ((-3,), "3.0% less"),
    ],
)
def test_a_difference_and_its_interval_have_one_sign(figures: tuple[float, ...], text: str) -> None:
    """Less is less in the sentence and in the interval, and no cost is more than 100% less."""
    assert compared(*figures, words=COST, show=percent, least=-WHOLE) == text


@given(st.lists(st.floats(-400, 400).map(lambda value: round(value, 1)), min_size=3, max_size=3, unique=True))
def test_no_sentence_has_a_signed_figure(figures: list[float]) -> None:
    """The words carry every sign, and a share that is less never passes 100%."""
    low, value, high = sorted(figures)
    text = compared(value, low, high, words=COST, show=percent, least=-WHOLE)
    assert re.search(r"[-+]", text) is None
    assert all(float(found) <= 100 for found in re.findall(r"([\d.]+)% less", text))
    assert ("may be chance" in text) == (low <= 0 <= high)


def test_points_stay_between_no_quality_and_all_of_it() -> None:
    """A quality of 0.9 can rise by 10 points, and fall by 90."""
    assert compared_points(0.05, -0.01, 0.3, of=0.9) == (
        "5.0 points higher in quality (95%: from 1.0 lower to 10.0 higher, which may be chance)"
    )
    assert compared_points(-0.4, -1.2, -0.1, of=0.9) == (
        "40.0 points lower in quality (95%: 10.0 to 90.0 lower)"
    )
    assert compared_points(-0.097) == "9.7 points lower in quality"


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, "$0.00"), (0.00012346, "$0.0001235"), (80.4, "$80.40"), (-5, "-$5.00"), (1234.5, "$1,234")],
)
def test_dollars_have_cents_where_they_matter(usd: float, text: str) -> None:
    """A price below a dollar keeps four digits, and one of a hundred has no cents."""
    assert money(usd) == text
