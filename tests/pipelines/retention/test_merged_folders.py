"""Data folders that are merged add up, also where retention has closed days in one or both."""

from __future__ import annotations

import shutil
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pipelines import flow
from pipelines.doctor import doctor
from pipelines.lake.compaction import compact
from pipelines.refresh import admit
from pipelines.warehouse import checks, publishing
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.config import Settings
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records

if TYPE_CHECKING:
    from pathlib import Path

OLD, YOUNG = NOW - timedelta(days=100), NOW - timedelta(days=2)
Figures = tuple[int, Decimal, int, int, int]


def folder(path: Path, writer: str, *, old: int, cost: int, judged: int = 0) -> Settings:
    """A folder with `old` records past their period and five young ones."""
    settings = Settings.load({}, home=path / writer)
    more = {"cost_usd": Decimal(cost), "experiment_id": "e", "variant": writer}
    past = [make_record(OLD + timedelta(minutes=i), **more) for i in range(old)]
    new = [make_record(YOUNG + timedelta(minutes=i), **more) for i in range(5)]
    verdicts = [make_feedback(record, 0.5) for record in past[:judged]]
    seal_records(settings, [*past, *new, *verdicts], writer_id=writer)
    return refreshed(settings)


def refreshed(settings: Settings) -> Settings:
    """Refresh and publish."""
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
        publishing.publish_warehouse(warehouse)
    return settings


def retain(settings: Settings) -> None:
    """Run retention as of now, and publish."""
    with Warehouse(settings) as warehouse:
        flow.retain(warehouse, now=NOW)
        publishing.publish_warehouse(warehouse)


def merged(path: Path, *folders: Settings) -> Settings:
    """A new folder with the lakes of others."""
    settings = Settings.load({}, home=path / "merged")
    for item in folders:
        shutil.copytree(item.lake, settings.lake, dirs_exist_ok=True)
    return refreshed(settings)


def figures(settings: Settings) -> Figures:
    """Requests, money, judged requests, latencies and requests of experiments, by the rollups."""
    with Warehouse(settings) as warehouse:
        return (
            *warehouse.rows(
                "select sum(requests), sum(cost_usd), sum(requests_with_quality) from usage_hourly"
            )[0],
            warehouse.value("select sum(requests) from latency_buckets_hourly"),
            warehouse.value("select sum(requests) from experiment_hourly where unit = 'user'"),
        )


def rebuilt(settings: Settings) -> Settings:
    """The folder with a new build database."""
    with Warehouse(settings):
        set_aside(settings.build_file)
    return refreshed(settings)


def errors(settings: Settings) -> list[str]:
    """What the doctor says is wrong, chains included."""
    report = doctor.inspect(settings, with_audit=True)
    return [item.what for item in report.findings if item.severity == "error"]


def test_archives_of_two_folders_add_up(tmp_path: Path) -> None:
    """Where retention has run in both folders, each keeps its share of a day, and the audit holds."""
    one = folder(tmp_path, "aaaa", old=10, cost=1, judged=3)
    two = folder(tmp_path, "bbbb", old=20, cost=2, judged=4)
    for item in (one, two):
        retain(item)
    whole = merged(tmp_path, one, two, one)
    assert figures(whole) == (40, Decimal(65), 7, 40, 40)
    assert errors(whole) == []
    assert figures(rebuilt(whole)) == (40, Decimal(65), 7, 40, 40)


def test_an_archive_that_arrives_is_taken_in(tmp_path: Path) -> None:
    """A folder that holds rollups of its own adds those of another folder at its next refresh."""
    one, two = folder(tmp_path, "aaaa", old=10, cost=1), folder(tmp_path, "bbbb", old=20, cost=2, judged=4)
    retain(two)
    shutil.copytree(two.lake, one.lake, dirs_exist_ok=True)
    assert figures(refreshed(one)) == (40, Decimal(65), 4, 40, 40)
    assert figures(rebuilt(one)) == (40, Decimal(65), 4, 40, 40)
    retain(one)
    assert figures(one) == (40, Decimal(65), 4, 40, 40)
    assert figures(rebuilt(one)) == (40, Decimal(65), 4, 40, 40)


