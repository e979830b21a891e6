"""Retention removes rows past their period, and keeps their rollups.

Each dataset has a period (ANALYTICS_RETENTION_DAYS for requests and their feedback,
REQUEST_LOG_RETENTION_DAYS). `retention.yaml` changes it for single organisations and sets legal holds
(`holds`). `expiry` finds the rows and partitions to remove.

The steps run in this order, so that a stop at any point loses nothing and counts nothing twice: catch up
(`flow`), `plan_retention`, `remove_expired` (seal the expiring days' rollups in the lake, set the cutoff,
delete the rows, rewrite or drop the lake's partitions), catch up again so that the tables follow, `tidy`,
publish. A day with sealed rollups is never folded again, although an organisation may keep rows of it.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import RetentionError
from pipelines.lake import audit, reading, replacing
from pipelines.retention import expiry, removals
from pipelines.rollups import removed_rollups
from pipelines.warehouse import archive, linked, linked_views, sqlfiles, thinning, usage
from pipelines.warehouse.sqlfiles import delete_before, delete_between
from router.configuration.retention import RetentionFile
from router.files import TEMPORARY_PREFIX, sync_folder
from router.journal import chains
from router.journal.places import ARCHIVE, REMOVALS, dated_folders
from router.keys import audit_trail
from router.records import DATASETS, EPOCH, RequestRecord, SecurityEvent

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from pipelines.retention.expiry import Expiry
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

ROLLUP_MOMENTS = {
    **archive.TABLES,
    **archive.OWN_PERIOD,
    "task_cost_daily": "day",
    "usage_by_org_daily": "day",
}
"""Tables that ROLLUP_RETENTION_DAYS bounds, and their column with the moment."""
BROKEN_BUILD_KEPT = timedelta(days=7)
"""A build database that was set aside is kept this long, so that you can examine it."""
IDLE = timedelta(days=30)
"""Retention runs daily. If it would remove rows although the newest record is older than the period by
this much, the machine was off for long, or its clock is wrong."""
EMPTY_FOLDER_AGE_S = 3600.0
"""A younger empty folder is kept: it may be about to receive a segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionResult:
    """The removed data, or, in a dry run, the data that would be removed."""

    expired_before: datetime
    """Raw rows from this moment on are kept."""
    is_dry_run: bool
    rows: dict[str, int] = field(default_factory=dict)
    """Rows removed from the lake, by dataset."""
    organizations: dict[str, dict[str, int]] = field(default_factory=dict)
    """The same by organisation. The empty name counts judgements, and rows without an organisation."""
    held: dict[str, int] = field(default_factory=dict)
    """Rows that only a legal hold keeps, by dataset."""
    partitions: list[str] = field(default_factory=list)
    """Lake folders removed, relative to the lake."""
    rewritten: list[str] = field(default_factory=list)
    """Segments that lost some of their rows."""
    archived_days: list[date] = field(default_factory=list)
    """Days whose rollups were sealed in the lake."""
    score_files: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """One run of retention: its plans and its result."""

    now: datetime
    plans: dict[str, Expiry]
    """By dataset."""
    folders: list[Path]
    """Lake folders to remove whole."""
    result: RetentionResult
    is_in_tables: bool
    """Whether the build database itself holds rows that go, or will while they are rewritten."""

    @property
    def cutoff(self) -> datetime:
        """Raw rows of requests from this moment on are kept."""
        return self.result.expired_before


def plan_retention(warehouse: Warehouse, *, now: datetime, is_dry_run: bool = False) -> Expiring:
    """List the data past its period as of `now`, without changing anything."""
    settings = warehouse.settings
    rules = RetentionFile.load(settings.retention_file)
    orphaned = [name for (name,) in warehouse.run("retention/orphaned_feedback").fetchall()]
    plans = expiry.plan_expiry(settings, rules, now, orphaned=orphaned)
    cutoff = plans[RequestRecord.DATASET].cutoff
    folders = [folder for plan in plans.values() for folder in plan.folders]
    result = RetentionResult(
        expired_before=cutoff,
        is_dry_run=is_dry_run,
        rows={dataset: plans[dataset].rows.total() for dataset in DATASETS},
        organizations={dataset: dict(plans[dataset].rows) for dataset in DATASETS},
        held={dataset: plans[dataset].held for dataset in DATASETS},
        partitions=[str(folder.relative_to(settings.lake)) for folder in folders],
        rewritten=[segment.manifest.name for plan in plans.values() for segment in _rewritten(plan)],
        archived_days=_days_to_archive(warehouse, cutoff),
        score_files=[path.name for path in _old_score_files(warehouse, cutoff, now)],
    )
    is_in_tables = any(_is_in_table(warehouse, plan) for plan in plans.values())
    return Expiring(now=now, plans=plans, folders=folders, result=result, is_in_tables=is_in_tables)


