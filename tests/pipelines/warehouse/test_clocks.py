"""No clock is believed: a moment from the future costs itself alone, is named, and is undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pipelines import flow
from pipelines.doctor.doctor import inspect
from pipelines.errors import RetentionError
from pipelines.scores.publishing import publish_scores
from pipelines.scores.scoring import score_rows
from pipelines.warehouse import checks, loading, publishing
from router.errors import RequestError
from router.request.feedback import CLOCK_SKEW, check_feedback
from tests.pipelines.helpers import id_at, make_feedback, make_record, run_steps, seal_records

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

YEAR = timedelta(days=365)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def test_a_record_dated_ahead_costs_one_record(settings: Settings, warehouse: Warehouse) -> None:
    """The scores' window follows the clock and the data, and not the record that is ahead of both."""
    rows = [make_record(now() - timedelta(hours=i)) for i in range(1, 50)]
    seal_records(settings, [*rows, *(make_feedback(row, 1.0) for row in rows)])
    seal_records(settings, [make_record(now() + YEAR)])
    run_steps(warehouse)
    [row] = [item for item in score_rows(warehouse) if (item.task_type, item.model) == ("math", "large")]
    assert (row.requests, row.requests_with_quality) == (50, 49)
    snapshot = publish_scores(warehouse).snapshot
    assert snapshot is not None
    assert snapshot.as_of <= now()


def test_records_that_are_all_ahead_are_scored(settings: Settings, warehouse: Warehouse) -> None:
    """If every record is ahead, it may be our own clock that is late."""
    seal_records(settings, [make_record(now() + YEAR)])
    run_steps(warehouse)
    assert score_rows(warehouse) != []


def test_records_ahead_are_named_by_a_check_and_by_the_doctor(
    settings: Settings, warehouse: Warehouse
) -> None:
    seal_records(settings, [make_record(now() + timedelta(minutes=5))], writer_id="skewed")
    [ahead] = seal_records(settings, [make_record(now() + timedelta(days=2))], writer_id="ahead")
    run_steps(warehouse)
    publishing.publish_warehouse(warehouse)
    [check] = checks.check_clock(warehouse)
    assert (check.passed, check.is_warning, len(check.failures)) == (False, True, 1)
    assert ahead.name in check.description
    named = [item.value for item in inspect(settings).findings if "from the future" in item.what]
    assert len(named) == 1
    assert ahead.name in named[0]


@pytest.mark.parametrize("years", [1, 11])
def test_retention_refuses_a_moment_far_beyond_the_newest_record(
    settings: Settings, warehouse: Warehouse, years: int
) -> None:
    seal_records(settings, [make_record(now() - timedelta(days=1))])
    run_steps(warehouse)
    with pytest.raises(RetentionError, match="--force"):
        flow.retain(warehouse, now=now() + years * YEAR)
    assert warehouse.count("request_analytics") == 1
    assert flow.retain(warehouse, now=now() + years * YEAR, dry_run=True).rows["request_analytics"] == 1


def test_retention_of_an_idle_folder_without_raw_rows_is_no_error(warehouse: Warehouse) -> None:
    flow.retain(warehouse, now=now() + YEAR)


def test_a_cutoff_in_the_future_is_taken_back(settings: Settings, warehouse: Warehouse) -> None:
    """Traffic after a retention under a wrong clock loads, also if it was noted as expired meanwhile."""
    seal_records(settings, [make_record(now() - timedelta(days=1))])
    run_steps(warehouse)
    with pytest.MonkeyPatch.context() as wrong:  # under the wrong clock the cutoff is in the past
        wrong.setattr(loading, "take_back_future_cutoff", lambda _: None)
        flow.retain(warehouse, now=now() + 11 * YEAR, force=True)
        seal_records(settings, [make_record(now()) for _ in range(5)])
        run_steps(warehouse)
    assert warehouse.count("request_analytics") == 0
    seal_records(settings, [make_record(now()) for _ in range(2)])
    run_steps(warehouse)
    assert warehouse.count("request_analytics") == 7


def test_days_that_a_wrong_clock_sealed_keep_their_figures(settings: Settings, warehouse: Warehouse) -> None:
    """Their rows are gone: a fold of a late record would lose them. It is refused by name, and admitted."""
    yesterday = now().replace(hour=12, minute=0) - timedelta(days=1)
    seal_records(settings, [make_record(yesterday) for _ in range(3)])
    run_steps(warehouse)
    flow.retain(warehouse, now=now() + 11 * YEAR, force=True)
    seal_records(settings, [make_record(yesterday)])
    run_steps(warehouse)
    assert warehouse.value("select sum(requests) from usage_hourly") == 3
    assert [item.name for item in checks.check_everything(warehouse) if not item.passed] == []
    assert [item.name for item in checks.check_archive(warehouse) if not item.passed]
    flow.admit(warehouse)
    run_steps(warehouse)
    assert warehouse.value("select sum(requests) from usage_hourly") == 4


@pytest.mark.parametrize("ahead", [timedelta(seconds=1), CLOCK_SKEW])
def test_a_judgement_of_an_answer_from_a_clock_slightly_ahead_is_taken(ahead: timedelta) -> None:
    moment = now()
    check_feedback(id_at(moment + ahead), "quality", 1.0, "user", None, now=moment)


def test_a_judgement_of_an_id_from_far_ahead_is_refused() -> None:
    """The caller passed the right id, so the message is about clocks."""
    moment = now()
    with pytest.raises(RequestError, match=r"this router's clock says .* set the clocks"):
        check_feedback(id_at(moment + timedelta(hours=1)), "quality", 1.0, "user", None, now=moment)
