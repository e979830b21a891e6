"""A refusal lasts as long as its cause: permissions, the release, a folder, the times of a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import router.records
from pipelines.lake import reading, versions
from pipelines.warehouse import loading
from pipelines.warehouse.pending import pending_segments
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.journal.places import manifest_path
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@contextmanager
def plain_user() -> Iterator[None]:
    """Run as a user whom permissions bind: root may read everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def home() -> Iterator[Path]:
    """A data folder that belongs to the plain user."""
    path = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    yield path
    for folder in path.rglob("*/"):
        folder.chmod(0o700)
    shutil.rmtree(path)


@pytest.fixture
def plain(home: Path) -> Iterator[Settings]:
    with plain_user():
        yield Settings.load({}, home=home)


def load(settings: Settings) -> loading.LoadResult:
    with Warehouse(settings) as warehouse:
        return loading.load(warehouse, "request_analytics")


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_a_file_without_permission_loads_once_it_has_it(plain: Settings, suffix: str) -> None:
    [manifest] = seal_records(plain, [make_record() for _ in range(3)])
    segment = plain.lake / manifest.path
    file = segment if suffix == ".parquet" else manifest_path(segment)
    file.chmod(0)
    refused = load(plain)
    assert (refused.rows, [item.path for item in refused.quarantined]) == (0, [manifest.path])
    assert "Permission denied" in refused.quarantined[0].reason
    file.chmod(0o644)
    healed = load(plain)
    assert (healed.rows, healed.quarantined) == (3, [])


@pytest.mark.parametrize("level", ["dataset", "day", "hour"])
@pytest.mark.parametrize("mode", [0o000, 0o600])
def test_a_closed_folder_costs_itself_alone(plain: Settings, level: str, mode: int) -> None:
    """0o600 lets the names be listed, but no file be opened."""
    [closed] = seal_records(plain, [make_record()])
    hour = (plain.lake / closed.path).parent
    folder = {"hour": hour, "day": hour.parent, "dataset": hour.parent.parent}[level]
    seal_records(plain, [make_record()], writer_id="w2")  # a neighbour, in the same folder
    folder.chmod(mode)
    result = load(plain)
    assert result.rows == 0
    assert result.quarantined
    assert all("Permission denied" in suspect.reason for suspect in result.quarantined)
    folder.chmod(0o755)
    healed = load(plain)
    assert (healed.rows, healed.quarantined) == (2, [])


def test_a_closed_hour_does_not_keep_the_others_from_loading(plain: Settings) -> None:
    [closed] = seal_records(plain, [make_record()])
    [other] = seal_records(plain, [make_record(make_record().timestamp.replace(hour=3))])
    (plain.lake / closed.path).parent.chmod(0)
    result = load(plain)
    assert result.segments == [other.name]
    assert [suspect.path for suspect in result.quarantined] == [str(Path(closed.path).parent)]


def test_a_loaded_folder_that_closes_is_named_and_keeps_its_rows(plain: Settings) -> None:
    [manifest] = seal_records(plain, [make_record()])
    assert load(plain).rows == 1
    (plain.lake / manifest.path).parent.chmod(0)
    with Warehouse(plain) as warehouse:
        result = loading.load(warehouse, "request_analytics")
        assert [suspect.path for suspect in result.quarantined] == [str(Path(manifest.path).parent)]
        assert warehouse.count("request_analytics") == 1


def test_segments_of_a_newer_release_load_after_the_upgrade(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_records(settings, [make_record() for _ in range(3)])
    with monkeypatch.context() as older:
        older.setattr(router.records.RequestRecord, "SCHEMA_VERSION", 1)
        refused = load(settings)
        assert (refused.rows, len(refused.quarantined)) == (0, 1)
        assert "run the same release" in refused.quarantined[0].reason
    assert load(settings).rows == 3


def test_another_release_tries_refused_bytes_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [manifest] = seal_records(settings, [make_record()])
    (settings.lake / manifest.path).write_bytes(b"junk")
    tried: list[str] = []
    verify = reading.verify

    def watched(segment: reading.Segment) -> None:
        tried.append(segment.manifest.name)
        verify(segment)

    monkeypatch.setattr(reading, "verify", watched)
    load(settings)
    load(settings)
    assert len(tried) == 1, "this release knows these bytes"
    monkeypatch.setattr(versions, "release", lambda: "99.0")
    load(settings)
    assert len(tried) == 2


def pull(target: Settings, *sources: Settings) -> None:
    """Copy lakes as `rsync -a` does: one machine after another, with the times kept."""
    target.lake.mkdir(parents=True, exist_ok=True)
    for source in sources:
        subprocess.run(["cp", "-a", f"{source.lake}/.", str(target.lake)], check=True)


def test_a_folder_pulled_with_its_times_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SETTLE_S", 0.02)
    a, b, target = (Settings.load({}, home=tmp_path / name) for name in ("a", "b", "target"))
    seal_records(a, [make_record()], writer_id="aaaa")
    seal_records(b, [make_record()], writer_id="bbbb")
    pull(target, a, b)
    time.sleep(0.05)
    assert load(target).rows == 2
    load(target)  # the folder is settled now
    seal_records(a, [make_record() for _ in range(5)], writer_id="aaaa")
    pull(target, a, b)  # b comes last: the hour has b's time again
    with Warehouse(target) as warehouse:
        publish_warehouse(warehouse)
    assert len(pending_segments(target)) == 1
    assert load(target).rows == 5
