"""Hosts with folders of their own that share a store, and what a reader finds in their lakes."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from obstore.store import MemoryStore

from pipelines.lake import audit, reading
from pipelines.store.objects import Objects
from pipelines.store.rounds import Round, Rounds
from router.config import Settings
from router.records import DATASETS, RequestRecord
from tests.pipelines.helpers import NOW, make_record, seal_records

if TYPE_CHECKING:
    from pathlib import Path

HOUR_LATER = NOW + timedelta(hours=2)


class Host:
    """A data folder that shares the store's lake."""

    def __init__(self, home: Path, objects: Objects, *, derives: bool = False) -> None:
        self.settings = Settings.load({}, home=home)
        self.rounds = Rounds(self.settings, objects, derives=derives)
        self._writer = home.name

    def serve(self, count: int = 3, *, segments: int = 1, **changes: Any) -> list[str]:
        """Seal requests into some segments, and return their ids."""
        ids = []
        for _ in range(segments):
            records = [make_record(NOW + timedelta(seconds=number), **changes) for number in range(count)]
            seal_records(self.settings, records, writer_id=self._writer)
            ids += [record.id for record in records]
        return ids

    def sync(self) -> Round:
        """One round."""
        return self.rounds.run(HOUR_LATER)

    def ids(self) -> Counter[str]:
        """How often each request is read in this host's lake."""
        found: Counter[str] = Counter()
        for segment in reading.scan(self.settings.lake, RequestRecord.DATASET).segments:
            reading.verify(segment)
            found.update(reading.read_rows(segment.path).column("id").to_pylist())
        return found

    def faults(self) -> list[Any]:
        """Files that are not read, and broken chains."""
        listings = [reading.scan(self.settings.lake, dataset) for dataset in DATASETS]
        suspects = [suspect for listing in listings for suspect in listing.suspects]
        return [*suspects, *audit.audit(self.settings.home)[0]]


@pytest.fixture
def objects() -> Objects:
    """An empty store in memory, which has the conditional writes of the real ones."""
    return Objects(MemoryStore(), "memory:///")


@pytest.fixture
def hosts(tmp_path: Path, objects: Objects) -> tuple[Host, Host, Host]:
    """Two routers' hosts and the one that runs the jobs."""
    return (
        Host(tmp_path / "a", objects),
        Host(tmp_path / "b", objects),
        Host(tmp_path / "jobs", objects, derives=True),
    )


def in_store(objects: Objects) -> list[str]:
    """The keys of segments' files."""
    return [key for key in objects.keys("lake/") if key.endswith(".parquet")]
