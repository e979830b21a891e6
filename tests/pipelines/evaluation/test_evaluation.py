"""Offline evaluation: right where the truth is known, refused where the traffic cannot tell."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.errors import EvaluationError
from pipelines.evaluation import estimate_tables
from pipelines.evaluation.estimators import Sample, estimate
from pipelines.evaluation.evaluate import advised_floor, evaluate
from pipelines.evaluation.evaluation_commands import COMMANDS
from pipelines.evaluation.log import read_log
from pipelines.evaluation.target import target_odds
from pipelines.rollups.tables import ODDS_FLOOR
from pipelines.warehouse import publishing
from pipelines.warehouse.warehouse import Warehouse
from router.catalog.catalog import Catalog
from router.config import Settings
from router.decision.plan import make_plan
from router.errors import ConfigError, UnknownPolicyError, UnknownTaskError
from router.policies.policy import Policy
from router.records import Record, RequestRecord
from router.scores.board import ALL_TASKS, ScoreBoard, ScoreRow, ScoreSnapshot
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records
from tests.places import ROOT
from tests.simulations import STRONG, TRUTH, WEAK, confounded

SINCE = NOW - timedelta(days=1)
LOGGED = Policy(id="logged", cost_weight=0.1)
QUALITY = {"large": 0.9, "small": 0.6}
COST = {"large": Decimal("0.01"), "small": Decimal("0.002")}


@pytest.mark.smoke
def test_a_confounded_log_is_seen_through() -> None:
    """Naive means rank the weak model first every time; SNIPS and DR are within half a point."""
    rng = np.random.default_rng(5)
    values: dict[str, list[list[float]]] = {"snips": [], "doubly_robust": []}
    for _ in range(100):
        targets, quality = confounded(rng, 4000)
        action = targets[STRONG].action
        assert quality[action == WEAK].mean() > quality[action == STRONG].mean()
        done = [estimate(targets[model], quality) for model in (STRONG, WEAK)]
        for name, found in values.items():
            found.append([getattr(item, name).value for item in done])
    for name, found in values.items():
        assert np.abs(np.mean(found, axis=0) - TRUTH).max() < 0.005, name


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 300 logs of 1,000 requests, about 95% of the intervals hold the truth."""
    rng = np.random.default_rng(6)
    inside = {"snips": 0, "doubly_robust": 0}
    for _ in range(300):
        targets, quality = confounded(rng, 1000)
        done = estimate(targets[STRONG], quality)
        assert done is not None
        for name in inside:
            item = getattr(done, name)
            inside[name] += bool(item.low <= TRUTH[STRONG] <= item.high)
    assert min(inside.values()) > 0.92 * 300
    assert max(inside.values()) < 0.985 * 300


def test_outcomes_missing_by_model_and_task_do_not_shift_the_estimate() -> None:
    """Where good tasks of one model are judged four times as often, its estimate stays right."""
    rng = np.random.default_rng(7)
    requests = 40_000
    task, action = rng.integers(0, 2, requests), rng.integers(0, 2, requests)
    quality = np.array([[0.9, 0.7], [0.4, 0.6]])[task, action]
    is_judged = rng.random(requests) < np.array([[0.8, 0.4], [0.2, 0.4]])[task, action]
    sample = Sample(
        task=task,
        action=action,
        cluster=np.arange(requests),
        weights=np.where(action == 0, 2.0, 0.0),
        target=np.tile([1.0, 0.0], (requests, 1)),
    )
    done = estimate(sample, np.where(is_judged, quality, np.nan))
    assert done is not None
    assert quality[is_judged & (action == 0)].mean() > 0.75
    assert done.snips.value == pytest.approx(0.65, abs=0.005)
    assert done.doubly_robust.value == pytest.approx(0.65, abs=0.005)
    assert done.known == int(is_judged.sum())


@pytest.mark.smoke
def test_a_session_counts_once() -> None:
    """Five equal requests a session tell what one would: the interval is as wide, not narrower."""
    targets, quality = confounded(np.random.default_rng(8), 1000)
    once = targets[STRONG]
    five = Sample(**{name: np.repeat(getattr(once, name), 5, axis=0) for name in once.__dict__})
    one, many = estimate(once, quality), estimate(five, np.repeat(quality, 5))
    assert one is not None
    assert many is not None
    assert many.effective == pytest.approx(one.effective)
    assert many.snips.high - many.snips.low == pytest.approx(one.snips.high - one.snips.low)


