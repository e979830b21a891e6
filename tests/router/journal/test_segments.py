"""Sealed segments and their manifests."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from router.errors import SegmentError
from router.files import sha256_of
from router.journal.journal import encode
from router.journal.manifests import Manifest
from router.journal.places import manifest_path
from router.journal.segments import arrow_schema, seal
from router.records import Attempt, Record, Tag
from tests.factories import request_record


def seal_records(tmp_path: Path, *records: Record) -> list[Manifest]:
    """Seal records through a journal file."""
    journal = tmp_path / "w-00000001.jsonl"
    journal.write_bytes(b"".join(encode(record) for record in records))
    dataset = records[0].DATASET
    return seal(journal, dataset=dataset, writer_id="w", sequence=1, lake=tmp_path / "lake")


@pytest.mark.smoke
def test_a_record_survives_the_way_to_parquet(tmp_path: Path) -> None:
    """Every field reads back as it was written: money to the last digit, unknown as null, UTC."""
    record = request_record(
        cost_usd=Decimal("0.000000000001"),
        provider_cost_usd=Decimal("12345678901234.123456789012"),
        tokens_input=None,
        tags=[Tag(key="team", value="search")],
        attempts=[Attempt(model="small", provider="p", cost_usd=Decimal("1E-7"))],
    )
    (manifest,) = seal_records(tmp_path, record)
    (row,) = pq.read_table(tmp_path / "lake" / manifest.path).to_pylist()
    expected = orjson.loads(encode(record))
    expected["timestamp"] = record.timestamp
    expected["cost_usd"], expected["provider_cost_usd"] = record.cost_usd, record.provider_cost_usd
    expected["attempts"][0]["cost_usd"] = Decimal("1E-7")
    assert expected == row


def test_the_parquet_schema_is_the_contract(tmp_path: Path) -> None:
    """A segment's columns and types are those derived from the record class."""
    record = request_record()
    (manifest,) = seal_records(tmp_path, record)
    assert arrow_schema(type(record)).equals(pq.read_schema(tmp_path / "lake" / manifest.path))


def test_a_file_has_bounds_of_moments_and_ids_and_dictionaries_of_texts_that_repeat(tmp_path: Path) -> None:
    """Bounds let a reader skip files by moment and id. Other bounds and dictionaries of ids waste room."""
    tags = [Tag(key="team", value="search")]
    (manifest,) = seal_records(tmp_path, *(request_record(task_type="code", tags=tags) for _ in range(50)))
    metadata = pq.read_metadata(tmp_path / "lake" / manifest.path)
    columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
    bounded = {item.path_in_schema for item in columns if item.is_stats_set and item.statistics.has_min_max}
    repeating = {item.path_in_schema for item in columns if item.has_dictionary_page}
    assert bounded == {"timestamp", "id"}
    assert {"task_type", "model_selected", "tags.list.element.value"} <= repeating
    assert not repeating & {"id", "timestamp", "cost_usd", "latency_ms"}
    assert not repeating & {"error_details", "attempts.list.element.model"}  # they have no value


def test_moments_whole_numbers_and_ids_are_stored_as_differences(tmp_path: Path) -> None:
    """They change little from row to row, so that differences take fewer bytes, and are read as fast."""
    (manifest,) = seal_records(tmp_path, *(request_record() for _ in range(50)))
    metadata = pq.read_metadata(tmp_path / "lake" / manifest.path)
    columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
    encodings = {item.path_in_schema: set(item.encodings) for item in columns}
    assert "DELTA_BYTE_ARRAY" in encodings["id"]
    assert "DELTA_BINARY_PACKED" in encodings["timestamp"] & encodings["tokens_input"]
    assert not any("DELTA" in name for name in encodings["cost_usd"] | encodings["task_type"])


def test_a_journal_over_two_hours_makes_a_segment_for_each(tmp_path: Path) -> None:
    """Rows lie in the partition of their own hour."""
    early = request_record(timestamp=datetime(2026, 11, 22, 23, 59, 59, 999000, tzinfo=UTC))
    late = request_record(timestamp=datetime(2026, 11, 23, 0, 0, tzinfo=UTC))
    manifests = seal_records(tmp_path, late, early)
    assert [manifest.path for manifest in manifests] == [
        "request_analytics/date=2026-11-22/hour=23/20261122T23-w-00000001.parquet",
        "request_analytics/date=2026-11-23/hour=00/20261123T00-w-00000001.parquet",
    ]


def test_sealing_twice_changes_nothing(tmp_path: Path) -> None:
    """A crash between segment and journal removal is repaired by sealing again."""
    record = request_record()
    (first,) = seal_records(tmp_path, record)
    (second,) = seal_records(tmp_path, record)
    assert first == second
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 1


def test_a_manifest_tells_whether_the_file_was_changed(tmp_path: Path) -> None:
    """Digest, size and row count are those of the file on disk."""
    (manifest,) = seal_records(tmp_path, request_record(), request_record())
    path = tmp_path / "lake" / manifest.path
    assert (manifest.sha256, manifest.bytes) == (sha256_of(path), path.stat().st_size)
    assert manifest.rows == pq.read_metadata(path).num_rows == 2
    assert Manifest.read(manifest_path(path)) == manifest


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"format": "other/1"}'], ids=lambda value: repr(value)
)
def test_a_bad_manifest_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    """What is no manifest raises SegmentError naming the file."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(SegmentError, match=r"x\.json"):
        Manifest.read(path)
