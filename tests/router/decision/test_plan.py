"""The choice: exact propensities over the eligible."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision.exploration import ExplorationBudgets
from router.decision.plan import Plan, make_plan
from router.policies.policy import Policy
from router.records import Candidate
from router.request.preferences import Preferences
from router.scores.board import RankedTable
from router.scores.exploration import Claim

POLICY = Policy(id="p")


def table(**shares: float) -> RankedTable:
    """Candidates whose utility is their share."""
    candidates = tuple(
        Candidate(model=model, is_eligible=True, utility=share, probability=share)
        for model, share in sorted(shares.items(), key=lambda item: -item[1])
    )
    return RankedTable(candidates=candidates, best=candidates[0].model)


THREE = table(a=0.6, b=0.3, c=0.1)


def plan(
    ranked: RankedTable = THREE,
    exclusions: dict[str, str] | None = None,
    preferences: Preferences | None = None,
    policy: Policy = POLICY,
    **providers: str,
) -> Plan:
    """The plan of a table."""
    return make_plan(ranked, exclusions or {}, policy=policy, preferences=preferences, providers=providers)


def test_the_propensity_is_the_frequency() -> None:
    """Over evenly spread randoms each model is chosen as often as its propensity says."""
    counts: Counter[str] = Counter()
    propensities = {}
    for step in range(1000):
        choice = plan().draw(step / 1000)
        assert choice is not None
        counts[choice.model] += 1
        propensities[choice.model] = choice.propensity
    assert propensities == {"a": 0.6, "b": 0.3, "c": 0.1}
    assert {model: count / 1000 for model, count in counts.items()} == pytest.approx(propensities, abs=0.002)


@pytest.mark.smoke
def test_exclusion_rescales_the_others() -> None:
    """Without `a`, `b` and `c` share its part in proportion, and the record says why."""
    choice = plan(exclusions={"a": "over budget"}).draw(0.7)
    assert choice is not None
    assert choice.model == "b"
    assert choice.propensity == pytest.approx(0.75)
    assert choice.candidates[-1] == replace(
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
    choice = plan(table(**scaled), exclusions).draw(random)
    if len(exclusions) == len(shares):
        assert choice is None
        return
    assert choice is not None
    assert choice.model not in exclusions
    assert 0 < choice.propensity <= 1 + 1e-9
    assert sum(item.probability or 0 for item in choice.candidates) == pytest.approx(1)
    assert set(choice.fallbacks) == shares.keys() - exclusions.keys() - {choice.model}


@pytest.mark.smoke
def test_a_pinned_model_is_taken_for_sure() -> None:
    """A named model is used as named: propensity 1 and no fallback to a model nobody asked for."""
    choice = plan().fixed("pinned", "c")
    assert choice is not None
    assert (choice.model, choice.propensity, choice.strategy, choice.fallbacks) == ("c", 1.0, "pinned", ())


def test_an_excluded_model_is_no_choice() -> None:
    """Another model is never put in place of the one the request names."""
    assert plan(exclusions={"c": "unavailable"}).fixed("pinned", "c") is None


def test_a_model_kept_by_its_session_may_be_replaced_when_it_fails() -> None:
    """Stickiness is certain, and falls back."""
    choice = plan().fixed("sticky", "c")
    assert choice is not None
    assert (choice.model, choice.propensity, choice.fallbacks) == ("c", 1.0, ("a", "b"))
    assert {item.model: item.probability for item in choice.candidates} == {"a": 0.0, "b": 0.0, "c": 1.0}


@pytest.mark.smoke
def test_exploration_is_marked() -> None:
    """Choosing another than the best is exploration, and names the best."""
    choice = plan().draw(0.95)
    assert choice is not None
    assert choice.is_exploration
    assert "`a`" in choice.reason


def test_a_near_tie_goes_to_the_tables_best() -> None:
    """The table's best leads the ranking though another has a little more utility."""
    ranked = replace(THREE, best="b")
    choice = plan(ranked, policy=Policy(id="p", strategy="greedy")).draw(0.5)
    assert choice is not None
    assert (choice.model, choice.fallbacks, choice.is_exploration) == ("b", ("a", "c"), False)