def test_equal_outcomes_leave_room_for_others() -> None:
    """Where all outcomes are the same, neither the mean nor the difference is certain."""
    targets, quality = confounded(np.random.default_rng(9), 1000)
    done = estimate(targets[STRONG], np.ones_like(quality))
    assert done is not None
    for item in (done.logged, done.snips, done.doubly_robust):
        assert item.high - item.low > 0.001
        assert item.difference_high - item.difference_low > 0.001


def test_few_judged_answers_widen_the_interval_enough() -> None:
    """Of 200 logs with 10% judged, at least 93% of the intervals hold the truth."""
    rng = np.random.default_rng(10)
    inside = {"snips": 0, "doubly_robust": 0}
    for _ in range(200):
        targets, quality = confounded(rng, 2000)
        done = estimate(targets[STRONG], np.where(rng.random(2000) < 0.1, quality, np.nan))
        assert done is not None
        for name in inside:
            item = getattr(done, name)
            inside[name] += bool(item.low <= TRUTH[STRONG] <= item.high)
    assert min(inside.values()) >= 0.93 * 200


def score_row(task: str, model: str, quality: float, cost: float) -> ScoreRow:
    """A cell with some doubt."""
    row: dict[str, Any] = {item.name: None for item in fields(ScoreRow)}
    known = {"requests": 100, "requests_with_quality": 50, "requests_with_cost": 100}
    return ScoreRow(
        **row
        | known
        | {"task_type": task, "model": model, "effective_sample_size": 50.0}
        | {"quality_mean": quality, "quality_variance": 0.01, "cost_usd_mean": cost}
    )


class Traffic:
    """A data folder and requests decided in it by the router's own code."""

    def __init__(self, settings: Settings, seed: int = 1) -> None:
        write_catalog(settings.home, ["large", "small", "spare"])
        self.settings = settings
        self.random = random.Random(seed)
        self.records: list[Record] = []
        snapshot = ScoreSnapshot.of(
            [
                score_row(task, model, quality, cost)
                for task in (ALL_TASKS, "math", "code")
                for model, quality, cost in (
                    ("large", 0.8, 0.01),
                    ("small", 0.72, 0.002),
                    ("spare", 0.1, 0.05),
                )
            ],
            as_of=NOW,
            published_at=NOW,
        )
        self.snapshot_id = snapshot.snapshot_id
        self.file = settings.scores_file.with_name(f"{snapshot.snapshot_id}.json")
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(snapshot.to_json())
        self.board = ScoreBoard(snapshot, Catalog.load(settings.catalog_file))

    def add(self, policy: Policy = LOGGED, *, judged: bool = True, **changes: Any) -> RequestRecord:
        """One request; `pinned` and `sticky` name a model, other `changes` go to the record."""
        fixed = {name: changes.pop(name, None) for name in ("pinned", "sticky")}
        denied = dict.fromkeys(policy.denied_models, f"policy `{policy.id}` denies it")
        plan = make_plan(self.board.table(policy, "math"), denied, policy=policy, baseline="large")
        choice = plan.draw(self.random.random())
        if fixed["pinned"] is not None:
            choice = plan.fixed("pinned", fixed["pinned"])
        elif fixed["sticky"] is not None:
            choice = plan.fixed("sticky", fixed["sticky"]) or choice
        assert choice is not None
        record = make_record(
            NOW + timedelta(seconds=len(self.records)),
            policy_id=policy.id,
            strategy=choice.strategy,
            propensity=choice.propensity,
            model_decided=choice.model,
            model_selected=choice.model,
            candidates=list(choice.candidates),
            snapshot_id=self.snapshot_id,
            cost_usd=COST.get(choice.model, Decimal("0.05")),
        )
        record = replace(record, **changes)
        self.records.append(record)
        if judged:
            good = self.random.random() < QUALITY.get(choice.model, 0.1)
            self.records.append(make_feedback(record, float(good)))
        return record

    def publish(self) -> Settings:
        """Seal, load and publish everything."""
        seal_records(self.settings, self.records)
        with Warehouse(self.settings) as warehouse:
            run_steps(warehouse)
            publishing.publish_warehouse(warehouse)
        return self.settings

    def share_of_large(self, policy: Policy) -> float:
        """What the policy's draw gives the large model."""
        table = self.board.table(policy, "math")
        return next(item.probability or 0.0 for item in table.candidates if item.model == "large")


