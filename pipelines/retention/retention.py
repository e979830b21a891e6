"""Retention: rows past their period go, what was learnt from them stays.

Each dataset has its period (ANALYTICS_RETENTION_DAYS for requests and their feedback,
REQUEST_LOG_RETENTION_DAYS), `retention.yaml` changes it for single organisations and holds rows
(`holds`), `expiry` says what that makes of each partition.

In this order, so that a stop at any point loses nothing and counts nothing twice: aggregate what
is still pending, seal the expiring days' rollups in the lake, set the cutoff, delete the rows,
rewrite or drop the lake's partitions, let the tables follow, publish. A day whose rollups are sealed
is never folded again, though an organisation may keep rows of it.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.experiments.results import compute_results
from pipelines.lake import audit, reading, replacing
from pipelines.retention import expiry, removals
from pipelines.retention.holds import RetentionFile
from pipelines.rollups import removed_rollups, rollups
from pipelines.scores import scoring
from pipelines.warehouse import archive, loading, publishing
from router.files import TEMPORARY_PREFIX, sync_folder
from router.journal import chains
from router.records import DATASETS, RequestRecord

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from pipelines.retention.expiry import Expiry
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

ROLLUP_MOMENTS = {
    "usage_hourly": "hour",
    "latency_buckets_hourly": "hour",
    "experiment_hourly": "hour",
    "quality_blocks_hourly": "hour",
    "task_cost_daily": "day",
    "usage_by_org_daily": "day",
    "model_performance_history": "as_of",
}
"""Tables that ROLLUP_RETENTION_DAYS bounds, and the column it goes by."""
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
    """Rows of the lake that went, by dataset."""
    organizations: dict[str, dict[str, int]] = field(default_factory=dict)
    """The same by organisation; the empty name is no organisation, or a judgement's."""
    held: dict[str, int] = field(default_factory=dict)
    """Rows that only a legal hold keeps, by dataset."""
    partitions: list[str] = field(default_factory=list)
    """Lake folders removed, relative to the lake."""
    rewritten: list[str] = field(default_factory=list)
    """Segments of which some rows went."""
    archived_days: list[date] = field(default_factory=list)
    """Days whose rollups were sealed in the lake."""
    score_files: list[str] = field(default_factory=list)


def retain(warehouse: Warehouse, *, now: datetime, dry_run: bool = False) -> RetentionResult:
    """Drop what is past its period as of `now`."""
    settings = warehouse.settings
    rules = RetentionFile.load(settings.retention_file)
    if not dry_run:
        catch_up(warehouse)
    orphaned = [name for (name,) in warehouse.run("retention/orphaned_feedback").fetchall()]
    plans = expiry.plan(settings, rules, now, orphaned=orphaned)
    cutoff = plans[RequestRecord.DATASET].cutoff
    partitions = [folder for plan in plans.values() for folder in plan.folders]
    days = _days_to_archive(warehouse, cutoff)
    result = RetentionResult(
        expired_before=cutoff,
        is_dry_run=dry_run,
        rows={dataset: plans[dataset].rows.total() for dataset in DATASETS},
        organizations={dataset: dict(plans[dataset].rows) for dataset in DATASETS},
        held={dataset: plans[dataset].held for dataset in DATASETS},
        partitions=[str(folder.relative_to(settings.lake)) for folder in partitions],
        rewritten=[segment.manifest.name for plan in plans.values() for segment in _rewritten(plan)],
        archived_days=days,
        score_files=[path.name for path in _old_score_files(warehouse, cutoff, now)],
    )
    if not dry_run:
        # Thinned first: what is sealed in the archive is what a rebuild brings back.
        warehouse.run("retention/thin_history", thin_before=now - HISTORY_KEPT_WHOLE)
        for day in days:
            archive.write(warehouse.connection, settings.lake, day)
        _set_cutoff(warehouse, plans)
        for plan in plans.values():
            _delete_rows(warehouse, plan)
            for segments in plan.trimmed:
                _trim(settings.lake, plan, segments, now)
        _drop_partitions(warehouse, partitions)
        _shorten(warehouse, plans, now)
        catch_up(warehouse)
        _forget_removals(warehouse, cutoff)
        _expire_rollups(warehouse, now)
        _remove_empty_folders(settings.lake)
        for path in (*_old_score_files(warehouse, cutoff, now), *_old_broken_builds(settings, now)):
            path.unlink(missing_ok=True)
        if any(result.rows.values()):
            warehouse.recreate()
    return result