def check_moment(warehouse: Warehouse, expiring: Expiring) -> None:
    """Refuse a moment far beyond the newest record. RetentionError names both.

    A clock that is wrong once would otherwise remove all raw rows.
    """
    settings = warehouse.settings
    rules = RetentionFile.load(settings.retention_file)
    longer = [periods.analytics_days or 0 for periods in rules.organizations.values()]
    period = timedelta(days=max([settings.retention_days, *longer]))
    newest = warehouse.value(sqlfiles.load("rollups/latest_record"), now=datetime.now(UTC))
    if newest is None or not any(expiring.result.rows.values()) or expiring.now - newest <= period + IDLE:
        return
    raise RetentionError(
        f"retention as of `{expiring.now:%Y-%m-%d %H:%M}` UTC would remove every raw record: the newest is"
        f" of `{newest.astimezone(UTC):%Y-%m-%d %H:%M}` UTC. Check the clock and `--now`. If both are right,"
        " run `intellirouter retention --force`"
    )


def check_given(settings: Settings, now: datetime) -> None:
    """Refuse a moment that a person gives and that no clock can mean. RetentionError says which is the last.

    Records that are not made yet would expire. Neither `force` nor a good clock makes that right.
    """
    if now < EPOCH:
        raise RetentionError(
            f"`{now:%Y-%m-%d}` is before 1970, and no record is that old: give another moment"
        )
    last = datetime.now(UTC) + timedelta(days=settings.retention_days)
    if now > last:
        raise RetentionError(
            f"retention as of `{now:%Y-%m-%d %H:%M}` UTC would remove records that are not made yet: give a"
            f" moment up to `{last:%Y-%m-%d %H:%M}`, or only look with --dry-run"
        )


def remove_expired(warehouse: Warehouse, expiring: Expiring) -> None:
    """Remove the rows from the lake. The tables follow when the caller catches up."""
    lake, now = warehouse.settings.lake, expiring.now
    _note(warehouse.settings, expiring.result)
    # Thin the history first: a rebuild restores exactly what the archive holds.
    thinning.thin(warehouse, now)
    for day in expiring.result.archived_days:
        folded = archive.folded_segments(warehouse.connection, lake, day)
        archive.archive_day(warehouse.connection, lake, day, folded)
    _seal_security_days(warehouse, expiring.plans[SecurityEvent.DATASET].cutoff)
    _set_cutoff(warehouse, expiring.plans)
    for plan in expiring.plans.values():
        _delete_rows(warehouse, plan)
        for segments in plan.trimmed:
            _trim(lake, plan, segments, now)
    _drop_partitions(warehouse, expiring.folders)
    _shorten(warehouse, expiring.plans, now)


def _note(settings: Settings, result: RetentionResult) -> None:
    """Put a run that removes rows into the trail of changes."""
    if any(result.rows.values()) or result.partitions:
        event = audit_trail.new_event(
            "records.expired",
            "retention",
            before=None,
            after={
                "expired_before": result.expired_before.isoformat(),
                "rows": result.rows,
                "held": result.held,
                "partitions": len(result.partitions),
                "rewritten": len(result.rewritten),
            },
        )
        audit_trail.note(settings.compliance_file, event)


def tidy(warehouse: Warehouse, expiring: Expiring) -> None:
    """Remove the data that is not needed once the tables have followed."""
    settings, now, cutoff = warehouse.settings, expiring.now, expiring.cutoff
    _forget_removals(warehouse, cutoff)
    _expire_rollups(warehouse, now)
    _remove_empty_folders(settings.lake)
    for path in (*_old_score_files(warehouse, cutoff, now), *_old_broken_builds(settings, now)):
        path.unlink(missing_ok=True)
    thinning.thin_ledger(warehouse, now)
    if any(expiring.result.rows.values()):
        linked.drop_at_next_publish(warehouse)
    if expiring.is_in_tables:  # their bytes would stay in the file; rows in files went with the files
        warehouse.recreate()


