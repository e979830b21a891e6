"""Replaces segments by a rewritten one. At no moment is a row missing or read twice.

The new segment's manifest holds the manifests of the segments it replaces. Its rename commits the
replacement: readers then ignore the sources, which are removed next. A stop before the rename leaves a
new file that is not read. A stop after it leaves sources that are not read. `remove_leftovers` removes both.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from pipelines.lake.reading import scan
from router.errors import SegmentError
from router.files import TEMPORARY_PREFIX, sync_folder
from router.journal import chains
from router.journal.manifests import DERIVED_NAME, DERIVED_WRITERS, Manifest, commit
from router.journal.places import EVERY_HOUR, manifest_path
from router.journal.segments import arrow_schema, write_segment
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from router.journal.manifests import Operation

ABANDONED_AFTER_S = 3600.0
"""A temporary file of this age no longer has a writer."""


def replace_segments(
    lake: Path, sources: Sequence[Segment], rows: Any, *, operation: Operation, now: datetime
) -> Manifest | None:
    """Write `rows`, a pyarrow Table, in place of the sources, segments of one hour and schema version.

    If a source was replaced or removed since it was listed, return None and change nothing. The caller
    must list again. `rows` may be empty: the manifest remains as evidence.
    """
    ordered = sorted(sources, key=lambda source: source.manifest.name)
    first = ordered[0].manifest
    folder = ordered[0].path.parent
    if any(
        (source.path.parent, source.manifest.schema_version) != (folder, first.schema_version)
        for source in ordered
    ):
        raise SegmentError(f"segments of several hours or versions cannot be merged in `{folder.name}`")
    with chains.locked(lake, chains.REWRITING):
        texts = [_text(source) for source in ordered]
        standing = tuple(text for text in texts if text is not None)
        if len(standing) != len(texts):
            return None
        digests = sorted(hashlib.sha256(text.encode()).hexdigest() for text in standing)
        identity = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:12]
        manifest = write_segment(
            rows.cast(arrow_schema(DATASETS[first.dataset], first.schema_version)),
            dataset=first.dataset,
            writer_id=f"{DERIVED_WRITERS[operation]}-{identity}",
            sequence=1,
            hour=first.hour,
            lake=lake,
            sealed_at=now,
            schema_version=first.schema_version,
            operation=operation,
            sources=standing,
        )
        _remove([source.path for source in ordered])
    return manifest


def remove_leftovers(lake: Path, dataset: str) -> list[Path]:
    """Remove the files of a stopped writer: replaced sources, files without a manifest, temporary files."""
    removed = []
    with chains.locked(lake, chains.REWRITING):  # so no other replacement is running
        listing = scan(lake, dataset)
        for segment in listing.segments if listing.leftovers else ():
            if segment.manifest.operation != "seal":
                commit(lake, segment.manifest)  # the writer may have stopped before it wrote the chain's head
        for leftover in listing.leftovers:
            _remove([leftover])
            removed.append(leftover)
        for path in (lake / dataset).glob(f"{EVERY_HOUR}/{TEMPORARY_PREFIX}*"):
            if DERIVED_NAME.match(path.name.removeprefix(TEMPORARY_PREFIX)) or _is_abandoned(path):
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
    except FileNotFoundError:
        return False


def _text(source: Segment) -> str | None:
    """The text of the source's manifest. None if it was removed or changed."""
    try:
        text = manifest_path(source.path).read_bytes()
        is_same = Manifest.parse(text, source.path.name) == source.manifest
    except (FileNotFoundError, SegmentError):
        return None
    return text.decode() if is_same and source.path.exists() else None


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)  # the file first: rows of an erased person must not outlive the manifest
        manifest_path(path).unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        sync_folder(folder)
