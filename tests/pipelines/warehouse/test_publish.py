"""What leaves the pipelines is whole, current, and never locked."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from pipelines.doctor.doctor import inspect
from pipelines.errors import WarehouseBusyError, WarehouseError
from pipelines.lake import reading
from pipelines.refresh import refresh
from pipelines.reports import reports
from pipelines.warehouse import publishing
from pipelines.warehouse.pending import pending_segments
from pipelines.warehouse.warehouse import Warehouse
from router.catalog.catalog import EXAMPLE_FILE
from router.config import Settings
from router.scores.board import ScoreSnapshot
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records

READER = """
    import sys, time, duckdb
    path, stop = sys.argv[1:]
    import pathlib
    counts = []
    while not pathlib.Path(stop).exists():
        with duckdb.connect(path, read_only=True) as connection:
            raw = connection.execute("select count(*) from request_analytics").fetchone()[0]
            rolled = connection.execute("select sum(requests) from usage_hourly").fetchone()[0]
        assert raw == rolled, (raw, rolled)
        counts.append(raw)
    print(len(counts), len(set(counts)), counts == sorted(counts))
"""


def test_scores_are_published_whole_and_only_when_new(settings: Settings, warehouse: Warehouse) -> None:
    """The score file names its content; equal knowledge is not written twice."""
    record = make_record()
    seal_records(settings, [record, make_feedback(record, 0.5)])
    run_steps(warehouse)
    snapshot = ScoreSnapshot.read(settings.scores_file)
    standing = settings.scores_file.stat()
    assert snapshot.as_of == NOW + timedelta(seconds=30)
    assert {(row.task_type, row.requests_with_quality) for row in snapshot.rows} == {("*", 1), ("math", 1)}
    run_steps(warehouse)
    assert settings.scores_file.stat() == standing
    seal_records(settings, [make_record(NOW + timedelta(minutes=1))])
    run_steps(warehouse)
    newer = ScoreSnapshot.read(settings.scores_file)
    assert newer.snapshot_id != snapshot.snapshot_id
    assert ScoreSnapshot.read(settings.scores_file.with_name(f"{snapshot.snapshot_id}.json")) == snapshot
    assert warehouse.rows(
        "select snapshot_id, count(*) from model_performance_history group by snapshot_id order by min(as_of)"
    ) == [(snapshot.snapshot_id, 4), (newer.snapshot_id, 4)]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00 not json", b'{"snapshot_id": "x"}'])
def test_a_corrupt_score_file_is_replaced(settings: Settings, warehouse: Warehouse, content: bytes) -> None:
    """A damaged current.json does not stop the next refresh; it is written again."""
    seal_records(settings, [make_record()])
    run_steps(warehouse)
    good = ScoreSnapshot.read(settings.scores_file)
    settings.scores_file.write_bytes(content)
    run_steps(warehouse)
    assert ScoreSnapshot.read(settings.scores_file).snapshot_id == good.snapshot_id


def test_the_published_file_is_left_alone_when_nothing_changed(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh without news copies nothing, once the folders are old enough to be left unlisted."""
    monkeypatch.setattr(reading, "SETTLE_S", 0.0)
    seal_records(settings, [make_record()])
    rows = {"request_analytics": 1, "feedback": 0, "request_logs": 0, "security_events": 0}
    assert refresh(settings, instance=instance).rows == rows
    standing = settings.warehouse_file.stat()
    assert refresh(settings, instance=instance).segments == 0
    assert settings.warehouse_file.stat() == standing


def test_the_published_file_is_of_the_older_storage_version(settings: Settings, warehouse: Warehouse) -> None:
    """Shells of DuckDB 1.5 can open what is published."""
    run_steps(warehouse)
    publishing.publish_warehouse(warehouse)
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
        tags = connection.execute("select tags from duckdb_databases() where not internal").fetchone()
    assert tags is not None
    assert str(tags[0]["storage_version"]).startswith("v1.5")


