"""After a time without a refresh, many small segments of finished hours are merged before they are loaded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipelines.lake import audit, compaction, reading, replacing
from pipelines.warehouse import loading
from router.files import sha256_of, write_atomically
from router.journal.places import manifest_path
from router.journal.segments import parquet_bytes
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings
    from router.journal.manifests import Manifest

MANY = compaction.BACKLOG_FILES


def seal_each(settings: Settings, count: int, start: datetime = NOW) -> list[Manifest]:
    """A segment of one request for each second from `start`."""
    moments = [start + timedelta(seconds=second) for second in range(count)]
    return [seal_records(settings, [make_record(moment)])[0] for moment in moments]


def segments(settings: Settings) -> list[reading.Segment]:
    """The current segments of requests."""
    return list(reading.scan(settings.lake, "request_analytics").segments)


def ids(warehouse: Warehouse) -> int:
    """The number of different requests in the warehouse."""
    (number,) = warehouse.rows("select count(distinct id) from request_analytics")[0]
    return int(number)


@pytest.mark.smoke
def test_the_segments_of_a_finished_hour_are_merged_first(settings: Settings, warehouse: Warehouse) -> None:
    """One segment is loaded, with every row once, and the chain of the sealed ones can still be walked."""
    seal_each(settings, MANY)
    result = loading.load(warehouse, "request_analytics")
    (merged,) = segments(settings)
    assert (result.rows, result.segments) == (MANY, [merged.manifest.name])
    assert ids(warehouse) == MANY
    breaks, _ = audit.audit(settings.home, expired_before=None)
    assert breaks == []


def test_each_dataset_and_hour_is_counted_by_itself(settings: Settings, warehouse: Warehouse) -> None:
    """Hours and datasets with fewer segments are loaded as they are."""
    seal_each(settings, MANY)
    seal_each(settings, MANY - 1, NOW + timedelta(hours=1))
    for second in range(3):
        seal_records(settings, [make_feedback(make_record(NOW + timedelta(seconds=second)), 0.5)])
    results = loading.load_all(warehouse)
    assert len(results["request_analytics"].segments) == 1 + MANY - 1
    assert len(results["feedback"].segments) == 3
    assert ids(warehouse) == 2 * MANY - 1


def test_an_hour_that_is_not_over_is_left_alone(settings: Settings, warehouse: Warehouse) -> None:
    """Its router still seals: the hour is merged once it is over."""
    seal_each(settings, MANY, datetime.now(UTC).replace(minute=0, second=0, microsecond=0))
    assert len(loading.load(warehouse, "request_analytics").segments) == MANY


def test_segments_that_are_loaded_do_not_count(settings: Settings, warehouse: Warehouse) -> None:
    """A few new segments of an hour with many loaded ones are no backlog."""
    for count in (MANY - 1, 5):
        seal_each(settings, count, NOW + timedelta(minutes=count))
        assert len(loading.load(warehouse, "request_analytics").segments) == count


def test_a_request_in_several_segments_is_loaded_once(settings: Settings, warehouse: Warehouse) -> None:
    """The copies stay in the lake, as compaction keeps them."""
    twice = make_record(NOW + timedelta(minutes=30))
    seal_each(settings, MANY - 2)
    for _ in range(3):
        seal_records(settings, [twice])
    result = loading.load(warehouse, "request_analytics")
    assert (result.rows, result.duplicates) == (MANY - 1, 2)
    assert len(segments(settings)) == 1


def test_a_damaged_segment_keeps_no_other_out(settings: Settings, warehouse: Warehouse) -> None:
    """It is left out of the merge and quarantined by its own name."""
    damaged = seal_each(settings, MANY)[3]
    path = settings.lake / damaged.path
    write_atomically(path, path.read_bytes()[:-9] + b"PAR1 lost")
    result = loading.load(warehouse, "request_analytics")
    assert [suspect.path for suspect in result.quarantined] == [damaged.path]
    assert (result.rows, len(result.segments)) == (MANY - 1, 1)


@pytest.mark.parametrize("failure", [PermissionError("read-only"), OSError(28, "No space left on device")])
def test_a_lake_that_takes_no_file_is_loaded_as_it_is(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, failure: OSError
) -> None:
    """Merging saves time, and the load does not depend on it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(replacing, "write_segment", refuse)
    seal_each(settings, MANY)
    assert len(loading.load(warehouse, "request_analytics").segments) == MANY
    assert ids(warehouse) == MANY


def test_a_segment_that_the_table_refuses_keeps_no_other_out(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Text that is not UTF-8 in a file whose manifest agrees: merged, it would keep the whole hour out."""
    refused = seal_each(settings, MANY)[3]
    path = settings.lake / refused.path
    rows = reading.read_rows(path)
    text = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    rows = rows.set_column(rows.schema.get_field_index("user_id"), rows.schema.field("user_id"), text)
    content = parquet_bytes(rows)
    write_atomically(path, content)
    manifest = replace(refused, bytes=len(content), sha256=sha256_of(path))
    manifest_path(path).write_bytes(manifest.content())
    result = loading.load(warehouse, "request_analytics")
    assert [suspect.path for suspect in result.quarantined] == [refused.path]
    assert (result.rows, len(result.segments)) == (MANY - 1, 1)
