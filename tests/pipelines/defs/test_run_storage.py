"""Dagster's SQLite databases stay open during a run, and are whole and closed after it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import create_engine

from pipelines.defs import run_storage
from pipelines.refresh import open_instance
from router.config import Settings


@dg.asset
def counted() -> None:
    """An asset without work."""


def test_each_database_is_opened_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many events a run stores."""
    opened: list[str] = []

    def counting(url: str, **options: Any) -> Any:
        opened.append(url.rpartition("/")[2])
        return create_engine(url, **options)

    monkeypatch.setattr(run_storage, "create_engine", counting)
    with open_instance(settings) as instance:
        run = dg.materialize([counted], instance=instance)
        events = len(instance.all_logs(run.run_id))
    assert events > 10
    assert len(opened) == len(set(opened)) <= 4


def test_the_databases_are_whole_and_closed_after_a_run(settings: Settings) -> None:
    """Another process finds every event, and no write-ahead log is left for it to read."""
    with open_instance(settings) as instance:
        run = dg.materialize([counted], instance=instance)
        events = len(instance.all_logs(run.run_id))
        root = Path(instance.root_directory)
    assert not list(root.rglob("*.db-wal"))
    with closing(sqlite3.connect(root / "history" / "runs" / f"{run.run_id}.db")) as connection:
        assert connection.execute("select count(*) from event_logs").fetchone() == (events,)
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def test_dagsters_own_engines_are_back_afterwards(settings: Settings) -> None:
    """An instance that somebody opens later in this process is as Dagster makes it."""
    before = [storage.create_engine for storage in run_storage.STORAGES]
    with open_instance(settings):
        assert [storage.create_engine for storage in run_storage.STORAGES] != before
    assert [storage.create_engine for storage in run_storage.STORAGES] == before


def test_the_databases_of_ended_runs_are_closed(tmp_path: Path) -> None:
    """A process that runs jobs again and again, such as a replay, keeps a few files open."""

    def files_after(first: int, last: int) -> int:
        for number in range(first, last):
            with run_storage.STORAGES[0].create_engine(f"sqlite:///{tmp_path / str(number)}.db").connect():
                pass
        return len(list(Path("/proc/self/fd").iterdir()))

    with run_storage.quick():
        few = files_after(0, run_storage.MOST_OPEN)
        assert files_after(run_storage.MOST_OPEN, 30) <= few
