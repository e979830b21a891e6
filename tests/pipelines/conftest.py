"""Fixtures of the pipeline tests: a data folder and its databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipelines.warehouse import descriptions
from pipelines.warehouse import warehouse as warehouses
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import duckdb


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A build database with every migration and comment, and no row."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("migrated") / "data")
    with Warehouse(settings) as opened:
        descriptions.comment(opened.connection)
    return settings.build_file.read_bytes()


@pytest.fixture(autouse=True)
def _new_databases_are_copies(migrated: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Migrations and comments take longer than the rest of a small test, so that they run once."""
    opening = warehouses._open

    def open_copy(settings: Settings) -> duckdb.DuckDBPyConnection:
        if not settings.build_file.exists():
            settings.build_file.write_bytes(migrated)
        return opening(settings)

    monkeypatch.setattr(warehouses, "_open", open_copy)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an empty data folder."""
    return Settings.load({}, home=tmp_path / "data")


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    """The build database of the data folder, locked and open."""
    with Warehouse(settings) as opened:
        yield opened


@pytest.fixture
def query(settings: Settings) -> Callable[..., list[tuple[Any, ...]]]:
    """Rows of a query on the published warehouse."""
    import duckdb

    def run(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.execute(sql, parameters).fetchall()

    return run


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that the whole session shares."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
