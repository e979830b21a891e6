"""The jobs start when they should, and Dagster's own records stay bounded."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import dagster as dg
import pytest

from pipelines import flow
from pipelines.definitions import defs
from pipelines.defs.automation import new_segments, refresh_schedule
from pipelines.refresh import open_instance, refresh
from pipelines.retention import purge
from pipelines.warehouse.pending import pending_segments
from router.config import Settings
from tests.pipelines.helpers import NOW, make_record, seal_records
from tests.places import ROOT


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The data folder, named by the environment as the daemon sees it."""
    monkeypatch.setenv("INTELLIROUTER_HOME", str(settings.home))
    return settings


def _tick(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    answer = new_segments(dg.build_sensor_context(instance=instance))
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_the_sensor_asks_for_a_refresh_when_a_segment_waits(home: Settings) -> None:
    """An empty or loaded lake is skipped; a new segment is a run request, until it is loaded."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(_tick(instance), dg.SkipReason)
        seal_records(home, [make_record()])
        request = _tick(instance)
        assert isinstance(request, dg.RunRequest)
        assert request.run_key
        refresh(home, instance=instance)
        assert isinstance(_tick(instance), dg.SkipReason)
        seal_records(home, [make_record(NOW + timedelta(minutes=1))])
        assert isinstance(_tick(instance), dg.RunRequest)


def test_the_sensor_waits_for_a_refresh_under_way(home: Settings) -> None:
    """While a refresh is queued or running no other is asked for."""
    with dg.DagsterInstance.ephemeral() as instance:
        seal_records(home, [make_record()])
        instance.create_run_for_job(defs.resolve_job_def("refresh"), status=dg.DagsterRunStatus.STARTED)
        answer = _tick(instance)
        assert isinstance(answer, dg.SkipReason)
        assert "queued or running" in str(answer.skip_message)


def test_a_failed_refresh_is_asked_for_again(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run key of a waiting set changes with time, so that a failure is retried."""
    seal_records(home, [make_record()])
    with dg.DagsterInstance.ephemeral() as instance:
        keys = []
        for moment in (1000.0, 1010.0, 1100.0):
            monkeypatch.setattr("pipelines.defs.automation.time.time", lambda now=moment: now)
            request = _tick(instance)
            assert isinstance(request, dg.RunRequest)
            keys.append(request.run_key)
    assert keys[0] == keys[1] != keys[2]


def test_a_quarantined_segment_does_not_wait(home: Settings, instance: dg.DagsterInstance) -> None:
    """A bad file is tried once, not at every tick."""
    (manifest,) = seal_records(home, [make_record()])
    (home.lake / manifest.path).write_bytes(b"junk")
    assert pending_segments(home) == [f"request_analytics/{manifest.name}"]
    assert refresh(home, instance=instance).quarantined == 1
    assert pending_segments(home) == []


@pytest.mark.slow
def test_old_runs_are_purged_with_their_files(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs beyond the newest few, and runs older than a week, leave no file behind."""
    with open_instance(settings) as instance:
        for _ in range(4):
            refresh(settings, instance=instance)
        monkeypatch.setattr(purge, "RUNS_KEPT", 2)  # from here on: a refresh purges, too
        monkeypatch.setattr(purge, "VACUUM_AFTER", 1)
        files = settings.dagster_home / "history" / "runs"
        assert len(list(files.glob("*-*.db"))) == 4
        assert len(purge.purge_runs(instance)) == 2
        assert len(list(files.glob("*-*.db"))) == 2
        assert instance.get_runs_count() == 2
        assert len(purge.purge_runs(instance, now=datetime.now(UTC) + timedelta(days=8))) == 2
        assert instance.get_runs_count() == 0
        assert refresh(settings, instance=instance).success


@pytest.mark.smoke
def test_schedules_and_the_sensor_run_by_default() -> None:
    """A fresh `dg dev` needs no switch to be turned."""
    repository = defs.get_repository_def()
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "refresh_every_5_minutes",
        "retention_daily",
        "prices_daily",
        "housekeeping_hourly",
        "reports_hourly",
    }
    assert all(item.default_status.value == "RUNNING" for item in repository.schedule_defs)
    assert [item.default_status.value for item in repository.sensor_defs] == ["RUNNING"] * 2


@pytest.mark.parametrize("asset", ["published_scores", "published_warehouse"])
def test_what_people_and_routers_read_says_whether_it_is_current(asset: str) -> None:
    """Two missed ticks of the schedule warn, an hour without a refresh fails."""
    policy = defs.resolve_asset_graph().get(dg.AssetKey(asset)).freshness_policy
    assert refresh_schedule.cron_schedule == "*/5 * * * *"
    assert policy == dg.FreshnessPolicy.time_window(
        warn_window=timedelta(minutes=15), fail_window=timedelta(hours=1)
    )


@pytest.mark.slow
def test_many_refreshes_in_one_process_keep_their_pace(settings: Settings) -> None:
    """Refreshing again and again in one process neither leaks files nor slows down."""
    with open_instance(settings) as instance:
        open_files = []
        for index in range(6):
            seal_records(settings, [make_record(NOW + timedelta(minutes=index))])
            assert refresh(settings, instance=instance).success
            open_files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert open_files[-1] <= open_files[1] + 1


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["check", "defs"], ["launch", "--job", "refresh"]])
def test_the_dg_command_works_from_the_root(home: Settings, arguments: list[str], tmp_path: Path) -> None:
    """`dg check defs` and `dg launch` need nothing but this repository's pyproject."""
    import os

    seal_records(home, [make_record()])
    dagster_home = tmp_path / "dagster-home"
    dagster_home.mkdir()
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dg"), *arguments],
        cwd=ROOT,
        env={**os.environ, "DAGSTER_HOME": str(dagster_home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert home.warehouse_file.exists() == (arguments[0] == "launch")


def test_the_refresh_job_runs_the_steps_of_the_flow(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Each step of `flow.REFRESH` runs once; those that feed each other run in its order."""
    seal_records(settings, [make_record()])
    steps = {step.__code__: step.__name__ for step in flow.REFRESH}
    seen = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in steps:
            seen.append(steps[frame.f_code])

    sys.setprofile(note)
    try:
        assert refresh(settings, instance=instance).success
    finally:
        sys.setprofile(None)
    assert sorted(seen) == sorted(steps.values())
    chain = [
        "load_all",
        "honour_erasures",
        "fold_stale_hours",
        "score",
        "publish_scores",
        "publish_warehouse",
    ]
    assert [name for name in steps.values() if name in chain] == chain
    assert [name for name in seen if name in chain] == chain
