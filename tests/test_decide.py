"""The choice: exact propensities over the eligible."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import choose
from router.policy import Policy
from router.records import Candidate
from router.scores import RankedTable

POLICY = Policy(id="p")


def table(**shares: float) -> RankedTable:
    """Candidates whose utility is their share."""
    candidates = tuple(
        Candidate(model=model, is_eligible=True, utility=share, probability=share)
        for model, share in sorted(shares.items(), key=lambda item: -item[1])
    )
    return RankedTable(candidates=candidates, best=candidates[0].model)


THREE = table(a=0.6, b=0.3, c=0.1)


def test_the_propensity_is_the_frequency() -> None:
    """Over evenly spread randoms each model is chosen as often as its propensity says."""
    counts: Counter[str] = Counter()
    propensities = {}
    for step in range(1000):
        choice = choose(THREE, {}, policy=POLICY, random=step / 1000)
        assert choice is not None
        counts[choice.model] += 1
        propensities[choice.model] = choice.propensity
    assert propensities == {"a": 0.6, "b": 0.3, "c": 0.1}
    assert {model: count / 1000 for model, count in counts.items()} == pytest.approx(propensities, abs=0.002)


def test_exclusion_rescales_the_others() -> None:
    """Without `a`, `b` and `c` share its part in proportion, and the record says why."""
    choice = choose(THREE, {"a": "over budget"}, policy=POLICY, random=0.7)
    assert choice is not None
    assert choice.model == "b"
    assert choice.propensity == pytest.approx(0.75)
    assert choice.candidates[0] == replace(
        THREE.candidates[0], is_eligible=False, exclusion="over budget", probability=0.0
    )


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
    st.floats(0, 1, exclude_max=True),
)
def test_a_choice_is_eligible_and_probabilities_sum_to_one(
    weights: list[float], excluded: set[int], random: float
) -> None:
    """Whatever the table and the exclusions: an eligible model or None, and a distribution."""
    shares = {f"m{index}": weight for index, weight in enumerate(weights)}
    exclusions = {f"m{index}": "x" for index in excluded if index < len(weights)}
    total = sum(shares.values())
    scaled = {model: share / total if total else 1 / len(shares) for model, share in shares.items()}
    choice = choose(table(**scaled), exclusions, policy=POLICY, random=random)
    if len(exclusions) == len(shares):
        assert choice is None
        return
    assert choice is not None
    assert choice.model not in exclusions
    assert 0 < choice.propensity <= 1 + 1e-9
    assert sum(item.probability or 0 for item in choice.candidates) == pytest.approx(1)
    assert set(choice.fallbacks) == shares.keys() - exclusions.keys() - {choice.model}


def test_a_pinned_model_is_taken_for_sure() -> None:
    """A named model is used as named: propensity 1 and no fallback to a model nobody asked for."""
    choice = choose(THREE, {}, policy=POLICY, random=0.0, pinned="c")
    assert choice is not None
    assert (choice.model, choice.propensity, choice.strategy, choice.fallbacks) == ("c", 1.0, "pinned", ())


def test_an_excluded_pinned_model_is_no_choice() -> None:
    """Another model is never put in place of the one the request names."""
    assert choose(THREE, {"c": "unavailable"}, policy=POLICY, random=0.0, pinned="c") is None


def test_a_session_stays_until_its_model_is_excluded() -> None:
    """Stickiness yields to eligibility."""
    staying = choose(THREE, {}, policy=POLICY, random=0.0, sticky="c")
    moving = choose(THREE, {"c": "unavailable"}, policy=POLICY, random=0.0, sticky="c")
    assert staying is not None
    assert moving is not None
    assert (staying.model, staying.strategy) == ("c", "sticky")
    assert (moving.model, moving.strategy) == ("a", "thompson")


def test_exploration_is_marked() -> None:
    """Choosing another than the best is exploration, and names the best."""
    choice = choose(THREE, {}, policy=POLICY, random=0.95)
    assert choice is not None
    assert choice.is_exploration
    assert "`a`" in choice.reason
