"""Lists the segments of the lake, and verifies them.

Segments are found by their manifests. A `Suspect` is a file without a manifest, a manifest that does
not describe its file, a symbolic link, or a folder that cannot be listed. It is reported with its
reason and left where it is.
Segments that a derived one replaced are not read (see `replacing`). A folder is not listed again if
everything in it was loaded and it did not change since. Its change is read from the ctime, which a copy
with times kept (`cp -a`, `rsync -a`) cannot set back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.errors import SegmentError
from router.files import sha256_of
from router.journal.manifests import DERIVED_NAME, Manifest
from router.journal.places import (
    ARCHIVE,
    BILLS,
    CHAINS,
    MANIFEST_PREFIX,
    RECONCILIATIONS,
    REMOVALS,
    day_of,
    entries,
    hour_folder,
    hour_of,
    is_date_folder,
    is_hour_folder,
    manifest_path,
    segment_path,
    without_prefix,
)
from router.journal.reading import replaced_names
from router.journal.segments import arrow_schema
from router.records import DATASETS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from datetime import date

MANIFEST_GRACE_S = 1.0
"""Seconds to wait for the manifest of a new Parquet file, which is written a moment later."""
SETTLE_S = 2.0
"""A folder that changed in the last SETTLE_S seconds is listed again, because file clocks are coarse."""
LISTINGS = 3
"""At most this often, a folder that changes while it is listed is listed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A manifest that agrees with its path, and the file it describes (not yet verified)."""

    manifest: Manifest
    path: Path
    fingerprint: str
    """Changes when the file or its manifest is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A file that must not be read."""

    path: str
    """Relative to the lake."""
    reason: str
    fingerprint: str
    found_by: str | None = None
    """The release that found the reason in the file's bytes: for this release it holds while the fingerprint
    is the same. None if the system refused the file, or another file of the lake may be the cause."""


@dataclass(slots=True, kw_only=True)
class Listing:
    """The content of one dataset's folders."""

    segments: list[Segment] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    """Parquet files of a stopped compaction or erasure. They are not read, and may be removed already."""
    folders: dict[str, int] = field(default_factory=dict)
    """Listed folders, with their change time (ns) before the listing."""


def scan(
    lake: Path, dataset: str, *, settled: Mapping[str, int] | None = None, day: date | None = None
) -> Listing:
    """List a dataset's hour folders, except those unchanged since `settled` (folder -> ctime ns).

    `day` bounds the listing to the folders of one day.
    """
    listing = Listing()
    for folder in _hour_folders(lake, dataset, listing, day):
        key = str(folder.relative_to(lake))
        try:
            changed_ns = folder.stat().st_ctime_ns
        except OSError as error:
            listing.suspects.append(_closed(lake, folder, error))
            continue
        if settled is not None and settled.get(key) == changed_ns:
            continue
        listing.folders[key] = changed_ns
        found = _list_hour(lake, dataset, folder)
        for _ in range(LISTINGS):
            if not found.suspects or folder.stat().st_ctime_ns == changed_ns:
                break
            # A compaction is running: a suspect may be a file that it has half removed.
            changed_ns = listing.folders[key] = folder.stat().st_ctime_ns
            found = _list_hour(lake, dataset, folder)
        listing.segments += found.segments
        listing.suspects += found.suspects
        listing.leftovers += found.leftovers
    listing.segments.sort(key=lambda segment: (segment.manifest.first_at, segment.manifest.name))
    return listing


def strays(lake: Path) -> list[Suspect]:
    """Entries of the lake's root that are not a dataset."""
    known = {*DATASETS, ARCHIVE, BILLS, CHAINS, RECONCILIATIONS, REMOVALS}
    return [
        _suspect(lake, Path(entry.path), "is not a dataset of this lake")
        for entry in entries(lake)
        if entry.name not in known or entry.is_symlink()
    ]


