"""One round after the other: every host has every request once, and what goes anywhere goes everywhere."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pipelines import flow
from pipelines.doctor import store_checks
from pipelines.errors import StoreError
from pipelines.lake import compaction
from pipelines.store.objects import Objects
from pipelines.store.rounds import state_file
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.errors import ConfigError
from router.files import write_atomically
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW
from tests.pipelines.store.conftest import HOUR_LATER, Host, in_store

if TYPE_CHECKING:
    from pathlib import Path

Hosts = tuple[Host, Host, Host]


def sync_all(hosts: Hosts, times: int = 2) -> None:
    """Each host in turn, so often that news of one has reached the others."""
    for _ in range(times):
        for host in hosts:
            assert host.sync().segments.problems == []


@pytest.mark.smoke
def test_each_host_reads_the_requests_of_all_once(hosts: Hosts) -> None:
    """Also those that a host sealed meanwhile. No chain is broken on any."""
    expected = {*hosts[0].serve(), *hosts[1].serve(segments=3)}
    sync_all(hosts)
    expected |= {*hosts[0].serve(segments=2)}
    sync_all(hosts)
    for host in hosts:
        assert host.ids() == dict.fromkeys(expected, 1)
        assert host.faults() == []


def test_small_segments_are_merged_before_they_are_sent(hosts: Hosts, objects: Objects) -> None:
    """Two objects for an hour's round, whatever the number of workers and seals."""
    hosts[0].serve(segments=5)
    result = hosts[0].sync().segments
    assert (result.merged, result.sent) == (5, 1)
    assert len(objects.keys("lake/")) == 2


def test_a_round_without_news_moves_nothing(hosts: Hosts) -> None:
    hosts[0].serve()
    sync_all(hosts, 3)
    for host in hosts:
        moved = host.sync().segments
        assert (moved.fetched, moved.sent, moved.removed_here, moved.removed_there) == (0, 0, 0, 0)


def test_compaction_reaches_every_host(hosts: Hosts, objects: Objects) -> None:
    """The sources go from the store and from the folder of the host that wrote them."""
    expected = {*hosts[0].serve(), *hosts[1].serve()}
    sync_all(hosts)
    assert compaction.compact(hosts[2].settings.lake, now=HOUR_LATER).merged == 2
    sync_all(hosts)
    assert len(in_store(objects)) == 1
    for host in hosts:
        assert host.ids() == dict.fromkeys(expected, 1)
        assert len(list(host.settings.lake.glob("request_analytics/*/*/*.parquet"))) == 1
        assert host.faults() == []


def test_an_erasure_reaches_every_host_and_object(hosts: Hosts, objects: Objects) -> None:
    """Requests that a host had not sent yet are erased once they arrive."""
    write_catalog(hosts[2].settings.home, ["large"])
    hosts[0].serve(user_id="erased-person")
    kept = hosts[1].serve(user_id="other-person")
    sync_all(hosts)
    hosts[0].serve(user_id="erased-person")
    flow.erase(hosts[2].settings, "erased-person")
    sync_all(hosts)
    with Warehouse(hosts[2].settings) as warehouse:
        flow.run_refresh(warehouse)
    sync_all(hosts)
    for host in hosts:
        assert host.ids() == dict.fromkeys(kept, 1)
        files = [path for path in host.settings.lake.rglob("*") if path.is_file()]
        assert not [path for path in files if b"erased-person" in path.read_bytes()]
    for key in objects.keys(""):
        assert b"erased-person" not in (objects.read(key) or (b"",))[0]


def test_retention_reaches_every_host(hosts: Hosts, objects: Objects) -> None:
    """And a segment that a host sends again after that does not come back."""
    write_catalog(hosts[2].settings.home, ["large"])
    hosts[0].serve()
    hosts[0].sync()
    copy = {
        path: path.read_bytes()
        for path in hosts[0].settings.lake.rglob("*")
        if path.is_file() and "date=" in str(path)
    }
    sync_all(hosts)
    with Warehouse(hosts[2].settings) as warehouse:
        flow.retain(warehouse, now=NOW + timedelta(days=400), force=True)
    sync_all(hosts)
    for path, content in copy.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sync_all(hosts)
    assert in_store(objects) == []
    for host in hosts:
        assert host.ids() == {}
        assert host.faults() == []


