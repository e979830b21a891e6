"""Retention drops raw records and keeps what was learnt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.refresh import rebuild, refresh, retain
from router.config import Settings
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records

LATER = NOW + timedelta(days=91)


@pytest.fixture
def filled(settings: Settings, instance: dg.DagsterInstance) -> Settings:
    """A data folder with an old day and one that is still young 91 days later."""
    old, young = make_record(NOW), make_record(NOW + timedelta(days=30))
    seal_records(settings, [old, make_feedback(old, 0.5), young])
    assert refresh(settings, instance=instance).success
    return settings


def _aggregates(query: Callable[..., list[tuple[Any, ...]]]) -> list[Any]:
    tables = ("usage_hourly", "latency_buckets_hourly", "task_cost_daily", "usage_by_org_daily")
    return [query(f"from {table} order by all") for table in tables]


def test_old_records_go_and_rollups_stay(
    filled: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Partitions and rows past the period are gone from lake and warehouse; aggregates are as before."""
    before = _aggregates(query)
    result = retain(filled, now=LATER, instance=instance)
    assert (result.success, dict(result.failed_checks)) == (True, {})
    assert dict(result.rows) == {
        "request_analytics": 1,
        "feedback": 1,
        "request_logs": 0,
        "security_events": 0,
    }
    assert result.partitions == ("request_analytics/date=2026-06-19", "feedback/date=2026-06-19")
    assert not (filled.lake / result.partitions[0]).exists()
    assert query("select timestamp from request_analytics") == [(NOW + timedelta(days=30),)]
    assert query("select count(*) from feedback") == [(0,)]
    assert query("select count(*) from pipeline.load_ledger where expired_at is not null") == [(2,)]
    assert _aggregates(query) == before


@pytest.mark.smoke
def test_a_dry_run_lists_and_changes_nothing(
    filled: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """`dry_run` names what would go and leaves every file as it is."""
    files = _files(filled.lake)
    result = retain(filled, now=LATER, dry_run=True, instance=instance)
    assert dict(result.rows) == {
        "request_analytics": 1,
        "feedback": 1,
        "request_logs": 0,
        "security_events": 0,
    }
    assert len(result.partitions) == 2
    assert _files(filled.lake) == files
    assert query("select count(*) from request_analytics") == [(2,)]


def test_expired_hours_are_never_computed_again(
    filled: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Feedback on an expired request, however late, leaves its hour's rollup as it was."""
    retain(filled, now=LATER, instance=instance)
    before = _aggregates(query)
    seal_records(filled, [make_feedback(make_record(NOW), 1.0, LATER)])
    assert refresh(filled, instance=instance).rows["feedback"] == 1
    assert _aggregates(query) == before


def test_a_rebuild_after_retention_gives_the_same_aggregates(
    filled: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Rollups that outlived their rows come back from the lake's archive."""
    retain(filled, now=LATER, instance=instance)
    before = _aggregates(query)
    assert rebuild(filled, instance=instance).success
    assert _aggregates(query) == before
    assert query("select count(*) from model_performance_history") != [(0,)]


def test_what_was_never_loaded_is_counted_before_it_goes(
    settings: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Segments that expire before their first refresh are in the rollups all the same."""
    seal_records(settings, [make_record(NOW)])
    assert retain(settings, now=LATER, instance=instance).success
    assert query("select sum(requests) from usage_hourly") == [(1,)]
    assert query("select count(*) from request_analytics") == [(0,)]


def test_retention_twice_is_retention_once(
    filled: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """A second run finds nothing more to remove and changes no aggregate."""
    retain(filled, now=LATER, instance=instance)
    before = _aggregates(query)
    again = retain(filled, now=LATER, instance=instance)
    assert (set(again.rows.values()), again.partitions) == ({0}, ())
    assert _aggregates(query) == before


def test_a_day_is_kept_for_the_whole_period(filled: Settings, instance: dg.DagsterInstance) -> None:
    """Nothing younger than the retention period goes, to the day."""
    assert retain(filled, now=NOW + timedelta(days=90), instance=instance, dry_run=True).partitions == ()


def _files(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())
