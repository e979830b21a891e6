"""Segments reach the tables exactly once, and a bad file hurts only itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.lake import reading
from pipelines.warehouse import loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.files import sha256_of
from router.journal.manifests import Manifest
from router.journal.places import manifest_path
from router.records import Record, Tag
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records

COMPARED = (
    "request_analytics",
    "feedback",
    "usage_hourly",
    "latency_buckets_hourly",
    "task_cost_daily",
    "task_model_scores",
)
COUNTS = "select count(*), count(distinct id), sum(cost_usd) from request_analytics"


@pytest.mark.smoke
def test_loading_three_times_is_loading_once(settings: Settings, warehouse: Warehouse) -> None:
    """A segment's rows are in the table once, however often the load runs."""
    seal_records(settings, [make_record(NOW + timedelta(minutes=i)) for i in range(100)])
    for _ in range(3):
        loading.load(warehouse, "request_analytics")
    assert warehouse.rows(COUNTS) == [(100, 100, Decimal("0.15"))]
    assert warehouse.value("select sum(rows_loaded) from pipeline.load_ledger") == 100


def test_shuffled_and_late_segments_give_the_same_tables(tmp_path: Path) -> None:
    """The order in which segments arrive, even a week late, changes no row and no aggregate."""
    records = [
        make_record(
            NOW + timedelta(minutes=11 * i), cost_usd=Decimal(i) / 7 // Decimal("1e-12") * Decimal("1e-12")
        )
        for i in range(60)
    ]
    judgements = [make_feedback(record, 0.25 * (i % 5)) for i, record in enumerate(records) if i % 3]
    batches: list[list[Record]] = [[records[i], *judgements[i : i + 1]] for i in range(len(records))]
    found = []
    for name, seed in (("ordered", None), ("shuffled", 1), ("shuffled-again", 2)):
        settings = Settings.load({}, home=tmp_path / name)
        order = list(batches)
        if seed is not None:
            random.Random(seed).shuffle(order)
        with Warehouse(settings) as warehouse:
            for index, batch in enumerate(order):
                seal_records(settings, batch)
                if index % 20 == 19:
                    run_steps(warehouse)
            found.append({table: _rows(warehouse, table) for table in COMPARED})
    assert found[0] == found[1] == found[2]


def _rows(warehouse: Warehouse, table: str) -> list[dict[str, object]]:
    """The table's rows in a fixed order, without the name of the file they came from."""
    found = warehouse.connection.table(table)
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return sorted(({k: v for k, v in row.items() if k != "segment"} for row in rows), key=repr)


@pytest.mark.smoke
def test_a_record_in_two_segments_counts_once(settings: Settings, warehouse: Warehouse) -> None:
    """A record that was sealed twice, or stands twice in one file, is one row."""
    record = make_record()
    seal_records(settings, [record, record, make_record()], writer_id="one")
    loading.load(warehouse, "request_analytics")
    seal_records(settings, [record], writer_id="two")
    result = loading.load(warehouse, "request_analytics")
    assert (result.rows, result.duplicates) == (0, 1)
    assert warehouse.value("select count(*) from request_analytics") == 2
    assert warehouse.rows("select rows_in_file, rows_loaded from pipeline.load_ledger order by name") == [
        (3, 2),
        (1, 0),
    ]


@pytest.mark.smoke
def test_every_column_arrives_as_it_was_written(settings: Settings, warehouse: Warehouse) -> None:
    """Types survive the way: tags as a map, money to twelve decimals, unknown as NULL."""
    record = make_record(
        tags=[Tag(key="team", value="search")], cost_usd=Decimal("0.000000000001"), tokens_input=None
    )
    seal_records(settings, [record])
    loading.load(warehouse, "request_analytics")
    assert warehouse.rows("select tags, cost_usd, tokens_input, timestamp from request_analytics") == [
        ({"team": "search"}, Decimal("0.000000000001"), None, NOW)
    ]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _junk(path: Path) -> None:
    path.write_bytes(b"not parquet at all")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), path)
    _restate(path)


def _restate(path: Path) -> None:
    """Make the manifest describe the bytes that are there."""
    manifest = Manifest.read(manifest_path(path))
    changed = replace(manifest, bytes=path.stat().st_size, sha256=sha256_of(path))
    changed.write(manifest_path(path))


def _manifest_gone(path: Path) -> None:
    manifest_path(path).unlink()


def _manifest_junk(path: Path) -> None:
    manifest_path(path).write_text("{}")