def _rewritten(plan: Expiry) -> list[Segment]:
    return [segment for group in plan.trimmed for segment in _untrimmed(plan, group)] + plan.shortened


def _untrimmed(plan: Expiry, segments: list[Segment]) -> list[Segment]:
    """The segments of an hour that were not rewritten by retention, or of which more goes now."""
    return [
        segment
        for segment in removals.sound(segments)
        if segment.manifest.operation != "retention"
        or reading.count(plan.goes(reading.read_rows(segment.path)))
    ]


def _trim(root: Path, plan: Expiry, segments: list[Segment], now: datetime) -> None:
    """Rewrite an expired hour to hold the rows that stay, none perhaps; the loader knows them by that."""
    left = _untrimmed(plan, segments)
    if left:
        tables = [reading.read_rows(segment.path) for segment in left]
        kept = pa.concat_tables([rows.filter(pc.invert(plan.goes(rows))) for rows in tables])
        # None: a compaction took place meanwhile, and the next run finds what it wrote.
        replacing.replace_segments(root, left, kept, operation="retention", now=now)


def _shorten(warehouse: Warehouse, plans: dict[str, Expiry], now: datetime) -> None:
    """Take the rows of shorter periods out of partitions that stay."""
    for dataset, plan in plans.items():
        if plan.shortened:
            removals.remove_everywhere(
                warehouse,
                dataset,
                plan.goes,
                columns=plan.columns,
                operation="retention",
                now=now,
                wanted=plan.may_shorten,
            )


def catch_up(warehouse: Warehouse) -> None:
    """Aggregate what waits in the lake: a partition may expire before its first refresh."""
    for dataset in DATASETS:
        loading.load(warehouse, dataset)
    rollups.fold_stale_hours(warehouse)
    rollups.build_daily_marts(warehouse)
    scoring.score(warehouse)
    compute_results(warehouse)
    publishing.publish_scores(warehouse)


def _days_to_archive(warehouse: Warehouse, cutoff: datetime) -> list[date]:
    found = warehouse.run("retention/days_to_archive", cutoff=cutoff).fetchall()
    return [day for (day,) in found]


def _set_cutoff(warehouse: Warehouse, plans: dict[str, Expiry]) -> None:
    """From here on no hour before the cutoff is computed again, and no segment of it is loaded."""
    cutoff = plans[RequestRecord.DATASET].cutoff
    with warehouse.transaction() as connection:
        connection.execute(
            "insert into pipeline.retention select $cutoff"
            " where $cutoff > all (select expired_before from pipeline.retention)",
            {"cutoff": cutoff},
        )
        connection.execute("delete from pipeline.stale_hours where hour < $cutoff", {"cutoff": cutoff})
        for dataset, plan in plans.items():
            # Of a day that is trimmed, the rewritten segments take the others' rows over at the next load.
            trimmed = [segment.manifest.name for group in plan.trimmed for segment in group]
            connection.execute(
                "insert into pipeline.retention_cutoffs select $dataset, $cutoff where $cutoff > all"
                " (select expired_before from pipeline.retention_cutoffs where dataset = $dataset)",
                {"dataset": dataset, "cutoff": plan.cutoff},
            )
            connection.execute(
                "update pipeline.load_ledger set expired_at = now() where dataset = $dataset"
                " and last_at < $cutoff and expired_at is null and name not in (select unnest($trimmed))",
                {"dataset": dataset, "cutoff": plan.cutoff, "trimmed": trimmed},
            )


def _delete_rows(warehouse: Warehouse, plan: Expiry) -> None:
    """Delete a day at a time: each is a small transaction, and a stop in between is resumed."""
    moment = DATASETS[plan.dataset].MOMENT
    oldest = warehouse.value(f"select min({moment}) from {plan.dataset}")  # noqa: S608
    if oldest is None:
        return
    # Of a day that is trimmed, the table's rows go when it takes the rewritten segments over.
    trimmed = {archive.midnight(group[0].manifest.first_at.date()) for group in plan.trimmed}
    start = archive.midnight(oldest.astimezone(UTC).date())
    while start < plan.cutoff:
        end = start + timedelta(days=1)
        if start not in trimmed:
            warehouse.run(f"retention/expire_{plan.dataset}", start=start, end=end)
        start = end


