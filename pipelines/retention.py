"""Retention: raw records older than `ANALYTICS_RETENTION_DAYS` go, what was learnt from them stays.

In this order, so that a stop at any point loses nothing and counts nothing twice: aggregate what
is still pending, seal the expiring days' rollups in the lake, set the cutoff, delete the rows, drop
the lake's partitions, publish.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines import archive, lake, loading, publishing, rollups
from router.records import DATASETS
from router.segments import TEMPORARY_PREFIX, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.warehouse import Warehouse
    from router.config import Settings

SCORE_FILES_KEPT = 200
"""Published score files kept beside the current one."""
HISTORY_KEPT_WHOLE = timedelta(days=1)
"""Older history keeps the last snapshot of each hour."""
BROKEN_BUILD_KEPT = timedelta(days=7)
"""How long a build database that was set aside is kept for a person to look at."""
EMPTY_FOLDER_AGE_S = 3600.0
"""A younger empty folder may be about to receive a segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionResult:
    """What went, or, in a dry run, what would go."""

    expired_before: datetime
    """Raw rows from this moment on are kept."""
    is_dry_run: bool
    rows: dict[str, int] = field(default_factory=dict)
    """Rows deleted, by dataset."""
    partitions: list[str] = field(default_factory=list)
    """Lake folders removed, relative to the lake."""
    archived_days: list[date] = field(default_factory=list)
    """Days whose rollups were sealed in the lake."""
    score_files: list[str] = field(default_factory=list)


def retain(warehouse: Warehouse, *, now: datetime, dry_run: bool = False) -> RetentionResult:
    """Drop what is older than the retention period as of `now`."""
    settings = warehouse.settings
    cutoff = archive.midnight((now - timedelta(days=settings.retention_days)).astimezone(UTC).date())
    if not dry_run:
        _catch_up(warehouse)
    partitions = [
        folder
        for dataset in DATASETS
        for day, folder in lake.dated_folders(settings.lake / dataset)
        if archive.midnight(day) < cutoff
    ]
    days = _days_to_archive(warehouse, cutoff)
    result = RetentionResult(
        expired_before=cutoff,
        is_dry_run=dry_run,
        rows=_expired_rows(warehouse, cutoff),
        partitions=[str(folder.relative_to(settings.lake)) for folder in partitions],
        archived_days=days,
        score_files=[path.name for path in _old_score_files(settings, now)],
    )
    if not dry_run:
        for day in days:
            archive.write(warehouse.connection, settings.lake, day)
        _set_cutoff(warehouse, cutoff)
        _delete_rows(warehouse, cutoff)
        _drop_partitions(warehouse, partitions)
        _remove_empty_folders(settings.lake)
        for path in (*_old_score_files(settings, now), *_old_broken_builds(settings, now)):
            path.unlink(missing_ok=True)
        warehouse.run("retention/thin_history", thin_before=now - HISTORY_KEPT_WHOLE)
    return result


def _catch_up(warehouse: Warehouse) -> None:
    """Aggregate what waits in the lake: a partition may expire before its first refresh."""
    for dataset in DATASETS:
        loading.load(warehouse, dataset)
    rollups.fold_stale_hours(warehouse)
    rollups.build_daily_marts(warehouse)
    rollups.score(warehouse)
    publishing.publish_scores(warehouse)


def _days_to_archive(warehouse: Warehouse, cutoff: datetime) -> list[date]:
    found = warehouse.run("retention/days_to_archive", cutoff=cutoff).fetchall()
    return [day for (day,) in found]


def _expired_rows(warehouse: Warehouse, cutoff: datetime) -> dict[str, int]:
    return {
        dataset: warehouse.value(
            f"select count(*) from {dataset} where {record.MOMENT} < $cutoff",  # noqa: S608
            cutoff=cutoff,
        )
        for dataset, record in DATASETS.items()
    }


def _set_cutoff(warehouse: Warehouse, cutoff: datetime) -> None:
    """From here on no hour before the cutoff is computed again, and no segment of it is loaded."""
    with warehouse.transaction() as connection:
        connection.execute(
            "insert into pipeline.retention select $cutoff"
            " where $cutoff > all (select expired_before from pipeline.retention)",
            {"cutoff": cutoff},
        )
        connection.execute("delete from pipeline.stale_hours where hour < $cutoff", {"cutoff": cutoff})
        connection.execute(
            "update pipeline.load_ledger set expired_at = now()"
            " where last_at < $cutoff and expired_at is null",
            {"cutoff": cutoff},
        )


def _delete_rows(warehouse: Warehouse, cutoff: datetime) -> None:
    """Delete a day at a time: each is a small transaction, and a stop in between is resumed."""
    for dataset, record in DATASETS.items():
        oldest = warehouse.value(f"select min({record.MOMENT}) from {dataset}")  # noqa: S608
        if oldest is None:
            continue
        start = archive.midnight(oldest.astimezone(UTC).date())
        while start < cutoff:
            end = start + timedelta(days=1)
            warehouse.run(f"retention/expire_{dataset}", start=start, end=end)
            start = end


def _drop_partitions(warehouse: Warehouse, partitions: list[Path]) -> None:
    root = warehouse.settings.lake
    for folder in partitions:
        # Out of sight in one step: readers ignore temporary names, a stop leaves no half partition.
        hidden = folder.with_name(f"{TEMPORARY_PREFIX}expired-{folder.name}")
        folder.rename(hidden)
        sync_folder(folder.parent)
        shutil.rmtree(hidden)
        prefix = f"{folder.relative_to(root)}/"
        for table, column in (("quarantine", "path"), ("settled_folders", "folder")):
            warehouse.connection.execute(
                f"delete from pipeline.{table} where starts_with({column}, $prefix)",  # noqa: S608
                {"prefix": prefix},
            )
    for dataset in DATASETS:  # what a stop between the rename and the removal left
        for hidden in (root / dataset).glob(f"{TEMPORARY_PREFIX}expired-*"):
            shutil.rmtree(hidden)


def _remove_empty_folders(root: Path) -> None:
    young = time.time() - EMPTY_FOLDER_AGE_S
    for dataset in DATASETS:
        for _, day in lake.dated_folders(root / dataset):
            for folder in (*day.iterdir(), day):
                if folder.is_dir() and folder.stat().st_mtime < young and not any(folder.iterdir()):
                    folder.rmdir()


def _old_score_files(settings: Settings, now: datetime) -> list[Path]:
    folder = settings.scores_file.parent
    files = [path for path in folder.glob("*.json") if path.name != settings.scores_file.name]
    newest = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    oldest_kept = (now - timedelta(days=settings.retention_days)).timestamp()
    return [
        path
        for index, path in enumerate(newest)
        if index >= SCORE_FILES_KEPT or (index > 0 and path.stat().st_mtime < oldest_kept)
    ]


def _old_broken_builds(settings: Settings, now: datetime) -> list[Path]:
    oldest_kept = (now - BROKEN_BUILD_KEPT).timestamp()
    broken = settings.build_file.parent.glob(f"{settings.build_file.name}*.broken-*")
    return [path for path in broken if path.stat().st_mtime < oldest_kept]
