"""Experiments from records to verdicts: what is counted, that it follows the rows, what is said."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from click.testing import CliRunner

from pipelines import flow
from pipelines.errors import QueryError
from pipelines.experiments.experiment_commands import COMMANDS
from pipelines.experiments.results import Design, ResultRow, results_of
from pipelines.refresh import refresh
from pipelines.rollups import rollups
from pipelines.warehouse import archive, loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.policies.assignment import Experiment, assign
from router.policies.experiments import DIRECTIONS, ExperimentEntry
from router.records import Record
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records

TABLES = ("experiment_hourly", "experiment_results", "routing_experiments")
VARIANTS = [
    {"name": "control", "share": 0.5, "policy": "balanced"},
    {"name": "cheap", "share": 0.5, "policy": "cheapest"},
]


def write_experiments(settings: Settings, **changes: Any) -> ExperimentEntry:
    """An experiments.yaml with one experiment, `e1`."""
    entry = {"id": "e1", "unit": "request", "variants": VARIANTS, **changes}
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.experiments_file.write_text(yaml.safe_dump({"experiments": [entry]}))
    return ExperimentEntry.model_validate(entry)


def traffic(count: int, seed: int, *, entry: ExperimentEntry, lift: float = 0.0) -> list[Record]:
    """Requests of 40 users in the experiment; the cheap variant costs half and is `lift` better."""
    rng = random.Random(seed)
    experiment = Experiment.of(entry)
    records: list[Record] = []
    for index in range(count):
        record = make_record(
            NOW + timedelta(milliseconds=rng.randrange(6 * 3_600_000)),
            user_id=f"user-{rng.randrange(40)}",
            session_id=rng.choice([None, f"session-{rng.randrange(200)}"]),
            organization_id=rng.choice(["acme", "globex", None]),
            success=rng.random() < 0.95,
            latency_ms=rng.lognormvariate(6, 1),
        )
        facts = assign(
            [experiment],
            request_id=record.id,
            session_id=record.session_id,
            user_id=record.user_id,
            organization_id=record.organization_id,
            environment=record.environment,
            task_type=record.task_type,
            at=record.timestamp,
        )
        is_cheap = facts is not None and facts.variant == "cheap"
        cost = Decimal(rng.randrange(1, 10**9 // (2 if is_cheap else 1))).scaleb(-12)
        members: dict[str, Any] = {"cost_usd": cost if index % 9 else None}
        if facts is not None:
            members |= {"experiment_id": facts.experiment_id, "variant": facts.variant}
        record = make_record(
            record.timestamp,
            **{
                name: getattr(record, name)
                for name in ("id", "user_id", "session_id", "organization_id", "success", "latency_ms")
            },
            **members,
        )
        records.append(record)
        if index % 3:
            good = rng.random() < 0.7 + (lift if is_cheap else 0.0)
            records.append(make_feedback(record, float(good)))
    return records


def tables(settings: Settings) -> dict[str, list[Any]]:
    """The tables of experiments, whole."""
    with Warehouse(settings) as warehouse:
        return {table: warehouse.rows(f"from {table} order by all") for table in TABLES}


@pytest.mark.smoke
def test_the_fold_counts_each_request_once_a_unit(settings: Settings, warehouse: Warehouse) -> None:
    """Counts, sums and squares by variant; unknown is counted out, failures have no latency."""
    treated: dict[str, Any] = {"experiment_id": "e1", "variant": "cheap"}
    judged = make_record(**treated, cost_usd=Decimal("0.25"), latency_ms=100.0)
    seal_records(
        settings,
        [
            judged,
            make_feedback(judged, 0.5),
            make_record(**treated, cost_usd=None, success=False),
            make_record(),
        ],
    )
    run_steps(warehouse)
    found = warehouse.rows(
        "select unit, requests, successes, requests_with_cost, cost_usd, cost_usd_squared,"
        " requests_with_quality, quality, quality_squared, requests_with_latency, latency_ms,"
        " latency_ms_squared, bucket is null from experiment_hourly order by unit"
    )
    money = (1, Decimal("0.25"), Decimal("0.0625"))
    quality = (1, Decimal("0.5"), Decimal("0.25"))
    figures = (2, 1, *money, *quality, 1, Decimal(100), Decimal(10000))
    assert found == [("session", *figures, True), ("user", *figures, False)]


def test_incremental_equals_from_scratch(tmp_path: Path) -> None:
    """Many small refreshes with late feedback give the same tables as one, bit for bit."""
    step_by_step = Settings.load({}, home=tmp_path / "steps")
    at_once = Settings.load({}, home=tmp_path / "once")
    for settings in (step_by_step, at_once):
        entry = write_experiments(settings, unit="user")
    records = traffic(1200, seed=3, entry=entry)
    random.Random(4).shuffle(records)
    with Warehouse(step_by_step) as warehouse:
        for start in range(0, len(records), 300):
            seal_records(step_by_step, records[start : start + 300])
            run_steps(warehouse)
    seal_records(at_once, records)
    with Warehouse(at_once) as warehouse:
        run_steps(warehouse)
    grown = tables(step_by_step)
    assert grown == tables(at_once)
    assert len(grown["experiment_results"]) == 8


def test_late_feedback_restates_the_verdict(settings: Settings, warehouse: Warehouse) -> None:
    """A judgement days later folds its hour again and reaches the results."""
    write_experiments(settings)
    old = make_record(experiment_id="e1", variant="cheap")
    seal_records(settings, [old])
    run_steps(warehouse)
    seal_records(settings, [make_feedback(old, 0.75, NOW + timedelta(days=9))])
    loading.load(warehouse, "feedback")
    assert rollups.fold_stale_hours(warehouse) == [NOW]
    run_steps(warehouse)
    observed = "select observations from experiment_results where metric = 'quality' order by variant"
    assert warehouse.rows(observed) == [(1,), (0,)]


def test_an_erased_person_changes_no_result(settings: Settings, instance: dg.DagsterInstance) -> None:
    """After an erasure, and after a rebuild from what is left, the fold and the results are the same."""
    entry = write_experiments(settings, unit="user")
    seal_records(settings, traffic(300, seed=5, entry=entry))
    assert refresh(settings, instance=instance).success
    before = tables(settings)
    flow.erase(settings, "user-7")
    assert tables(settings) == before
    settings.build_file.unlink()
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
    assert tables(settings) == before


def test_archived_days_come_back(settings: Settings) -> None:
    """The fold of a day whose raw rows expired is read back from the lake."""
    entry = write_experiments(settings)
    seal_records(settings, traffic(100, seed=6, entry=entry))
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        before = warehouse.rows("from experiment_hourly order by all")
        archive.archive_day(warehouse.connection, settings.lake, NOW.date())
        warehouse.connection.execute("delete from experiment_hourly")
        archive.restore_archive(warehouse.connection, settings.lake)
        assert warehouse.rows("from experiment_hourly order by all") == before


def test_a_broken_file_leaves_the_experiments_as_they_are(settings: Settings) -> None:
    """What stands in the warehouse stays until the file can be used again."""
    entry = write_experiments(settings)
    seal_records(settings, traffic(50, seed=7, entry=entry))
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
    before = tables(settings)
    settings.experiments_file.write_text("experiments: [")
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
    assert tables(settings) == before


def group(variant: str, cluster: str = "all", *, unit: str = "request", **figures: Any) -> dict[str, Any]:
    """One row of the mart's query: `good` of `judged` requests, the rest as many as judged."""
    judged, good = figures.get("judged", 0), figures.get("good", 0)
    requests = figures.get("requests", judged)
    unknown = {f"{name}{suffix}": None for name in ("cost_usd", "latency_ms") for suffix in ("", "_squared")}
    return {
        "experiment_id": "e1",
        "unit": unit,
        "variant": variant,
        "cluster": cluster,
        "requests": requests,
        "successes": figures.get("successes", requests),
        "requests_with_cost": 0,
        "requests_with_quality": judged,
        "quality": Decimal(good) if judged else None,
        "quality_squared": Decimal(good) if judged else None,
        "requests_with_latency": 0,
        **unknown,
    }


