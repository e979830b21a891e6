"""Every engine folds the same records into the same rollups, to the last digit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import flow
from pipelines.errors import EngineError
from pipelines.refresh import rebuild, refresh
from pipelines.rollups import rollups, spark
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import linked, loading, sqlfiles
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.errors import ConfigError, IntelliRouterError
from tests.pipelines.helpers import NOW, make_record, seal_records
from tests.pipelines.rollups import fold_lakes
from tests.sail import SailServer

REMOTE = "INTELLIROUTER_TEST_SPARK_REMOTE"
"""The variable with the address of another server to compare, such as one of Apache Spark."""
FEWEST = 40
"""Segments with so many rows are read in their files."""
SECOND_RUN = fold_lakes.START + fold_lakes.LATER
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module", params=["local", "local-cluster"])
def remote(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a running server: of one process, or of a driver with workers."""
    if given := os.environ.get(REMOTE):
        yield given
        return
    with a_sail(SAIL_MODE=request.param) as server:
        yield server.remote


def a_sail(**environment: str) -> SailServer:
    """A server that is not started yet."""
    if SailServer.program() is None:
        pytest.skip("Sail is not installed: pip install pysail")
    return SailServer(**environment)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The small lake, folded by DuckDB: linked and small segments, late judgements, removed rows."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("engines") / "data")
    fill(settings)
    return settings


def fill(settings: Settings) -> None:
    """Write the small lake, load it, and fold it on DuckDB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linked, "FEWEST_ROWS", FEWEST)
        _fill(settings)


def _fill(settings: Settings) -> None:
    requests = fold_lakes.write(settings, (1, 2), each=90, seed=11)
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
    flow.erase(settings, fold_lakes.PERSON)
    left = [request for request in requests if request.user_id != fold_lakes.PERSON]
    left += fold_lakes.write(settings, (3, 4), each=20, seed=12)  # small segments, after the removal
    seal_records(settings, fold_lakes.late_judgements(left), writer_id="w5")
    with Warehouse(settings) as warehouse:
        loading.load_all(warehouse)
        rollups.fold_stale_hours(warehouse)


def folded(settings: Settings, **changes: Any) -> Rows:
    """The rollups after a fold of every hour, with some settings changed."""
    with Warehouse(Settings.load({}, home=settings.home, **changes)) as warehouse:
        end = fold_lakes.START + 2 * fold_lakes.LATER
        rollups.mark_stale(warehouse, fold_lakes.START, end)
        for table in HOURLY:  # what a fold does not write is missed
            warehouse.run(sqlfiles.load("tables/clear", table=table))
        rollups.fold_stale_hours(warehouse)
        return {table: warehouse.rows(f"from {table} order by all") for table in HOURLY}


@pytest.mark.slow
def test_every_rollup_is_equal_on_every_engine(lake: Settings, remote: str) -> None:
    """0 rows and 0 values differ: files and tables, late judgements, removed rows, edge values."""
    places = ("pipeline.linked_segments", "pipeline.removals", "request_analytics_rows", "feedback_rows")
    with Warehouse(lake) as warehouse:
        counts = {place: warehouse.count(place) for place in places}
    assert all(counts.values()), counts
    expected = folded(lake)
    assert all(expected.values()), {table: len(rows) for table, rows in expected.items()}
    found = folded(lake, engine="spark", spark_remote=remote)
    for table in HOURLY:
        assert found[table] == expected[table], table


@pytest.mark.slow
def test_rows_of_tables_may_need_many_messages(
    lake: Settings, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is lost or doubled between them."""
    monkeypatch.setattr(spark, "MESSAGE_BYTES", 10_000)
    assert folded(lake, engine="spark", spark_remote=remote) == folded(lake)


@pytest.mark.slow
def test_a_refresh_on_spark_gives_the_rollups_of_one_on_duckdb(settings: Settings, remote: str) -> None:
    """A job of Dagster folds on the server, and the next refresh of new hours does too."""
    on_spark = Settings.load({}, home=settings.home, engine="spark", spark_remote=remote)
    for hour in range(2):
        seal_records(settings, [make_record(NOW + timedelta(hours=hour, minutes=n)) for n in range(9)])
        result = refresh(on_spark)
        assert result.success, result.error
        assert result.violated == frozenset()
    with Warehouse(settings) as warehouse:
        assert warehouse.rows("select sum(requests) from usage_quarter_hourly") == [(18,)]


@pytest.mark.slow
def test_a_server_that_stops_leaves_hours_to_fold(lake: Settings) -> None:
    """Hours that the server folded are whole, the others stay as they were, and DuckDB folds them later."""
    expected = folded(lake)
    server = a_sail()
    server.start()
    on_spark = Settings.load({}, home=lake.home, engine="spark", spark_remote=server.remote)

    class StoppedAtTheSecondRun(spark.Spark):
        runs = 0

        def _fold(self, *arguments: Any) -> dict[str, Any]:
            self.runs += 1
            if self.runs == 2:
                server.stop()
            return super()._fold(*arguments)

    with Warehouse(on_spark) as warehouse, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spark, "Spark", StoppedAtTheSecondRun)
        rollups.mark_stale(warehouse, fold_lakes.START, fold_lakes.START + 2 * fold_lakes.LATER)
        warehouse.connection.execute("update usage_quarter_hourly set requests = 7")
        with pytest.raises(EngineError, match="ENGINE=duckdb"):
            rollups.fold_stale_hours(warehouse)
        left = warehouse.rows("select hour >= $later from pipeline.stale_hours", later=SECOND_RUN)
        assert set(left) == {(True,)}
        wrong = warehouse.rows(
            "select distinct quarter_hour >= $later from usage_quarter_hourly"
            " where requests = 7 and quarter_hour >= $later",
            later=SECOND_RUN,
        )
        assert wrong == [(True,)]
    with Warehouse(lake) as warehouse:
        rollups.fold_stale_hours(warehouse)
        assert {table: warehouse.rows(f"from {table} order by all") for table in HOURLY} == expected


