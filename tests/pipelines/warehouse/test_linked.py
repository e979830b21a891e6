"""Rows of large segments are read in the lake's files, and a query gives the same rows as from a table."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines import flow
from pipelines.lake import compaction, reading, replacing
from pipelines.rollups.rollups import fold_stale_hours
from pipelines.warehouse import checks, linked, linked_views, loading, publishing
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import FeedbackRecord, Record, RequestRecord, Tag
from tests.pipelines.helpers import NOW, make_feedback, make_log, make_record, seal_records, stopped_after

LATER = NOW + timedelta(hours=5)
HOUR = timedelta(hours=1)
LINKED_FEEDBACK = "select name from pipeline.linked_segments where dataset = 'feedback'"


@pytest.fixture(autouse=True)
def _every_segment_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "FEWEST_ROWS", 1)


def some(hours: int = 2) -> list[Record]:
    """Two requests an hour with a judgement and an audit trail each."""
    requests = [
        make_record(NOW + index * HOUR + timedelta(minutes=minute), tags=[Tag(key="team", value="a")])
        for index in range(hours)
        for minute in (0, 1)
    ]
    return [
        *requests,
        *(make_feedback(item, 0.5) for item in requests),
        *(make_log(item) for item in requests),
    ]


def shown(warehouse: Warehouse) -> dict[str, list[Any]]:
    """The rows of every view."""
    return {dataset: warehouse.rows(f"from {dataset} order by 1") for dataset in linked_views.ADDED}


def in_tables(warehouse: Warehouse) -> int:
    """Rows that were copied into a table."""
    return sum(warehouse.count(linked_views.rows_table(dataset)) for dataset in linked_views.ADDED)


def files(settings: Settings) -> list[str]:
    """The names of the files that views may read."""
    return sorted(path.stem for path in linked_views.folder(settings).rglob("*.parquet"))


def published(settings: Settings) -> int:
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
        return len(connection.execute("from request_analytics").fetchall())


def test_a_view_shows_what_the_table_held(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that an earlier release copied leave the tables at the next load, with every value as it was."""
    monkeypatch.setattr(linked, "FEWEST_ROWS", 10_000)
    seal_records(settings, some())
    loading.load_all(warehouse)
    before = shown(warehouse)
    assert in_tables(warehouse) == 12
    monkeypatch.setattr(linked, "FEWEST_ROWS", 1)
    loading.load_all(warehouse)
    assert in_tables(warehouse) == 0
    assert shown(warehouse) == before


