"""Claims on exploration: no model is given up before outcomes speak against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from router.catalog.catalog import Catalog
from router.catalog.prices import Price
from router.policies.policy import Policy
from router.scores.board import ScoreBoard
from router.scores.exploration import (
    CLAIM_SHARE,
    EXCEPTIONS,
    OWED_OUTCOMES,
    OWED_SHARE,
    RULED_OUT,
    Claim,
    exception_chance,
    prospects,
    with_claims,
)
from router.scores.snapshot import ScoreRow, ScoreSnapshot
from tests.factories import write_catalog

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
BALANCED = Policy(id="balanced")
USD = {"cheap": "0.1", "other": "0.1", "dear": "4"}
"""Per million tokens, in and out."""


def row(task: str, model: str, quality: float, variance: float, outcomes: float) -> ScoreRow:
    """What is known of a model whose requests have 1,000 tokens."""
    return ScoreRow(
        task_type=task,
        model=model,
        requests=round(outcomes),
        requests_with_quality=round(outcomes),
        requests_with_cost=round(outcomes),
        effective_sample_size=outcomes,
        quality_mean=quality,
        quality_variance=variance,
        quality_low=None,
        quality_high=None,
        cost_usd_mean=0.0001,
        cost_usd_per_input_token=None,
        cost_usd_per_output_token=None,
        tokens_input_mean=500.0,
        tokens_output_mean=500.0,
        success_rate=1.0,
        latency_ms_p50=None,
        latency_ms_p95=None,
        latency_ms_p99=None,
        ttft_ms_p50=None,
        ttft_ms_p95=None,
        ttft_ms_p99=None,
    )


def catalog(home: Path, **usd: str | None) -> Catalog:
    """Models with list prices, or without."""
    found = Catalog.load(write_catalog(home, list(usd)))
    models = {}
    for name, model in found.models.items():
        per_mtok = usd[name]
        prices = () if per_mtok is None else (_price(name, per_mtok),)
        models[name] = replace(model, prices=prices, cost_source="prices")
    return replace(found, models=models)


def _price(name: str, usd: str) -> Price:
    return Price(
        price_id=name,
        start=datetime(2020, 1, 1, tzinfo=UTC),
        input_usd_per_mtok=Decimal(usd),
        output_usd_per_mtok=Decimal(usd),
    )


def board(found: Catalog, dear: tuple[float, float, float] | None = None) -> ScoreBoard:
    """Two cheap models with 500 outcomes of mean 0.2, and `dear` as (mean, variance, outcomes)."""
    known = {"cheap": (0.2, 0.0004, 500.0), "other": (0.18, 0.0004, 500.0), "*": (0.19, 0.04, 1000.0)}
    if dear is not None:
        known["dear"] = dear
    rows = [row(task, model, *figures) for task in ("*", "math") for model, figures in known.items()]
    return ScoreBoard(ScoreSnapshot.of(rows, as_of=NOW, published_at=NOW), found)


def share_of(made: ScoreBoard, model: str = "dear", policy: Policy = BALANCED) -> float:
    """The model's share of the task's requests."""
    table = made.table(policy, "math")
    assert sum(item.probability or 0.0 for item in table.candidates) == pytest.approx(1.0)
    return next(item.probability or 0.0 for item in table.candidates if item.model == model)


@pytest.mark.parametrize("dear", [None, (0.15, 0.03, 2.0), (0.27, 0.015, 10.0)])
def test_a_dear_model_that_may_be_worth_it_is_explored(
    tmp_path: Path, dear: tuple[float, float, float] | None
) -> None:
    """Its cost in the unit of the cheap ones is hopeless, and yet it keeps a share until ruled out."""
    made = board(catalog(tmp_path, **USD), dear)
    claim = made.table(BALANCED, "math").claims["dear"]
    assert claim.is_open
    assert 0.01 < share_of(made) <= CLAIM_SHARE


def test_enough_outcomes_rule_a_model_out(tmp_path: Path) -> None:
    """A dear model whose outcomes are no better than the cheap ones' has no share any more."""
    made = board(catalog(tmp_path, **USD), (0.2, 0.0008, 200.0))
    claim = made.table(BALANCED, "math").claims["dear"]
    assert not claim.is_open
    assert share_of(made) < 1e-6


