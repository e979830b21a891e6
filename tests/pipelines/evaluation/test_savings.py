"""Savings: the difference to a baseline with an interval, or the reason why it is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from pipelines.errors import EvaluationError
from pipelines.evaluation.evaluation_commands import COMMANDS
from pipelines.evaluation.savings import Saving, savings
from pipelines.evaluation.savings_mart import compute_savings
from pipelines.evaluation.savings_tables import coverage, sentence
from pipelines.reports.reports import query
from pipelines.warehouse.warehouse import Warehouse
from router.policies.policy import Policy
from tests.pipelines.evaluation.test_evaluation import COST, SINCE, Traffic
from tests.pipelines.helpers import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.config import Settings

FRUGAL = Policy(id="frugal", cost_weight=2.0)
"""It never draws the large model."""
EXPLORING = FRUGAL.model_copy(update={"baseline_exploration": 0.05})


@pytest.fixture
def traffic(settings: Settings) -> Traffic:
    """An empty data folder with published scores."""
    return Traffic(settings)


def test_the_saving_is_the_difference_to_the_baseline(traffic: Traffic) -> None:
    """Where the baseline would have cost $0.01 a request, the interval holds the difference to that."""
    paid = sum(traffic.add(EXPLORING).cost_usd or 0 for _ in range(3000))
    (found,) = savings(traffic.publish(), since=SINCE, baseline="large")
    truth = 3000 * 0.01 - float(paid)
    assert found.saved_usd is not None
    assert found.saved_usd_low is not None
    assert found.saved_usd_high is not None
    assert found.cost_usd == pytest.approx(float(paid))
    assert found.saved_usd == pytest.approx(truth, rel=0.02)
    assert 0 < found.saved_usd_low < truth < found.saved_usd_high
    assert (found.requests, found.supported_share, found.reason) == (3000, 1.0, None)
    assert found.quality_difference_low is not None
    assert found.quality_difference_high is not None
    assert found.quality_difference_low < 0.05 * 0.9 + 0.95 * 0.6 - 0.9 < found.quality_difference_high


def test_a_baseline_of_longer_answers_is_not_priced_by_the_routers_tokens(traffic: Traffic) -> None:
    """The record's price of the same tokens on the baseline, five times the truth, does not matter."""
    for _ in range(2000):
        traffic.add(EXPLORING, baseline_model="large", baseline_cost_usd=Decimal("0.05"))
    (found,) = savings(traffic.publish(), since=SINCE, baseline="large")
    assert found.saved_usd is not None
    assert found.saved_usd < 2000 * 0.01


def test_without_support_the_saving_is_unknown(traffic: Traffic) -> None:
    """A baseline that chance never drew has no figure, and the reason names the setting that helps."""
    for _ in range(300):
        traffic.add(Policy(id="narrow", denied_models=frozenset({"spare"})))
    (found,) = savings(traffic.publish(), since=SINCE, baseline="spare")
    assert (found.saved_usd, found.saved_usd_low, found.cost_usd, found.supported_share) == (None,) * 3 + (
        0.0,
    )
    assert found.reason is not None
    assert "chance gave `spare` as much evidence as 0 requests" in found.reason
    assert "set `baseline_exploration` in the policy" in found.reason
    assert sentence(found) == f"The saving against always `spare` is not known: {found.reason}."


def test_the_figures_cover_the_supported_requests_only(traffic: Traffic) -> None:
    """Requests of a policy that denies the baseline are neither saved on nor lost on."""
    covered = [traffic.add(EXPLORING) for _ in range(2000)]
    for _ in range(2000):
        traffic.add(EXPLORING.model_copy(update={"id": "denies", "denied_models": frozenset({"large"})}))
    (found,) = savings(traffic.publish(), since=SINCE, baseline="large")
    assert (found.requests, found.supported_share) == (4000, 0.5)
    assert found.cost_usd == pytest.approx(float(sum(record.cost_usd or 0 for record in covered)))
    assert "50.0% of 4,000 requests" in coverage(found)


def test_a_policy_can_be_the_baseline(traffic: Traffic) -> None:
    """The saving against the policy that served is chance, and is called so."""
    for _ in range(500):
        traffic.add(Policy(id="balanced"))
    (found,) = savings(traffic.publish(), since=SINCE, baseline="balanced")
    assert found.is_policy
    assert found.saved_usd_low is not None
    assert found.saved_usd_high is not None
    assert found.saved_usd_low < 0 < found.saved_usd_high
    assert "than the policy `balanced`" in sentence(found)
    assert "which may be chance" in sentence(found)


def test_each_organisation_has_its_own_row(traffic: Traffic) -> None:
    """The savings of organisations are known where they have enough traffic, with a reason elsewhere."""
    for number in range(3030):
        traffic.add(EXPLORING, organization_id="acme" if number >= 30 else None)
    whole, none, acme = savings(traffic.publish(), since=SINCE, baseline="large", by=["organization"])
    assert [(item.scope, item.organization_id, item.requests) for item in (whole, none, acme)] == [
        ("all", None, 3030),
        ("organization", None, 30),
        ("organization", "acme", 3000),
    ]
    assert acme.saved_usd is not None
    assert (none.saved_usd, none.reason) == (None, "the router decided 30 requests, at least 100 are needed")


def test_the_end_is_not_included(traffic: Traffic) -> None:
    """Requests from `until` on do not count."""
    for _ in range(300):
        traffic.add(judged=False)
    until = NOW + timedelta(seconds=120)
    (found,) = savings(traffic.publish(), since=SINCE, until=until, baseline="large")
    assert found.requests == 120


