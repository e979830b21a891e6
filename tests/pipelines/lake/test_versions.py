"""Segments of every schema version load; a newer one than these pipelines know is refused by name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pipelines.lake import compaction, reading
from pipelines.warehouse import loading
from pipelines.warehouse.columns import MAPS
from router.journal.manifests import Manifest
from router.journal.places import manifest_path
from router.journal.segments import arrow_schema
from router.records import DATASETS, FeedbackRecord, Record, RequestLog, RequestRecord
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records
from tests.places import FIXTURES

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

SEGMENTS = FIXTURES / "segments"
VERSIONS = sorted(path.name for path in SEGMENTS.glob("v*"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackV2(FeedbackRecord):
    """The contract after a release that adds two fields."""

    SCHEMA_VERSION: ClassVar[int] = 2

    confidence: float | None = field(default=None, metadata={"since": 2})
    weight: float = field(default=1.0, metadata={"since": 2})


@pytest.fixture
def version_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release that reads `FeedbackV2`: the contract alone says so, no statement is edited."""
    monkeypatch.setitem(DATASETS, "feedback", FeedbackV2)


@pytest.mark.smoke
def test_there_is_a_fixture_of_every_version() -> None:
    """Each schema version that a dataset ever had is kept as a file."""
    versions = {
        (manifest.dataset, manifest.schema_version)
        for manifest in (Manifest.read(path) for path in SEGMENTS.rglob("*.json"))
    }
    assert versions >= {
        (dataset, version)
        for dataset, record in DATASETS.items()
        for version in range(1, record.SCHEMA_VERSION + 1)
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dataset", [RequestRecord.DATASET, FeedbackRecord.DATASET, RequestLog.DATASET])
def test_a_kept_segment_loads(settings: Settings, warehouse: Warehouse, version: str, dataset: str) -> None:
    """What an earlier release sealed is read whole, every value as it was written."""
    shutil.copytree(SEGMENTS / version, settings.lake)
    result = loading.load(warehouse, dataset)
    assert result.quarantined == []
    (segment,) = reading.scan(settings.lake, dataset).segments
    written = reading.read_rows(segment.path).to_pylist()
    key = next(iter(written[0]))
    cursor = warehouse.connection.execute(f"from {dataset} order by {key}")
    names = [item[0] for item in cursor.description or []]
    loaded = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row, expected in zip(loaded, sorted(written, key=lambda item: str(item[key])), strict=True):
        for name, value in expected.items():
            as_stored = {item["key"]: item["value"] for item in value} if name in MAPS else value
            assert row[name] == as_stored, name


def test_columns_an_older_file_lacks_take_their_default(
    settings: Settings, warehouse: Warehouse, request: pytest.FixtureRequest
) -> None:
    """Beside new segments, those of the version before load with NULL or the contract's default."""
    old = make_feedback(make_record(), 0.5)
    seal_records(settings, [old])
    request.getfixturevalue("version_2")
    warehouse.connection.execute("alter table feedback_rows add column confidence double")
    warehouse.connection.execute("alter table feedback_rows add column weight double")
    new = FeedbackV2(
        **{**_fields(make_feedback(make_record(), 0.25)), "schema_version": 2}, confidence=0.9, weight=2.0
    )
    seal_records(settings, [new])
    result = loading.load(warehouse, "feedback")
    assert (result.rows, result.quarantined) == (2, [])
    assert warehouse.rows("select value, confidence, weight from feedback order by schema_version") == [
        (0.5, None, 1.0),
        (0.25, 0.9, 2.0),
    ]
    assert not list(settings.build_file.parent.glob(".tmp-*"))
    assert compaction.compact(settings.lake, now=NOW.replace(hour=23)).merged == 0  # versions do not mix


def test_an_older_file_with_a_newer_column_is_quarantined(
    settings: Settings, warehouse: Warehouse, request: pytest.FixtureRequest
) -> None:
    """A file must have just the columns of the version its manifest names."""
    request.getfixturevalue("version_2")
    (manifest,) = seal_records(settings, [FeedbackV2(**_fields(make_feedback(make_record(), 0.5)))])
    path = manifest_path(settings.lake / manifest.path)
    replace(manifest, schema_version=1).write(path)
    (suspect,) = loading.load(warehouse, "feedback").quarantined
    assert suspect.reason == "has the unknown column `confidence`"


def test_a_newer_version_is_refused(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment of a later release stays out, with what to do about it."""
    with monkeypatch.context() as patch:
        patch.setitem(DATASETS, "feedback", FeedbackV2)
        seal_records(settings, [FeedbackV2(**_fields(make_feedback(make_record(), 0.5)))])
    (suspect,) = loading.load(warehouse, "feedback").quarantined
    assert suspect.reason == (
        "has schema version `2`, these pipelines read up to `1`;"
        " run the same release of the router and the pipelines"
    )


def test_the_schema_of_a_version_is_a_prefix_of_the_next(version_2: None) -> None:
    """Fields are only ever added, at the end."""
    record: type[Record] = DATASETS["feedback"]
    first, second = arrow_schema(record, 1), arrow_schema(record, 2)
    assert second.names[: len(first.names)] == first.names
    assert second.names[len(first.names) :] == ["confidence", "weight"]


def _fields(record: FeedbackRecord) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record)}
