"""Erases a person from files other than sound segments and tables: damaged, leftover and set-aside files.

No process reads these files, but they may hold the person's bytes. A damaged segment is rewritten with
the rows that were loaded before it was damaged, if any, so that its writer's chain stays intact. Any other
file is removed. Both happen only if the person's id is found in the file, or if it cannot be decoded.
Copies that a refresh can make again (build databases that were set aside, temporary files of processes
that have ended) are removed without a search.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

from pipelines.erasure.certificates import RemovedFile
from pipelines.erasure.judging import is_trace
from pipelines.erasure.search import Found, look
from pipelines.lake import reading, replacing
from pipelines.retention import removals
from router.errors import SegmentError
from router.files import TEMPORARY_PREFIX, sha256_of, write_atomically
from router.journal.manifests import Manifest
from router.journal.places import manifest_path
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime
    from pathlib import Path

    from pipelines.erasure.persons import Doomed
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

TEMPORARY_AGE_S = 3600.0
"""An older temporary file has no owner, even if a process has its number now."""


def clear(warehouse: Warehouse, doomed: Doomed, now: datetime) -> list[RemovedFile]:
    """Clear the leftovers. Returns the files removed because they hold the id or cannot be decoded."""
    settings, users = warehouse.settings, doomed.users
    for path in _temporaries(settings):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in settings.build_file.parent.glob(f"{settings.build_file.name}*.broken-*"):
        path.unlink()
    removed = []
    for dataset in DATASETS:
        replacing.remove_leftovers(settings.lake, dataset)
        listing = reading.scan(settings.lake, dataset)
        for segment in listing.segments:
            if not removals.sound([segment]) and (reason := _reason(segment.path, users)):
                removed.append(_removed(settings, segment.path, f"damaged segment: {reason}"))
                removals.replace_damaged(
                    warehouse, segment, doomed.goes(dataset), operation="erasure", now=now
                )
        removed += _bad_files(settings, (settings.lake / item.path for item in listing.suspects), users)
    removed += _bad_files(
        settings, (settings.lake / item.path for item in reading.strays(settings.lake)), users
    )
    return removed


def clean_journals(settings: Settings, doomed: Doomed) -> list[str]:
    """Remove the person's lines from journals that could not be sealed. Returns the rewritten names."""
    rewritten = []
    for path in sorted((settings.home / "journal").glob("*/*.bad")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not _is_theirs(line, doomed)]
        if len(kept) < len(lines):
            write_atomically(path, b"".join(kept))
            rewritten.append(path.name)
    return rewritten


def pending_journals(settings: Settings, doomed: Doomed) -> list[str]:
    """Open journals of running routers that hold records of the person."""
    found = []
    for path in sorted((settings.home / "journal").glob("*/*.jsonl")):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # sealed meanwhile: the next load finds the segment
        if any(_is_theirs(line, doomed) for line in content.splitlines()):
            found.append(str(path.relative_to(settings.home)))
    return found


def _temporaries(settings: Settings) -> Iterator[Path]:
    for path in sorted(settings.home.rglob(f"{TEMPORARY_PREFIX}*")):
        owner = path.name.rpartition("-")[2]
        # We hold the warehouse's lock, so no other process uses its temporary files.
        is_ours = settings.build_file.parent in path.parents or path.parent == settings.warehouse_file.parent
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue
        is_alive = owner.isdigit() and _runs(int(owner))
        if is_ours or age > TEMPORARY_AGE_S or (owner.isdigit() and not is_alive):
            yield path


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reason(path: Path, users: Collection[str]) -> str | None:
    """Why the file must be removed. None if it can be read and does not hold the person's id."""
    found = Found()
    if path.is_symlink() or not path.is_file():
        return None
    if look(path, list(users), found) and any(is_trace(path, found, user) for user in users):
        return "holds the person's id"
    # Compressed pages without the frame of their file cannot be recognised, and may hold anything.
    return (
        "cannot be decoded" if found.unreadable or (path.suffix == ".parquet" and not found.decoded) else None
    )


def _bad_files(settings: Settings, paths: Iterator[Path], users: Collection[str]) -> list[RemovedFile]:
    removed = []
    for path in paths:
        for file in [item for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path]:
            if not _is_intact(file) and (reason := _reason(file, users)):
                removed.append(_removed(settings, file, reason))
                file.unlink()
    return removed


def _is_intact(path: Path) -> bool:
    """Whether the file agrees with its manifest. Then another release of the pipelines can read it."""
    try:
        manifest = Manifest.read(manifest_path(path))
        return manifest.path.endswith(path.name) and sha256_of(path) == manifest.sha256
    except (SegmentError, OSError):
        return False


def _removed(settings: Settings, path: Path, reason: str) -> RemovedFile:
    return RemovedFile(path=str(path.relative_to(settings.home)), sha256=sha256_of(path), reason=reason)


def _is_theirs(line: bytes, doomed: Doomed) -> bool:
    try:
        return doomed.claims(json.loads(line))
    except (ValueError, AttributeError):
        return any(name.encode() in line for name in doomed.users)
