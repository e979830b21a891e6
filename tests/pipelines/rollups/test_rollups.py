"""Rollups and marts: what they count, and that they follow the rows."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.rollups import rollups
from pipelines.scores import change_detection, quality_model, scoring
from pipelines.warehouse import checks, loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import Record
from router.scores.snapshot import ALL_TASKS, ANY_MODEL
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records

TABLES = (
    "usage_hourly",
    "latency_buckets_hourly",
    "quality_blocks_hourly",
    "score_changes",
    "task_cost_daily",
    "usage_by_org_daily",
    "task_model_scores",
)


def _traffic(count: int, seed: int) -> list[Record]:
    """Random requests over two days, some judged, some without cost or tokens."""
    rng = random.Random(seed)
    records: list[Record] = []
    for _ in range(count):
        has_tokens = rng.random() < 0.8
        record = make_record(
            NOW + timedelta(milliseconds=rng.randrange(48 * 3_600_000)),
            task_type=rng.choice(["math", "code", "chat"]),
            model_selected=rng.choice(["small", "large", None]),
            organization_id=rng.choice(["acme", "globex", None]),
            cost_usd=Decimal(rng.randrange(10**9)).scaleb(-12) if rng.random() < 0.7 else None,
            baseline_cost_usd=Decimal(rng.randrange(10**9)).scaleb(-12) if rng.random() < 0.5 else None,
            tokens_input=rng.randrange(1000) if has_tokens else None,
            tokens_output=rng.randrange(1000) if has_tokens else None,
            latency_ms=rng.lognormvariate(6, 1),
            ttft_ms=rng.lognormvariate(4, 1) if rng.random() < 0.5 else None,
            success=rng.random() < 0.9,
        )
        records.append(record)
        if rng.random() < 0.4:
            late = timedelta(seconds=rng.randrange(86400 * 3))
            records.append(make_feedback(record, rng.randrange(5) / 4, record.timestamp + late))
    return records


@pytest.mark.smoke
def test_unknown_is_null_and_counted(settings: Settings, warehouse: Warehouse) -> None:
    """A sum over unknown values is NULL beside a count of 0, never 0 dollars or tokens."""
    unknown: dict[str, Any] = {
        "cost_usd": None,
        "tokens_input": None,
        "tokens_output": None,
        "usage_source": "unknown",
    }
    seal_records(
        settings,
        [
            make_record(task_type="math", **unknown),
            make_record(task_type="code"),
            make_record(task_type="code", **unknown),
        ],
    )
    run_steps(warehouse)
    assert warehouse.rows(
        "select task_type, requests, requests_with_cost, cost_usd, requests_with_tokens, tokens_input,"
        " quality from usage_hourly order by task_type"
    ) == [("code", 2, 1, Decimal("0.0015"), 1, 100, None), ("math", 1, 0, None, 0, None, None)]
    assert warehouse.rows(
        "select cost_usd_mean, cost_usd_per_input_token, tokens_input_mean, quality_mean, ttft_ms_p50"
        " from task_model_scores where task_type = 'math' and model = 'large'"
    ) == [(None, None, None, None, None)]


def test_late_feedback_restates_only_its_hour(settings: Settings, warehouse: Warehouse) -> None:
    """A judgement days later changes the hour of the request it judges, and no other."""
    old, new = make_record(NOW), make_record(NOW + timedelta(hours=5))
    seal_records(settings, [old, new])
    run_steps(warehouse)
    seal_records(settings, [make_feedback(old, 0.75, NOW + timedelta(days=9))])
    loading.load(warehouse, "feedback")
    assert rollups.fold_stale_hours(warehouse) == [NOW]
    assert warehouse.rows("select hour, requests_with_quality, quality from usage_hourly order by hour") == [
        (NOW, 1, Decimal("0.75")),
        (NOW + timedelta(hours=5), 0, None),
    ]


@pytest.mark.smoke
def test_feedback_may_come_before_its_request(settings: Settings, warehouse: Warehouse) -> None:
    """A judgement that is loaded first counts once its request is there."""
    record = make_record()
    seal_records(settings, [make_feedback(record, 1.0)])
    run_steps(warehouse)
    assert warehouse.value("select count(*) from usage_hourly") == 0
    seal_records(settings, [record])
    run_steps(warehouse)
    assert warehouse.value("select quality from usage_hourly") == 1


@pytest.mark.smoke
def test_the_latest_quality_judgement_counts(settings: Settings, warehouse: Warehouse) -> None:
    """Of several judgements the latest counts, and other metrics do not."""
    record = make_record()
    seal_records(
        settings,
        [
            record,
            make_feedback(record, 0.2, NOW + timedelta(hours=2)),
            make_feedback(record, 0.9, NOW + timedelta(hours=1)),
            make_feedback(record, 1.0, NOW + timedelta(hours=3), metric="politeness"),
        ],
    )
    run_steps(warehouse)
    assert warehouse.rows("select requests_with_quality, quality from usage_hourly") == [(1, Decimal("0.2"))]


def test_incremental_equals_from_scratch(tmp_path: Path) -> None:
    """Many small refreshes give the same tables as one over everything, to the last decimal."""
    records = _traffic(600, seed=3)
    random.Random(4).shuffle(records)
    step_by_step = Settings.load({}, home=tmp_path / "steps")
    with Warehouse(step_by_step) as warehouse:
        for start in range(0, len(records), 100):
            seal_records(step_by_step, records[start : start + 100])
            run_steps(warehouse)
        history = warehouse.value("select count(distinct snapshot_id) from model_performance_history")
    at_once = Settings.load({}, home=tmp_path / "once")
    seal_records(at_once, records)
    with Warehouse(at_once) as warehouse:
        run_steps(warehouse)
        warehouse.connection.execute(f"attach '{step_by_step.build_file}' as steps (read_only)")
        for table in TABLES:
            for left, right in ((table, f"steps.{table}"), (f"steps.{table}", table)):
                assert warehouse.rows(f"from {left} except all from {right}") == [], table
        warehouse.connection.execute("detach steps")
    assert history == math.ceil(len(records) / 100)
    assert step_by_step.scores_file.exists()


def test_scores_are_the_estimates_of_the_outcomes(settings: Settings, warehouse: Warehouse) -> None:
    """A row's quality is the hierarchical estimate from its judged requests, with its 95% interval."""
    rng = random.Random(11)
    cells: dict[tuple[str, str], list[float]] = {}
    records: list[Record] = []
    # `small` gets the easy task nearly always: a plain mean would flatter it.
    for task, model, count, judged, mean in (
        ("easy", "small", 90, 60, 0.9),
        ("easy", "large", 10, 8, 1.0),
        ("hard", "small", 10, 5, 0.2),
        ("hard", "large", 90, 70, 0.6),
        ("tried", "large", 4, 4, 0.7),
        ("odd", "large", 5, 0, 0.0),
        ("odd", "silent", 7, 0, 0.0),
    ):
        for index in range(count):
            record = make_record(
                NOW + timedelta(seconds=rng.randrange(3000)), task_type=task, model_selected=model
            )
            records.append(record)
            if index < judged:
                value = float(rng.random() < mean)
                cells.setdefault((task, model), []).append(value)
                records.append(make_feedback(record, value))
    seal_records(settings, records)
    run_steps(warehouse)

    expected = quality_model.estimate(
        {cell: quality_model.Outcomes(len(v), sum(v), sum(x * x for x in v)) for cell, v in cells.items()},
        {"easy": 100, "hard": 100, "tried": 4, "odd": 12},
        {},
    )
    rows = {(row.task_type, row.model): row for row in scoring.score_rows(warehouse)}
    for cell, belief in expected.items():
        row = rows[cell]
        half = scoring.interval_z(row.effective_sample_size) * math.sqrt(belief.variance)
        assert (row.quality_mean, row.quality_variance) == (belief.mean, belief.variance)
        assert row.quality_low == pytest.approx(max(belief.mean - half, 0), abs=1e-12)
        assert row.quality_high == pytest.approx(min(belief.mean + half, 1), abs=1e-12)
    assert rows["easy", "small"].effective_sample_size == 60
    assert rows[ALL_TASKS, "small"].effective_sample_size == 65
    assert rows["hard", ANY_MODEL].requests == 100
    # A pair that never met has a row, from what its model and its task show apart, and no history.
    untried = rows["tried", "small"]
    assert (untried.requests, untried.effective_sample_size, untried.success_rate) == (0, 0.0, None)
    assert untried.quality_mean is not None
    assert warehouse.value("select min(requests) from model_performance_history") > 0
    # Without outcomes nothing is claimed.
    assert rows["odd", "large"].quality_mean is None
    assert rows[ALL_TASKS, "silent"].quality_low is None
    small, large = rows[ALL_TASKS, "small"].quality_mean, rows[ALL_TASKS, "large"].quality_mean
    assert small is not None
    assert large is not None
    assert small < large


