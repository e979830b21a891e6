"""Other tools read a dataset's folder whole, and lakes of earlier releases stay readable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow.dataset as pads
import pytest

from pipelines import flow
from pipelines.lake import audit, reading
from pipelines.lake.compaction import compact
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.journal.places import EVERY_HOUR, without_prefix
from router.records import RequestRecord
from tests.pipelines.helpers import NOW, make_record, seal_records

DATASET = RequestRecord.DATASET


@pytest.fixture
def lake(settings: Settings) -> Settings:
    """Segments of three hours, one of them compacted, and an archived day."""
    for hour in range(3):
        for _ in range(2):
            seal_records(settings, [make_record(NOW + timedelta(hours=hour), cost_usd=Decimal(1))])
    seal_records(settings, [make_record(NOW - timedelta(days=100))])
    with Warehouse(settings) as warehouse:
        flow.retain(warehouse, now=NOW)
    compact(settings.lake, now=NOW + timedelta(hours=1, minutes=30))
    return settings


@pytest.mark.parametrize(("folder", "rows"), [(DATASET, 6), ("rollups/usage_quarter_hourly", 1)])
def test_a_folder_is_read_whole(lake: Settings, folder: str, rows: int) -> None:
    """pyarrow and pandas take every file of the folder that they do not pass over for Parquet."""
    path = lake.lake / folder
    found = pads.dataset(path, format="parquet", partitioning="hive")
    assert found.to_table().num_rows == rows
    # Spark passes over the same names as Hadoop: those that start with `_` or `.`.
    others = [item.name for item in path.rglob("*") if item.is_file() and item.suffix != ".parquet"]
    assert others
    assert all(name.startswith("_") for name in others)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert len(pandas.read_parquet(path)) == rows


def test_manifests_of_an_earlier_release_are_read(lake: Settings) -> None:
    """Segments with manifests of both names load, are audited and are compacted together."""
    for path in sorted((lake.lake / DATASET).glob(f"{EVERY_HOUR}/_*.json"))[::2]:
        path.rename(without_prefix(path))
    with Warehouse(lake) as warehouse:
        warehouse.close()
        lake.build_file.unlink()
        flow.catch_up(warehouse)
        assert warehouse.value("select count(*) from request_analytics") == 6
    assert reading.scan(lake.lake, DATASET).suspects == []
    assert audit.audit(lake.home)[0] == []
    assert compact(lake.lake, now=datetime.now(UTC)).merged
    assert audit.audit(lake.home)[0] == []
    assert sum(segment.manifest.rows for segment in reading.scan(lake.lake, DATASET).segments) == 6


def test_a_segment_with_both_names_counts_once(settings: Settings) -> None:
    """A merge of a lake of this release into one of an earlier release gives each segment once."""
    seal_records(settings, [make_record()])
    (path,) = (settings.lake / DATASET).glob(f"{EVERY_HOUR}/_*.json")
    without_prefix(path).write_bytes(path.read_bytes())
    listing = reading.scan(settings.lake, DATASET)
    assert (len(listing.segments), listing.suspects) == (1, [])
