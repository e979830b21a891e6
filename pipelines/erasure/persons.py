"""Finds the rows of an erased person in the lake."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.erasure.tombstones import Key, Tombstone
from pipelines.lake import reading
from pipelines.retention import removals
from router.records import DATASETS, FeedbackRecord, RequestLog, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

_JUDGEMENT_COLUMNS = ("created_at", "request_id")
_PERSON_COLUMNS = ("timestamp", "organization_id", "user_id")
_IDS = {RequestRecord.DATASET: "id", RequestLog.DATASET: "request_id"}
"""The column with the request id that judgements refer to."""


def columns(dataset: str) -> tuple[str, ...]:
    """The columns that decide whether a row of the dataset is removed."""
    return _JUDGEMENT_COLUMNS if dataset == FeedbackRecord.DATASET else _PERSON_COLUMNS


@dataclass(slots=True, kw_only=True)
class Trace:
    """The data that the lake holds of a person."""

    rows: Counter[str] = field(default_factory=Counter)
    """By dataset."""
    organizations: set[str | None] = field(default_factory=set)
    segments: list[str] = field(default_factory=list)
    """Names of the segments that would be rewritten."""


class Doomed:
    """The rows that an erased person's tombstone claims."""

    def __init__(self, tombstone: Tombstone, key: Key, user: str | None = None) -> None:
        """`user` is the person's id. Without it, every id is hashed to recognise theirs."""
        self._tombstone = tombstone
        self.organization = tombstone.organization
        self._key = key
        self._is_known = user is not None
        self._requests = set(tombstone.requests)
        self.users: set[str] = set() if user is None else {user}
        """The person's id, once it is recognised."""

    @classmethod
    def sought(cls, user: str, organization: str | None) -> Doomed:
        """The rows that an erasure of the person would claim now. Nothing is written."""
        key = Key.throwaway()
        person = key.hash(user)
        return cls(
            Tombstone(person=person, organization=organization, erased_at=datetime.now(UTC)), key, user
        )

    @property
    def requests(self) -> tuple[str, ...]:
        """Hashes of the requests whose judgements are claimed."""
        return tuple(sorted(self._requests))

    def add_requests(self, ids: Iterable[str]) -> None:
        """Claim the judgements of these requests too."""
        self._requests |= {self._key.hash_request(name) for name in ids}

    def goes(self, dataset: str) -> Callable[[Any], Any]:
        """A function that gives a mask over a pyarrow Table of the dataset: whether to remove each row."""
        return self._judgements if dataset == FeedbackRecord.DATASET else self._records

    def claims(self, record: Mapping[str, Any]) -> bool:
        """Whether a journal's record belongs to the person."""
        return record.get("user_id") in self.users or (
            isinstance(name := record.get("request_id"), str)
            and self._key.hash_request(name) in self._requests
        )

    def _records(self, rows: Any) -> Any:
        if not self._is_known:
            self.users |= {
                name
                for name in pc.unique(rows.column("user_id")).to_pylist()
                if name is not None and self._key.hash(name) == self._tombstone.person
            }
        mask = _is_in(rows.column("user_id"), self.users)
        if self.organization is not None:
            mask = pc.and_(mask, _is_in(rows.column("organization_id"), {self.organization}))
        return pc.and_(mask, pc.less(rows.column("timestamp"), self._tombstone.erased_at))

    def _judgements(self, rows: Any) -> Any:
        theirs = {
            name
            for name in pc.unique(rows.column("request_id")).to_pylist()
            if self._key.hash_request(name) in self._requests
        }
        mask = _is_in(rows.column("request_id"), theirs)
        return pc.and_(mask, pc.less(rows.column("created_at"), self._tombstone.erased_at))


def trace(root: Path, doomed: Doomed, names: Collection[str] | None = None) -> Trace:
    """Find the person in the sound segments (of these names), and add their requests to `doomed`."""
    found = Trace()
    for dataset in sorted(DATASETS, key=lambda name: name == FeedbackRecord.DATASET):
        key_column = _IDS.get(dataset)
        wanted = [*columns(dataset), *([key_column] if key_column else [])]
        for segment in reading.scan(root, dataset).segments:
            if (names is not None and segment.manifest.name not in names) or not removals.sound([segment]):
                continue
            with pq.ParquetFile(segment.path) as file:
                rows = file.read(columns=wanted)
            theirs = rows.filter(doomed.goes(dataset)(rows))
            if not theirs.num_rows:
                continue
            found.rows[dataset] += theirs.num_rows
            found.segments.append(segment.manifest.name)
            if key_column is not None:
                doomed.add_requests(theirs.column(key_column).to_pylist())
                found.organizations.update(pc.unique(theirs.column("organization_id")).to_pylist())
    return found


def _is_in(column: Any, values: Collection[str]) -> Any:
    return pc.is_in(column, value_set=pa.array(sorted(values), pa.string()))
