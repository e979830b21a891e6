"""A full or failing disk under the HTTP shim: no answer without a record, and no hand to recover."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import httpx
import pytest

from router.journal.journal import Journal
from router.records import RequestLog, RequestRecord
from tests.crash import preload, recovery, shim
from tests.crash.preload import Control
from tests.crash.reporting import is_long, show

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
BODY = {"model": "auto", "messages": [{"role": "user", "content": "2 + 2? " * 50}]}
RECOVERY_S = 10.0


@pytest.fixture(params=["tmpfs", "injected"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[shim.Disk]:
    """A disk that can be filled: a real small one, and one whose calls are made to fail."""
    if request.param == "tmpfs":
        try:
            with shim.small_tmpfs(tmp_path / "disk") as folder:
                yield shim.FullTmpfs(folder)
        except PermissionError as error:
            pytest.skip(str(error))  # a tmpfs is mounted by root alone; the error says so
    else:
        yield from _injected(tmp_path)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[shim.InjectedFull]:
    """A disk whose single calls can be made to fail."""
    yield from _injected(tmp_path)


def _injected(tmp_path: Path) -> Iterator[shim.InjectedFull]:
    try:
        preload.compiled()
    except RuntimeError as error:
        pytest.skip(str(error))
    with Control(tmp_path / "control") as control:
        yield shim.InjectedFull(tmp_path / "disk", control)


def ask(url: str) -> httpx.Response:
    """One request."""
    return httpx.post(f"{url}/v1/chat/completions", json=BODY, timeout=30, trust_env=False)


def recorded(home: Path, dataset: str = RequestRecord.DATASET) -> Counter[str]:
    """Ids in the lake once everything is sealed."""
    Journal(home, seal_interval_s=3600, max_bytes=1 << 30).close()
    problems: list[str] = []
    ids = recovery.ids_in_lake(home / "lake", dataset, problems)
    assert problems == []
    return ids


@pytest.mark.parametrize("sync", ["os", "group"])
def test_refuse_gives_no_answer_without_a_record(
    disk: shim.Disk, tmp_path: Path, fake_url: str, sync: Literal["os", "group"]
) -> None:
    """Every 200 has its record; while full there is 503 with Retry-After; space alone ends it."""
    answered: list[str] = []
    refused = 0
    with shim.serving(disk, fake_url, tmp_path / "log", on_error="refuse", sync=sync) as url:
        for _ in range(3):
            for _ in range(5):
                response = ask(url)
                assert response.status_code == 200, response.text
                answered.append(response.headers["x-request-id"])
            disk.fill()
            for _ in range(20):  # the first may still fit into what the journal's last page has left
                response = ask(url)
                if response.status_code == 200:
                    answered.append(response.headers["x-request-id"])
                else:
                    refused += 1
                    assert response.status_code == 503
                    assert int(response.headers["retry-after"]) > 0
            assert response.status_code == 503
            assert httpx.get(f"{url}/health", trust_env=False).json()["status"] == "degraded"
            disk.free()
            _wait_until_served(url, answered)
    found = recorded(disk.home)
    missing = [key for key in answered if found[key] != 1]
    show(f"refuse, {sync}: {len(answered)} answers, {refused} refusals, {len(missing)} without a record")
    assert missing == []


@pytest.mark.parametrize("sync", ["os", "group"])
def test_serve_counts_what_it_did_not_record(
    disk: shim.Disk, tmp_path: Path, fake_url: str, sync: Literal["os", "group"]
) -> None:
    """While full every request is answered; health counts those without a record, or audit log alone."""
    answered: list[str] = []
    with shim.serving(disk, fake_url, tmp_path / "log", on_error="serve", sync=sync) as url:
        for is_full in (False, True, False, True, False):
            if is_full:
                disk.fill()
            for _ in range(15):
                response = ask(url)
                assert response.status_code == 200
                answered.append(response.headers["x-request-id"])
            if is_full:
                disk.free()
        counted = httpx.get(f"{url}/health", trust_env=False).json()["journal"]
    found, logs = recorded(disk.home), recorded(disk.home, RequestLog.DATASET)
    unrecorded = [key for key in answered if found[key] == 0]
    unlogged = [key for key in answered if found[key] == 1 and logs[key] == 0]
    show(
        f"serve, {sync}: {len(answered)} answers, {len(unrecorded)} without a record"
        f" ({counted['unrecorded']} counted), {len(unlogged)} without a log ({counted['unlogged']})"
    )
    assert 0 < len(unrecorded) == counted["unrecorded"]
    assert len(unlogged) == counted["unlogged"]
    assert all(count == 1 for count in found.values())


@pytest.mark.parametrize("sync", ["os", "group"])
def test_an_io_error_at_any_call_costs_no_record(
    failing: shim.InjectedFull, tmp_path: Path, fake_url: str, sync: Literal["os", "group"]
) -> None:
    """Under traffic single calls fail, of appends and of sealing; every 200 has its record, once."""
    rng = random.Random(5)
    rounds = 200 if is_long() else 25
    answered: list[str] = []
    statuses: list[int] = []
    failures = 0
    done = threading.Event()
    with shim.serving(failing, fake_url, tmp_path / "log", on_error="refuse", sync=sync) as url:

        def traffic() -> None:
            while not done.is_set():
                response = ask(url)
                statuses.append(response.status_code)
                if response.status_code == 200:
                    answered.append(response.headers["x-request-id"])

        with ThreadPoolExecutor(4) as workers:
            jobs = [workers.submit(traffic) for _ in range(4)]
            for _ in range(rounds):
                failing.fail_once(rng.randint(1, 60))
                done.wait(rng.uniform(0.1, 0.5))
                failures += failing.control.failures
            failing.free()
            _wait_until_served(url, answered)
            done.set()
            for job in jobs:
                job.result()
    found = recorded(failing.home)
    missing = [key for key in answered if found[key] != 1]
    show(
        f"EIO, {sync}: {failures} failed calls, {len(answered)} answers,"
        f" {sum(status != 200 for status in statuses)} refusals, {len(missing)} answers without a record"
    )
    assert failures > 0
    assert set(statuses) <= {200, 503}
    assert missing == []


def _wait_until_served(url: str, answered: list[str]) -> None:
    """Serving must resume by itself."""
    deadline = time.monotonic() + RECOVERY_S
    while (response := ask(url)).status_code != 200:
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)
    answered.append(response.headers["x-request-id"])