def verdicts(rows: Sequence[ResultRow], metric: str = "quality") -> dict[str, str]:
    """Variant to verdict."""
    return {row.variant: row.verdict for row in rows if row.metric == metric}


def design(**changes: Any) -> Design:
    """Two halves, compared on everything."""
    values: dict[str, Any] = {
        "unit": "request",
        "shares": {"control": 0.5, "cheap": 0.5},
        "metrics": DIRECTIONS,
        "is_shadow": False,
        **changes,
    }
    return Design(**values)


@pytest.mark.smoke
def test_a_clear_difference_is_called_in_its_direction() -> None:
    """Ten points more quality on 2,000 requests each is better, worse where lower is wanted."""
    groups = [group("control", judged=2000, good=1400), group("cheap", judged=2000, good=1600)]
    rows = results_of("e1", groups, design())
    assert verdicts(rows) == {"control": "control", "cheap": "better"}
    (cheap,) = [row for row in rows if row.metric == "quality" and row.variant == "cheap"]
    assert cheap.mean == pytest.approx(0.8)
    assert cheap.difference == pytest.approx(0.1)
    assert cheap.difference_low is not None
    assert cheap.difference_high is not None
    assert 0 < cheap.difference_low < 0.1 < cheap.difference_high
    lower = results_of("e1", groups, design(metrics={"quality": "lower"}))
    assert verdicts(lower)["cheap"] == "worse"