def test_scores_and_usage_reach_every_host(hosts: Hosts) -> None:
    """As one snapshot; the file that names the others is written last, and what is withdrawn goes."""
    jobs = hosts[2].settings.home
    for name in ("scores/versions.jsonl", "scores/current.json", "usage/acme.json"):
        (jobs / name).parent.mkdir(parents=True, exist_ok=True)
        (jobs / name).write_text(f"{name} 1")
    sync_all(hosts)
    assert (hosts[0].settings.home / "scores" / "current.json").read_text() == "scores/current.json 1"
    (jobs / "usage" / "acme.json").unlink()
    (jobs / "scores" / "current.json").write_text("2")
    sync_all(hosts)
    assert (hosts[1].settings.home / "scores" / "current.json").read_text() == "2"
    assert not (hosts[1].settings.home / "usage" / "acme.json").exists()


def test_the_host_of_the_jobs_keeps_its_own_files(hosts: Hosts) -> None:
    """From its second round on, the store follows it, and never the other way round."""
    jobs = hosts[2].settings
    hosts[2].sync()
    jobs.scores_file.parent.mkdir(parents=True)
    for content in ("1", "2", "3"):
        jobs.scores_file.write_text(content)
        hosts[2].sync()
        assert jobs.scores_file.read_text() == content
        hosts[0].sync()
        assert hosts[0].settings.scores_file.read_text() == content


def test_a_new_host_of_the_jobs_takes_over(hosts: Hosts, tmp_path: Path, objects: Objects) -> None:
    """It starts with the published files of the old one."""
    hosts[2].settings.scores_file.parent.mkdir(parents=True)
    hosts[2].settings.scores_file.write_text("1")
    hosts[2].sync()
    hosts[2].rounds.close()
    new = Host(tmp_path / "new", objects, derives=True)
    new.sync()
    assert new.settings.scores_file.read_text() == "1"
    new.settings.scores_file.write_text("2")
    new.sync()
    assert new.settings.scores_file.read_text() == "2"


def test_only_one_host_derives(hosts: Hosts, tmp_path: Path, objects: Objects) -> None:
    """The second is refused until the first has ended, or its lease has."""
    second = Host(tmp_path / "second", objects, derives=True)
    hosts[2].sync()
    with pytest.raises(StoreError, match="derives for"):
        second.sync()
    hosts[2].rounds.close()
    second.sync()
    with pytest.raises(StoreError, match="derives for"):
        hosts[2].rounds.run(HOUR_LATER + timedelta(minutes=19))
    hosts[2].rounds.run(HOUR_LATER + timedelta(minutes=21))


def test_a_host_that_does_not_derive_sends_no_derived_segments(hosts: Hosts, objects: Objects) -> None:
    """Two hosts that merge the same segments would count them twice. The problem is named."""
    hosts[0].serve()
    sync_all(hosts)
    hosts[1].serve()
    sync_all(hosts)
    before = in_store(objects)
    compaction.compact(hosts[1].settings.lake, now=HOUR_LATER)
    (problem,) = hosts[1].sync().segments.problems
    assert "this host does not derive" in problem
    assert in_store(objects) == before


def test_a_new_host_gets_everything(hosts: Hosts, tmp_path: Path, objects: Objects) -> None:
    """From the store alone, with chains that can be audited."""
    expected = {*hosts[0].serve(segments=2), *hosts[1].serve()}
    sync_all(hosts)
    compaction.compact(hosts[2].settings.lake, now=HOUR_LATER)
    sync_all(hosts)
    new = Host(tmp_path / "new", objects)
    new.sync()
    assert new.ids() == dict.fromkeys(expected, 1)
    assert new.faults() == []


def test_a_damaged_object_is_named_and_not_fetched(hosts: Hosts, objects: Objects) -> None:
    """Others are. It is fetched once it is sound again."""
    hosts[0].serve()
    hosts[0].sync()
    (key,) = in_store(objects)
    sound = (objects.read(key) or (b"",))[0]
    objects.put(key, sound[:-1] + bytes([sound[-1] ^ 1]))
    kept = hosts[1].serve()
    result = hosts[1].sync()
    assert [problem for problem in result.segments.problems if "does not agree" in problem]
    assert hosts[1].ids() == dict.fromkeys(kept, 1)
    objects.put(key, sound)
    assert hosts[1].sync().segments.problems == []
    assert len(hosts[1].ids()) == 6
    assert hosts[1].faults() == []