def test_a_model_with_bad_luck_is_tried_again_as_outcomes_accumulate(tmp_path: Path) -> None:
    """Ruled out by 17 outcomes of a mean of 0.21, it has a claim again once the others have many outcomes."""

    def after(outcomes: float) -> ScoreBoard:
        known = {"*": (0.4, 0.01, outcomes), "cheap": (0.4, 0.25 / outcomes, outcomes)}
        known["dear"] = (0.21, 0.0096, 17.0)
        rows = [row(task, model, *figures) for task in ("*", "math") for model, figures in known.items()]
        found = catalog(tmp_path, cheap="0.1", dear="0.76")
        return ScoreBoard(ScoreSnapshot.of(rows, as_of=NOW, published_at=NOW), found)

    early, late = (after(outcomes) for outcomes in (300.0, 100_000.0))
    assert not early.table(BALANCED, "math").claims["dear"].is_open
    assert late.table(BALANCED, "math").claims["dear"].is_open
    assert (share_of(early), share_of(late) > 0.0001) == (0.0, True)


def test_a_model_is_owed_outcomes_whatever_its_prior_says(tmp_path: Path) -> None:
    """Below the outcomes owed, a stated hopeless quality leaves the share that is owed."""
    made = board(catalog(tmp_path, **USD), (0.02, 0.0001, OWED_OUTCOMES - 1))
    assert made.table(BALANCED, "math").claims["dear"].chance < RULED_OUT
    assert share_of(made) >= OWED_SHARE - 1e-9
    assert share_of(board(catalog(tmp_path, **USD), (0.02, 0.0001, OWED_OUTCOMES))) < 1e-6


def test_a_lower_price_renews_a_claim(tmp_path: Path) -> None:
    """A model that was ruled out at its old price is explored at its new one."""
    dear = (0.2, 0.0004, 400.0)
    assert share_of(board(catalog(tmp_path, **USD), dear)) < 1e-6
    assert share_of(board(catalog(tmp_path, **{**USD, "dear": "0.11"}), dear)) > 0.02


def test_a_change_of_quality_renews_a_claim(tmp_path: Path) -> None:
    """When the detector discounts a model's outcomes, it is owed new ones."""
    assert share_of(board(catalog(tmp_path, **USD), (0.2, 0.0008, 200.0))) < 1e-6
    assert share_of(board(catalog(tmp_path, **USD), (0.2, 0.03, 1.0))) >= OWED_SHARE - 1e-9


def test_an_unknown_price_keeps_the_claim(tmp_path: Path) -> None:
    """A model without a price and without outcomes is explored, at a cost that is shown as unknown."""
    made = board(catalog(tmp_path, **{**USD, "dear": None}))
    table = made.table(BALANCED, "math")
    assert table.claims["dear"].cost_usd is None
    assert share_of(made) >= OWED_SHARE - 1e-9


def test_only_models_that_can_serve_have_a_claim(tmp_path: Path) -> None:
    """Neither what the policy denies nor what no request can have takes exploration from the others."""
    found = catalog(tmp_path, **USD)
    denying = Policy(id="p", denied_models=frozenset({"dear"}))
    assert "dear" not in board(found).table(denying, "math").claims
    unusable = ScoreBoard(board(found).snapshot, found, excluded={"dear"})
    assert "dear" not in unusable.table(BALANCED, "math").claims


def test_the_cap_and_the_mean_cost_bound_what_claims_add() -> None:
    """Claims take no more requests than the cap, and no more money than an even spread would cost."""
    figures = {"chance": 0.9, "gain": 0.9, "bar": 0.5, "outcomes": 0.0}
    claims = [None, *(Claim(model=name, **figures, cost_usd=None) for name in "abc")]
    for costs in ([1.0, 1.1, 1.2, 1.3], [1.0, 2.0, 300.0, 5.0], [1.0, 40.0, 40.0, 40.0]):
        shares = with_claims([1.0, 0.0, 0.0, 0.0], claims, costs, [0.0] * 4, cap=0.2)
        extra = sum(share * (cost - 1.0) for share, cost in zip(shares, costs, strict=True))
        assert sum(shares) == pytest.approx(1.0)
        assert sum(shares[1:]) <= 0.2 + 1e-12
        assert extra <= sum(costs) / len(costs) + OWED_SHARE * max(costs)
    assert with_claims([0.5, 0.5], [None, None], [1.0, 2.0], [0.0] * 2, cap=0.2) == [0.5, 0.5]


def test_chances_are_those_of_a_lead() -> None:
    """Equals have equal chances; a margin lowers one's own; certainty decides."""
    none = [[0.0] * 3] * 3
    equal = prospects([0.5] * 3, [0.01] * 3, none)
    assert [item.chance for item in equal] == pytest.approx([1 / 3] * 3, abs=0.01)
    margins = [[0.0, 0.1, 0.1], [0.0] * 3, [0.0] * 3]
    assert prospects([0.5] * 3, [0.01] * 3, margins)[0].chance < equal[0].chance / 1.5
    sure = prospects([0.9, 0.2, 0.1], [1e-8] * 3, none)
    assert [item.chance for item in sure] == pytest.approx([1.0, 0.0, 0.0], abs=1e-3)


