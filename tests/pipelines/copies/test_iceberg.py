"""The lake's segments are Iceberg tables for other engines, and the tables follow the lake."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from pipelines import flow
from pipelines.copies import iceberg
from pipelines.copies.copy_commands import export_group
from pipelines.copies.iceberg import Registered, export_iceberg
from pipelines.errors import CopyError
from pipelines.lake import compaction
from pipelines.rollups import spark
from pipelines.warehouse import loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.errors import ConfigError
from router.records import Record
from tests.pipelines.helpers import NOW, make_feedback, make_log, make_record, seal_records
from tests.sail import SailServer

PERSON = "person-4711"
SEGMENTS = Path(__file__).resolve().parents[2] / "fixtures" / "segments"
SUMS = "select count(*), sum(cost_usd), count(distinct id), sum(latency_ms) from request_analytics"


def seal(settings: Settings, hours: int = 3, **changes: Any) -> None:
    """A segment of each dataset for each hour."""
    for hour in range(hours):
        records: list[Record] = []
        for minute in range(6):
            at = NOW + timedelta(hours=hour, minutes=minute)
            record = make_record(at, latency_ms=10.0 * minute, **changes)
            records += [record, make_feedback(record, 0.5), make_log(record)]
        seal_records(settings, records)


def load(settings: Settings) -> None:
    """Bring the ledger up to the lake."""
    with Warehouse(settings) as warehouse:
        loading.load_all(warehouse)


def exported(settings: Settings) -> dict[str, Registered]:
    """The result of an export, by table."""
    return {item.table: item for item in export_iceberg(settings)}


def table(settings: Settings, dataset: str) -> Table:
    """A table, opened as another program would."""
    path = settings.home.absolute() / "iceberg" / "catalog.db"
    with SqlCatalog("intellirouter", uri=f"sqlite:///{path}") as catalog:
        return catalog.load_table(("intellirouter", dataset))


def sums_of(settings: Settings) -> tuple[Any, ...]:
    """Count, cost, distinct ids and latency that a reader of the table finds."""
    rows = table(settings, "request_analytics").scan().to_arrow().to_pylist()
    costs, ids = [row["cost_usd"] or 0 for row in rows], {row["id"] for row in rows}
    return len(rows), sum(costs), len(ids), sum(row["latency_ms"] for row in rows)


def expected_of(settings: Settings) -> tuple[Any, ...]:
    """The same from the warehouse."""
    with Warehouse(settings) as warehouse:
        return warehouse.rows(SUMS)[0]


@pytest.mark.smoke
def test_tables_are_read_with_the_sums_of_the_warehouse(settings: Settings) -> None:
    """Every dataset is a table, with each row once, and no row is copied."""
    seal(settings)
    load(settings)
    found = exported(settings)
    assert {name: item.rows for name, item in found.items()} == {
        "request_analytics": 18,
        "feedback": 18,
        "request_logs": 18,
        "security_events": 0,
    }
    assert sums_of(settings) == expected_of(settings)
    assert not list(iceberg.folder(settings).rglob("*.parquet"))


def test_a_second_export_adds_only_new_segments(settings: Settings) -> None:
    """Segments that are registered are not read again."""
    seal(settings)
    load(settings)
    exported(settings)
    assert {item.added for item in exported(settings).values()} == {0}
    seal(settings, hours=1, user_id="u2")
    load(settings)
    again = exported(settings)["request_analytics"]
    assert (again.added, again.files, again.is_new) == (1, 4, False)
    assert sums_of(settings) == expected_of(settings)


def test_segments_that_are_not_loaded_are_not_registered(settings: Settings) -> None:
    """A segment that the warehouse has not verified is in no table."""
    seal(settings, hours=1)
    load(settings)
    seal(settings, hours=1)
    assert exported(settings)["request_analytics"].rows == 6


def test_merged_segments_are_replaced(settings: Settings) -> None:
    """After a compaction, the tables list its files."""
    seal(settings)
    seal(settings)
    load(settings)
    exported(settings)
    compaction.compact(settings.lake, now=NOW + timedelta(days=3))
    load(settings)
    found = exported(settings)["request_analytics"]
    assert (found.files, found.rows, found.is_new) == (3, 36, True)
    assert sums_of(settings) == expected_of(settings)


def test_an_erased_person_is_in_no_list(settings: Settings) -> None:
    """Their rows leave the table with the next export, and no bound of a column kept their id."""
    seal(settings)
    seal(settings, user_id=PERSON, session_id=PERSON)
    load(settings)
    exported(settings)
    for path in iceberg.folder(settings).rglob("*"):
        assert path.is_dir() or PERSON.encode() not in path.read_bytes()
    bounds = table(settings, "request_analytics").inspect.files().column("readable_metrics").to_pylist()
    known = {
        name for found in bounds for name, metrics in found.items() if metrics["lower_bound"] is not None
    }
    assert known == {"timestamp"}
    flow.erase(settings, PERSON)
    found = exported(settings)["request_analytics"]
    assert (found.rows, found.is_new) == (18, True)
    assert sums_of(settings) == expected_of(settings)


def test_segments_of_earlier_schema_versions_lack_columns(settings: Settings) -> None:
    """A column that a release added is NULL in files of releases before it."""
    for version in ("v1", "v2", "v3"):
        shutil.copytree(SEGMENTS / version, settings.lake, dirs_exist_ok=True)
    load(settings)
    assert exported(settings)["request_analytics"].left_out == ()
    assert sums_of(settings) == expected_of(settings)
    rows = table(settings, "request_analytics").scan().to_arrow()
    assert 0 < rows.column("model_answered").null_count <= rows.num_rows


def test_a_segment_with_rows_that_are_elsewhere_is_left_out(settings: Settings) -> None:
    """Each row is in the table once. The result names the segment."""
    records = [make_record(NOW + timedelta(minutes=minute)) for minute in range(4)]
    seal_records(settings, records)
    seal_records(settings, records[:2], writer_id="w2")
    load(settings)
    found = exported(settings)["request_analytics"]
    assert (found.rows, len(found.left_out)) == (4, 1)
    assert sums_of(settings) == expected_of(settings)


@pytest.mark.parametrize("lost", ["iceberg", "iceberg/catalog.db", "iceberg/intellirouter"])
def test_lost_tables_are_made_again(settings: Settings, lost: str) -> None:
    """They are a view of the manifests, so that nothing is lost with them."""
    seal(settings)
    load(settings)
    exported(settings)
    path = settings.home / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    exported(settings)
    assert sums_of(settings) == expected_of(settings)


def test_a_damaged_catalog_is_named_with_its_remedy(settings: Settings) -> None:
    """The error is one line, and removing the folder helps."""
    seal(settings, hours=1)
    load(settings)
    exported(settings)
    (iceberg.folder(settings) / "catalog.db").write_bytes(b"no database" * 1000)
    with pytest.raises(CopyError, match="Remove the folder") as refusal:
        exported(settings)
    assert "\n" not in str(refusal.value)
    shutil.rmtree(iceberg.folder(settings))
    assert exported(settings)["request_analytics"].rows == 6


def test_a_missing_extra_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error gives the command that installs it."""
    monkeypatch.setitem(sys.modules, "pyiceberg.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'intellirouter\[iceberg\]'"):
        export_iceberg(settings)


