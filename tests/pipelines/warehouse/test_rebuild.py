"""The warehouse is a cache of the lake: built again from it, it is the same."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.doctor import doctor
from pipelines.lake import compaction
from pipelines.refresh import rebuild, refresh, retain
from pipelines.warehouse import descriptions, linked, linked_views, thinning
from pipelines.warehouse.warehouse import Warehouse
from router.catalog.catalog import EXAMPLE_FILE
from router.config import Settings
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records

if TYPE_CHECKING:
    import dagster as dg

LATER = NOW + timedelta(days=95)


def _tables(settings: Settings) -> dict[str, list[Any]]:
    """Every table that people query, whole."""
    with Warehouse(settings) as warehouse:
        names = [
            name
            for (name,) in warehouse.rows(
                "select table_name from duckdb_tables() where schema_name = 'main' and not temporary"
            )
            if not descriptions.is_part(name)
        ] + list(linked_views.ADDED)
        return {name: warehouse.rows(f"from {name} order by all") for name in sorted(names)}


@pytest.mark.slow
@pytest.mark.parametrize("is_thinned", [False, True])
def test_a_rebuild_equals_what_grew_step_by_step(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, is_thinned: bool
) -> None:
    """Refreshes, late feedback, a bad file, compaction, retention: no table differs by a row or a digit."""
    # The snapshots are published by the clock, the records are older.
    kept_whole = timedelta(days=-1000 if is_thinned else 1000)
    for bound in ("KEPT_WHOLE", "KEPT_OFTEN"):
        monkeypatch.setattr(thinning, bound, kept_whole)
    settings.home.mkdir(parents=True)
    settings.catalog_file.write_bytes(EXAMPLE_FILE.read_bytes())
    early = []
    for day in (0, 1, 30, 31, 32):
        records = [
            make_record(
                NOW + timedelta(days=day, minutes=7 * index),
                latency_ms=100.0 + index * index,
                experiment_id="e1",
                variant=("control", "treated")[index % 2],
            )
            for index in range(12)
        ]
        early += records
        for start in range(0, 12, 4):
            batch = records[start : start + 4]
            seal_records(settings, [*batch, *(make_feedback(record, 0.75) for record in batch[:2])])
            assert refresh(settings, instance=instance).success
    seal_records(settings, [make_feedback(record, 0.25, NOW + timedelta(days=33)) for record in early[::5]])
    (bad,) = seal_records(settings, [make_record(NOW + timedelta(days=32))], writer_id="bad")
    (settings.lake / bad.path).write_bytes(b"junk")
    assert refresh(settings, instance=instance).quarantined == 1
    assert compaction.compact(settings.lake, now=LATER).merged > 20
    seal_records(settings, [make_record(NOW + timedelta(days=31, minutes=50))])
    assert refresh(settings, instance=instance).success
    assert retain(settings, now=LATER, instance=instance).success
    assert compaction.compact(settings.lake, now=LATER).merged == 2
    assert refresh(settings, instance=instance).success
    grown = _tables(settings)
    assert rebuild(settings, instance=instance).success
    assert grown.keys() >= {
        "request_analytics",
        "feedback",
        "usage_quarter_hourly",
        "model_performance_history",
    }
    assert len(grown["experiment_results"]) == 8
    for table, rows in _tables(settings).items():
        assert rows == grown[table], table
    assert len({row[0] for row in grown["model_performance_history"]}) == (1 if is_thinned else 17)
    assert len({row[0] for row in grown["request_analytics"]}) == 37
    wrong = {finding.what for finding in doctor.inspect(settings, with_audit=True).findings}
    assert wrong == {
        "a segment is not what its manifest says",
        "a file is in quarantine",
        "a build database was set aside",
        f"the chain of `request_analytics` writer `bad` breaks at {bad.chain_position}",
    }


def test_a_build_that_turns_out_corrupt_is_rebuilt_in_the_same_run(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build database that opens and cannot be read to its end is set aside and filled again, once."""
    monkeypatch.setattr(linked, "FEWEST_ROWS", 10_000)  # the rows are in the build database
    seal_records(
        settings,
        [
            make_record(NOW + timedelta(milliseconds=index * 100), user_id=f"u{index}")
            for index in range(3000)
        ],
    )
    assert refresh(settings, instance=instance).success
    before = _tables(settings)
    content = bytearray(settings.build_file.read_bytes())
    with Warehouse(settings) as warehouse:
        blocks = [
            block
            for (block,) in warehouse.rows(
                "select distinct block_id from pragma_storage_info('request_analytics_rows')"
                " where block_id >= 0"
            )
        ]
        warehouse.close()
    for block in blocks:
        content[12288 + block * 262144 + 5000] ^= 0xFF
    settings.build_file.write_bytes(bytes(content))
    seal_records(settings, [make_record(NOW + timedelta(minutes=30))])
    result = refresh(settings, instance=instance)
    assert (result.success, result.error) == (True, None)
    broken = list(settings.build_file.parent.glob("*.broken-*"))
    assert len(broken) == 1
    after = _tables(settings)
    assert len(after["request_analytics"]) == len(before["request_analytics"]) + 1
    assert refresh(settings, instance=instance).success
    assert list(settings.build_file.parent.glob("*.broken-*")) == broken