def test_unknown_costs_are_not_zero(traffic: Traffic) -> None:
    """A baseline whose costs are all unknown has no saving."""
    for _ in range(1500):
        record = traffic.add(EXPLORING)
        if record.model_decided == "large":
            traffic.records[-2] = replace(record, cost_usd=None)
    (found,) = savings(traffic.publish(), since=SINCE, baseline="large")
    assert found.saved_usd is None
    assert found.reason == "the cost of too few requests on `large` is known: give it prices in catalog.yaml"


def test_a_baseline_must_be_named_and_known(traffic: Traffic) -> None:
    """Without one, and with a misspelt one, the error says what to do."""
    settings = traffic.publish()
    with pytest.raises(EvaluationError, match="--baseline, or set BASELINE_MODEL"):
        savings(settings, since=SINCE)
    with pytest.raises(EvaluationError, match="`larg` is no model of the catalog and no policy: nearest"):
        savings(settings, since=SINCE, baseline="larg")


def test_a_sentence_to_repeat() -> None:
    """How much cheaper, how much better or worse, how sure, and against which baseline."""
    found = Saving(
        baseline="large",
        is_policy=False,
        environment="production",
        organization_id=None,
        task_type=None,
        scope="all",
        requests=1000,
        supported_share=1.0,
        effective=200.0,
        cost_usd=300.0,
        saved_usd=100.0,
        saved_usd_low=80.4,
        saved_usd_high=120.0,
        quality_difference=-0.004,
        quality_difference_low=-0.02,
        quality_difference_high=0.012,
    )
    assert sentence(found) == (
        "The router cost $100 less than always `large`, 25% of its cost (95%: $80.40 to $120 less), and"
        " scored 0.4 points lower in quality (95%: from 2.0 lower to 1.2 higher, which may be chance)."
    )
    dearer = replace(
        found, saved_usd=-100.0, saved_usd_low=-120.0, saved_usd_high=-80.0, quality_difference=None
    )
    assert sentence(dearer) == (
        "The router cost $100 more than always `large`, 50% of its cost (95%: $80.00 to $120 more); too few"
        " answers were judged to compare quality."
    )
    unsure = replace(found, saved_usd=1.0, saved_usd_low=-400.0, saved_usd_high=5.0)
    assert "(95%: from $5.00 less to $300 more, which may be chance)" in sentence(unsure)


def test_the_table_holds_the_commands_figures(traffic: Traffic) -> None:
    """With BASELINE_MODEL, a refresh writes savings in whole, by organisation and by task."""
    for _ in range(1500):
        traffic.add(EXPLORING, organization_id="acme")
    traffic.settings = traffic.settings.model_copy(update={"baseline_model": "large"})
    settings = traffic.publish()
    asked = """
        select scope, organization_id, task_type, saved_usd, saved_usd_low, reason
        from savings
        order by scope
    """
    rows = list(query(settings, asked).rows())
    (found,) = savings(settings, since=SINCE)
    figures = (pytest.approx(found.saved_usd), pytest.approx(found.saved_usd_low), None)
    assert rows == [
        ("all", None, None, *figures),
        ("organization", "acme", None, *figures),
        ("task", None, "math", *figures),
    ]
    (file,) = (settings.home / "usage").rglob("index.json")
    published = json.loads(file.read_bytes())["savings"]
    assert published["saved_usd"] == pytest.approx(found.saved_usd)
    assert (published["baseline"], published["environment"], published["reason"]) == ("large", "test", None)


def test_without_a_baseline_the_table_is_empty(traffic: Traffic) -> None:
    """Savings against a baseline that was taken away do not stay."""
    for _ in range(300):
        traffic.add()
    traffic.settings = traffic.settings.model_copy(update={"baseline_model": "large"})
    with_baseline = traffic.publish()
    assert len(list(query(with_baseline, "from savings").rows())) == 3
    with Warehouse(with_baseline.model_copy(update={"baseline_model": None})) as warehouse:
        assert compute_savings(warehouse) == "there is no BASELINE_MODEL"
        assert warehouse.count("savings") == 0


def test_an_unknown_baseline_costs_the_savings_only(traffic: Traffic) -> None:
    """A model that left the catalog, or a misspelt one, is named. The rest of the refresh goes on."""
    for _ in range(300):
        traffic.add()
    traffic.settings = traffic.settings.model_copy(update={"baseline_model": "large"})
    with_baseline = traffic.publish()
    with Warehouse(with_baseline.model_copy(update={"baseline_model": "larg"})) as warehouse:
        note = compute_savings(warehouse)
        assert warehouse.count("savings") == 0
    assert note is not None
    assert note.startswith("BASELINE_MODEL: `larg` is no model of the catalog and no policy")


def run(settings: Settings, arguments: Sequence[str]) -> str:
    """What the command prints."""
    result = CliRunner().invoke(
        click.Group(commands=COMMANDS), ["savings", *arguments, "--home", str(settings.home)]
    )
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_command_prints_a_sentence_or_rows(traffic: Traffic) -> None:
    """A person reads a sentence and the support; a program reads every figure."""
    for _ in range(1500):
        traffic.add(EXPLORING)
    settings = traffic.publish()
    asked = ["--since", SINCE.isoformat(), "--baseline", "large"]
    said, covered, *rest = run(settings, asked).splitlines()
    assert said.startswith("The router cost $")
    assert covered.startswith("100.0% of 1,500 requests of `test` that the router decided are covered")
    assert rest == []
    whole, math = json.loads(run(settings, [*asked, "--by", "task", "--format", "json"]))
    assert (whole["scope"], math["scope"], math["task_type"]) == ("all", "task", "math")
    assert whole["saved_usd_low"] < whole["saved_usd"] < whole["saved_usd_high"]
    assert COST["small"] * 1500 < whole["cost_usd"] < COST["large"] * 1500
