"""From beliefs to shares of traffic."""

from __future__ import annotations

import random
from math import sqrt

import pytest

from router.scores.ranking import Arm, best_arm, greedy_shares, probabilities_of_best, thompson_shares

SURE = 1e-6


def test_near_ties_go_to_the_cheapest_as_in_drawing() -> None:
    """The shares are those of drawing and taking the cheapest within the near-tie of the best draw."""
    means, variances, costs = [0.80, 0.79, 0.75, 0.60], [0.001, 0.002, 0.004, 0.03], [3.0, 2.0, 1.0, 4.0]
    random_ = random.Random(7)
    wins, draws = [0] * 4, 100_000
    for _ in range(draws):
        drawn = [random_.gauss(mean, sqrt(v)) for mean, v in zip(means, variances, strict=True)]
        near = [index for index in range(4) if drawn[index] >= max(drawn) - 0.03]
        wins[min(near, key=costs.__getitem__)] += 1
    shares = probabilities_of_best(means, variances, costs=costs, near_tie=0.03)
    assert shares == pytest.approx([count / draws for count in wins], abs=0.006)


def test_leaving_out_the_hopeless_changes_nothing_that_counts() -> None:
    """Among 200 arms most of which cannot win, each share is that of drawing, to a point."""
    random_ = random.Random(4)
    means = [0.9, 0.89, 0.88] + [0.3 + 0.3 * random_.random() for _ in range(197)]
    variances = [0.0004] * 200
    alone = probabilities_of_best(means[:3], variances[:3])
    shares = probabilities_of_best(means, variances)
    assert shares[:3] == pytest.approx(alone, abs=1e-3)
    assert sum(shares) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.smoke
def test_greedy_takes_the_cheapest_near_tie() -> None:
    """Within the near-tie cost decides, beyond it quality."""
    arms = [Arm(0.90, 0, 5.0), Arm(0.895, 0, 1.0), Arm(0.80, 0, 0.1)]
    assert greedy_shares(arms, near_tie=0.01) == [0.0, 1.0, 0.0]
    assert greedy_shares(arms) == [1.0, 0.0, 0.0]
    assert best_arm([]) is None


def test_minimum_exploration_reaches_all_but_the_ruled_out() -> None:
    """Whoever may be the best has at least its part of the share; whoever cannot be has none."""
    arms = [Arm(0.9, SURE, 1), Arm(0.899, SURE, 1), Arm(0.9, 0.01, 1), Arm(0.2, SURE, 1)]
    shares = thompson_shares(arms, min_exploration=0.3)
    assert min(shares[:3]) >= 0.1 - 1e-12
    assert shares[3] == 0.0
    assert sum(shares) == pytest.approx(1.0)


def test_new_arms_get_at_most_their_share_and_a_trickle() -> None:
    """A promising new arm is bounded, a dull one is tried a little, a hopeless one is dropped."""
    old = [Arm(0.7, SURE, 1), Arm(0.6, SURE, 1)]
    bounded = thompson_shares([*old, Arm(0.9, 0.01, 1, is_new=True)], cold_start_share=0.1)
    assert bounded[2] == pytest.approx(0.1)
    assert sum(bounded) == pytest.approx(1.0)
    dull = thompson_shares([*old, Arm(0.55, 0.01, 1, is_new=True)], cold_start_share=0.1)
    assert 0.005 - 1e-12 <= dull[2] < 0.1
    hopeless = thompson_shares([*old, Arm(0.3, 0.0001, 1, is_new=True)], cold_start_share=0.1)
    assert hopeless[2] == 0.0


def test_without_established_arms_new_ones_share_everything() -> None:
    """At the very start nothing is held back."""
    arms = [Arm(0.5, 0.01, 1, is_new=True) for _ in range(4)]
    assert thompson_shares(arms, cold_start_share=0.1) == pytest.approx([0.25] * 4)


@pytest.mark.smoke
def test_shares_sum_to_one_whatever_the_beliefs() -> None:
    """Over random arms and rules the shares are between 0 and 1 and sum to 1."""
    random_ = random.Random(9)
    for _ in range(60):
        arms = [
            Arm(
                random_.uniform(-1, 1),
                random_.choice((0.0, 1e-9, 0.001, 0.1)),
                random_.random(),
                is_new=random_.random() < 0.3,
            )
            for _ in range(random_.choice((1, 2, 7, 40)))
        ]
        shares = thompson_shares(
            arms,
            near_tie=random_.choice((0.0, 0.05)),
            min_exploration=random_.choice((0.0, 0.1, 1.0)),
            cold_start_share=random_.choice((0.0, 0.2, 1.0)),
        )
        assert sum(shares) == pytest.approx(1.0)
        assert min(shares) >= 0
