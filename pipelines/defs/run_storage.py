"""Dagster's SQLite databases in this process: connections that stay open, and commits that do not wait.

A run stores hundreds of events. For each, Dagster makes an engine, opens the database and reads its schema,
waits for the disk, and at the close copies the write-ahead log into the database. Inside of `quick` each
database has one engine, whose connections stay open. A commit goes to the log and does not wait. After a
power cut the databases are whole, and may lack the last events of the run. The records and the warehouse do
not depend on them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Engine

MOST_OPEN = 5
"""Each run has a database of its own. Those of ended runs are closed, however many runs a process starts."""
STORAGES: tuple[Any, ...] = (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage)
"""The modules whose storages make an engine for each connection."""


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Let Dagster's storages share one engine for each SQLite database, until the end."""
    engines: dict[str, Engine] = {}

    def shared(url: str, **options: Any) -> Engine:
        engine = engines.pop(url, None)
        if engine is None:
            engine = create_engine(url, **{**options, "poolclass": QueuePool})
            event.listen(engine, "connect", _do_not_wait)
            engine.dispose = _keep_open  # type: ignore[method-assign]  # Dagster calls it after each event
        engines[url] = engine  # at the end: the first one was used the longest time ago
        if len(engines) > MOST_OPEN:
            engines.pop(next(iter(engines))).pool.dispose()
        return engine

    made = [storage.create_engine for storage in STORAGES]
    for storage in STORAGES:
        storage.create_engine = shared
    try:
        yield
    finally:
        for storage, create in zip(STORAGES, made, strict=True):
            storage.create_engine = create
        for engine in engines.values():
            engine.pool.dispose()


def _do_not_wait(connection: Any, _record: Any) -> None:
    connection.execute("pragma synchronous = normal")


def _keep_open(close: bool = True) -> None:
    """Take the place of an engine's `dispose`."""
