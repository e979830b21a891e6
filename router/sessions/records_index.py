"""An index of the lake's last hours: the segments that hold records of a session.

A segment is read once for the ids of its sessions, and once for each session that is asked for. Both lie in
SQLite's private temporary file, so that the memory stays small, and the file vanishes with the process.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import SegmentError
from router.journal.manifests import Manifest
from router.journal.places import MANIFEST_PREFIX, hour_folder
from router.journal.reading import LISTINGS
from router.records import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

logger = logging.getLogger("router")

SETTLED_S = 1.0
"""A folder that changed more recently is listed again, since its time of change may hide another change."""
_TABLES = (
    "pragma journal_mode=off",
    "pragma cache_size=-16384",
    # `session` is Python's hash of an id, and `records` what was read of the session: NULL before.
    (
        "create table places (session integer, segment integer, records blob,"
        " primary key (session, segment)) without rowid"
    ),
    "create index places_by_segment on places (segment)",
)
_ADD = "insert or ignore into places (session, segment) values (?, ?)"
_KEEP = "update places set records = ? where session = ? and segment = ?"
_FIND = "select segment, records from places where session = ?"
_DROP = "delete from places where segment = ?"


@dataclass(slots=True)
class _Hour:
    """A folder of the lake, as far as it is in the index."""

    changed_ns: int | None = None
    """Its time of change when it was listed; None if it must be listed again."""
    segments: dict[str, int] = field(default_factory=dict)
    """Numbers of the current segments, by name."""
    replaced: set[str] = field(default_factory=set)
    """Names of segments whose rows are in current ones."""
    unreadable: set[str] = field(default_factory=set)
    """Names of segments whose manifest cannot be read."""


class RecordsIndex:
    """The sessions of a lake's segments. The caller keeps other threads out."""

    def __init__(self, lake: Path, columns: Sequence[str]) -> None:
        """`columns` are those that `records` gives, `session_id` among them."""
        import sqlite3  # most processes need none

        self._lake = lake
        self._columns = columns
        self._hours: dict[datetime, _Hour] = {}
        self._paths: dict[int, Path] = {}
        self._damaged: set[Path] = set()
        self._last_number = 0
        self._places = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in _TABLES:
            self._places.execute(statement)

    @property
    def is_complete(self) -> bool:
        """Whether every segment could be read."""
        return not self._damaged and not any(hour.unreadable for hour in self._hours.values())

    def catch_up(self, first: datetime, last: datetime) -> None:
        """Cover the segments from the hour `first` to the hour `last`, and no earlier ones."""
        for old in [hour for hour in self._hours if hour < first]:
            self._drop(self._hours.pop(old).segments.values())
        while first <= last:
            self._catch_up(first)
            first += timedelta(hours=1)

    def covers(self, hour: datetime, journal: str) -> bool:
        """Whether a journal's records of an hour are in a segment of the index."""
        known = self._hours.get(hour)
        name = f"{hour:%Y%m%dT%H}-{journal}"
        return known is not None and (name in known.segments or name in known.replaced)

    def records(self, session_id: str) -> Iterator[dict[str, Any]]:
        """The columns of each record with the session's id. FileNotFoundError if a segment was replaced."""
        session = hash(session_id)
        for number, kept in self._places.execute(_FIND, (session,)).fetchall():
            found = [row for row in orjson.loads(kept or b"[]") if row["session_id"] == session_id]
            path = self._paths[number]
            if not found and path not in self._damaged:  # not read yet, or kept for an id of the same hash
                content = orjson.dumps(self._read(path, self._columns, session_id), default=_as_text)
                self._places.execute(_KEEP, (content, session, number))
                found = orjson.loads(content)
            yield from found

    def close(self) -> None:
        """Drop the index."""
        self._places.close()

    def _catch_up(self, hour: datetime) -> None:
        folder = hour_folder(self._lake, RequestRecord.DATASET, hour)
        for attempt in range(LISTINGS):
            try:
                changed_ns = folder.stat().st_mtime_ns
            except FileNotFoundError:
                if gone := self._hours.pop(hour, None):
                    self._drop(gone.segments.values())
                return
            known = self._hours.setdefault(hour, _Hour())
            if known.changed_ns == changed_ns:
                return
            try:
                self._list(folder, known)
            except FileNotFoundError:  # replaced meanwhile: its replacement is listed next
                if attempt == LISTINGS - 1:
                    raise
                continue
            known.changed_ns = changed_ns if time.time_ns() - changed_ns > SETTLED_S * 1e9 else None
            return

    def _list(self, folder: Path, known: _Hour) -> None:
        """Take in new segments, and drop those that are replaced or removed."""
        listed = {path.stem.removeprefix(MANIFEST_PREFIX): path for path in folder.glob("[!.]*.json")}
        known.unreadable &= listed.keys()
        for name in listed.keys() - known.segments.keys() - known.replaced:
            try:
                manifest = Manifest.read(listed[name])
            except SegmentError:
                if not listed[name].exists():
                    raise FileNotFoundError(listed[name]) from None
                known.unreadable.add(name)
                continue
            known.unreadable.discard(name)
            known.replaced |= {source.name for source, _ in manifest.replaced()}
        current = listed.keys() - known.replaced - (known.unreadable - known.segments.keys())
        self._drop([known.segments.pop(name) for name in known.segments.keys() - current])
        for name in sorted(current - known.segments.keys()):
            self._last_number += 1
            path = folder / f"{name}.parquet"
            self._paths[self._last_number] = path
            rows = self._read(path, ["session_id"], None)
            sessions = sorted({hash(row["session_id"]) for row in rows})
            self._places.execute("begin")
            self._places.executemany(_ADD, ((session, self._last_number) for session in sessions))
            self._places.execute("commit")
            known.segments[name] = self._last_number

    def _drop(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._places.execute(_DROP, (number,))
            self._damaged.discard(self._paths.pop(number))

    def _read(self, path: Path, columns: Sequence[str], session_id: str | None) -> list[dict[str, Any]]:
        """The rows of a session, or the distinct ones of all. A damaged file has none, and is noted."""
        try:
            return _rows(path, columns, session_id)
        except SegmentError as error:
            logger.warning("%s; the use of sessions lacks its records", error)
            self._damaged.add(path)
            return []


def _rows(path: Path, columns: Sequence[str], session_id: str | None) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as pads

    from router.journal.segments import arrow_schema

    name = pc.field("session_id")
    try:
        segment = pads.dataset([str(path)], schema=arrow_schema(RequestRecord), format="parquet")
        if session_id is None:
            table = segment.to_table(columns=list(columns), filter=name.is_valid())
            table = table.group_by(list(columns)).aggregate([])
        else:
            table = segment.to_table(columns=list(columns), filter=name == session_id)
    except (pa.ArrowException, OSError) as error:
        if not path.exists():
            raise FileNotFoundError(path) from None
        raise SegmentError(f"segment `{path.name}` cannot be read: {error}") from error
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} is not among the columns")