def verify(segment: Segment) -> None:
    """Check the file's bytes, rows, columns and hour against its manifest. SegmentError if they differ.

    The digest comes first. A single flipped bit in a Parquet page mostly reads as a wrong value,
    without an error.
    """
    manifest, path = segment.manifest, segment.path
    try:
        size = path.stat().st_size
        if size != manifest.bytes:
            raise SegmentError(f"holds {size} bytes, its manifest says {manifest.bytes}")
        digest = sha256_of(path)
    except OSError as error:
        raise SegmentError(f"cannot be read: {error.strerror}") from error
    if digest != manifest.sha256:
        raise SegmentError(f"SHA-256 is `{digest[:12]}…`, its manifest says `{manifest.sha256[:12]}…`")
    _verify_content(manifest, path)


def read_rows(path: Path) -> Any:
    """Read a segment's file, without the columns that pyarrow would add from folder names."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read()


def count(mask: Any) -> int:
    """Count the true values of a pyarrow boolean column."""
    import pyarrow.compute as pc

    return pc.sum(mask).as_py() or 0


def _hour_folders(lake: Path, dataset: str, listing: Listing, only: date | None) -> Iterator[Path]:
    for day in _entries(lake, lake / dataset, listing):
        if only is not None and day_of(day.name) != only:
            continue
        if not is_date_folder(day):
            _report(lake, day, listing, "is not a date folder")
            continue
        for hour in _entries(lake, Path(day.path), listing):
            if is_hour_folder(hour):
                yield Path(hour.path)
            else:
                _report(lake, hour, listing, "is not an hour folder")


def _entries(lake: Path, folder: Path, listing: Listing) -> list[os.DirEntry[str]]:
    """The entries of a folder. A folder that cannot be listed becomes a suspect."""
    try:
        return entries(folder)
    except OSError as error:
        listing.suspects.append(_closed(lake, folder, error))
        return []


def _closed(lake: Path, folder: Path, error: OSError) -> Suspect:
    return _suspect(lake, folder, f"is a folder that cannot be listed: {error.strerror}")


def _list_hour(lake: Path, dataset: str, folder: Path) -> Listing:
    listing = Listing()
    found = {entry.name: entry for entry in _entries(lake, folder, listing)}
    for name, entry in found.items():
        path = Path(entry.path)
        if entry.is_symlink():
            listing.suspects.append(_suspect(lake, path, "is a symbolic link"))
        elif entry.is_dir() or path.suffix not in {".json", ".parquet"}:
            _report(lake, entry, listing, "is not a segment")
        elif path.suffix == ".json":
            if path.name == without_prefix(path).name or without_prefix(path).name not in found:
                _add_segment(lake, dataset, path, listing)
        elif not {f"{path.stem}.json", f"{MANIFEST_PREFIX}{path.stem}.json"} & found.keys():
            if _await_manifest(path):
                _add_segment(lake, dataset, manifest_path(path), listing)
            elif DERIVED_NAME.match(name):
                listing.leftovers.append(path)  # its sources are in place, or another segment replaced them
            elif not _is_gone(path):
                listing.suspects.append(_suspect(lake, path, f"has no manifest `{manifest_path(path).name}`"))
    _leave_out_replaced(lake, listing)
    return listing


def _leave_out_replaced(lake: Path, listing: Listing) -> None:
    names = replaced_names(segment.manifest for segment in listing.segments)
    replaced = {f"{name}.parquet" for name in names}
    if not replaced:
        return
    beside = [Path(segment.path) for segment in listing.segments] + [
        lake / suspect.path for suspect in listing.suspects
    ]
    listing.leftovers += [path for path in beside if path.name in replaced]
    listing.segments = [segment for segment in listing.segments if segment.path.name not in replaced]
    listing.suspects = [item for item in listing.suspects if Path(item.path).name not in replaced]


def _add_segment(lake: Path, dataset: str, described_by: Path, listing: Listing) -> None:
    path = segment_path(described_by)
    try:
        manifest = Manifest.read(described_by)
        _agree(manifest, dataset, str(path.relative_to(lake)))
        if _is_gone(path):
            raise SegmentError("is missing, only its manifest exists")
    except SegmentError as error:
        if not (_is_gone(described_by) and _is_gone(path)):  # else removed since it was listed
            listing.suspects.append(_suspect(lake, path, str(error)))
        return
    if not path.is_symlink():
        listing.segments.append(Segment(manifest=manifest, path=path, fingerprint=_fingerprint(path)))


def _is_gone(path: Path) -> bool:
    """Whether there is no such file. A file that may not be looked at is not gone."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _agree(manifest: Manifest, dataset: str, relative: str) -> None:
    if manifest.dataset != dataset:
        raise SegmentError(f"manifest says dataset `{manifest.dataset}`, the file is in `{dataset}`")
    if manifest.path != relative or Path(relative).stem != manifest.name:
        raise SegmentError(f"manifest describes `{manifest.path}`, not this file")
    newest = DATASETS[dataset].SCHEMA_VERSION
    if not 1 <= manifest.schema_version <= newest:
        raise SegmentError(
            f"has schema version `{manifest.schema_version}`, these pipelines read up to `{newest}`;"
            " run the same release of the router and the pipelines"
        )