def test_a_file_that_holds_little_is_written_again(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publish does not copy the room that rows had before they left the tables."""
    monkeypatch.setattr(publishing, "SMALL_BYTES", 0)
    monkeypatch.setattr(linked, "FEWEST_ROWS", 100_000)
    seal_records(settings, [make_record(user_id=os.urandom(600).hex()) for _ in range(6000)])
    loading.load_all(warehouse)
    before = publishing.publish_warehouse(warehouse)
    monkeypatch.setattr(linked, "FEWEST_ROWS", 1)
    loading.load_all(warehouse)
    after = publishing.publish_warehouse(warehouse)
    assert (after or 0) < (before or 0) // 2
    assert published(settings) == 6000


def test_rows_are_counted_without_the_files(settings: Settings, warehouse: Warehouse) -> None:
    """The list of files and the table together have as many rows as the view."""
    seal_records(settings, some())
    loading.load_all(warehouse)
    linked.take_back(warehouse, "feedback", [name for (name,) in warehouse.rows(LINKED_FEEDBACK)][:1])
    linked.show(warehouse, "feedback")
    counts = {dataset: linked.count(warehouse, dataset) for dataset in linked_views.ADDED}
    assert counts == {dataset: len(rows) for dataset, rows in shown(warehouse).items()}
    assert set(counts.values()) == {4}


def test_a_new_segment_is_not_copied(settings: Settings, warehouse: Warehouse) -> None:
    """The file in the lake has a second name, so that it takes no further room. Rollups count its rows."""
    manifests = seal_records(settings, some())
    loading.load_all(warehouse)
    fold_stale_hours(warehouse)
    assert in_tables(warehouse) == 0
    assert files(settings) == sorted(manifest.name for manifest in manifests)
    assert all((settings.lake / manifest.path).stat().st_nlink == 2 for manifest in manifests)
    assert warehouse.rows("select sum(requests), sum(requests_with_quality) from usage_hourly") == [(4, 4)]
    found = checks.check_hours(warehouse, (*checks.RECORD_CHECKS, *checks.ROLLUP_CHECKS), [NOW, NOW + HOUR])
    assert [check.name for check in found if not check.passed] == []


def test_a_copied_id_counts_once(settings: Settings, warehouse: Warehouse) -> None:
    """A segment with a row that a file shows already is loaded without that row."""
    first, second = make_record(), make_record(NOW + timedelta(minutes=1))
    seal_records(settings, [first])
    loading.load_all(warehouse)
    seal_records(settings, [first, second])
    result = loading.load(warehouse, RequestRecord.DATASET)
    assert (result.rows, result.duplicates, in_tables(warehouse)) == (1, 1, 1)
    assert warehouse.count(RequestRecord.DATASET) == 2


def test_a_row_that_the_table_would_refuse_is_quarantined(settings: Settings, warehouse: Warehouse) -> None:
    """A file is checked before it is linked, by the bounds of the table."""
    seal_records(settings, [make_record(), make_record(cost_usd=Decimal(10**9))])
    seal_records(settings, [make_feedback(make_record(), 2.0)])
    found = loading.load_all(warehouse)
    assert [len(found[item.DATASET].quarantined) for item in (RequestRecord, FeedbackRecord)] == [1, 1]
    assert files(settings) == []


def test_compaction_and_late_rows_are_read_once(settings: Settings, warehouse: Warehouse) -> None:
    """A merged file takes the place of the files it was merged from, and of rows in the table."""
    for minute in (0, 1):
        seal_records(settings, [make_record(NOW + timedelta(minutes=minute))])
    loading.load_all(warehouse)
    fold_stale_hours(warehouse)
    compaction.compact(settings.lake, now=LATER)
    seal_records(settings, [make_record(NOW + timedelta(minutes=2))])
    for count in (3, 3):
        loading.load_all(warehouse)
        fold_stale_hours(warehouse)
        assert warehouse.count(RequestRecord.DATASET) == count
        assert warehouse.value("select sum(requests) from usage_hourly") == count
        compaction.compact(settings.lake, now=LATER)
    assert in_tables(warehouse) == 0


def test_removed_rows_leave_view_and_rollups(settings: Settings, warehouse: Warehouse) -> None:
    """A rewritten file takes the place of the linked one. Hours of the rows that went are folded again."""
    records = some(1)
    seal_records(settings, records)
    loading.load_all(warehouse)
    fold_stale_hours(warehouse)
    for dataset in (RequestRecord.DATASET, FeedbackRecord.DATASET):
        (segment,) = reading.scan(settings.lake, dataset).segments
        rows = reading.read_rows(segment.path)
        replacing.replace_segments(settings.lake, [segment], rows.slice(1), operation="erasure", now=LATER)
        assert loading.load(warehouse, dataset).hours == {NOW}
        fold_stale_hours(warehouse)
    assert warehouse.count(RequestRecord.DATASET) == 1
    assert warehouse.rows("select sum(requests), sum(requests_with_quality) from usage_hourly") == [(1, 1)]


def test_a_reader_keeps_its_files_until_it_has_ended(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published copy can be read after the next one was published, though compaction replaced its files."""
    for minute in (0, 1):
        seal_records(settings, [make_record(NOW + timedelta(minutes=minute))])
    loading.load_all(warehouse)
    publishing.publish_warehouse(warehouse)
    earlier = shutil.copy2(settings.warehouse_file, settings.home / "open-in-another-program.duckdb")
    compaction.compact(settings.lake, now=LATER)
    loading.load_all(warehouse)
    publishing.publish_warehouse(warehouse)
    with duckdb.connect(str(earlier), read_only=True) as reader:
        assert len(reader.execute("from request_analytics").fetchall()) == 2
    assert (published(settings), len(files(settings))) == (2, 3)
    monkeypatch.setattr(linked, "KEPT", timedelta(0))
    publishing.publish_warehouse(warehouse)
    assert (published(settings), len(files(settings))) == (2, 1)


def test_an_erasure_leaves_no_file_behind(settings: Settings) -> None:
    """The files with the person's rows are gone when the certificate is written."""
    theirs = make_record(user_id="ada-of-x")
    seal_records(settings, [theirs, make_log(theirs), *some(1)])
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
        publishing.publish_warehouse(warehouse)
    certificate = flow.erase(settings, "ada-of-x")
    assert (certificate.remaining, published(settings)) == ((), 2)
    with Warehouse(settings) as warehouse:
        assert {f"{name}" for name in files(settings)} == {
            Path(name).stem for name in linked.listed(warehouse)
        }


def test_retention_drops_files(settings: Settings, warehouse: Warehouse) -> None:
    """An expired day leaves the views, and its files go with the next publish."""
    seal_records(settings, [*some(1), make_record(NOW + timedelta(days=20))])
    flow.retain(warehouse, now=NOW + timedelta(days=100))
    publishing.publish_warehouse(warehouse)
    assert (published(settings), len(files(settings))) == (1, 1)
    assert warehouse.value("select sum(requests) from usage_hourly") == 3


def test_a_damaged_file_hurts_only_itself(
    settings: Settings, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """Its rows leave the view with an error that names it, and come back when the segment is restored."""
    first, second = seal_records(settings, [make_record()]) + seal_records(
        settings, [make_record(NOW + HOUR)]
    )
    loading.load_all(warehouse)
    path = settings.lake / first.path
    good = path.read_bytes()
    path.write_bytes(good[:50] + b"x" * 20 + good[70:])
    loading.load_all(warehouse)
    assert warehouse.rows("select segment from request_analytics") == [(second.name,)]
    assert first.path in caplog.text
    path.write_bytes(good)
    loading.load_all(warehouse)
    assert warehouse.count(RequestRecord.DATASET) == 2


def test_a_lost_file_is_linked_again(settings: Settings, warehouse: Warehouse) -> None:
    """Somebody empties the folder: the next load links the lake's files again."""
    seal_records(settings, some())
    loading.load_all(warehouse)
    shutil.rmtree(linked_views.folder(settings))
    loading.load_all(warehouse)
    assert (warehouse.count(RequestRecord.DATASET), in_tables(warehouse)) == (4, 0)


def test_views_follow_the_data_folder(settings: Settings) -> None:
    """A data folder that was moved or copied is read at its new place after the next refresh."""
    seal_records(settings, some())
    with Warehouse(settings) as warehouse:
        loading.load_all(warehouse)
    home = settings.home.with_name("moved")
    settings.home.rename(home)
    moved = Settings.load({}, home=home)
    with Warehouse(moved) as warehouse:
        loading.load_all(warehouse)
        publishing.publish_warehouse(warehouse)
    assert published(moved) == 4


@pytest.mark.parametrize("step", [(linked, "link_loaded"), (linked, "show"), (linked, "_add")])
def test_a_stopped_load_shows_each_row_once(settings: Settings, step: tuple[Any, str]) -> None:
    """A view that is out of date after a stop is made again when the warehouse is opened."""
    seal_records(settings, some())
    with Warehouse(settings) as warehouse, pytest.raises(KeyboardInterrupt), stopped_after(0, [step]):
        loading.load_all(warehouse)
    with Warehouse(settings) as warehouse:
        ledger = warehouse.value(
            "select sum(rows_loaded) from pipeline.load_ledger where dataset = 'request_analytics'"
        )
        assert warehouse.count(RequestRecord.DATASET) == (ledger or 0)
        loading.load_all(warehouse)
        assert warehouse.count(RequestRecord.DATASET) == 4


def test_a_file_system_without_links_gets_copies(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files take their room twice there. Everything else is the same."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (manifest,) = seal_records(settings, [make_record()])
    loading.load_all(warehouse)
    assert (settings.lake / manifest.path).stat().st_nlink == 1
    assert (warehouse.count(RequestRecord.DATASET), in_tables(warehouse)) == (1, 0)