def _rewritten(plan: Expiry) -> list[Segment]:
    return [segment for group in plan.trimmed for segment in _untrimmed(plan, group)] + plan.shortened


def _untrimmed(plan: Expiry, segments: list[Segment]) -> list[Segment]:
    """The segments of an hour that retention did not rewrite yet, or that hold more rows to remove now."""
    return [
        segment
        for segment in removals.sound(segments)
        if segment.manifest.operation != "retention"
        or reading.count(plan.goes(reading.read_rows(segment.path)))
    ]


def _trim(root: Path, plan: Expiry, segments: list[Segment], now: datetime) -> None:
    """Rewrite an expired hour to hold only the rows that stay, if any. Then the loader does not expire it."""
    left = _untrimmed(plan, segments)
    if left:
        tables = [reading.read_rows(segment.path) for segment in left]
        kept = pa.concat_tables([rows.filter(pc.invert(plan.goes(rows))) for rows in tables])
        # It returns None if a compaction ran meanwhile. The next run finds the new segment.
        replacing.replace_segments(root, left, kept, operation="retention", now=now)


def _shorten(warehouse: Warehouse, plans: dict[str, Expiry], now: datetime) -> None:
    """Remove the rows of shorter periods from partitions that stay."""
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


def _seal_security_days(warehouse: Warehouse, cutoff: datetime) -> None:
    """Seal the days of security events before they expire. A sealed day is never computed again."""
    (table, moment), lake = next(iter(archive.OWN_PERIOD.items())), warehouse.settings.lake
    sealed = set(archive.archived_days(lake, table))
    before = warehouse.run("retention/security_days_to_archive", cutoff=cutoff).fetchall()
    for (day,) in before:
        if day not in sealed:
            segments = archive.folded_segments(warehouse.connection, lake, day, SecurityEvent.DATASET)
            archive.archive_table(warehouse.connection, lake, table, moment, day, segments)


def _days_to_archive(warehouse: Warehouse, cutoff: datetime) -> list[date]:
    found = warehouse.run("retention/days_to_archive", cutoff=cutoff).fetchall()
    return [day for (day,) in found]


def _set_cutoff(warehouse: Warehouse, plans: dict[str, Expiry]) -> None:
    """Set the cutoff. No earlier hour is computed again from here on, and no earlier segment is loaded."""
    cutoff = plans[RequestRecord.DATASET].cutoff
    with warehouse.transaction():
        warehouse.run("retention/set_cutoff", cutoff=cutoff)
        warehouse.run(delete_before("pipeline.stale_hours", "hour"), cutoff=cutoff)
        usage.mark_stale(warehouse, cutoff)
        for dataset, plan in plans.items():
            trimmed = [segment.manifest.name for group in plan.trimmed for segment in group]
            warehouse.run("retention/set_dataset_cutoff", dataset=dataset, cutoff=plan.cutoff)
            warehouse.run("retention/expire_segments", dataset=dataset, cutoff=plan.cutoff, trimmed=trimmed)


def _is_in_table(warehouse: Warehouse, plan: Expiry) -> bool:
    oldest = _oldest(warehouse, plan)
    return bool(plan.trimmed or plan.shortened) or (oldest is not None and oldest < plan.cutoff)


def _oldest(warehouse: Warehouse, plan: Expiry) -> datetime | None:
    """The moment of the oldest row in the dataset's table."""
    table, moment = linked_views.rows_table(plan.dataset), DATASETS[plan.dataset].MOMENT
    found = warehouse.value(sqlfiles.load("tables/oldest", table=table, moment=moment))
    return found if isinstance(found, datetime) else None


def _delete_rows(warehouse: Warehouse, plan: Expiry) -> None:
    """Delete one day at a time. Each is a small transaction, and the next run resumes after a stop."""
    # The table loses the rows of a trimmed day when it takes over the rewritten segments.
    trimmed = {archive.midnight(group[0].manifest.first_at.date()) for group in plan.trimmed}
    linked.expire(warehouse, plan.dataset, plan.cutoff, trimmed=trimmed)
    table, moment = linked_views.rows_table(plan.dataset), DATASETS[plan.dataset].MOMENT
    oldest = _oldest(warehouse, plan)
    if oldest is None:
        return
    start = archive.midnight(oldest.astimezone(UTC).date())
    while start < plan.cutoff:
        end = start + timedelta(days=1)
        if start not in trimmed:
            warehouse.run(delete_between(table, moment), start=start, end=end)
        start = end