def test_the_command_prints_each_table(settings: Settings) -> None:
    """A person sees rows, files and the folder; a program reads JSON."""
    seal(settings, hours=1)
    load(settings)
    arguments = ["iceberg", "--home", str(settings.home)]
    shown = CliRunner().invoke(export_group, arguments)
    assert shown.exit_code == 0, shown.output
    assert "request_analytics: 6 rows in 1 files, 1 added" in shown.output
    done = CliRunner().invoke(export_group, [*arguments, "--format", "json"])
    assert [row["rows"] for row in json.loads(done.stdout)] == [6, 6, 6, 0]


@pytest.mark.slow
def test_another_engine_reads_equal_sums(settings: Settings) -> None:
    """Sail reads the table by its folder alone."""
    if SailServer.program() is None:
        pytest.skip("Sail is not installed: pip install pysail")
    seal(settings)
    load(settings)
    location = exported(settings)["request_analytics"].location
    with SailServer() as server:
        remote = spark.address(Settings.load({}, home=settings.home, spark_remote=server.remote))
        # After `address`: it imports the client for programs without a file too, such as a test's worker.
        from pyspark.sql.connect.session import SparkSession

        session = SparkSession.builder.remote(remote).create()
        session.read.format("iceberg").load(location).createOrReplaceTempView("request_analytics")
        found = session.sql(SUMS).toArrow().to_pylist()
        session.stop()
    assert [tuple(row.values()) for row in found] == [expected_of(settings)]