def test_a_refused_segment_is_named_and_admitted_once(tmp_path: Path) -> None:
    """Records of a closed day are counted by a check and the doctor. `admit` adds them, once."""
    one, two = folder(tmp_path, "aaaa", old=10, cost=1), folder(tmp_path, "bbbb", old=20, cost=2, judged=4)
    retain(one)
    whole = merged(tmp_path, one, two)
    assert figures(whole) == (20, Decimal(25), 0, 20, 20)
    with Warehouse(whole) as warehouse:
        (check,) = checks.check_archive(warehouse)
    assert "bbbb" in check.description
    assert not check.is_warning
    assert set(errors(whole)) == {"a segment came after its day was closed, and no figure counts it"}
    assert admit(whole, dry_run=True).rows == 20
    for _ in range(2):
        admit(whole)
        assert figures(whole) == (40, Decimal(65), 4, 40, 40)
    assert errors(whole) == []
    assert figures(rebuilt(whole)) == (40, Decimal(65), 4, 40, 40)
    assert errors(whole) == []
    retain(whole)
    assert figures(rebuilt(whole)) == (40, Decimal(65), 4, 40, 40)


def test_retention_counts_what_it_removes(tmp_path: Path) -> None:
    """Retention admits refused segments before it drops them."""
    one, two = folder(tmp_path, "aaaa", old=10, cost=1), folder(tmp_path, "bbbb", old=20, cost=2)
    retain(one)
    whole = merged(tmp_path, one, two)
    retain(whole)
    assert figures(whole)[:2] == (40, Decimal(65))
    assert errors(whole) == []
    assert not list(whole.lake.glob("request_analytics/date=2026-03-11"))


def test_a_copy_of_archived_segments_counts_nothing(tmp_path: Path) -> None:
    """Segments that return from a backup taken before retention are counted already, and not refused."""
    one = folder(tmp_path, "aaaa", old=10, cost=1)
    backup = tmp_path / "backup"
    shutil.copytree(one.lake, backup)
    retain(one)
    shutil.copytree(backup, one.lake, dirs_exist_ok=True)
    assert figures(rebuilt(one))[:2] == (15, Decimal(15))
    assert errors(one) == []


@pytest.mark.parametrize("with_both", [True, False])
def test_a_compaction_of_counted_and_other_segments(tmp_path: Path, *, with_both: bool) -> None:
    """A part gives way to a larger one. Where a segment mixes rows and cannot cover a part, it is named."""
    one = folder(tmp_path, "aaaa", old=10, cost=1)
    if not with_both:
        seal_records(one, [make_record(OLD + timedelta(hours=1), cost_usd=Decimal(1))], writer_id="cccc")
        refreshed(one)
    two = Settings.load({}, home=tmp_path / "bbbb")
    shutil.copytree(one.home, two.home)
    if not with_both:
        shutil.rmtree(next(two.lake.glob(f"request_analytics/date=*/hour={OLD.hour + 1:02}")))
    retain(one)
    late = [make_record(OLD + timedelta(minutes=i), cost_usd=Decimal(2)) for i in range(20)]
    seal_records(two, late, writer_id="bbbb")
    compact(two.lake, now=NOW + timedelta(days=1))
    whole = merged(tmp_path, one, two)
    admitted = admit(whole)
    if with_both:
        assert figures(whole)[:2] == (35, Decimal(55))
        assert figures(rebuilt(whole))[:2] == (35, Decimal(55))
    else:
        (reason,) = admitted.refused.values()
        assert "restore the segments that it was merged from" in reason
        assert figures(whole)[:2] == (16, Decimal(16))
        assert errors(whole) != []