def _symlink(path: Path) -> None:
    target = path.parents[5] / "elsewhere.parquet"
    path.rename(target)
    path.symlink_to(target)


def _parquet_gone(path: Path) -> None:
    path.unlink()


def _drop_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["model_decided"]), path, store_schema=False)
    _restate(path)


def _money_as_double(path: Path) -> None:
    table = pq.read_table(path)
    index = table.schema.get_field_index("cost_usd")
    table = table.set_column(index, "cost_usd", table.column(index).cast(pa.float64()))
    pq.write_table(table, path, store_schema=False)
    _restate(path)


def _value_out_of_bounds(path: Path) -> None:
    table = pq.read_table(path)
    index = table.schema.get_field_index("latency_ms")
    field = table.schema.field(index)
    table = table.set_column(index, field, pa.array([float("nan")] * table.num_rows))
    pq.write_table(table, path, store_schema=False)
    _restate(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "bytes, its manifest says"),
        (_junk, "bytes, its manifest says"),
        (_flip, "SHA-256"),
        (_foreign, "lacks the column `id`"),
        (_manifest_gone, "has no manifest"),
        (_manifest_junk, "cannot be read"),
        (_symlink, "is a symbolic link"),
        (_parquet_gone, "is missing"),
        (_drop_column, "lacks the column `model_decided`"),
        (_money_as_double, "column `cost_usd` is `double`"),
        (_value_out_of_bounds, "refuses"),
    ],
)
def test_a_bad_file_is_quarantined_and_the_rest_loads(
    settings: Settings, warehouse: Warehouse, damage: Callable[[Path], None], reason: str
) -> None:
    """Whatever is wrong with one file, every other one is loaded and the bad one is named."""
    seal_records(settings, [make_record()], writer_id="good")
    (bad,) = seal_records(settings, [make_record()], writer_id="bad")
    seal_records(settings, [make_record()], writer_id="also-good")
    damage(settings.lake / bad.path)
    result = loading.load(warehouse, "request_analytics")
    assert result.rows == 2
    ((path, found),) = warehouse.rows("select path, reason from pipeline.quarantine")
    assert path == bad.path
    assert reason in found


def test_a_quarantined_file_is_tried_again_once_it_changed(settings: Settings, warehouse: Warehouse) -> None:
    """A repaired file is loaded and leaves the quarantine; an unchanged one is left alone."""
    (manifest,) = seal_records(settings, [make_record()])
    path = settings.lake / manifest.path
    whole = path.read_bytes()
    _flip(path)
    loading.load(warehouse, "request_analytics")
    first = warehouse.rows("select * from pipeline.quarantine")
    loading.load(warehouse, "request_analytics")
    assert warehouse.rows("select * from pipeline.quarantine") == first
    path.write_bytes(whole)
    assert loading.load(warehouse, "request_analytics").rows == 1
    assert warehouse.rows("select * from pipeline.quarantine") == []


def test_a_file_that_is_not_ours_is_named(settings: Settings, warehouse: Warehouse) -> None:
    """Parquet files at any level of the lake that no manifest describes are reported, not read."""
    (manifest,) = seal_records(settings, [make_record()])
    hour = (settings.lake / manifest.path).parent
    table = pa.table({"a": [1]})
    for folder in (hour, hour.parent, hour.parent.parent):
        pq.write_table(table, folder / "foreign.parquet")
    pq.write_table(table, settings.lake / "stray.parquet")
    pq.write_table(table, hour / ".tmp-half.parquet")
    result = loading.load(warehouse, "request_analytics")
    assert sorted(Path(suspect.path).name for suspect in result.quarantined) == ["foreign.parquet"] * 3
    assert [suspect.path for suspect in reading.strays(settings.lake)] == ["stray.parquet"]
    assert result.rows == 1


def test_one_bad_row_spares_the_group_it_is_loaded_with(settings: Settings, warehouse: Warehouse) -> None:
    """When a group's transaction fails, its files are loaded one by one and only the bad one stays out."""
    manifests = [seal_records(settings, [make_record()], writer_id=f"w{i}")[0] for i in range(5)]
    _value_out_of_bounds(settings.lake / manifests[2].path)
    result = loading.load(warehouse, "request_analytics")
    assert sorted(result.segments) == sorted(m.name for i, m in enumerate(manifests) if i != 2)
    assert warehouse.value("select count(*) from request_analytics") == 4


