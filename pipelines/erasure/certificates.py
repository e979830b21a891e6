"""Writes the certificate of an erasure, a file that you can show: `erasures/<time>-<person>.json`.

Most of it is read from the lake, where each derived segment lists the segments it replaced. The
certificate is therefore complete even if the erasure was stopped and resumed.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.lake import reading, versions
from router.files import sha256_of, write_atomically
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pipelines.erasure.search import Found
    from pipelines.erasure.tombstones import Tombstone
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

PERSON_HASH = "HMAC-SHA-256 of the user id with the key in erasures/key"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Part):
    """One segment file."""

    path: str
    """Relative to the lake."""
    sha256: str
    rows: int


class Rewriting(_Part):
    """Segments of one hour, and the segment that replaced them."""

    dataset: str
    hour: datetime
    before: tuple[File, ...]
    after: File
    rows_removed: int


class RemovedFile(_Part):
    """A removed file that was not a sound segment, and held the person's id or could not be decoded."""

    path: str
    """Relative to the data folder."""
    sha256: str
    reason: str


class Search(_Part):
    """The extent of the search for the person's id after the erasure, in bytes and decoded values."""

    files: int
    bytes: int
    decoded: int
    """Parquet, DuckDB and SQLite files whose values were read."""
    unreadable: tuple[str, ...]


class Mention(_Part):
    """A file with a text that equals the id, in a place that does not hold persons. A human judges it."""

    path: str
    """Relative to the data folder."""
    columns: tuple[str, ...] = ()
    """As `table.column`. Empty for a file without a table, or for a text outside of its values."""


class CopyState(_Part):
    """A copy outside of the data folder: the mirror, or exported documents."""

    target: str
    is_current: bool
    """Whether it holds the same rows as the warehouse after the erasure."""
    problem: str | None = None
    """Why not, and what to do."""


class Certificate(_Part):
    """The content of the file."""

    format: Literal["intellirouter.erasure/1"] = "intellirouter.erasure/1"
    person: str
    person_hash: str = PERSON_HASH
    organization: str | None
    cause: Literal["request", "late segments"]
    erased_at: datetime
    """Records made after this moment are not erased."""
    finished_at: datetime
    release: str
    rows: dict[str, int]
    """Rows removed from the lake, by dataset."""
    hours: dict[str, int]
    """By hour: requests that the rollup still counts and that have no rows any more."""
    files: tuple[Rewriting, ...]
    removed_files: tuple[RemovedFile, ...] = ()
    rewritten_journals: tuple[str, ...] = ()
    """Unreadable journals that were set aside, and from which the person's lines were removed."""
    warehouse_sha256: str | None
    """Of the published copy. It was written again, because a DuckDB file keeps the bytes of deleted rows."""
    searched: Search | None
    """None: not searched (late segments, or one organisation of a person who may be in others)."""
    remaining: tuple[str, ...] = ()
    """Files that still hold the person, including those that people edit, or that could not be read."""
    mentions: tuple[Mention, ...] = ()
    """Other places with a text that equals the id: of other people's records, or with another meaning."""
    copies: tuple[CopyState, ...] = ()
    """Those that are not current are in `remaining` too."""
    pending_journals: tuple[str, ...] = ()
    """Journals of running routers that held the id, and segments that they sealed since the last load. The
    segments are rewritten when they load."""
    later: tuple[str, ...] = ()
    """Files that hold the person by records made at `erased_at` or after it. Erase again to remove them."""


def issue(
    settings: Settings,
    tombstone: Tombstone,
    *,
    hours: Mapping[str, int],
    removed_files: Sequence[RemovedFile],
    rewritten_journals: Sequence[str],
    pending_journals: Sequence[str],
    later: Collection[str] = (),
    searched: Found | None,
    remaining: Collection[str] = (),
    mentions: Sequence[Mention] = (),
    copies: Sequence[CopyState] = (),
) -> Certificate:
    """Write the certificate next to the tombstone. One for late segments has its own time in its name."""
    files = rewritings(settings, tombstone.moments)
    rows: Counter[str] = Counter()
    for item in files:
        rows[item.dataset] += item.rows_removed
    finished_at = datetime.now(UTC)
    path = settings.erasures / f"{tombstone.name}.json"
    is_late = path.exists()
    if is_late:
        path = path.with_name(f"{tombstone.name}-late-{finished_at:%Y%m%dT%H%M%S%f}.json")
    behind = {copy.target for copy in copies if not copy.is_current}
    certificate = Certificate(
        person=tombstone.person,
        organization=tombstone.organization,
        cause="late segments" if is_late else "request",
        erased_at=tombstone.erased_at,
        finished_at=finished_at,
        release=versions.release(),
        rows={dataset: rows[dataset] for dataset in DATASETS},
        hours=dict(hours),
        files=tuple(files),
        removed_files=tuple(removed_files),
        rewritten_journals=tuple(rewritten_journals),
        warehouse_sha256=sha256_of(settings.warehouse_file),
        searched=None if searched is None else _search(searched, settings),
        remaining=tuple(sorted({*remaining, *behind})),
        mentions=tuple(mentions),
        copies=tuple(copies),
        pending_journals=tuple(pending_journals),
        later=tuple(sorted(later)),
    )
    write_atomically(path, certificate.model_dump_json(indent=1).encode())
    return certificate


def hours(warehouse: Warehouse, tombstone: Tombstone) -> dict[str, int]:
    """By hour: removed requests that the rollup still counts."""
    found = warehouse.run("erasure/removed_hours", moments=list(tombstone.moments)).fetchall()
    return {hour.astimezone(UTC).isoformat(): int(count) for hour, count in found}


def _search(found: Found, settings: Settings) -> Search:
    return Search(
        files=found.files,
        bytes=found.bytes,
        decoded=found.decoded,
        unreadable=tuple(_relative(name, settings) for name in found.unreadable),
    )


def _relative(path: str, settings: Settings) -> str:
    return path.removeprefix(f"{settings.home}/")


def rewritings(settings: Settings, moments: Collection[datetime]) -> list[Rewriting]:
    """Find the rewritings by erasures of these moments in the lake."""
    found = []
    for dataset in DATASETS:
        for segment in reading.scan(settings.lake, dataset).segments:
            for item in segment.manifest.tree():
                if item.operation != "erasure" or item.sealed_at not in moments:
                    continue
                before = tuple(
                    File(path=source.path, sha256=source.sha256, rows=source.rows)
                    for source in item.direct_sources()
                )
                found.append(
                    Rewriting(
                        dataset=dataset,
                        hour=item.hour,
                        before=before,
                        after=File(path=item.path, sha256=item.sha256, rows=item.rows),
                        rows_removed=sum(file.rows for file in before) - item.rows,
                    )
                )
    return found