@pytest.fixture
def traffic(settings: Settings) -> Traffic:
    """An empty data folder with published scores."""
    return Traffic(settings)


def test_another_policy_is_estimated_from_the_records(traffic: Traffic) -> None:
    """The estimates of cost and quality hold what the other policy's odds make of the known means."""
    for _ in range(1500):
        traffic.add()
    other = Policy(id="other", cost_weight=0.0)
    share = traffic.share_of_large(other)
    assert share - traffic.share_of_large(LOGGED) > 0.15
    done = evaluate(traffic.publish(), other, since=SINCE)
    assert (done.requests, done.sessions, done.unchanged, done.left_out) == (1500, 1500, 0, 0)
    assert done.supported > 0.99
    assert done.cost_usd is not None
    assert done.quality is not None
    for found, truth in (
        (done.cost_usd, share * 0.01 + (1 - share) * 0.002),
        (done.quality, share * 0.9 + (1 - share) * 0.6),
    ):
        for item in (found.snips, found.doubly_robust):
            assert item.low < truth < item.high
            assert item.difference_low > 0
    *_, sentence = estimate_tables.notes(done)
    assert re.fullmatch(
        r"  verdict: on this traffic `other` would have scored [\d.]+ points higher in quality"
        r" \(95%: [\d.]+ to [\d.]+ higher\) and cost [\d.]+% more \(95%: [\d.]+% to [\d.]+% more\)",
        sentence,
    )


def test_the_recorded_policy_evaluates_to_itself(traffic: Traffic) -> None:
    """Its recomputed odds are the logged ones: every weight is 1, the difference is nothing."""
    for _ in range(300):
        traffic.add()
    settings = traffic.publish()
    log = read_log(settings, since=SINCE)
    odds, is_known = target_odds(log, LOGGED, catalog=Catalog.load(settings.catalog_file), settings=settings)
    assert is_known.all()
    assert odds == pytest.approx(log.odds)
    done = evaluate(settings, LOGGED, since=SINCE)
    assert done.effective == pytest.approx(300)
    assert done.cost_usd is not None
    assert done.cost_usd.snips.difference == pytest.approx(0, abs=1e-12)


def test_sticky_requests_share_their_draws_odds_and_named_ones_are_left_out(traffic: Traffic) -> None:
    """A session's later requests go with its draw; pinned requests and older sessions are counted out."""
    drawn = traffic.add(session_id="s1")
    traffic.add(session_id="s1", sticky=drawn.model_decided)
    traffic.add(session_id="older", sticky="large")
    traffic.add(pinned="small")
    log = read_log(traffic.publish(), since=SINCE)
    assert log.propensity.tolist() == [drawn.propensity] * 2
    assert len(set(log.cluster.tolist())) == 1
    assert (log.left_out, log.unchanged, log.unchanged_cost_usd) == (1, 1, 0.002)


def test_a_fallback_stays_with_the_model_that_was_decided_on(traffic: Traffic) -> None:
    """The outcome after a fallback belongs to the decision: leaving it out would flatter the model."""
    traffic.add(model_selected="spare", cost_usd=Decimal("0.06"))
    log = read_log(traffic.publish(), since=SINCE)
    assert log.models[log.action[0]] in QUALITY
    assert (log.cost_usd.tolist(), log.fallbacks) == ([0.06], 1)


def test_one_task_is_evaluated_alone(traffic: Traffic) -> None:
    """`task` keeps the requests of that task; an undeclared one is refused."""
    for number in range(400):
        traffic.add(task_type="math" if number % 2 else "code")
    settings = traffic.publish()
    assert evaluate(settings, LOGGED, since=SINCE, task="math").requests == 200
    with pytest.raises(UnknownTaskError):
        evaluate(settings, LOGGED, since=SINCE, task="maths")