def test_a_small_difference_stays_undecided() -> None:
    """One point on 500 requests each says nothing yet; 99 requests are too few to look at all."""
    groups = [group("control", judged=500, good=400), group("cheap", judged=500, good=405)]
    assert verdicts(results_of("e1", groups, design()))["cheap"] == "undecided"
    few = [group("control", judged=99, good=10), group("cheap", judged=99, good=99)]
    assert verdicts(results_of("e1", few, design()))["cheap"] == "too few units"


def test_requests_of_one_user_count_as_what_they_tell() -> None:
    """Twelve points are clear on 3,000 requests that each tell something, and not on 60 alike groups."""
    alike, mixed = [], []
    for index in range(60):
        for variant, every, good in (("control", 4, 38), ("cheap", 2, 32)):
            mine = 45 if index % every else 20
            alike.append(group(variant, str(index), unit="user", judged=50, good=mine))
            mixed.append(group(variant, str(index), unit="user", judged=50, good=good + index % 2))
    assert verdicts(results_of("e1", alike, design(unit="user")))["cheap"] == "undecided"
    assert verdicts(results_of("e1", mixed, design(unit="user")))["cheap"] == "worse"


def test_few_units_say_nothing() -> None:
    """With fewer than twenty groups of units in a variant there is no verdict."""
    groups = [
        group(variant, str(index), unit="organization", judged=1000, good=500 + 400 * (variant == "cheap"))
        for index in range(10)
        for variant in ("control", "cheap")
    ]
    rows = results_of("e1", groups, design(unit="organization"))
    assert verdicts(rows)["cheap"] == "too few units"
    assert rows[0].sample_ratio_p is None


def test_a_broken_sample_ratio_forbids_every_verdict() -> None:
    """Where 8% of a variant's requests are missing, a difference of ten points is not believed."""
    groups = [group("control", judged=10_000, good=7000), group("cheap", judged=9200, good=7360)]
    rows = results_of("e1", groups, design())
    assert verdicts(rows) == {"control": "sample ratio broken", "cheap": "sample ratio broken"}
    assert rows[0].sample_ratio_p is not None
    assert rows[0].sample_ratio_p < 0.0005


def test_a_lost_variant_breaks_the_ratio() -> None:
    """A planned variant without any request is broken, not absent."""
    rows = results_of("e1", [group("control", judged=1000, good=500)], design())
    assert verdicts(rows)["cheap"] == "sample ratio broken"


def test_shadow_and_forgotten_experiments_are_not_judged() -> None:
    """A shadow variant served nobody; without its design an experiment has means and no verdict."""
    groups = [group("control", judged=2000, good=1400), group("cheap", judged=2000, good=1600)]
    assert set(verdicts(results_of("e1", groups, design(is_shadow=True))).values()) == {"shadow"}
    rows = results_of("e1", groups, None)
    assert set(verdicts(rows).values()) == {"not in experiments.yaml"}
    assert all(astuple(row)[10:14] == (None, None, None, None) for row in rows)


def test_the_command_prints_what_is_known(
    settings: Settings, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    """`intellirouter experiments` lists variants with their verdicts; an unknown id is refused."""
    write_catalog(settings.home)
    entry = write_experiments(settings)
    seal_records(settings, traffic(1500, seed=8, entry=entry, lift=0.25))
    assert refresh(settings, instance=instance).success

    def run(*arguments: str) -> str:
        command: Callable[..., Any] = click.Group(commands=COMMANDS)
        result = CliRunner().invoke(command, [*arguments, "--home", str(settings.home)])  # type: ignore[arg-type]
        if result.exception is not None:
            raise result.exception
        return result.stdout

    rows = json.loads(run("experiments", "e1", "--format", "json"))
    assert len(rows) == 8
    cheaper = [row for row in rows if row["metric"] == "cost_usd" and row["variant"] == "cheap"]
    assert [row["verdict"] for row in cheaper] == ["better"], cheaper
    assert "sample_ratio_p" in run("experiments")
    with pytest.raises(QueryError, match="has no results: nearest known: `e1`"):
        run("experiments", "e2")
