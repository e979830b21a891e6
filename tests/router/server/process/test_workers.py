"""`serve --workers N`: processes on one port that answer as one, and outlive each other's deaths."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from router.providers.fake import FakeProvider
from router.server.process import supervisor
from router.sessions.shared import SharedSessions
from tests.factories import write_catalog
from tests.places import ROOT
from tests.router.server.test_metrics import parsed
from tests.servers import Served, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT: dict[str, Any] = {
    "models": {
        "small": {"answer": "from small", "tokens_input": 10, "tokens_output": 10},
        "large": {"answer": "from large", "tokens_input": 10, "tokens_output": 10},
        "slow": {"answer": "late", "latency_ms": 3000},
    }
}
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "2 + 2?"}]}
TOTAL = "intellirouter_requests_total"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data folder over a fake provider; `auto` is `small` or `large`, by chance."""
    folder = tmp_path / "home"
    with FakeProvider(SCRIPT) as base_url:
        write_catalog(folder, [{"id": name, **PRICED} for name in SCRIPT["models"]], base_url=base_url)
        (folder / "policies.yaml").write_text(
            "policies: [{id: balanced, version: 2, denied_models: [slow], min_exploration: 0.5}, {id: any}]"
        )
        yield folder


@pytest.fixture
def served(home: Path) -> Iterator[Served]:
    """Three workers."""
    with Served(home, workers=3, JOURNAL_SEAL_INTERVAL_S="0.2") as server:
        yield server


def ask(served: Served, **headers: str) -> httpx.Response:
    """One request on a connection of its own, which any worker may get."""
    return httpx.post(f"{served.url}/v1/chat/completions", json=BODY, headers=headers, timeout=30)


def writers(home: Path) -> set[str]:
    """Who sealed segments of requests: one id for each process."""
    return {path.name.split("-")[-2] for path in (home / "lake" / "request_analytics").rglob("*.parquet")}


def answered(served: Served) -> int:
    """Requests by the counters of whichever worker is asked."""
    samples = parsed(httpx.get(f"{served.url}/metrics").text)
    return sum(int(value) for name, value in samples.items() if name.startswith(TOTAL))


@pytest.mark.slow
def test_any_worker_answers_for_all(served: Served, home: Path) -> None:
    """Counters add up and never go backwards, and a decision is told by workers that did not make it."""
    seen, ids = [0], []
    for _ in range(60):
        response = ask(served)
        assert response.status_code == 200
        ids.append(response.headers["x-request-id"])
        seen.append(answered(served))
    assert seen == sorted(seen)
    assert until(lambda: answered(served) == 60)
    assert httpx.get(f"{served.url}/health").json()["workers"] == {"wanted": 3, "running": 3}
    for request_id in ids[::6]:
        for _ in range(4):
            shown = httpx.get(f"{served.url}/v1/decisions/{request_id}").json()
            assert (shown["id"], shown["reproduced"]) == (request_id, shown["model_selected"])
            assert shown["cost_usd"] == "0.000110000000"
    assert httpx.get(f"{served.url}/v1/decisions/nonsense").status_code == 404
    assert until(lambda: len(writers(home)) > 1), "one worker answered everything"


@pytest.mark.slow
def test_a_session_stays_with_its_model_whichever_worker_answers(served: Served) -> None:
    """Beside it, requests without a session go to both models."""
    for number in range(3):
        chosen = {
            ask(served, **{"x-session-id": f"s{number}"}).headers["x-intellirouter-model"] for _ in range(15)
        }
        assert len(chosen) == 1
    assert {ask(served).headers["x-intellirouter-model"] for _ in range(40)} == {"small", "large"}


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_loses_nothing(served: Served, home: Path) -> None:
    """The others serve meanwhile, and count and store what it had answered."""
    ids = [ask(served).headers["x-request-id"] for _ in range(30)]
    until(lambda: answered(served) == 30)
    before = served.workers()
    os.kill(before[0], signal.SIGKILL)
    ids += [ask(served).headers["x-request-id"] for _ in range(10)]
    until(lambda: len(served.workers()) == 3)
    assert f"worker {before[0]} was killed by SIGKILL: another starts in 0.1 s" in served.log.read_text()
    until(lambda: httpx.get(f"{served.url}/health").json()["workers"]["running"] == 3)
    assert until(lambda: answered(served) == 40)
    for request_id in ids:
        assert httpx.get(f"{served.url}/v1/decisions/{request_id}").status_code == 200


