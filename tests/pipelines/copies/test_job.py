"""The job `mirror` follows each publication, and nothing waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.defs.automation import stale_mirror
from pipelines.refresh import refresh, retain
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pipelines.copies.conftest import Mirrored


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance without earlier runs."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def home(mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> Mirrored:
    """The data folder and its target, named by the environment as the daemon sees them."""
    monkeypatch.setenv("INTELLIROUTER_HOME", str(mirrored.settings.home))
    monkeypatch.setenv("MIRROR_URL", mirrored.url)
    monkeypatch.setenv("MIRROR_READER", mirrored.settings.mirror_reader)
    seal_records(mirrored.settings, [make_record()])
    return mirrored


def _tick(instance: dg.DagsterInstance) -> bool:
    return isinstance(stale_mirror(dg.build_sensor_context(instance=instance)), dg.RunRequest)


def _run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("mirror").execute_in_process(instance=instance, raise_on_error=False)


def test_the_sensor_asks_after_each_publication(home: Mirrored, instance: dg.DagsterInstance) -> None:
    """Nothing to copy before the first refresh; a refresh makes the mirror stale; the job cures it."""
    assert not _tick(instance)
    assert refresh(home.settings, instance=instance).success
    assert _tick(instance)
    assert _run(instance).success
    assert not _tick(instance)
    assert home.differences() == {}


def test_without_a_url_nothing_runs(
    home: Mirrored, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor skips, and the asset materialised by hand says why it copied nothing."""
    refresh(home.settings, instance=instance)
    monkeypatch.delenv("MIRROR_URL")
    assert not _tick(instance)
    result = _run(instance)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    assert "MIRROR_URL is not set" in str(event.step_materialization_data.materialization.metadata["note"])


def test_a_target_that_is_away_fails_the_asset_only(
    home: Mirrored, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refresh and retention publish; the mirror's run fails with the remedy and without the password."""
    monkeypatch.setenv("MIRROR_URL", "postgresql://ada:canary-word@127.0.0.1:9/x")
    assert refresh(home.settings, instance=instance).success
    result = _run(instance)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    text = str(failure.step_failure_data.error)
    assert "the next run goes on" in text
    assert "canary-word" not in text
    assert _tick(instance)
    assert retain(home.settings, force=True, instance=instance).success


def test_the_asset_is_behind_the_published_warehouse() -> None:
    """The graph shows the copy after the file that it follows, and no other job runs it."""
    key = dg.AssetKey("postgres_mirror")
    assert defs.resolve_asset_graph().get(key).parent_keys == {dg.AssetKey("published_warehouse")}
    jobs = [job for job in ("refresh", "retention", "mirror") if key in _keys(job)]
    assert jobs == ["mirror"]


def _keys(job: str) -> set[dg.AssetKey]:
    return set(defs.resolve_job_def(job).asset_layer.executable_asset_keys)