def test_a_drop_is_noted_and_what_was_before_counts_little(settings: Settings, warehouse: Warehouse) -> None:
    """After a drop the row follows the new outcomes, and the change is stored with its two means."""
    records: list[Record] = []
    for index in range(600):
        record = make_record(NOW + timedelta(seconds=20 * index))
        records += [record, make_feedback(record, float(index % 10 < (9 if index < 400 else 5)))]
    seal_records(settings, records)
    run_steps(warehouse)
    ((task, model, at, before, after, z, *_),) = warehouse.rows("from score_changes")
    assert (task, model) == ("math", "large")
    assert abs((at - NOW).total_seconds() / 20 - 400) <= 20
    assert before == pytest.approx(0.9, abs=0.02)
    assert after == pytest.approx(0.5, abs=0.15)
    assert z < -3.9
    (row,) = (row for row in scoring.score_rows(warehouse) if (row.task_type, row.model) == ("math", "large"))
    assert row.quality_mean == pytest.approx(0.5, abs=0.05)
    assert 200 <= row.effective_sample_size < 240
    (check,) = checks.check_scores(warehouse)
    assert (check.passed, check.is_warning) == (False, True)
    assert "`large`" in check.description


def test_overall_cost_is_standardised(settings: Settings, warehouse: Warehouse) -> None:
    """A model's cost over all tasks weights its cost per task by everyone's traffic."""
    records: list[Record] = []
    for task, model, count, cost in (
        ("short", "a", 30, "0.001"),
        ("long", "a", 10, "0.01"),
        ("long", "b", 60, "0.02"),
        ("free", "a", 5, None),
    ):
        amount = None if cost is None else Decimal(cost)
        records += [make_record(task_type=task, model_selected=model, cost_usd=amount) for _ in range(count)]
    seal_records(settings, records)
    run_steps(warehouse)
    rows = {(row.task_type, row.model): row for row in scoring.score_rows(warehouse)}
    assert rows["short", "a"].cost_usd_mean == pytest.approx(0.001)
    assert rows["free", "a"].cost_usd_mean is None
    assert rows[ALL_TASKS, "a"].cost_usd_mean == pytest.approx((30 * 0.001 + 70 * 0.01) / 100, rel=1e-12)
    assert rows["short", "a"].cost_usd_per_input_token == pytest.approx(0.001 / 100)
    assert rows["short", "a"].cost_usd_per_output_token == pytest.approx(0.001 / 50)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.5])