@pytest.mark.parametrize(
    "request_id",
    [
        "not-a-uuid",
        "",
        "3b241101-e2bb-4255-8caf-4136c566a962",
        "0190163d86944e7baea566c26f8ad91a",  # its 15th digit looks like the version, which is 4
        "0190163d8694797baea566c26f8ad91a",
        "{0190163d-8694-797b-aea5-66c26f8ad91a}",
        "0190163d-8694-7-7b-aea5-66c26f8ad91a",
        "0190163d-8694-797b-aea5-66c26f8ad91x",
        "0190163d-8694-797b-aea5-66c26f8ad91a\n",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",  # the year 10889
    ],
)
def test_feedback_on_an_id_that_is_no_uuid7_loads(
    settings: Settings, warehouse: Warehouse, request_id: str
) -> None:
    """A judgement of an unknown kind of id is kept, and makes no hour stale."""
    seal_records(settings, [make_feedback(make_record(), 1.0, request_id=request_id)])
    assert loading.load(warehouse, "feedback").quarantined == []
    assert warehouse.rows("select request_hour from feedback") == [(None,)]
    assert warehouse.rows("select * from pipeline.stale_hours") == []


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_feedback_on_a_uuid7_has_the_hour_of_its_request(
    settings: Settings, warehouse: Warehouse, spelling: Callable[[str], str]
) -> None:
    """The hour is in the id, however its digits are written."""
    request_id = spelling("0190163d-8694-797b-aea5-66c26f8ad91a")
    seal_records(settings, [make_feedback(make_record(), 1.0, request_id=request_id)])
    loading.load(warehouse, "feedback")
    assert warehouse.rows("select request_hour from feedback") == [(datetime(2024, 6, 14, 10, tzinfo=UTC),)]


def test_an_empty_lake_is_nothing_to_do(warehouse: Warehouse) -> None:
    """Without a single segment every step succeeds and nothing is written."""
    run_steps(warehouse)
    assert warehouse.value("select count(*) from task_model_scores") == 0
    assert not warehouse.settings.scores_file.exists()


def test_a_settled_folder_is_not_listed_until_it_changes(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of a load follows the folders that changed, not the segments there are."""
    monkeypatch.setattr(reading, "SETTLE_S", 0.0)
    seal_records(settings, [make_record(NOW + timedelta(hours=i)) for i in range(5)])
    loading.load(warehouse, "request_analytics")
    settled = dict(warehouse.rows("select folder, changed_ns from pipeline.settled_folders"))
    assert len(settled) == 5
    assert reading.scan(settings.lake, "request_analytics", settled=settled).folders == {}
    seal_records(settings, [make_record(NOW + timedelta(hours=2))])
    assert len(reading.scan(settings.lake, "request_analytics", settled=settled).folders) == 1
    assert loading.load(warehouse, "request_analytics").rows == 1


def test_a_late_segment_of_an_expired_day_is_noted_not_loaded(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Rows older than retention's cutoff do not come back, and the ledger says so."""
    warehouse.connection.execute(
        "insert into pipeline.retention values ($at)", {"at": NOW.replace(hour=0) + timedelta(days=1)}
    )
    seal_records(settings, [make_record()])
    result = loading.load(warehouse, "request_analytics")
    assert (result.rows, result.expired) == (0, 1)
    assert warehouse.value("select count(*) from pipeline.load_ledger where expired_at is not null") == 1


NUMBERS: dict[str, tuple[Any, ...]] = {
    "tokens_input": (10**12, -(10**12), 10**12 + 1, -(2**63)),
    "tokens_cache_write": (10**12, -(10**12), 2**63 - 1, -(10**13)),
    "cost_usd": (Decimal(10**9), Decimal(-(10**9)), Decimal("9e25"), Decimal("-9e25")),
    "provider_cost_usd": (Decimal(10**9), Decimal(-(10**9)), Decimal("9e25"), Decimal("-9e25")),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_beyond_its_bounds_costs_its_segment_alone(
    settings: Settings, warehouse: Warehouse, name: str
) -> None:
    """Above and below: two such rows would stop the sums of every later refresh."""
    most, least, *beyond = NUMBERS[name]
    if name not in ("cost_usd", "tokens_input"):  # those have a narrower bound above
        seal_records(settings, [make_record(**{name: most})])
    seal_records(settings, [make_record(**{name: least})], writer_id="least")
    refused = [seal_records(settings, [make_record(**{name: value})] * 2)[0] for value in beyond]
    run_steps(warehouse)
    held = warehouse.rows("select path, reason from pipeline.quarantine order by path")
    assert [path for path, _ in held] == sorted(manifest.path for manifest in refused)
    assert all(name in reason for _, reason in held)
    assert warehouse.count("request_analytics") >= 1