@pytest.mark.slow
def test_a_stop_lets_what_runs_finish(served: Served) -> None:
    """The answer arrives, the port refuses at once, and the exit code is 0."""
    answers: list[httpx.Response] = []
    body = {**BODY, "model": "slow"}
    headers = {"x-intellirouter-policy": "any"}
    asking = threading.Thread(
        target=lambda: answers.append(
            httpx.post(f"{served.url}/v1/chat/completions", json=body, headers=headers, timeout=30)
        )
    )
    asking.start()
    time.sleep(1)
    os.kill(served.pid, signal.SIGTERM)
    until(lambda: not _accepts(served.port), timeout_s=1.5)
    assert served.stop() == 0
    asking.join()
    assert [answer.status_code for answer in answers] == [200]


@pytest.mark.slow
def test_workers_end_with_their_supervisor(served: Served) -> None:
    """Killed, it leaves nobody on the port."""
    workers = served.workers()
    assert len(workers) == 3
    served.kill()
    until(lambda: not any(map(is_alive, workers)))
    assert not _accepts(served.port)


@pytest.mark.slow
def test_sighup_replaces_every_worker_and_fails_no_request(served: Served) -> None:
    """Each leaves when the one in its place answers."""
    before = set(served.workers())
    os.kill(served.pid, signal.SIGHUP)
    codes = []

    def replaced() -> bool:
        codes.append(ask(served).status_code)
        now = set(served.workers())
        return len(now) == 3 and not now & before

    until(replaced, timeout_s=60)
    assert set(codes) == {200}


@pytest.mark.slow
def test_what_keeps_workers_from_starting_is_said_once(tmp_path: Path) -> None:
    """One line, exit code 1, and no attempt without end."""
    command = [sys.executable, "-m", "router.cli", "serve", "--home", str(tmp_path), "--port", "0"]
    done = subprocess.run(
        [*command, "--workers", "3"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("no catalog") == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_port_in_use_is_named(home: Path) -> None:
    """Before any worker starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "router.cli", "serve", "--home", str(home), "--port", port]
        done = subprocess.run(
            [*command, "--workers", "2"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert (done.returncode, f"port `{port}`" in done.stderr) == (1, True)


def test_workers_that_keep_dying_are_started_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long each time up to half a minute; after a quiet minute as at first."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deaths = supervisor._Deaths()
    delays = []
    for _ in range(11):
        delays.append(deaths.count())
        assert deaths.start_at == now + delays[-1]
        now += delays[-1] + 1
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    now += supervisor.STABLE_S + 1
    assert deaths.count() == 0.1


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_shared_sessions_forget_as_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle ones after a time, the idlest beyond a number; names are not in the file."""
    monkeypatch.setattr("router.sessions.shared.SWEEP_EVERY", 1)
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    path = tmp_path / "sessions.db"
    first, second = (SharedSessions(path, ttl_s=60, max_sessions=3) for _ in range(2))
    for number in range(5):
        now += 1
        first.update(f"ada-{number}", model="small")
    assert [second.get(f"ada-{number}") is not None for number in range(5)] == [False] * 2 + [True] * 3
    now += 60
    assert second.get("ada-4") is not None
    assert second.get("ada-3") is None
    assert b"ada" not in b"".join(item.read_bytes() for item in tmp_path.iterdir())
    first.close()
    second.close()