def test_a_claim_weighs_gain_against_loss() -> None:
    """Even at the bar, and far less than the chance two deviations below it."""
    rivals = [0.5, 0.5]
    margins = [[0.0, 0.1, 0.1], [0.0] * 3, [0.0] * 3]
    even = prospects([0.6, *rivals], [0.0025, 1e-8, 1e-8], margins)[0]
    assert even.gain == pytest.approx(0.5, abs=0.01)
    assert even.bar == pytest.approx(0.6)
    below = prospects([0.5, *rivals], [0.0025, 1e-8, 1e-8], margins)[0]
    assert 0.0 < below.gain < below.chance / 2


def test_no_outcomes_are_owed_where_no_quality_is_worth_the_price() -> None:
    """The best model is so good that no lead of the size that its price requires is left."""
    claim = Claim(model="dear", chance=0.0, gain=0.0, bar=1.01, outcomes=0.0, cost_usd=None)
    assert (claim.is_owed, claim.is_open) == (False, False)
    assert replace(claim, bar=0.9).is_owed


def test_a_claim_says_how_far_it_is_from_its_end() -> None:
    """Its text has the chance, the bound, the outcomes still owed and the cost so far."""
    claim = Claim(model="dear", chance=0.184, gain=0.1, bar=0.6, outcomes=4.0, cost_usd=0.25)
    assert claim.text() == (
        "`dear` is not ruled out (chance 18.4% of being worth its price, ruled out below 2%;"
        " 4 judged outcomes, 6 still owed; $0.2500 spent so far)"
    )


def exceptional(tmp_path: Path, quality: float | None, outcomes: float, *, judged: int = 1000) -> float:
    """The share on `math` of a cheap model that is weak over all tasks, by its outcomes on `math`."""
    rows = [
        replace(row("*", "*", 0.5, 0.04, 1000.0), requests_with_quality=judged),
        row("*", "cheap", 0.8, 0.0004, 500.0),
        row("*", "other", 0.1, 0.0004, 500.0),
        row("math", "*", 0.5, 0.04, 1000.0),
        replace(row("math", "cheap", 0.8, 0.0004, 500.0), quality_observed=0.8),
        replace(row("math", "other", 0.1, 0.0004, outcomes), quality_observed=quality),
    ]
    snapshot = ScoreSnapshot.of(rows, as_of=NOW, published_at=NOW)
    made = ScoreBoard(snapshot, catalog(tmp_path, cheap="0.1", other="0.1"))
    share = share_of(made, "other")
    assert set(made.table(BALANCED, "math").exceptions) == ({"other"} if share > 1e-6 else set())
    return share


def test_a_model_that_is_weak_elsewhere_keeps_a_share_of_a_task(tmp_path: Path) -> None:
    """It is tried there, more after a success, and no more after failures."""
    untried = exceptional(tmp_path, None, 0.0)
    assert 0.1 * EXCEPTIONS < untried < EXCEPTIONS
    assert untried < exceptional(tmp_path, 1.0, 2.0) < EXCEPTIONS
    assert exceptional(tmp_path, 0.0, 1.0) < untried / 2
    assert exceptional(tmp_path, 0.0, 10.0) < 1e-6


def test_exceptions_are_sought_as_far_as_answers_are_judged(tmp_path: Path) -> None:
    """A request without a judgement teaches nothing: at 10% judged, the share is a tenth."""
    whole, tenth = exceptional(tmp_path, None, 0.0), exceptional(tmp_path, None, 0.0, judged=100)
    assert tenth == pytest.approx(whole / 10, rel=0.01)


def test_a_snapshot_without_observed_means_seeks_no_exceptions(tmp_path: Path) -> None:
    """A file of an earlier release does not say whether the outcomes were good."""
    assert exceptional(tmp_path, None, 5.0) < 1e-6


def test_an_exception_needs_a_quality_that_makes_up_for_its_price() -> None:
    """The chance follows Beta(1 + successes, 1 + failures), and is 0 where no quality is enough."""
    assert exception_chance(1.2, 1.0, 100.0) == 0.0
    assert exception_chance(0.5, 0.5, 0.0) == pytest.approx(0.5)
    assert exception_chance(0.7, 0.6, 20.0) == pytest.approx(0.154, abs=0.02)


def test_exceptions_leave_the_cap_to_claims() -> None:
    """They take the room that claims leave, and together at most the cap."""
    shares = with_claims([1.0, 0.0, 0.0], [None] * 3, [1.0] * 3, [0.0, 0.3, 0.1], cap=0.2)
    assert shares == pytest.approx([0.8, 0.15, 0.05])
    assert with_claims([1.0, 0.0, 0.0], [None] * 3, [1.0] * 3, [0.0, 0.05, 0.0], cap=0.2)[1] == 0.05