def test_determinism_on_request_takes_the_best_whatever_chance_says() -> None:
    """A deterministic request under an exploring policy is greedy, and its record says so."""
    chosen = {plan(preferences=Preferences(deterministic=True)).draw(step / 10) for step in range(10)}
    (choice,) = chosen
    assert choice is not None
    assert (choice.model, choice.propensity, choice.strategy) == ("a", 1.0, "greedy")


def test_the_requests_order_comes_first() -> None:
    """Models and providers are taken in the order the request names them, the rest by utility."""
    choice = plan(preferences=Preferences(order=("c", "east")), a="west", b="east", c="west").draw(0.0)
    assert choice is not None
    assert (choice.model, choice.fallbacks, choice.strategy) == ("c", ("b", "a"), "preferred")


def test_an_order_of_excluded_models_leaves_the_choice_to_the_policy() -> None:
    """As OpenRouter does: an order that nothing eligible meets falls back to the others."""
    choice = plan(exclusions={"c": "ejected"}, preferences=Preferences(order=("c",))).draw(0.0)
    assert choice is not None
    assert (choice.model, choice.strategy) == ("a", "thompson")


def test_no_fallbacks_when_the_request_forbids_them() -> None:
    """`allow_fallbacks: false` leaves no second model to try."""
    choice = plan(preferences=Preferences(allow_fallbacks=False)).draw(0.0)
    assert choice is not None
    assert choice.fallbacks == ()


def test_sorting_puts_the_unknown_last() -> None:
    """The cheapest known price wins, whatever its quality."""
    priced = replace(
        THREE,
        candidates=tuple(
            replace(item, cost_usd=cost)
            for item, cost in zip(THREE.candidates, (0.3, None, 0.1), strict=True)
        ),
    )
    choice = plan(priced, preferences=Preferences(sort="price")).draw(0.0)
    assert choice is not None
    assert (choice.model, choice.fallbacks) == ("c", ("a", "b"))


def test_the_exploration_floor_reaches_every_eligible_model() -> None:
    """Each eligible model has its part of the floor, one without any share too, and they sum to 1."""
    found = plan(table(a=0.9, b=0.1, c=0.0), {"b": "too dear"}, policy=Policy(id="p", exploration_floor=0.06))
    shares = {item.model: item.probability for item in found.candidates}
    assert shares == pytest.approx({"a": 0.97, "b": 0.0, "c": 0.03})
    assert found.drawn == ("a", "c")


@pytest.mark.parametrize(
    ("share", "least", "expected"), [(0.0, 0.02, 0.02), (0.3, 0.02, 0.3), (0.1, 1.0, 1.0)]
)
def test_the_baseline_has_at_least_its_share(share: float, least: float, expected: float) -> None:
    """The baseline is raised to its share where it is below; the others keep their proportions."""
    ranked = table(a=(1 - share) * 0.75, b=(1 - share) * 0.25, base=share)
    policy = Policy(id="p", baseline_exploration=least)
    found = make_plan(ranked, {}, policy=policy, baseline="base")
    shares = {item.model: item.probability or 0.0 for item in found.candidates}
    assert shares == pytest.approx({"a": (1 - expected) * 0.75, "b": (1 - expected) * 0.25, "base": expected})
    assert found.shares[-1] == 1.0


@pytest.mark.parametrize(
    ("policy", "exclusions"),
    [
        (Policy(id="p", baseline_exploration=0.1), {"c": "its context is too short"}),
        (Policy(id="p", baseline_exploration=0.1, strategy="greedy"), {}),
    ],
)
def test_a_baseline_that_cannot_be_explored_gets_nothing(policy: Policy, exclusions: dict[str, str]) -> None:
    """An excluded baseline has no share, and a greedy policy explores nothing."""
    ranked = table(a=0.8, b=0.2, c=0.0)
    found = make_plan(ranked, exclusions, policy=policy, baseline="c")
    assert {item.model: item.probability for item in found.candidates}["c"] == 0.0