def test_a_damaged_segment_is_not_sent(hosts: Hosts, objects: Objects) -> None:
    hosts[0].serve()
    (path,) = hosts[0].settings.lake.glob("request_analytics/*/*/*.parquet")
    path.write_bytes(path.read_bytes() + b"x")
    (problem,) = hosts[0].sync().segments.problems
    assert "is not sent" in problem
    assert in_store(objects) == []


def test_a_lost_folder_comes_back_from_the_store(hosts: Hosts) -> None:
    """A host's segments that were sent are fetched again, as those of others."""
    expected = hosts[0].serve()
    sync_all(hosts)
    for path in hosts[0].settings.lake.glob("request_analytics/*/*/*"):
        path.unlink()
    hosts[0].sync()
    assert hosts[0].ids() == dict.fromkeys(expected, 1)


@pytest.mark.parametrize(
    "name", ["../keys.json", "keys.json", "scores/../keys.json", "lake/request_analytics/x", "scores//x"]
)
def test_the_index_cannot_write_elsewhere(hosts: Hosts, objects: Objects, name: str) -> None:
    """A store that someone else can write to changes no key and no configuration."""
    objects.put("files.json", json.dumps({"files": {name: "0" * 64}}).encode())
    with pytest.raises(StoreError, match="which no host publishes"):
        hosts[0].sync()


def test_a_lost_content_is_named_until_it_is_published_again(hosts: Hosts, objects: Objects) -> None:
    """The other files stay as they are."""
    jobs = hosts[2].settings.scores_file
    jobs.parent.mkdir(parents=True)
    jobs.write_text("1")
    hosts[2].sync()
    objects.remove(objects.keys("files/"))
    with pytest.raises(StoreError, match=r"the content of `scores/current.json` is missing"):
        hosts[0].sync()
    jobs.write_text("2")
    hosts[2].sync()
    hosts[0].sync()
    assert hosts[0].settings.scores_file.read_text() == "2"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": 3}'])
def test_a_damaged_index_is_named(hosts: Hosts, objects: Objects, content: bytes) -> None:
    objects.put("files.json", content)
    with pytest.raises(StoreError, match="cannot be read"):
        hosts[0].sync()


def test_foreign_objects_are_left_alone(hosts: Hosts, objects: Objects) -> None:
    """A round neither fetches nor removes them."""
    objects.put("lake/request_analytics/readme.txt", b"x")
    objects.put("lake/request_analytics/date=2026-06-19/hour=12/x.json", b"x")
    sync_all(hosts)
    assert objects.read("lake/request_analytics/readme.txt") is not None


def test_a_damaged_state_file_has_a_remedy(hosts: Hosts, objects: Objects) -> None:
    path = state_file(hosts[0].settings.home)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, b"{")
    with pytest.raises(StoreError, match="Remove it"):
        Host(hosts[0].settings.home, objects)


def test_the_doctor_names_a_host_without_rounds(
    hosts: Hosts, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows no erasure, and the others lack its requests."""
    settings = Settings.load({"LAKE_URL": "s3://lake/team"}, home=hosts[2].settings.home)
    monkeypatch.setattr(Objects, "open", lambda _: objects)
    hosts[0].sync()
    (nobody,) = store_checks.store(settings, now=HOUR_LATER)
    assert nobody.what == "no host publishes scores to the others"
    hosts[2].sync()
    assert list(store_checks.store(settings, now=HOUR_LATER + timedelta(minutes=50))) == []
    late = list(store_checks.store(settings, now=HOUR_LATER + timedelta(minutes=70)))
    assert [item.what for item in late] == ["a host does not share the lake"] * 2


@pytest.mark.parametrize("url", ["/srv/lake", "http://x/y", "s3:bucket", "s3://key:secret@bucket"])
def test_a_wrong_url_is_refused(url: str) -> None:
    """With the setting's name. A value with a secret is not repeated."""
    with pytest.raises(ConfigError, match="LAKE_URL") as refused:
        Settings.load({"LAKE_URL": url})
    assert "secret" not in str(refused.value).replace("secrets", "")