@pytest.mark.parametrize("complaints", [1.0, 6.0])
def test_complaints_are_warned_of(traffic: Traffic, complaints: float) -> None:
    """Where dear answers are worse ones and only they are judged often, a warning says so."""
    for number in range(1500):
        is_good = number * 7 % 10 < 7
        cost = Decimal(traffic.random.randint(1000, 3000) + (0 if is_good else 1000)) / 1_000_000
        record = traffic.add(judged=False, cost_usd=cost)
        if traffic.random.random() < 0.1 * (1.0 if is_good else complaints):
            traffic.records.append(make_feedback(record, float(is_good)))
    done = evaluate(traffic.publish(), LOGGED, since=SINCE)
    assert done.is_judging_biased is (complaints > 1)
    warnings = [line for line in estimate_tables.notes(done) if "warning: worse answers are judged" in line]
    assert len(warnings) == (complaints > 1)


def test_environments_are_evaluated_apart(traffic: Traffic) -> None:
    """A load test in staging never speaks for production, and the notes name the environment."""
    for number in range(600):
        traffic.add(environment="staging" if number % 3 == 0 else "production")
    settings = traffic.publish()
    done = evaluate(settings, LOGGED, since=SINCE)
    assert (done.environment, done.requests, done.elsewhere) == ("production", 400, 200)
    staging = evaluate(settings, LOGGED, since=SINCE, environment="staging")
    assert (staging.environment, staging.requests, staging.elsewhere) == ("staging", 200, 400)
    first, *_ = estimate_tables.notes(staging)
    assert first.startswith("logged: 200 requests in 200 sessions of `staging`")
    assert "  400 requests of other environments left out (--environment)" in estimate_tables.notes(staging)
    with pytest.raises(EvaluationError, match=r"0 requests in `qa` since .*; others have 600"):
        evaluate(settings, LOGGED, since=SINCE, environment="qa")


def test_the_environment_is_by_default_that_of_the_scores(traffic: Traffic) -> None:
    """Pipelines in an environment without traffic evaluate the one that their scores are of."""
    for _ in range(200):
        traffic.add(environment="staging")
    assert evaluate(traffic.publish(), LOGGED, since=SINCE).environment == "staging"


def test_a_sessions_draw_is_of_its_own_environment(traffic: Traffic) -> None:
    """A session that goes on in another environment does not take its draw from there."""
    drawn = traffic.add(session_id="s1", environment="staging")
    traffic.add(session_id="s1", sticky=drawn.model_decided)
    own = traffic.add().environment
    log = read_log(traffic.publish(), since=SINCE, environment=own)
    assert (len(log.action), log.left_out, log.elsewhere) == (1, 1, 1)


def test_without_feedback_quality_is_unknown(traffic: Traffic) -> None:
    """Cost is estimated, quality is not, and nothing is made up."""
    for _ in range(200):
        traffic.add(judged=False)
    done = evaluate(traffic.publish(), LOGGED, since=SINCE)
    assert done.quality is None
    assert done.cost_usd is not None


def refusal(settings: Settings, policy: Policy) -> str:
    """Why the evaluation is refused."""
    with pytest.raises(EvaluationError) as caught:
        evaluate(settings, policy, since=SINCE)
    return str(caught.value)


def test_no_traffic_is_refused(traffic: Traffic) -> None:
    """Too few draws are named, with what to do."""
    for _ in range(150):
        traffic.add(pinned="small")
    assert "0 requests" in refusal(traffic.publish(), LOGGED)
    assert "150 named their model" in refusal(traffic.settings, LOGGED)


def test_traffic_without_chance_is_refused(traffic: Traffic) -> None:
    """A greedy policy's records say nothing of other choices."""
    for _ in range(150):
        traffic.add(Policy(id="sure", strategy="greedy"))
    assert "decided without chance" in refusal(traffic.publish(), LOGGED)


