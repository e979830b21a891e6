"""Removes old Dagster runs. Dagster would keep them for ever, at about 200 kB each."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS_KEPT = 200
DAYS_KEPT = 7
PURGED_AT_ONCE = 1000
"""At most this many runs are deleted at once. This bounds the time of the purge."""
VACUUM_AFTER = 50
"""After this many deleted runs, the index is rewritten."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def purge_runs(instance: dg.DagsterInstance, *, now: datetime | None = None) -> list[str]:
    """Delete finished runs beyond the newest `RUNS_KEPT` or older than `DAYS_KEPT`. Returns their ids."""
    oldest_kept = (now or datetime.now(UTC)) - timedelta(days=DAYS_KEPT)
    records = instance.get_run_records(
        filters=dg.RunsFilter(statuses=_FINISHED), limit=RUNS_KEPT + PURGED_AT_ONCE
    )
    old = [
        record.dagster_run.run_id
        for index, record in enumerate(records)
        if index >= RUNS_KEPT or record.create_timestamp < oldest_kept
    ]
    for run_id in old:
        instance.delete_run(run_id)
        _remove_files(instance, run_id)
    if len(old) >= VACUUM_AFTER:
        _vacuum(instance)
    return old


def _remove_files(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove the run's event database and folder, which `delete_run` leaves behind."""
    root = Path(instance.root_directory)
    for path in (root / "history" / "runs").glob(f"{run_id}.db*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(root / "storage" / run_id, ignore_errors=True)


def _vacuum(instance: dg.DagsterInstance) -> None:
    history = Path(instance.root_directory) / "history"
    for path in (history / "runs.db", history / "runs" / "index.db"):
        # A busy database is vacuumed another day.
        with contextlib.suppress(sqlite3.OperationalError), _connection(path) as connection:
            connection.execute("vacuum")


@contextlib.contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=5)
    try:
        yield connection
    finally:
        connection.close()
