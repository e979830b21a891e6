"""Finds the rows past their period: whole partitions, and single rows of partitions that stay.

A day before the default cutoff is removed whole, unless an organisation's longer period or a legal hold
keeps rows of it. Then its hours are rewritten to hold only those rows. From a later day, retention removes
the rows of organisations with a shorter period. Feedback follows its request.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.lake import reading
from pipelines.retention import holds
from pipelines.retention.holds import Cutoffs
from pipelines.warehouse.archive import midnight
from router.journal.places import dated_folders
from router.records import DATASETS, FeedbackRecord, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from router.config import Settings
    from router.configuration.retention import RetentionFile
    from router.journal.manifests import Manifest

JUDGED = ("created_at", "request_id")
"""The columns that decide whether a judgement is removed."""


@dataclass(slots=True, kw_only=True)
class Expiry:
    """The rows to remove from one dataset."""

    dataset: str
    cutoff: datetime
    """Rows before it are removed, except for kept ones."""
    rows: Counter[str] = field(default_factory=Counter)
    """Rows to remove, by organisation. The empty name counts rows without an organisation."""
    held: int = 0
    """Rows that only a legal hold keeps."""
    folders: list[Path] = field(default_factory=list)
    """Day folders of the lake to remove whole."""
    trimmed: list[list[Segment]] = field(default_factory=list)
    """Segments of hours before the cutoff with rows that stay. Each list has one schema version."""
    shortened: list[Segment] = field(default_factory=list)
    """Segments after the cutoff with rows to remove."""
    kept_ids: list[str] = field(default_factory=list)
    """Requests before the cutoff that stay, together with their judgements."""
    gone_ids: list[str] = field(default_factory=list)
    """Requests after the cutoff that are or were removed. Their judgements are removed too."""
    judges: Expiry | None = None
    """For feedback: the expiry of the requests."""
    cutoffs: Cutoffs | None = None

    def goes(self, rows: Any) -> Any:
        """A mask over a pyarrow Table: whether to remove each row."""
        if self.cutoffs is not None:
            return self.cutoffs.goes(rows)
        assert self.judges is not None  # noqa: S101
        requests = rows.column("request_id")
        kept, gone = (_is_in(requests, ids) for ids in (self.judges.kept_ids, self.judges.gone_ids))
        return pc.or_(pc.and_not(pc.less(rows.column("created_at"), self.cutoff), kept), gone)

    def may_shorten(self, manifest: Manifest) -> bool:
        """Whether a segment of a day that stays may hold rows to remove."""
        return self.cutoffs is None or manifest.first_at < self.cutoffs.latest

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `goes` reads."""
        return holds.COLUMNS if self.cutoffs is not None else JUDGED


def plan_expiry(
    settings: Settings, rules: RetentionFile, now: datetime, *, orphaned: Sequence[str] = ()
) -> dict[str, Expiry]:
    """Find the rows to remove from each dataset as of `now`. This reads the lake and changes nothing.

    `orphaned` are requests that were removed earlier while some of their judgements remained.
    """
    plans: dict[str, Expiry] = {}
    for dataset in (RequestRecord.DATASET, *(name for name in DATASETS if name != RequestRecord.DATASET)):
        if dataset == FeedbackRecord.DATASET:
            requests = plans[RequestRecord.DATASET]
            requests.gone_ids += orphaned
            expiry = Expiry(dataset=dataset, cutoff=requests.cutoff, judges=requests)
            keeps_some = bool(requests.kept_ids)
            until = None if requests.gone_ids else requests.cutoff
        else:
            cutoffs = Cutoffs(dataset, rules, settings, now)
            expiry = Expiry(dataset=dataset, cutoff=cutoffs.default, cutoffs=cutoffs)
            keeps_some, until = cutoffs.keeps_some, cutoffs.latest
        _fill(settings.lake, expiry, keeps_some=keeps_some, until=until)
        plans[dataset] = expiry
    return plans


def _fill(root: Path, expiry: Expiry, *, keeps_some: bool, until: datetime | None) -> None:
    days = [
        (midnight(day), folder)
        for day, folder in dated_folders(root / expiry.dataset)
        if until is None or midnight(day) < until
    ]
    if not days:
        return
    hours: Mapping[Path, list[Segment]] = _by_folder(root, expiry.dataset)
    for start, day in days:
        inside = {folder: segments for folder, segments in hours.items() if folder.parent == day}
        if start >= expiry.cutoff:
            for segments in inside.values():
                _shorten(expiry, segments)
        elif keeps_some:
            _trim(expiry, day, inside)
        else:
            expiry.folders.append(day)
            for segment in (segment for segments in inside.values() for segment in segments):
                if (rows := _read(segment, expiry.columns)) is not None:
                    _count(expiry, rows, None)


def _shorten(expiry: Expiry, segments: list[Segment]) -> None:
    for segment in segments:
        rows = _read(segment, (*expiry.columns, *_key(expiry)))
        if rows is not None and reading.count(mask := expiry.goes(rows)):
            expiry.shortened.append(segment)
            _count(expiry, rows, mask)
            expiry.gone_ids += _ids(expiry, rows.filter(mask))


def _trim(expiry: Expiry, day: Path, inside: Mapping[Path, list[Segment]]) -> None:
    is_kept = False
    for segment in (segment for segments in inside.values() for segment in segments):
        rows = _read(segment, (*expiry.columns, *_key(expiry)))
        if rows is None:
            is_kept = True  # it may hold rows that must stay
            continue
        mask = expiry.goes(rows)
        _count(expiry, rows, mask)
        expiry.kept_ids += _ids(expiry, rows.filter(pc.invert(mask)))
        is_kept = is_kept or reading.count(mask) < rows.num_rows
    if not is_kept:
        expiry.folders.append(day)
        return
    for segments in inside.values():
        by_version: dict[int, list[Segment]] = defaultdict(list)
        for segment in segments:
            by_version[segment.manifest.schema_version].append(segment)
        expiry.trimmed += by_version.values()


def _by_folder(root: Path, dataset: str) -> dict[Path, list[Segment]]:
    found: dict[Path, list[Segment]] = defaultdict(list)
    for segment in reading.scan(root, dataset).segments:
        found[segment.path.parent].append(segment)
    return found


def _read(segment: Segment, columns: tuple[str, ...]) -> Any:
    """Read columns of a segment. None if it cannot be read: it is damaged, or was compacted meanwhile."""
    try:
        with pq.ParquetFile(segment.path) as file:
            return file.read(columns=list(columns))
    except (pa.ArrowException, OSError):
        return None


def _key(expiry: Expiry) -> tuple[str, ...]:
    """The column with the request id that judgements refer to."""
    return ("id",) if expiry.dataset == RequestRecord.DATASET else ()


def _ids(expiry: Expiry, rows: Any) -> list[str]:
    return [name for column in _key(expiry) for name in rows.column(column).to_pylist()]


def _count(expiry: Expiry, rows: Any, mask: Any) -> None:
    gone = rows if mask is None else rows.filter(mask)
    if expiry.cutoffs is None:
        expiry.rows[""] += gone.num_rows
        return
    expiry.held += expiry.cutoffs.held(rows)
    for item in gone.column("organization_id").value_counts().to_pylist():
        expiry.rows[item["values"] or ""] += item["counts"]


def _is_in(column: Any, values: list[str]) -> Any:
    return pc.is_in(column, value_set=pa.array(values, pa.string()))