@pytest.mark.slow
def test_a_server_that_does_not_see_a_file_is_refused(
    lake: Settings, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would leave out the rows of the file without an error."""
    before = folded(lake)
    seen = spark.Spark._read

    def elsewhere(self: spark.Spark, settings: Settings, files: Sequence[str], rows: int) -> Any:
        return seen(self, settings, [f"{file}.away" for file in files], rows)

    monkeypatch.setattr(spark.Spark, "_read", elsewhere)
    with Warehouse(Settings.load({}, home=lake.home, engine="spark", spark_remote=remote)) as warehouse:
        rollups.mark_stale(warehouse, fold_lakes.START, fold_lakes.START + 2 * fold_lakes.LATER)
        with pytest.raises(EngineError, match="Hours still to be folded keep their rollups"):
            rollups.fold_stale_hours(warehouse)
        assert {table: warehouse.rows(f"from {table} order by all") for table in HOURLY} == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a=b c", "a* {b}]", "100%"])
def test_the_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Names that look like a pattern or an escape are names."""
    with a_sail() as server:
        settings = Settings.load({}, home=tmp_path / name, engine="spark", spark_remote=server.remote)
        assert fold_one(settings) == [NOW]


def fold_one(settings: Settings) -> list[Any]:
    """Load and fold a request. Returns the hours that were folded."""
    seal_records(settings, [make_record()])
    with Warehouse(settings) as warehouse:
        loading.load_all(warehouse)
        try:
            return rollups.fold_stale_hours(warehouse)
        except IntelliRouterError:
            assert warehouse.count("usage_quarter_hourly") == 0
            assert warehouse.count("pipeline.stale_hours") == 1
            raise


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (None, "needs SPARK_REMOTE"),
        ("http://127.0.0.1:15002", "must be an address such as"),
        ("sc://", "must be an address such as"),
        ("sc://127.0.0.1:port", "must be an address such as"),
    ],
)
def test_an_address_that_is_none_is_refused(settings: Settings, address: str | None, reason: str) -> None:
    """The error names the variable and an example, in one line, and no rollup changes."""
    with pytest.raises(ConfigError, match=reason) as refusal:
        fold_one(Settings.load({}, home=settings.home, engine="spark", spark_remote=address))
    assert "SPARK_REMOTE" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_empty_address_is_none() -> None:
    """`SPARK_REMOTE=` in a file of settings leaves it out."""
    assert Settings.load({"SPARK_REMOTE": ""}).spark_remote is None


def test_a_program_without_a_file_can_use_the_client() -> None:
    """The client would end `python -c`, and a worker of pytest: it takes them for doctests of its own."""
    pytest.importorskip("pyspark.sql")
    program = (
        "import sys; from pipelines.rollups import spark; from router.config import Settings;"
        " spark.address(Settings.load({}, engine='spark', spark_remote='sc://localhost'));"
        " print(hasattr(sys.modules['__main__'], '__file__'))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "False\n"), ran.stderr


def test_a_server_that_is_not_there_is_named(settings: Settings) -> None:
    """The error gives the address without its token, and the remedy. No rollup changes."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    remote = f"sc://127.0.0.1:{port}/;token=canary-token"
    with pytest.raises(EngineError, match=f"127.0.0.1:{port}.*cannot be reached.*ENGINE=duckdb") as refusal:
        fold_one(Settings.load({}, home=settings.home, engine="spark", spark_remote=remote))
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("package", ["sqlglot", "pyspark.sql.connect.session"])
def test_a_missing_extra_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """The error gives the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install 'intellirouter\[spark\]'"):
        fold_one(Settings.load({}, home=settings.home, engine="spark", spark_remote="sc://127.0.0.1:1"))


def test_a_rebuild_without_its_server_sets_nothing_aside(settings: Settings) -> None:
    """The database stays as it is, and a refresh on the other engine goes on with it."""
    fold_one(settings)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = Settings.load({}, home=settings.home, engine="spark", spark_remote=f"sc://127.0.0.1:{port}")
    with pytest.raises(EngineError, match="cannot be reached"):
        rebuild(away)
    assert list(settings.build_file.parent.glob("*.broken-*")) == []
    with Warehouse(settings) as warehouse:
        assert warehouse.count("usage_quarter_hourly") == 1


def test_a_refresh_without_an_address_does_not_begin(settings: Settings) -> None:
    """The error comes before a run of Dagster, whose log would hide it."""
    with pytest.raises(ConfigError, match="SPARK_REMOTE"):
        refresh(Settings.load({}, home=settings.home, engine="spark"))
    assert not settings.build_file.exists()


def test_no_server_is_asked_if_no_hour_is_stale(settings: Settings) -> None:
    """A refresh with nothing new needs no engine."""
    fold_one(settings)
    with Warehouse(Settings.load({}, home=settings.home, engine="spark")) as warehouse:
        assert rollups.fold_stale_hours(warehouse) == []


@pytest.mark.smoke
def test_an_unknown_engine_is_refused() -> None:
    """The error names the two that there are."""
    with pytest.raises(ConfigError, match=r"duckdb.*spark"):
        Settings.load({"ENGINE": "dask"})
