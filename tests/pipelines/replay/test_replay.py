"""The whole loop: fake provider, shim, journal, Dagster, DuckDB, scores, shim."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from random import Random
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.pipelines.replay.worlds import row, write_outcomes, write_trace

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """Options for a world in which `strong` is best at math, `cheap` at all else."""
    random = Random(1)
    rows = []
    for number in range(60):
        task = ("math", "code", "chat")[number % 3]
        for model, price in (("strong", 0.01), ("cheap", 0.0003), ("bad", 0.02)):
            chance = {"strong": 0.9, "bad": 0.1, "cheap": 0.2 if task == "math" else 0.9}[model]
            quality = float(random.random() < chance)
            cost = price * random.uniform(0.5, 1.5)
            rows.append(row(f"item-{number}", model, quality, cost, task_type=task, latency_ms=100.0))
    outcomes = write_outcomes(tmp_path / "outcomes.parquet", rows)
    trace = write_trace(tmp_path / "trace.parquet", [number / 2 for number in range(200)])
    return ["--outcomes", str(outcomes), "--trace", str(trace)]


def intellirouter(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-m", "router.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )


def test_replay(tmp_path: Path, inputs: list[str]) -> None:
    """Every request is recorded, loaded and counted once, at its exact cost; a second run starts afresh."""
    folder, picks, summary = tmp_path / "run", tmp_path / "picks.parquet", tmp_path / "summary.json"
    options = [
        *inputs,
        *("--data-dir", str(folder), "--refresh-every", "100", "--seed", "4"),
        *("--picks", str(picks), "--json", str(summary), "--change-step", "150", "--set", "strong=bad"),
    ]
    for _ in range(2):
        result = intellirouter("replay", *options)
        assert result.returncode == 0, result.stdout + result.stderr
        report = json.loads(summary.read_text())
        books = report["books"]
        assert books["is_equal"]
        assert books["sent"] == books["rows"] == books["distinct_ids"] == books["feedback_rows"] == 200
        assert books["cost_of_picks"] == books["cost_in_warehouse"]
        assert len(report["rounds"]) == 2
    table = pq.read_table(picks)
    assert table.column("step").to_pylist() == list(range(200))
    propensity = table.column("propensity").to_pylist()
    assert all(0 < value <= 1 for value in propensity)
    assert propensity[:100] == [pytest.approx(1 / 3)] * 100
    assert propensity[100:] != propensity[:100]


def test_a_drop_in_quality_is_shown_and_does_not_end_a_replay(tmp_path: Path) -> None:
    """The check warns, as it does at any refresh: nothing that was recorded is missing or wrong."""
    random = Random(1)
    rows = [
        row(f"item-{number}", model, float(random.random() < chance), 0.001, latency_ms=1.0)
        for number in range(60)
        for model, chance in (("strong", 0.9), ("bad", 0.1))
    ]
    outcomes = write_outcomes(tmp_path / "outcomes.parquet", rows)
    trace = write_trace(tmp_path / "trace.parquet", [number / 10 for number in range(500)])
    inputs = ["--outcomes", str(outcomes), "--trace", str(trace), "--data-dir", str(tmp_path / "run")]
    change = ["--change-step", "200", "--set", "strong=bad"]
    result = intellirouter("replay", *inputs, *change, "--refresh-every", "50", "--seed", "4")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "check `quality_has_not_dropped` warns: task_type=`math`, model=`strong`" in result.stdout
    assert result.stdout.count("quality_has_not_dropped") == 1


INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from router.cli import main
main()
"""
"""A program in the background ignores Ctrl-C, and so do those that it starts."""


def test_interrupted_replay(tmp_path: Path, inputs: list[str]) -> None:
    """Ctrl-C stops the children too and leaves a folder that the next run takes."""
    folder = tmp_path / "run"
    options = ["replay", *inputs, "--data-dir", str(folder), "--refresh-every", "100", "--speed", "10"]
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTIBLE, *options], stdout=subprocess.DEVNULL)
    journal = folder / "journal" / "request_analytics"
    deadline = time.monotonic() + 60
    while not any(journal.glob("*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in listed
    result = intellirouter(
        "replay", *inputs, "--data-dir", str(folder), "--requests", "40", "--refresh-every", "40"
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_demo(tmp_path: Path) -> None:
    """The demo ends with equal books and the next commands, all it made in one folder."""
    result = intellirouter("demo", "--data-dir", str(tmp_path / "demo"), "--requests", "300")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "books equal" in result.stdout
    for command in ("intellirouter dagster", "intellirouter sql", "intellirouter report"):
        assert command in result.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


def test_foreign_folder(tmp_path: Path, inputs: list[str]) -> None:
    """A folder that no replay made is refused in one line, before anything starts."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    result = intellirouter("replay", *inputs, "--data-dir", str(tmp_path / "mine"))
    assert result.returncode == 1
    assert "no replay made" in result.stderr
    assert (tmp_path / "mine" / "notes.txt").exists()