def _verify_content(manifest: Manifest, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = DATASETS[manifest.dataset]
    expected = arrow_schema(record, manifest.schema_version)
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise SegmentError(f"is not a readable Parquet file: {error}") from error
    if not schema.equals(expected):
        raise SegmentError(_difference(schema, expected))
    if metadata.num_rows != manifest.rows:
        raise SegmentError(f"holds {metadata.num_rows} rows, its manifest says {manifest.rows}")
    moments = _bounds(metadata, record.MOMENT)
    if moments is not None and moments != (manifest.first_at, manifest.last_at):
        raise SegmentError(f"spans {moments[0]} to {moments[1]}, its manifest says otherwise")
    if hour_of(manifest.last_at) != manifest.hour:
        raise SegmentError("holds rows of more than one hour")
    if hour_folder(Path(), manifest.dataset, manifest.hour) != Path(manifest.path).parent:
        raise SegmentError(f"holds rows of `{manifest.hour:%Y-%m-%d %H}` UTC, which is not its folder's hour")


def _bounds(metadata: Any, column: str) -> tuple[datetime, datetime] | None:
    """The least and greatest moment by the footer's statistics. None if the footer has none."""
    lows, highs = [], []
    for group in range(metadata.num_row_groups):
        columns = (metadata.row_group(group).column(item) for item in range(metadata.num_columns))
        statistics = next(item.statistics for item in columns if item.path_in_schema == column)
        if statistics is None or not statistics.has_min_max:
            return None
        lows.append(statistics.min)
        highs.append(statistics.max)
    return (min(lows).astimezone(UTC), max(highs).astimezone(UTC)) if lows else None


def _difference(found: Any, expected: Any) -> str:
    for item in expected:
        index = found.get_field_index(item.name)
        if index < 0:
            return f"lacks the column `{item.name}`"
        if not found.field(index).equals(item):
            return f"column `{item.name}` is `{found.field(index).type}`, expected `{item.type}`"
    extra = [name for name in found.names if name not in expected.names]
    return f"has the unknown column `{extra[0]}`" if extra else "has its columns in another order"


def _await_manifest(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_ctime
    except OSError:
        return False
    deadline = time.monotonic() + MANIFEST_GRACE_S
    while age < SETTLE_S and time.monotonic() < deadline:
        if manifest_path(path).exists():
            return True
        time.sleep(0.02)
    return manifest_path(path).exists()


def _report(lake: Path, entry: os.DirEntry[str], listing: Listing, reason: str) -> None:
    listing.suspects.append(_suspect(lake, Path(entry.path), reason))


def _suspect(lake: Path, path: Path, reason: str) -> Suspect:
    return Suspect(path=str(path.relative_to(lake)), reason=reason, fingerprint=_fingerprint(path))


def _fingerprint(path: Path) -> str:
    parts = []
    for item in (path, manifest_path(path)):
        try:
            status = item.lstat()
            parts.append(f"{status.st_ctime_ns}-{status.st_size}-{status.st_ino}")
        except OSError:
            parts.append("absent")
    return "/".join(parts)
