"""Seconds from a response to its influence on the next decision, at the default settings.

    python tests/benchmarks/influence_latency.py [--trials 5] [--smoke]

Starts a fake provider, the shim and Dagster (webserver, daemon, sensor) as a user would, sends a
request with feedback, and waits until the shim decides by a snapshot that has seen the feedback.
Every interval is its default: sealing, sensor, run launch, score refresh.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from router.providers.fake import FakeProvider
from router.providers.fake.process import ChildProcess

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models: [{{id: small, provider: fake}}, {{id: large, provider: fake}}]
"""
BODY = {"messages": [{"role": "user", "content": "hi"}]}
MODEL = {"answer": "hello", "tokens_input": 10, "tokens_output": 5}
LIMIT_S = 180.0


def influence_s(client: httpx.Client) -> float:
    """One trial: seconds from the feedback's reply to a snapshot that holds it."""
    answer = client.post("/v1/chat/completions", json=BODY).raise_for_status()
    feedback = {"request_id": answer.headers["x-request-id"], "value": 1.0}
    judged_at = datetime.now(UTC)
    client.post("/v1/feedback", json=feedback).raise_for_status()
    started = time.perf_counter()
    while time.perf_counter() - started < LIMIT_S:
        as_of = client.get("/health").json()["scores"]["as_of"]
        # The moment embedded in the feedback's id is cut to milliseconds, hence the comparison so.
        if as_of is not None and datetime.fromisoformat(as_of).timestamp() >= judged_at.timestamp() - 0.001:
            return time.perf_counter() - started
        time.sleep(0.1)
    raise SystemExit(f"no snapshot held the feedback within {LIMIT_S:g} s")


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Print a line per trial, then the median and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="one trial")
    arguments = parser.parse_args()
    trials = 1 if arguments.smoke else arguments.trials
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeProvider({"models": {"small": MODEL, "large": MODEL}}) as url,
    ):
        home = Path(folder)
        (home / "catalog.yaml").write_text(CATALOG.format(url=url))
        environment = {"INTELLIROUTER_HOME": folder, "DAGSTER_HOME": str(home / "dagster")}
        (home / "dagster").mkdir()
        shipped = Path(__file__).parent.parent.parent / "dagster_home" / "dagster.yaml"
        (home / "dagster" / "dagster.yaml").write_text(shipped.read_text())
        serve = [sys.executable, "-m", "router.cli", "serve", "--port", "0"]
        dagster = [
            sys.executable,
            "-m",
            "dagster",
            "dev",
            "-m",
            "pipelines.definitions",
            "-p",
            str(free_port()),
        ]
        with (
            ChildProcess(
                serve,
                ready="intellirouter listening on ",
                log_file=home / "shim.log",
                environment=environment,
            ) as shim,
            DagsterDev(dagster, home / "dagster.log", environment),
            httpx.Client(base_url=shim.url) as client,
        ):
            first = influence_s(client)
            print(f"{first:6.1f} s  first, Dagster's own start included")
            seconds = []
            for trial in range(trials):
                time.sleep(trial * 1.3)  # trials fall at different phases of the intervals
                seconds.append(influence_s(client))
                print(f"{seconds[-1]:6.1f} s", flush=True)
            print(
                f"median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s of {trials}"
                " (aim: under 30 s)"
            )


class DagsterDev:
    """`dagster dev` in a process group of its own, ended whole."""

    def __init__(self, command: list[str], log_file: Path, environment: dict[str, str]) -> None:
        self._command, self._log_file, self._environment = command, log_file, environment

    def __enter__(self) -> None:
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # the figures are printed, and nothing of Dagster is kept
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


if __name__ == "__main__":
    main()