def _forget_removals(warehouse: Warehouse, cutoff: datetime) -> None:
    root = warehouse.settings.lake / REMOVALS
    for day, folder in dated_folders(root):
        if archive.midnight(day) < cutoff:
            _remove_whole(folder)
    _remove_hidden(root)
    removed_rollups.forget_shares(warehouse, cutoff)


def _expire_rollups(warehouse: Warehouse, now: datetime) -> None:
    """Drop rollups, daily marts and history past ROLLUP_RETENTION_DAYS, here and in the archive."""
    days = warehouse.settings.rollup_retention_days
    if days is None:
        return
    cutoff = archive.midnight((now - timedelta(days=days)).astimezone(UTC).date())
    oldest = warehouse.value(sqlfiles.load("tables/oldest", table="quality_blocks_hourly", moment="hour"))
    if oldest is not None and oldest < cutoff:
        # The change detector has read blocks that are removed here and that a rebuild cannot read.
        warehouse.run(sqlfiles.load("tables/clear", table="pipeline.change_states"))
    for table, column in ROLLUP_MOMENTS.items():
        warehouse.run(delete_before(table, column), cutoff=cutoff)
    for table in (*archive.TABLES, *archive.EARLIER, *archive.OWN_PERIOD):
        root = warehouse.settings.lake / ARCHIVE / table
        for day, folder in dated_folders(root):
            if archive.midnight(day) < cutoff:
                _remove_whole(folder)
        _remove_hidden(root)


def _drop_partitions(warehouse: Warehouse, partitions: list[Path]) -> None:
    root = warehouse.settings.lake
    for dataset in DATASETS:
        _drop_hidden(root, root / dataset)
    for folder in partitions:
        # Take the locks, so that no segment enters the folder between its note and its removal.
        with chains.locked(root, chains.REWRITING), chains.locked(root, chains.SEALING):
            audit.note_drop(root, folder)
            _hide(folder)
        _drop_hidden(root, folder.parent)
        prefix = f"{folder.relative_to(root)}/"
        for table, column in (("quarantine", "path"), ("settled_folders", "folder")):
            gone = sqlfiles.load("tables/delete_prefixed", table=f"pipeline.{table}", column=column)
            warehouse.run(gone, prefix=prefix)


def _drop_hidden(root: Path, parent: Path) -> None:
    for hidden in _hidden(parent):
        audit.forget_heads(root, hidden)
    _remove_hidden(parent)


def _hide(folder: Path) -> None:
    """Hide a folder in one step. Readers ignore temporary names, so a stop leaves no partial folder."""
    folder.rename(folder.with_name(f"{TEMPORARY_PREFIX}expired-{folder.name}"))
    sync_folder(folder.parent)


def _hidden(parent: Path) -> list[Path]:
    return sorted(parent.glob(f"{TEMPORARY_PREFIX}expired-*"))


def _remove_hidden(parent: Path) -> None:
    for folder in _hidden(parent):  # including a folder that a stopped run hid and did not remove
        shutil.rmtree(folder)


def _remove_whole(folder: Path) -> None:
    _remove_hidden(folder.parent)
    _hide(folder)
    _remove_hidden(folder.parent)


def _remove_empty_folders(root: Path) -> None:
    young = time.time() - EMPTY_FOLDER_AGE_S
    for dataset in DATASETS:
        for _, day in dated_folders(root / dataset):
            for folder in (*day.iterdir(), day):
                if folder.is_dir() and folder.stat().st_mtime < young and not any(folder.iterdir()):
                    folder.rmdir()


def _old_score_files(warehouse: Warehouse, cutoff: datetime, now: datetime) -> list[Path]:
    """Score files that are not needed. A rebuild restores the history from the others."""
    current = warehouse.settings.scores_file
    gone = thinning.thinned(warehouse, now)
    found = warehouse.run("retention/kept_snapshots", start=cutoff, thinned=gone).fetchall()
    kept = {current.stem, *(snapshot_id for (snapshot_id,) in found)}
    return [path for path in sorted(current.parent.glob("*.json")) if path.stem not in kept]


def _old_broken_builds(settings: Settings, now: datetime) -> list[Path]:
    oldest_kept = (now - BROKEN_BUILD_KEPT).timestamp()
    broken = settings.build_file.parent.glob(f"{settings.build_file.name}*.broken-*")
    return [path for path in broken if path.stat().st_mtime < oldest_kept]
