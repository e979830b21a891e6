"""Faults that need a look at the disk, at the store of limits, or at files that the pipelines publish.

No probe writes to the data folder, opens the warehouse, or raises.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.readiness.faults import Fault, limits_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.config import Settings
    from router.limits.limits import Limits
    from router.scores.snapshot import ScoreSnapshot

FULL_BYTES = 1 << 20
"""A disk with less free space than this counts as full."""
MAGIC = slice(8, 12)
HEADER_BYTES = 3 * 4096
"""The three headers at the start of a DuckDB file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The facts that the pipelines write when they publish, or look whether they must."""

    published_at: str | None = None
    checked_at: str | None = None
    query_ms: float | None = None
    bytes: int | None = None
    header_sha256: str | None = None

    @classmethod
    def read(cls, settings: Settings) -> Published:
        """The facts of `published.json`. A fact that is missing or unusable is None."""
        try:
            facts = json.loads(settings.warehouse_facts_file.read_bytes())
            return cls(**{name: facts.get(name) for name in cls.__slots__})
        except (OSError, ValueError, AttributeError, TypeError):
            return cls()


def disk_faults(settings: Settings) -> Iterator[Fault]:
    """A folder that is read-only, closed to this process, or on a full disk."""
    is_refusing = settings.journal_on_error == "refuse"
    journal = settings.home / "journal"
    folder = journal if journal.exists() else settings.home
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        yield Fault("disk", f"`{folder}` cannot be read: {error.strerror}. Mount it", is_blocking=is_refusing)
        return
    free = disk.f_bavail * disk.f_frsize
    if disk.f_flag & os.ST_RDONLY:
        yield Fault("disk", f"`{folder}` is mounted read-only: mount it for writing", is_blocking=is_refusing)
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield Fault("disk", f"`{folder}` is not writable: change its permissions", is_blocking=is_refusing)
    elif free < FULL_BYTES or (disk.f_files and not disk.f_favail):
        yield Fault("disk", f"the disk of `{folder}` is full: free space", is_blocking=is_refusing)
    elif free < settings.journal_max_bytes:
        yield Fault("disk", f"the disk of `{folder}` has only {free >> 20} MB left: free space")


def limit_faults(limits: Limits) -> Iterator[Fault]:
    """A store that does not count, while there is anything to count."""
    error = limits.check()
    if error is not None:
        yield limits_fault(str(error), on_error=limits.on_error, serves_away=limits.serves_away)


def warehouse_faults(settings: Settings) -> Iterator[Fault]:
    """A published warehouse that is there and that DuckDB would not open."""
    reason = warehouse_problem(settings, Published.read(settings))
    if reason is not None:
        yield Fault("warehouse", reason)


def warehouse_problem(settings: Settings, published: Published) -> str | None:
    """The reason why the published file cannot be used. None if it can, or if there is none yet."""
    file = settings.warehouse_file
    try:
        with file.open("rb") as opened:
            head = opened.read(HEADER_BYTES)
            status = os.fstat(opened.fileno())
    except FileNotFoundError:
        if published.published_at is None:
            return None
        return f"`{file}` was published and is missing: run `intellirouter refresh`"
    except OSError as error:
        return f"`{file}` cannot be opened: {error.strerror}. Run `intellirouter refresh`"
    remedy = "remove it, and run `intellirouter refresh`"
    if head[MAGIC] != b"DUCK":
        return f"`{file}` is no DuckDB database: {remedy}"
    # The facts are written after the file is in place, so for a moment they are those of the file before.
    if _is_described(settings, status.st_ctime):
        if published.bytes is not None and status.st_size != published.bytes:
            return f"`{file}` has `{status.st_size}` bytes, published were `{published.bytes}`: {remedy}"
        if published.header_sha256 not in (None, hashlib.sha256(head).hexdigest()):
            return f"`{file}` was changed after it was published: {remedy}"
    return None


def score_faults(settings: Settings, snapshot: ScoreSnapshot | None) -> Iterator[Fault]:
    """Scores that no run of the pipelines has confirmed for too long."""
    if snapshot is None:
        return
    confirmed_at = max(
        snapshot.published_at, _moment(Published.read(settings).checked_at) or snapshot.published_at
    )
    age_s = (datetime.now(UTC) - confirmed_at).total_seconds()
    if age_s > settings.scores_max_age_s:
        yield Fault(
            "scores",
            f"the pipelines last ran at `{confirmed_at.isoformat(timespec='seconds')}`, which is longer ago"
            " than SCORES_MAX_AGE_S: start them, or run `intellirouter refresh`",
        )


def warehouse_report(settings: Settings) -> dict[str, Any]:
    """The members `warehouse`, `database`, `connection` and `query_performance_ms` of the health report.

    The time is that of one query on this very file when it was published: the last day's requests and
    cost by task. A value is None if there is no warehouse yet, or if it is unknown.
    """
    try:
        age_s = max(time.time() - settings.warehouse_file.stat().st_mtime, 0.0)
    except OSError:
        age_s = None
    published = Published.read(settings)
    problem = warehouse_problem(settings, published)
    is_there = age_s is not None
    healthy = ("healthy", "ok") if is_there else (None, None)
    database, connection = ("unhealthy", "failed") if problem is not None else healthy
    return {
        "database": database,
        "connection": connection,
        "query_performance_ms": published.query_ms if database == "healthy" else None,
        "warehouse": {
            "age_s": age_s,
            "published_at": published.published_at if is_there else None,
            "query_ms": published.query_ms if is_there else None,
            "error": problem,
        },
    }


def _is_described(settings: Settings, changed_at: float) -> bool:
    """Whether the facts can be those of the file: they are younger, or the file is no longer new."""
    try:
        written_at = settings.warehouse_facts_file.stat().st_ctime
    except OSError:
        return False
    return written_at >= changed_at or time.time() - changed_at > settings.scores_refresh_interval_s


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