def _forget_removals(warehouse: Warehouse, cutoff: datetime) -> None:
    root = warehouse.settings.lake / reading.REMOVALS
    for day, folder in reading.dated_folders(root):
        if archive.midnight(day) < cutoff:
            _remove_whole(folder)
    _remove_hidden(root)
    removed_rollups.forget(warehouse, cutoff)


def _expire_rollups(warehouse: Warehouse, now: datetime) -> None:
    """Drop rollups, daily marts and history past ROLLUP_RETENTION_DAYS, here and in the archive."""
    days = warehouse.settings.rollup_retention_days
    if days is None:
        return
    cutoff = archive.midnight((now - timedelta(days=days)).astimezone(UTC).date())
    if warehouse.value("select min(hour) < $cutoff from quality_blocks_hourly", cutoff=cutoff):
        # The change detector read the blocks that go; a rebuild will not.
        warehouse.connection.execute("delete from pipeline.change_states")
    for table, column in ROLLUP_MOMENTS.items():
        warehouse.connection.execute(
            f"delete from {table} where {column} < cast($cutoff as timestamptz)",  # noqa: S608
            {"cutoff": cutoff},
        )
    for table in archive.TABLES:
        root = warehouse.settings.lake / reading.ARCHIVE / table
        for day, folder in reading.dated_folders(root):
            if archive.midnight(day) < cutoff:
                _remove_whole(folder)
        _remove_hidden(root)


def _drop_partitions(warehouse: Warehouse, partitions: list[Path]) -> None:
    root = warehouse.settings.lake
    for dataset in DATASETS:
        _drop_hidden(root, root / dataset)
    for folder in partitions:
        # Locked, so that no segment comes into the folder between its note and its end.
        with chains.locked(root, chains.REWRITING), chains.locked(root, chains.SEALING):
            audit.note_drop(root, folder)
            _hide(folder)
        _drop_hidden(root, folder.parent)
        prefix = f"{folder.relative_to(root)}/"
        for table, column in (("quarantine", "path"), ("settled_folders", "folder")):
            warehouse.connection.execute(
                f"delete from pipeline.{table} where starts_with({column}, $prefix)",  # noqa: S608
                {"prefix": prefix},
            )


def _drop_hidden(root: Path, parent: Path) -> None:
    for hidden in _hidden(parent):
        audit.forget_heads(root, hidden)
    _remove_hidden(parent)


def _hide(folder: Path) -> None:
    """Put a folder out of sight in one step: readers ignore temporary names, a stop leaves no half of it."""
    folder.rename(folder.with_name(f"{TEMPORARY_PREFIX}expired-{folder.name}"))
    sync_folder(folder.parent)


def _hidden(parent: Path) -> list[Path]:
    return sorted(parent.glob(f"{TEMPORARY_PREFIX}expired-*"))


def _remove_hidden(parent: Path) -> None:
    for folder in _hidden(parent):  # also one that a stop between hiding and removing left
        shutil.rmtree(folder)


def _remove_whole(folder: Path) -> None:
    _remove_hidden(folder.parent)
    _hide(folder)
    _remove_hidden(folder.parent)


def _remove_empty_folders(root: Path) -> None:
    young = time.time() - EMPTY_FOLDER_AGE_S
    for dataset in DATASETS:
        for _, day in reading.dated_folders(root / dataset):
            for folder in (*day.iterdir(), day):
                if folder.is_dir() and folder.stat().st_mtime < young and not any(folder.iterdir()):
                    folder.rmdir()


def _old_score_files(warehouse: Warehouse, cutoff: datetime, now: datetime) -> list[Path]:
    """Score files that nothing needs: the others bring the history back when the warehouse is rebuilt."""
    current = warehouse.settings.scores_file
    found = warehouse.run(
        "retention/kept_snapshots", start=cutoff, thin_before=now - HISTORY_KEPT_WHOLE
    ).fetchall()
    kept = {current.stem, *(snapshot_id for (snapshot_id,) in found)}
    return [path for path in sorted(current.parent.glob("*.json")) if path.stem not in kept]


def _old_broken_builds(settings: Settings, now: datetime) -> list[Path]:
    oldest_kept = (now - BROKEN_BUILD_KEPT).timestamp()
    broken = settings.build_file.parent.glob(f"{settings.build_file.name}*.broken-*")
    return [path for path in broken if path.stat().st_mtime < oldest_kept]