def test_percentiles_are_within_one_percent(settings: Settings, warehouse: Warehouse, sigma: float) -> None:
    """A percentile read from the buckets is within 1% of the exact one."""
    rng = random.Random(5)
    values = [rng.lognormvariate(6, sigma) for _ in range(3000)]
    seal_records(
        settings,
        [make_record(NOW + timedelta(seconds=i), latency_ms=v, ttft_ms=v / 3) for i, v in enumerate(values)],
    )
    run_steps(warehouse)
    (row,) = (row for row in scoring.score_rows(warehouse) if (row.task_type, row.model) == ("math", "large"))
    ordered = sorted(values)
    for share, latency, first in (
        (0.50, row.latency_ms_p50, row.ttft_ms_p50),
        (0.95, row.latency_ms_p95, row.ttft_ms_p95),
        (0.99, row.latency_ms_p99, row.ttft_ms_p99),
    ):
        exact = ordered[math.floor(share * (len(ordered) - 1))]
        assert latency == pytest.approx(exact, rel=0.0101)
        assert first == pytest.approx(exact / 3, rel=0.0101)


def test_scores_look_back_a_bounded_time(tmp_path: Path) -> None:
    """Traffic older than the look-back before the latest record does not count, and is not forgotten."""
    settings = Settings.load({}, home=tmp_path, scores_lookback_days=7)
    seal_records(settings, [make_record(NOW - timedelta(days=8)), make_record(NOW)])
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        assert {row.requests for row in scoring.score_rows(warehouse)} == {1}
        assert warehouse.value("select sum(requests) from usage_hourly") == 2