@pytest.mark.slow
def test_a_reader_in_another_process_never_meets_a_lock(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """A second process opens and queries the warehouse all through several refreshes, and every
    answer is of one finished refresh."""
    seal_records(settings, [make_record()])
    refresh(settings, instance=instance)
    stop = tmp_path / "stop"
    reader = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(READER), str(settings.warehouse_file), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for index in range(5):
        seal_records(settings, [make_record(NOW + timedelta(minutes=index, seconds=i)) for i in range(50)])
        assert refresh(settings, instance=instance).success
    stop.touch()
    output, errors = reader.communicate(timeout=60)
    assert reader.returncode == 0, errors
    looks, distinct, is_monotonic = output.split()
    assert int(looks) > 20
    assert int(distinct) >= 4
    assert is_monotonic == "True"


def test_an_open_reader_does_not_block_the_refresh(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """An analyst who keeps a shell open on the warehouse neither stops nor slows the writer."""
    seal_records(settings, [make_record()])
    refresh(settings, instance=instance)
    hold = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True);"
        " print('open', flush=True); sys.stdin.read();"
        " print(c.execute('select count(*) from request_analytics').fetchone()[0])"
    )
    shell = subprocess.Popen(
        [sys.executable, "-c", hold, str(settings.warehouse_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shell.stdout is not None
    assert shell.stdout.readline() == "open\n"
    seal_records(settings, [make_record(NOW + timedelta(minutes=1))])
    assert refresh(settings, instance=instance).success
    output, _ = shell.communicate("", timeout=30)
    assert output == "1\n"  # the copy it opened, still whole


def test_one_process_writes_at_a_time(settings: Settings) -> None:
    """A second writer waits a bounded time and is told who holds the lock."""
    with (
        Warehouse(settings),
        pytest.raises(WarehouseBusyError, match="another refresh"),
        Warehouse(settings, lock_wait_s=0.1),
    ):
        pass


def test_a_full_disk_does_not_keep_the_lock(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that cannot write its name into the lock file releases the lock, also for its own process."""

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", fail)
        with pytest.raises(OSError, match="No space left"), Warehouse(settings):
            pass
    with Warehouse(settings, lock_wait_s=0.0):
        pass


@pytest.mark.parametrize("damage", [b"junk", b"", b"\x00" * 100_000])
def test_a_corrupt_build_is_set_aside_and_rebuilt(settings: Settings, damage: bytes) -> None:
    """A build database that does not open is kept under another name and filled again from the lake."""
    seal_records(settings, [make_record(NOW + timedelta(hours=i)) for i in range(3)])
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        before = warehouse.rows("select * from usage_hourly order by all")
    settings.build_file.write_bytes(damage)
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        assert warehouse.rows("select * from usage_hourly order by all") == before
    (kept,) = settings.build_file.parent.glob("*.broken-*")
    assert kept.read_bytes() == damage


def test_models_carry_prices_and_measured_quality(
    settings: Settings, instance: dg.DagsterInstance, query: Callable[..., list[tuple[object, ...]]]
) -> None:
    """`models` has the catalog's current price per 1k tokens, and quality once it was measured."""
    settings.home.mkdir(parents=True)
    settings.catalog_file.write_bytes(EXAMPLE_FILE.read_bytes())
    record = make_record(model_selected="gpt-4o")
    seal_records(settings, [record, make_feedback(record, 1.0)])
    assert refresh(settings, instance=instance).success
    assert [
        (model, str(price), task)
        for model, price, task in query(
            "select id, input_price_per_1k, json_keys(quality_scores) from models order by id"
        )
    ] == [("gpt-4o", "0.002500000000", ["math"]), ("gpt-4o-mini", "0.000150000000", None)]
    settings.catalog_file.write_text("providers: [")
    assert refresh(settings, instance=instance).success
    assert query("select count(*) from models") == [(2,)]


VISITOR = """
    import os, sys, duckdb
    connection = duckdb.connect(sys.argv[1])  # as `duckdb FILE` opens it: for writing
    connection.execute("create view of_a_visitor as select 1 as one")
    print("open", flush=True)
    for order in sys.stdin:
        if order == "die\\n":
            os.kill(os.getpid(), 9)
        connection.execute("create or replace view of_a_visitor as select 2 as two")
        print("wrote", flush=True)
    connection.close()
"""


class Visitor:
    """Another process that opens the published file for writing."""

    def __init__(self, settings: Settings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(VISITOR), str(settings.warehouse_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "open\n"

    def write(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("write\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "wrote\n"

    def die(self) -> None:
        self._process.communicate("die\n", timeout=30)

    def leave(self) -> None:
        self._process.communicate("", timeout=30)


@pytest.fixture
def visited(settings: Settings, warehouse: Warehouse) -> Warehouse:
    """A published warehouse of one record, and write access for the visitor, as its owner could take it."""
    seal_records(settings, [make_record()])
    run_steps(warehouse)
    publishing.publish_warehouse(warehouse)
    settings.warehouse_file.chmod(0o644)
    return warehouse


def test_the_published_file_is_read_only(settings: Settings, warehouse: Warehouse) -> None:
    run_steps(warehouse)
    publishing.publish_warehouse(warehouse)
    assert settings.warehouse_file.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("has_news", [True, False])
@pytest.mark.parametrize("act", ["die", "leave", "stay", "write after the publish"])
def test_the_next_publish_is_readable_whatever_a_visitor_did(
    settings: Settings, visited: Warehouse, act: str, has_news: bool, query: Callable[..., list[tuple[int]]]
) -> None:
    """Even without news: a refresh must not report success and leave a file that nobody can open."""
    visitor = Visitor(settings)
    if act == "die":
        visitor.die()
    elif act == "leave":
        visitor.leave()
    if has_news:
        seal_records(settings, [make_record()])
    run_steps(visited)
    publishing.publish_warehouse(visited)
    if act == "write after the publish":
        visitor.write()
    assert query("select count(*) from request_analytics") == [(2 if has_news else 1,)]
    assert query("select view_name from duckdb_views() where view_name = 'of_a_visitor'") == []
    visitor.leave()
    publishing.publish_warehouse(visited)
    assert query("select count(*) from request_analytics") == [(2 if has_news else 1,)]


@pytest.mark.parametrize("act", ["die", "stay", "damage"])
def test_an_unreadable_published_file_is_news_for_the_sensor_and_named_by_readers(
    settings: Settings, visited: Warehouse, act: str, query: Callable[..., list[tuple[int]]]
) -> None:
    assert pending_segments(settings) == []
    if act == "damage":
        settings.warehouse_file.write_bytes(b"junk" * 5000)
    else:
        visitor = Visitor(settings)
    if act == "die":
        visitor.die()
        # A later database in the same place, with the log of the earlier one.
        seal_records(settings, [make_record()])
        run_steps(visited)
        visited.close()
        settings.warehouse_file.write_bytes(settings.build_file.read_bytes())
    assert pending_segments(settings) != []
    with pytest.raises(WarehouseError, match="Run `intellirouter refresh`"):
        reports.query(settings, "select 1")
    [finding] = [item for item in inspect(settings).findings if item.what.startswith("the published")]
    assert "intellirouter refresh" in finding.advice
    publishing.publish_warehouse(visited)
    assert query("select count(*) from request_analytics") == [(2 if act == "die" else 1,)]
    assert pending_segments(settings) == []
    if act == "stay":
        visitor.leave()
