"""A derived segment replaces its sources in the lake and in the warehouse, and loses nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.lake import reading, replacing
from pipelines.warehouse import loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.files import sha256_of
from router.journal.manifests import Manifest
from router.journal.places import manifest_path, without_prefix
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.lake.reading import Segment

TABLES = (
    "request_analytics",
    "feedback",
    "usage_hourly",
    "latency_buckets_hourly",
    "task_cost_daily",
    "usage_by_org_daily",
    "task_model_scores",
)


def _fill(settings: Settings, count: int = 4) -> list[Manifest]:
    records = [make_record(NOW + timedelta(minutes=i)) for i in range(count)]
    manifests = [seal_records(settings, [record])[0] for record in records]
    seal_records(settings, [make_feedback(record, 0.5, NOW + timedelta(minutes=30)) for record in records])
    return manifests


def _merge(
    settings: Settings, segments: list[Segment], *, keep: slice = slice(None), operation: Any = "compaction"
) -> Manifest:
    import pyarrow as pa

    rows = pa.concat_tables([reading.read_rows(segment.path) for segment in segments])[keep]
    manifest = replacing.replace_segments(settings.lake, segments, rows, operation=operation, now=NOW)
    assert manifest is not None
    return manifest


def _segments(settings: Settings, dataset: str = "request_analytics") -> list[Segment]:
    return reading.scan(settings.lake, dataset).segments


def equals_rebuild(settings: Settings, warehouse: Warehouse, folder: Path) -> None:
    """Every table of the incremental warehouse equals one built from the lake alone."""
    other = Settings.load({}, home=folder)
    other.home.mkdir(parents=True)
    (other.home / "lake").symlink_to(settings.lake)
    with Warehouse(other) as fresh:
        run_steps(fresh)
        fresh.close()
    warehouse.connection.execute(f"attach '{other.build_file}' as fresh (read_only)")
    for table in TABLES:
        for left, right in ((table, f"fresh.{table}"), (f"fresh.{table}", table)):
            assert warehouse.rows(f"from {left} except all from {right}") == [], (table, left)
    warehouse.connection.execute("detach fresh")


@pytest.mark.parametrize("loaded", [0, 2, 4])
@pytest.mark.parametrize("operation", ["compaction", "erasure"])
def test_a_load_after_a_replacement_equals_a_rebuild(
    settings: Settings, warehouse: Warehouse, tmp_path: Path, loaded: int, operation: str
) -> None:
    """Whether none, some or all of the sources were loaded, every row is in the table once."""
    _fill(settings)
    hidden = []
    for segment in _segments(settings)[loaded:]:
        for path in (segment.path, manifest_path(segment.path)):
            hidden += [(path.rename(path.with_name(f".tmp-{path.name}")), path)]
    run_steps(warehouse)
    for temporary, path in hidden:
        temporary.rename(path)
    keep = slice(1, None) if operation == "erasure" else slice(None)
    manifest = _merge(settings, _segments(settings), keep=keep, operation=operation)
    run_steps(warehouse)
    assert warehouse.rows("select segment, count(*) from request_analytics group by segment") == [
        (manifest.name, manifest.rows)
    ]
    assert warehouse.rows(
        "select name, rows_loaded from pipeline.load_ledger"
        " where dataset = 'request_analytics' and replaced_by is null"
    ) == [(manifest.name, manifest.rows)]
    equals_rebuild(settings, warehouse, tmp_path / "rebuilt")


def test_a_replacement_of_a_replacement_takes_over_too(
    settings: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    """A derived segment that was itself replaced before any load saw it is found through its sources."""
    _fill(settings)
    run_steps(warehouse)
    _merge(settings, _segments(settings), keep=slice(2, None), operation="erasure")
    seal_records(settings, [make_record(NOW + timedelta(minutes=40))])
    manifest = _merge(settings, _segments(settings))
    run_steps(warehouse)
    assert warehouse.rows("select segment, count(*) from request_analytics group by segment") == [
        (manifest.name, 3)
    ]
    assert len(list(manifest.replaced())) == 6
    equals_rebuild(settings, warehouse, tmp_path / "rebuilt")


def test_an_erasure_of_every_row_leaves_a_manifest(settings: Settings, warehouse: Warehouse) -> None:
    """A segment without rows stands as evidence and loads."""
    _fill(settings)
    run_steps(warehouse)
    manifest = _merge(settings, _segments(settings), keep=slice(0, 0), operation="erasure")
    assert manifest.rows == 0
    result = loading.load(warehouse, "request_analytics")
    assert (result.segments, result.quarantined) == ([manifest.name], [])
    assert warehouse.value("select count(*) from request_analytics") == 0


@pytest.mark.smoke
def test_leftover_sources_are_ignored_and_then_removed(settings: Settings, warehouse: Warehouse) -> None:
    """Sources beside the segment that replaced them are not read, in any half state."""
    import shutil

    _fill(settings)
    run_steps(warehouse)
    copies = settings.home / "copies"
    sources = _segments(settings)
    hour = sources[0].path.parent
    shutil.copytree(hour, copies)
    manifest = _merge(settings, sources)
    for index, path in enumerate(sorted(copies.iterdir(), key=without_prefix)):
        if index != 3:
            shutil.copy2(path, hour / path.name)
    result = loading.load(warehouse, "request_analytics")
    assert (result.segments, result.rows, result.quarantined) == ([manifest.name], 0, [])
    removed = replacing.remove_leftovers(settings.lake, "request_analytics")
    assert len(removed) == 4
    assert sorted(without_prefix(path).stem for path in hour.iterdir()) == [manifest.name] * 2


def test_sources_that_changed_since_they_were_listed_are_left(settings: Settings) -> None:
    """A replacement of segments that another one replaced meanwhile does nothing."""
    _fill(settings)
    listed = _segments(settings)
    rows = reading.read_rows(listed[0].path)
    _merge(settings, listed[:2])
    assert replacing.replace_segments(settings.lake, listed, rows, operation="erasure", now=NOW) is None
    assert len(_segments(settings)) == 3


def test_sources_vanishing_under_a_load_are_gone_not_bad(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that listed segments before they were replaced quarantines nothing and loses nothing."""
    _fill(settings)
    listed = _segments(settings)
    listing = reading.scan(settings.lake, "request_analytics")
    manifest = _merge(settings, listed)
    with monkeypatch.context() as patch:
        patch.setattr(reading, "scan", lambda *_, **__: listing)
        result = loading.load(warehouse, "request_analytics")
    assert (result.rows, result.quarantined) == (0, [])
    assert loading.load(warehouse, "request_analytics").segments == [manifest.name]
    assert warehouse.value("select count(*) from request_analytics") == 4


@pytest.mark.smoke
def test_a_derived_manifest_keeps_its_sources_verbatim(settings: Settings) -> None:
    """The texts of replaced manifests come back byte for byte, and do not double with every rewriting."""
    _fill(settings)
    sources = _segments(settings)
    texts = [manifest_path(segment.path).read_text() for segment in sources]
    manifest = _merge(settings, sources)
    path = manifest_path(settings.lake / manifest.path)
    assert list(Manifest.read(path).sources) == texts
    sizes = [path.stat().st_size]
    for _ in range(30):
        manifest = _merge(settings, _segments(settings), operation="erasure")
        path = manifest_path(settings.lake / manifest.path)
        sizes.append(path.stat().st_size)
    assert sizes[-1] < sizes[0] + 30 * 1000
    assert len(list(Manifest.read(path).replaced())) == 34
    assert sha256_of(settings.lake / manifest.path) == manifest.sha256