def test_only_touched_hours_are_computed_again(settings: Settings, warehouse: Warehouse) -> None:
    """A refresh folds the hours of its new rows and leaves the others' rollups alone."""
    seal_records(settings, [make_record(NOW + timedelta(hours=i)) for i in range(48)])
    run_steps(warehouse)
    seal_records(settings, [make_record(NOW + timedelta(hours=40, minutes=1))])
    loading.load(warehouse, "request_analytics")
    assert rollups.fold_stale_hours(warehouse) == [NOW + timedelta(hours=40)]
    assert rollups.fold_stale_hours(warehouse) == []
    assert warehouse.value("select sum(requests) from usage_hourly") == 49


def test_a_database_of_before_the_blocks_learns_them(settings: Settings) -> None:
    """An older build database gets its blocks on opening, and the same scores after the next refresh."""
    records: list[Record] = []
    for index in range(90):
        record = make_record(NOW + timedelta(minutes=index))
        records += [record, make_feedback(record, float(index % 3 > 0))]
    seal_records(settings, records)
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        scores, blocks = (
            scoring.score_rows(warehouse),
            warehouse.rows("from quality_blocks_hourly order by all"),
        )
        for table in (
            "quality_blocks_hourly",
            "pipeline.removed_quality_blocks_hourly",
            "score_changes",
            "pipeline.change_states",
        ):
            warehouse.connection.execute(f"drop table {table}")
        for table, column in (
            ("latency_buckets_hourly", "environment"),
            ("pipeline.removed_latency_buckets_hourly", "environment"),
            *(("task_model_scores", name) for name in scoring.OWED),
        ):
            warehouse.connection.execute(f"alter table {table} drop column {column}")
        warehouse.connection.execute(
            "delete from pipeline.migrations where name in ('0012_score_changes', '0014_outcomes_apart')"
        )
        warehouse.close()
        assert warehouse.value("select sum(outcomes) from quality_blocks_hourly") == 90
        run_steps(warehouse)
        assert warehouse.rows("from quality_blocks_hourly order by all") == blocks
        assert scoring.score_rows(warehouse) == scores


def _scores(warehouse: Warehouse, task: str = "math") -> dict[str, float]:
    rows = warehouse.rows(
        "select model, quality_mean from task_model_scores where task_type = $task and model <> '*'",
        task=task,
    )
    return dict(rows)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("strategy", ["pinned", "sticky", "experiment", "greedy"])
def test_traffic_that_chance_did_not_decide_does_not_rank_models(
    settings: Settings, warehouse: Warehouse, share: float, strategy: str
) -> None:
    """Hard prompts that go to the strong model by name, session or policy do not make it look weak."""
    rng = random.Random(1)
    records: list[Record] = []
    for index in range(6000):
        is_hard, is_fixed = rng.random() < 0.5, rng.random() < share
        model = ("large" if is_hard else "small") if is_fixed else rng.choice(["small", "large"])
        record = make_record(
            NOW + timedelta(seconds=10 * index),
            model_selected=model,
            session_id=f"s{index // 4}" if strategy == "sticky" and is_fixed else None,
            strategy=strategy if is_fixed else "thompson",
            propensity=1.0 if is_fixed else 0.5,
        )
        mean = (0.45 if is_hard else 0.85) + (0.1 if model == "large" else 0.0)
        records += [record, make_feedback(record, float(rng.random() < mean))]
    seal_records(settings, records)
    run_steps(warehouse)
    scores = _scores(warehouse)
    assert scores["large"] > scores["small"] + 0.02
    (row,) = (row for row in scoring.score_rows(warehouse) if (row.task_type, row.model) == ("math", "large"))
    assert row.effective_sample_size < 6000 * (1 - share) * 0.6 + 50