def priced(**figures: tuple[float, float]) -> RankedTable:
    """Candidates by (share, cost); the first is the best."""
    candidates = tuple(
        Candidate(model=model, is_eligible=True, utility=share, probability=share, cost_usd=cost)
        for model, (share, cost) in figures.items()
    )
    return RankedTable(candidates=candidates, best=candidates[0].model)


DEAR = priced(a=(0.8, 0.001), b=(0.1, 0.011), c=(0.1, 0.0005))


def test_exploration_at_a_cost_stops_at_the_days_budget() -> None:
    """Expected extra cost never passes the budget; then only models that are no dearer are explored."""
    budgets = ExplorationBudgets()
    policy = Policy(id="p", exploration_usd_per_day=Decimal("0.0105"))
    made, at = plan(DEAR, policy=policy), datetime(2026, 11, 23, 23, 59, tzinfo=UTC)
    assert made.exploration_usd == pytest.approx(0.001)
    shares = [len(budgets.within(policy, made, at).drawn) for _ in range(30)]
    assert shares == [3] * 10 + [2] * 20
    assert budgets.spent_usd(at) == pytest.approx({"p": 0.010})
    midnight = at + timedelta(minutes=1)
    assert budgets.spent_usd(midnight) == {}
    assert len(budgets.within(policy, made, midnight).drawn) == 3


def test_propensities_are_exact_within_a_spent_budget() -> None:
    """The best takes the share of the dearer models, and each record has the share that was used."""
    made = plan(DEAR).frugal
    assert {item.model: item.probability for item in made.candidates} == pytest.approx(
        {"a": 0.9, "b": 0.0, "c": 0.1}
    )
    choice = made.draw(0.85)
    assert choice is not None
    assert choice.model == "a"
    assert choice.propensity == pytest.approx(0.9)


def test_a_budget_of_nothing_keeps_a_policy_that_explores_at_no_cost() -> None:
    """Without dollars for it, no dearer model is drawn from the first request on."""
    policy = Policy(id="p", exploration_usd_per_day=Decimal(0))
    drawn = ExplorationBudgets().within(policy, plan(DEAR), datetime(2026, 11, 23, tzinfo=UTC)).drawn
    assert set(drawn) == {"a", "c"}


def test_a_reason_says_how_far_a_claim_is_from_its_end() -> None:
    """The explored model's reason, and the best one's, name the claim."""
    claim = Claim(model="b", chance=0.2, gain=0.2, bar=0.5, outcomes=4.0, cost_usd=0.1)
    claims = {"b": claim, "a": Claim(model="a", chance=0.6, gain=0.6, bar=0.5, outcomes=90.0, cost_usd=0.1)}
    made = plan(replace(DEAR, claims=claims))
    explored, best = made.fixed("thompson", "b"), made.fixed("thompson", "a")
    assert explored is not None
    assert best is not None
    assert claim.text() in explored.reason
    assert best.reason == f"best of 3 eligible; {claim.text()}"


def test_a_reason_names_an_exception() -> None:
    """A model that is tried on a task though it is ruled out over all tasks."""
    choice = plan(replace(DEAR, exceptions={"b": 0.1234})).fixed("thompson", "b")
    assert choice is not None
    assert choice.reason == (
        "explores beside `a`, the best of 3 eligible; `b` may be better at this task than at others"
        " (chance 12.3% by its own outcomes there)"
    )


def test_a_choice_between_models_nobody_judged_says_so() -> None:
    """Prior quality and price decide then, and the reason names them."""
    claims = {
        name: Claim(model=name, chance=0.3, gain=0.3, bar=0.5, outcomes=0.0, cost_usd=None) for name in "abc"
    }
    choice = plan(replace(DEAR, claims=claims)).fixed("thompson", "a")
    assert choice is not None
    assert choice.reason == "best of 3 eligible by prior quality and price: no outcome was judged yet"
