"""What a model would have cost and scored, from sums that outlive the requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import click
import dagster as dg
import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.errors import EvaluationError
from pipelines.evaluation.evaluation_commands import COMMANDS
from pipelines.evaluation.rollup_sums import rolled_savings, savings_of_period, what_ifs
from pipelines.evaluation.what_if import what_if
from pipelines.flow import erase
from pipelines.refresh import rebuild, refresh, retain
from pipelines.warehouse import publishing
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import Record, RequestRecord
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records
from tests.simulations import ODDS, QUALITY, STRONG, TRUTH

MODELS = ("large", "small")
SINCE = NOW - timedelta(days=1)
COST = {("large", 0): 6, ("large", 1): 15, ("small", 0): 1, ("small", 1): 10}
"""Thousandths of a dollar of an easy and a hard request."""
TRUE_COST = {"large": 0.0105, "small": 0.0055}


def confounded_records(requests: int, *, seconds: float = 10.0) -> list[Record]:
    """Requests whose hardness drives both the choice and the outcome, without a label that says so."""
    rng = np.random.default_rng(5)
    records: list[Record] = []
    for place in range(requests):
        hard = int(rng.integers(0, 2))
        action = int(rng.random() >= ODDS[hard, STRONG])
        record = drawn(
            place,
            seconds=seconds,
            model=MODELS[action],
            propensity=float(ODDS[hard, action]),
            cost_usd=Decimal(COST[MODELS[action], hard]) / 1000,
        )
        records += [record, make_feedback(record, float(rng.random() < QUALITY[hard, action]))]
    return records


def drawn(place: int, *, model: str, seconds: float = 10.0, **changes: Any) -> RequestRecord:
    """A request that chance gave to a model."""
    record = make_record(NOW + timedelta(seconds=seconds * place), model_selected=model, model_decided=model)
    return replace(record, **{"strategy": "thompson", "tokens_input_estimated": 100, **changes})


def load(settings: Settings, records: list[Record]) -> None:
    """Into a published warehouse, without Dagster."""
    write_catalog(settings.home)
    seal_records(settings, records)
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        publishing.publish_warehouse(warehouse)


@pytest.mark.smoke
def test_weights_undo_a_router_that_sends_the_hard_requests_to_one_model(settings: Settings) -> None:
    """Naive means rank the cheap model first; the sums rank and measure both as they are."""
    load(settings, confounded_records(4000))
    with Warehouse(settings) as warehouse:
        naive = dict(
            warehouse.rows(
                "select model_decided, sum(quality_micro) / sum(decisions_with_quality) / 1e6"
                " from propensity_hourly group by 1"
            )
        )
    assert naive["small"] - naive["large"] > 0.1
    for place, model in enumerate(MODELS):
        whole = what_ifs(settings, model, since=SINCE)[0]
        assert whole.quality is not None
        assert whole.cost_usd is not None
        assert whole.quality.low <= TRUTH[place] <= whole.quality.high
        assert whole.cost_usd.low <= TRUE_COST[model] <= whole.cost_usd.high
        assert whole.cost_usd.high - whole.cost_usd.low < 0.3 * TRUE_COST[model]
        assert whole.supported_share > 0.95


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 200 worlds of 1,000 decisions, at least 93% of the intervals hold the true cost."""
    rng, inside = np.random.default_rng(11), 0
    for _ in range(200):
        hard = rng.integers(0, 2, 1000)
        action = (rng.random(1000) >= ODDS[hard, STRONG]).astype(int)
        odds = ODDS[hard, action]
        cost = np.array([[6, 1], [15, 10]])[hard, action] / 1000 * rng.lognormal(-0.02, 0.2, 1000)
        rows = []
        for model in (0, 1):
            mine = action == model
            c, p, n = 1e9 * cost[mine], odds[mine], int(mine.sum())
            rows.append(
                {
                    "task_type": "math",
                    "size_class": 8,
                    "model_decided": MODELS[model],
                    "decisions": n,
                    "weight_micro": 1e6 * (1 / p).sum(),
                    "weight_squared_micro": 1e6 * (1 / p**2).sum(),
                    "decisions_with_cost": n,
                    "cost_nano": c.sum(),
                    "cost_squared_nano2": (c**2).sum(),
                    "weight_micro_with_cost": 1e6 * (1 / p).sum(),
                    "weight_squared_micro_with_cost": 1e6 * (1 / p**2).sum(),
                    "cost_weighted_nano": (c / p).sum(),
                    "cost_weighted_squared_nano2": ((c / p) ** 2).sum(),
                    "cost_weight_squared_nano": (c / p**2).sum(),
                    "decisions_with_quality": 0,
                    **dict.fromkeys(QUALITIES),
                }
            )
        found = what_if(rows, "large", environment="production")
        assert found.cost_usd is not None
        inside += found.cost_usd.low <= TRUE_COST["large"] <= found.cost_usd.high
    assert inside >= 0.93 * 200