def test_a_router_that_prefers_a_model_for_hard_prompts_is_corrected_for(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Drawn outcomes count by the inverse of their chance, so unequal chances do not rank models."""
    rng = random.Random(2)
    records: list[Record] = []
    for index in range(4000):
        is_hard = rng.random() < 0.5
        chance = 0.8 if is_hard else 0.2
        is_large = rng.random() < chance
        record = make_record(
            NOW + timedelta(seconds=15 * index),
            model_selected="large" if is_large else "small",
            propensity=chance if is_large else 1 - chance,
        )
        mean = (0.45 if is_hard else 0.85) + (0.1 if is_large else 0.0)
        records += [record, make_feedback(record, float(rng.random() < mean))]
    seal_records(settings, records)
    run_steps(warehouse)
    scores = _scores(warehouse)
    assert scores["large"] == pytest.approx(0.75, abs=0.05)
    assert scores["small"] == pytest.approx(0.65, abs=0.05)


def test_a_fallback_and_a_session_count_as_they_were_chosen(settings: Settings, warehouse: Warehouse) -> None:
    """A fallback was not drawn; a session that stays with its drawn model counts as one draw."""
    drawn = {"session_id": "s", "model_decided": "large", "propensity": 0.25}
    records = [
        make_record(NOW, **drawn),
        *(
            make_record(
                NOW + timedelta(minutes=minute),
                **{**drawn, "strategy": "sticky", "propensity": 1.0},
            )
            for minute in (1, 2, 3)
        ),
        make_record(NOW + timedelta(minutes=4), model_decided="small", propensity=0.25),
        make_record(NOW + timedelta(minutes=5), strategy="sticky", session_id="other", propensity=1.0),
    ]
    seal_records(settings, [*records, *(make_feedback(record, 0.5) for record in records)])
    run_steps(warehouse)
    assert warehouse.rows(
        "select is_drawn, outcomes, weight, weight_squared, quality_weighted"
        " from quality_blocks_hourly order by all"
    ) == [(False, 2, 2, 2, 1), (True, 4, 4, 16, 2)]


def test_a_staging_load_test_does_not_rank_the_models_of_production(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Scores are of the pipelines' own environment; traffic of another one changes no figure of theirs."""
    records: list[Record] = []
    for index in range(400):
        model, limit = ("large", 9) if index % 2 else ("small", 6)
        record = make_record(
            NOW + timedelta(seconds=index), model_selected=model, environment="production", latency_ms=100.0
        )
        records += [record, make_feedback(record, float(index // 2 % 10 < limit))]
    seal_records(settings, records)
    run_steps(warehouse)
    before = scoring.score_rows(warehouse)
    records = []
    for index in range(1000):
        record = make_record(
            NOW + timedelta(hours=1, seconds=index),
            environment="staging",
            latency_ms=9000.0,
            cost_usd=Decimal(5),
        )
        records += [record, make_feedback(record, 0.0)]
    seal_records(settings, records)
    run_steps(warehouse)
    assert scoring.score_rows(warehouse) == before
    assert _scores(warehouse)["large"] > _scores(warehouse)["small"]


def test_a_person_stands_above_a_judge_above_a_program(settings: Settings, warehouse: Warehouse) -> None:
    """Of a request the highest source's latest verdict counts, and each score says what it owes to each."""
    records: list[Record] = []
    for minute, sources in enumerate((("user", "judge", "program"), ("judge", "program"), ("program",), ())):
        record = make_record(NOW + timedelta(minutes=minute))
        records.append(record)
        for place, source in enumerate(sources):
            value = {"user": 0.9, "judge": 0.5, "program": 0.1}[source]
            # The lower the source, the later its verdict.
            records.append(
                make_feedback(record, value, record.timestamp + timedelta(hours=place + 1), source=source)
            )
        if "user" in sources:
            records.append(make_feedback(record, 0.2, record.timestamp + timedelta(minutes=1), source="user"))
    seal_records(settings, records)
    run_steps(warehouse)
    assert warehouse.rows("select requests_with_quality, quality from usage_hourly") == [(3, Decimal("1.5"))]
    assert warehouse.rows("select source, outcomes, quality from quality_blocks_hourly order by all") == [
        ("judge", 1, Decimal("0.5")),
        ("program", 1, Decimal("0.1")),
        ("user", 1, Decimal("0.9")),
    ]
    for task, model in (("math", "large"), (ALL_TASKS, "large"), (ALL_TASKS, ANY_MODEL)):
        assert warehouse.rows(
            "select effective_sample_size, outcomes_drawn, outcomes_user, outcomes_judge, outcomes_program"
            " from task_model_scores where task_type = $task and model = $model",
            task=task,
            model=model,
        ) == [(3.0, 3.0, 1.0, 1.0, 1.0)]


def test_a_score_row_has_the_mean_of_its_outcomes_without_shrinkage(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Only a model on a task has one: means over tasks or models would mix what chance did not mix."""
    records: list[Record] = []
    for index in range(4):
        record = make_record(NOW + timedelta(minutes=index))
        records += [record, make_feedback(record, float(index > 0))]
    seal_records(settings, records)
    run_steps(warehouse)
    assert warehouse.rows(
        "select quality_observed, quality_mean between 0.5 and 0.74 from task_model_scores"
        " where quality_observed is not null"
    ) == [(0.75, True)]


def test_the_change_detector_remembers_finished_hours(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh reads the blocks since the last finished hour, and a late judgement those since its day."""
    records: list[Record] = []
    for index in range(300):
        record = make_record(NOW + timedelta(minutes=20 * index))
        records += [record, make_feedback(record, float(index % 10 < (9 if index < 200 else 3)))]
    seal_records(settings, records)
    run_steps(warehouse)
    read: list[int] = []
    add = change_detection.Series.add

    def counting(series: change_detection.Series, block: change_detection.Block) -> Any:
        read.append(block.count)
        return add(series, block)

    monkeypatch.setattr(change_detection.Series, "add", counting)
    noted = warehouse.rows("from score_changes")
    assert len(noted) == 1
    scoring.score(warehouse)
    assert sum(read) <= 3
    late = make_feedback(records[150 * 2], 0.0, NOW + timedelta(days=9))  # type: ignore[arg-type]
    seal_records(settings, [late])
    read.clear()
    run_steps(warehouse)
    assert 100 <= sum(read) <= 230
    remembered = warehouse.rows("from score_changes")
    warehouse.connection.execute("delete from pipeline.change_states")
    scoring.score(warehouse)
    assert warehouse.rows("from score_changes") == remembered


def test_sums_over_the_requests_with_cost_and_tokens_are_stored_only_where_they_differ(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Where every cost has tokens, the counts say so, and the view by hours shows the sums all the same."""
    whole = [make_record(NOW, task_type="math", cost_usd=Decimal("0.25")) for _ in range(2)]
    part = [
        make_record(NOW, task_type="code", cost_usd=Decimal("0.25")),
        make_record(NOW, task_type="code", cost_usd=Decimal("0.5"), tokens_input=None, tokens_output=None),
    ]
    seal_records(settings, [*whole, *part])
    loading.load_all(warehouse)
    rollups.fold_stale_hours(warehouse)
    columns = "task_type, cost_usd_with_tokens, tokens_input_with_cost, tokens_output_with_cost"
    tokens = (whole[0].tokens_input, whole[0].tokens_output)
    code = ("code", Decimal("0.25"), None, None)
    assert warehouse.connection.table("usage_quarter_hourly").order("task_type").project(
        columns
    ).fetchall() == [
        code,
        ("math", None, None, None),
    ]
    assert warehouse.connection.table("usage_hourly").order("task_type").project(columns).fetchall() == [
        ("code", Decimal("0.25"), *tokens),
        ("math", Decimal("0.5"), *(2 * (count or 0) for count in tokens)),
    ]


def test_an_hour_of_dear_requests_that_were_rarely_drawn_is_folded(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Each counts as 1,000 dollars a million times. Their sum leaves no type."""
    rare = {"cost_usd": Decimal(2000), "propensity": 0.001, "model_decided": "large", "strategy": "thompson"}
    seal_records(settings, [make_record(NOW + timedelta(seconds=second), **rare) for second in range(12)])
    loading.load_all(warehouse)
    assert rollups.fold_stale_hours(warehouse) == [NOW]
    found = warehouse.rows("select cost_weighted_nano, cost_weight_squared_nano from propensity_hourly")
    assert found == [(12 * 10**15, 12 * 10**18)]
