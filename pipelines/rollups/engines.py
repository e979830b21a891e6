"""The engine that folds records into the rollups: DuckDB, or a Spark Connect server (ENGINE).

An engine reads the records of some hours and gives the rows of every rollup. DuckDB inserts them, and does
everything after the rollups. The statements are the same on every engine, and so are the results.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import linked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

    Insert = Callable[[str], object]


class Engine(Protocol):
    """Folds the records of some hours."""

    def folded(self, warehouse: Warehouse, start: datetime, end: datetime) -> AbstractContextManager[Insert]:
        """A function that inserts a rollup's rows of the hours from `start` to `end`, by its table's name.

        Call it inside a transaction.
        """


class DuckDB:
    """The build database itself."""

    @contextlib.contextmanager
    def folded(self, warehouse: Warehouse, start: datetime, end: datetime) -> Iterator[Insert]:
        """Run the statements where the rows are."""
        with linked.narrowed(warehouse, start, end):
            yield lambda table: warehouse.run(f"rollups/{table}", start=start, end=end, **HOURLY[table])


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The engine that ENGINE names. ConfigError or EngineError if it cannot be used."""
    if settings.engine == "duckdb":
        yield DuckDB()
        return
    from pipelines.rollups import spark

    with spark.connected(settings) as engine:
        yield engine


def check(settings: Settings, *, reach: bool = False) -> None:
    """ConfigError if the engine cannot be used as it is set.

    With `reach`, EngineError if its server is away.
    """
    if settings.engine == "spark":
        from pipelines.rollups import spark

        address = spark.address(settings)
        if reach:
            spark.reach(address)