QUALITIES = (
    "quality_micro",
    "quality_squared_micro",
    "weight_micro_with_quality",
    "weight_squared_micro_with_quality",
    "quality_weighted_micro",
    "quality_weighted_squared_micro",
    "quality_weight_squared_micro",
)


def test_only_decisions_of_chance_count(settings: Settings) -> None:
    """Pinned models, sticky sessions and rare draws are not in the sums; an unknown cost is counted apart."""
    others = [
        drawn(1, model="large", propensity=1.0, strategy="pinned"),
        drawn(2, model="large", propensity=1.0, strategy="sticky"),
        drawn(3, model="large", propensity=None),
        drawn(4, model="large", propensity=0.0001),
    ]
    unknown = drawn(5, model="large", propensity=0.5, cost_usd=None, organization_id="globex")
    load(settings, [drawn(0, model="large", propensity=0.5, cost_usd=Decimal("0.25")), *others, unknown])
    with Warehouse(settings) as warehouse:
        assert warehouse.rows(
            "select decisions, decisions_with_cost, cost_nano, cost_weighted_nano from propensity_hourly"
            " where organization_id = 'globex'"
        ) == [(1, 0, None, None)]
        assert warehouse.rows(
            "select decisions, weight_micro, weight_squared_micro, cost_nano, cost_squared_nano2,"
            " cost_weighted_nano, cost_weighted_squared_nano2, cost_weight_squared_nano, size_class"
            " from propensity_hourly where organization_id = 'acme'"
        ) == [(1, 2 * 10**6, 4 * 10**6, 25 * 10**7, 625 * 10**14, 5 * 10**8, 25 * 10**16, 10**9, 10)]


def test_the_sums_outlive_the_rows(
    settings: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Retention, a rebuild and an erasure leave every sum, and savings come from them by themselves."""
    write_catalog(settings.home)
    records = confounded_records(400)
    young = make_record(NOW + timedelta(days=30), user_id="u2")
    seal_records(settings, [*records, young])
    assert refresh(settings, instance=instance).success
    sums = "from propensity_hourly order by all"
    before, found = query(sums), rolled_savings(settings, "large", since=SINCE, by=("task", "organization"))
    assert [item.scope for item in found] == ["all", "task", "organization"]
    erase(settings, "u1")
    assert query("select count(*) from request_analytics") == [(1,)]
    assert query(sums) == before
    assert rebuild(settings, instance=instance).success
    assert query(sums) == before
    assert retain(settings, now=NOW + timedelta(days=91), instance=instance).success
    assert rebuild(settings, instance=instance).success
    assert query(sums) == before
    (after,) = savings_of_period(settings, since=SINCE, baseline="large")
    assert after == found[0]
    assert after.source == "rollups"
    assert after.saved_usd is not None
    assert after.saved_usd > 0


def test_a_model_without_support_has_no_figure_but_a_reason(settings: Settings) -> None:
    """Where half of the requests could never have gone to a model, nothing is claimed about it."""
    records: list[Record] = [drawn(i, model="small", propensity=1.0) for i in range(100)]
    records += [drawn(100 + i, model=MODELS[i % 2], propensity=0.5) for i in range(100)]
    load(settings, records)
    (whole, _) = what_ifs(settings, "large", since=SINCE)
    assert whole.cost_usd is None
    assert whole.reason is not None
    assert "could have been drawn for 50% of the decisions" in whole.reason


def test_the_command_says_which_source_it_used(settings: Settings) -> None:
    """`evaluate --model` prints rows by task; bad input is refused by name."""
    load(settings, confounded_records(400))
    group = click.Group(commands=COMMANDS)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(group, [*arguments, "--home", str(settings.home)])

    shown = run("evaluate", "--model", "large", "--since", "2026-06-18", "--timezone", "Asia/Kolkata")
    assert shown.exception is None
    assert "2026-06-18 00:00 to " in shown.stdout
    assert "Asia/Kolkata" in shown.stdout
    assert "the sums of `propensity_hourly`" in shown.stdout
    assert "math" in shown.stdout
    saved = run("savings", "--baseline", "large", "--since", "2026-06-18", "--rollups")
    assert saved.exception is None
    assert "from the sums of `propensity_hourly`" in saved.stdout
    assert "either a --policy or a --model" in run("evaluate").output
    with pytest.raises(EvaluationError, match="unknown model `larg`: nearest known: `large`"):
        raise run("evaluate", "--model", "larg").exception
    with pytest.raises(EvaluationError, match="the sums know models only"):
        raise run("savings", "--baseline", "balanced", "--rollups").exception