@pytest.mark.parametrize("logged", [LOGGED, Policy(id="narrow", denied_models=frozenset({"spare"}))])
def test_a_policy_without_overlap_is_refused(traffic: Traffic, logged: Policy) -> None:
    """A model that was never drawn, or that the recorded policy denied, has no support."""
    for _ in range(200):
        traffic.add(logged)
    only_spare = Policy(id="only-spare", allowed_models=frozenset({"spare"}))
    message = refusal(traffic.publish(), only_spare)
    assert "supports 0% of what `only-spare` would decide" in message
    assert "`spare` (100% of its decisions)" in message
    assert "`exploration_floor` of 0.05" in message


def test_an_exploration_floor_supports_a_dearer_policy(traffic: Traffic) -> None:
    """Logs of a policy that never takes the dear model speak for one that does, given a floor of 5%."""
    frugal = Policy(id="frugal", cost_weight=2.0)
    exploring = frugal.model_copy(update={"exploration_floor": 0.05})
    only_large = Policy(id="only-large", allowed_models=frozenset({"large"}))
    for _ in range(3000):
        record = traffic.add(exploring)
        assert all(item.probability >= 0.05 / 3 for item in record.candidates)  # type: ignore[operator]
    done = evaluate(traffic.publish(), only_large, since=SINCE)
    assert done.quality is not None
    assert done.quality.doubly_robust.low < 0.9 < done.quality.doubly_robust.high
    assert "`exploration_floor` of 0.05" in _refused_without_floor(frugal, only_large, traffic)


@pytest.mark.parametrize("models", [2, 44, 50, 200])
def test_the_advised_floor_supports_every_model(models: int) -> None:
    """An even share of it for each model passes the bound below which a model is not supported."""
    assert 0.05 <= advised_floor(models) < 1
    assert advised_floor(models) / models >= ODDS_FLOOR


def _refused_without_floor(logged: Policy, target: Policy, traffic: Traffic) -> str:
    bare = Traffic(Settings.load({}, home=traffic.settings.home.with_name("bare")))
    for _ in range(300):
        bare.add(logged)
    return refusal(bare.publish(), target)


def test_too_few_effective_requests_are_refused(traffic: Traffic) -> None:
    """Hundreds of requests that hardly ever did what the policy would are few."""
    for _ in range(250):
        traffic.add(Policy(id="logged", cost_weight=0.25))
    only_large = Policy(id="only-large", allowed_models=frozenset({"large"}))
    assert "carry as little information as" in refusal(traffic.publish(), only_large)


def test_decisions_whose_scores_are_gone_are_refused(traffic: Traffic) -> None:
    """Without the snapshot nobody knows what the policy would have decided."""
    for _ in range(150):
        traffic.add()
    settings = traffic.publish()
    traffic.file.unlink()
    assert "are gone" in refusal(settings, LOGGED)


def run(settings: Settings, arguments: Sequence[str]) -> str:
    """What the command prints."""
    result = CliRunner().invoke(
        click.Group(commands=COMMANDS), ["evaluate", *arguments, "--home", str(settings.home)]
    )
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_command_takes_a_file_or_an_id(traffic: Traffic, tmp_path: Path) -> None:
    """A policy of a file and one in force are evaluated; as a table, and with every figure as JSON."""
    for _ in range(300):
        traffic.add()
    settings = traffic.publish()
    since = ["--since", SINCE.isoformat()]
    file = tmp_path / "other.yaml"
    file.write_text("policies:\n  - {id: other, cost_weight: 0.0}\n")
    printed = run(settings, ["--policy", str(file), *since])
    assert "effective sample size" in printed
    assert "doubly_robust" in printed
    (found,) = json.loads(run(settings, ["--policy", "balanced", "--format", "json", *since]))
    assert found["requests"] == 300
    assert found["cost_usd"]["snips"]["difference"] == pytest.approx(0, abs=1e-12)
    with pytest.raises(UnknownPolicyError, match="nope"):
        run(settings, ["--policy", "nope", *since])
    with pytest.raises(ConfigError, match=r"no policies at .*missing\.yaml"):
        run(settings, ["--policy", "missing.yaml", *since])


def test_a_refusal_exits_with_one(traffic: Traffic) -> None:
    """A script can tell a refusal from an estimate."""
    settings = traffic.publish()
    command = [sys.executable, "-m", "router.cli", "evaluate", "--policy", "balanced", "--home"]
    done = subprocess.run(
        [*command, str(settings.home)],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("intellirouter: 0 requests in `production` since")
