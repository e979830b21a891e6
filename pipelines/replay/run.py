"""Runs a replay: fake provider, shim, batches of requests, and a real refresh after each batch.

    send a batch ─► wait until its records are sealed ─► refresh job ─► wait until the shim has the scores
         ▲                                                                             │
         └─────────────────────────────────────────────────────────────────────────────┘

HTTP, journal, segments, Dagster and DuckDB are real. Only the answers are recorded.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.replay.books import read_rows
from pipelines.replay.driver import Driver
from pipelines.replay.errors import ReplayError
from pipelines.replay.plan import arrivals_of, script_of
from pipelines.replay.reference import Yardstick
from pipelines.replay.report import Traffic, report_of, round_of
from pipelines.replay.workspace import fresh_folder, label, write_configuration
from router.config import Settings
from router.providers.fake import ChildProcess, FakeProvider
from router.scores.board import ScoreFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipelines.replay.driver import Arrival, Sent
    from pipelines.replay.plan import Plan
    from pipelines.replay.report import Report, Round

SHIM_READY = "intellirouter listening on "
SEAL_INTERVAL_S = 0.2
SCORES_INTERVAL_S = 0.1
WAIT_TIMEOUT_S = 60.0
POLL_S = 0.02
NO_CHANGE = "(by chance: the recorded answers do not change)"


class Observer(Protocol):
    """Is notified of the progress of a run."""

    def on_phase(self, name: str) -> None:
        """A phase of the run begins."""

    def on_request(self) -> None:
        """A request was answered."""

    def on_round(self, done: Round) -> None:
        """A batch was answered and its scores are in use."""

    def on_warning(self, text: str) -> None:
        """A check found a drop in quality or unusual traffic. Later refreshes repeat it."""


def run(plan: Plan, observer: Observer) -> Report:
    """Replay `plan`. ReplayError if a step fails, with the failing process's log.

    Unequal books are reported, not raised: see `Report.books`.
    """
    observer.on_phase("loading the pipelines")
    settings = replay_settings(plan.folder)
    yardstick = Yardstick(plan.world, cost_weight=plan.cost_weight, change=plan.change)
    with _interruptible() as check, _own_dagster_home(settings), fresh_folder(plan.folder):
        if plan.prepare is not None:
            plan.prepare()
        observer.on_phase("starting the fake provider and the shim")
        with FakeProvider(script_of(plan), folder=plan.folder / "logs") as base_url:
            write_configuration(
                plan.folder,
                plan.world,
                base_url=base_url,
                cost_weight=plan.cost_weight,
                prices=plan.prices,
                baseline_exploration=plan.baseline_exploration,
            )
            with start_shim(plan) as shim:
                traffic = _send(plan, settings, shim, yardstick, observer, check)
        # The shim has sealed its last record, so all its records are in the lake now.
        observer.on_phase("comparing the books")
        _refresh(plan, settings, observer)
        check()
        rows, feedback_rows = read_rows(settings.warehouse_file)
    return report_of(traffic, plan.world, yardstick, rows, feedback_rows)


def replay_settings(folder: Path) -> Settings:
    """Settings of a replay's folder, independent of the environment."""
    return Settings.load({}, home=folder.absolute())


def start_shim(plan: Plan) -> ChildProcess:
    """The HTTP shim as a user starts it. Enter the result to start the process."""
    baseline = {"BASELINE_MODEL": label(plan.baseline_model)} if plan.baseline_model else {}
    return ChildProcess(
        [sys.executable, "-m", "router.cli", "serve", "--port", "0"],
        ready=SHIM_READY,
        log_file=plan.folder / "logs" / "shim.log",
        environment={
            "INTELLIROUTER_HOME": str(plan.folder.absolute()),
            "INTELLIROUTER_HOST": "127.0.0.1",
            "INTELLIROUTER_SEED": str(plan.seed),
            "JOURNAL_SEAL_INTERVAL_S": str(SEAL_INTERVAL_S),
            "SCORES_REFRESH_INTERVAL_S": str(SCORES_INTERVAL_S),
            **baseline,
        },
    )


def _send(
    plan: Plan,
    settings: Settings,
    shim: ChildProcess,
    yardstick: Yardstick,
    observer: Observer,
    check: Callable[[], None],
) -> Traffic:
    """Send all batches, with a refresh after each. `check` raises KeyboardInterrupt for a lost signal."""
    driver = Driver(shim.url, plan.world, on_request=observer.on_request)
    arrivals = arrivals_of(plan)
    traffic = Traffic()
    observer.on_phase("sending")
    try:
        with asyncio.Runner() as loop:
            for start in range(0, len(arrivals), plan.refresh_every):
                began = time.perf_counter()
                batch = loop.run(_unwrapped(driver, arrivals[start : start + plan.refresh_every]))
                traffic.sent += batch
                answered = time.perf_counter()
                _wait_until_sealed(settings, shim)
                check()
                _refresh(plan, settings, observer)
                check()
                _wait_for_scores(settings, loop, driver)
                done = time.perf_counter()
                traffic.sending_s += answered - began
                traffic.rounds.append(round_of(len(traffic.rounds) + 1, batch, yardstick, done - answered))
                observer.on_round(traffic.rounds[-1])
    except (ReplayError, OSError) as error:
        raise ReplayError(f"{error}. The shim's log ends:\n{shim.log_tail()}") from error
    traffic.late_s = driver.late_s
    return traffic


async def _unwrapped(driver: Driver, arrivals: Sequence[Arrival]) -> list[Sent]:
    """Call `send`, and raise the first failure of its workers instead of the group."""
    try:
        return await driver.send(arrivals)
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group


def _wait_until_sealed(settings: Settings, shim: ChildProcess) -> None:
    """Wait until every record is in a segment. Then open journals are empty, and finished ones are gone."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while time.monotonic() < deadline:
        journals = list((settings.home / "journal").glob("*/*"))
        if bad := [path.name for path in journals if path.suffix == ".bad"]:
            raise ReplayError(f"the journal `{bad[0]}` could not be sealed")
        if not any(_size(path) for path in journals):
            return
        if not shim.is_running():
            raise ReplayError("the shim ended")
        time.sleep(POLL_S)
    raise ReplayError(f"records were not sealed within {WAIT_TIMEOUT_S:g} s")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # sealed and removed meanwhile
        return 0


def _refresh(plan: Plan, settings: Settings, observer: Observer) -> None:
    """Run the real Dagster job in this process. ReplayError if the job or a check fails.

    The checks of quality and traffic do not fail it: they are statistical, and err at a stated rate.
    """
    from pipelines.refresh import refresh
    from pipelines.warehouse.checks import SCORE_CHECKS, TRAFFIC_CHECKS

    result = refresh(settings)
    if not result.success:
        raise ReplayError(f"the refresh job failed: {result.error}")
    for name, found in result.failed_checks.items():
        if name not in (*SCORE_CHECKS, *TRAFFIC_CHECKS):
            raise ReplayError(f"the refresh job's check `{name}` failed: {found}")
        note = f" {NO_CHANGE}" if name in SCORE_CHECKS and plan.change is None else ""
        observer.on_warning(f"check `{name}` warns: {found}{note}")


def _wait_for_scores(settings: Settings, loop: asyncio.Runner, driver: Driver) -> None:
    """Wait until the shim decides by the snapshot that was just published."""
    published = ScoreFile(settings.scores_file).load()
    if published is None:
        raise ReplayError(f"the refresh published no scores at `{settings.scores_file}`")
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    scores: dict[str, Any] = {}
    while time.monotonic() < deadline:
        scores = loop.run(driver.health())["scores"]
        if scores["snapshot_id"] == published.snapshot_id:
            return
        time.sleep(POLL_S)
    raise ReplayError(f"the shim did not load the scores `{published.snapshot_id}`: it reports {scores}")


@contextmanager
def _own_dagster_home(settings: Settings) -> Iterator[None]:
    """Keep Dagster's runs in the replay's folder, separate from the user's own runs."""
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Handle SIGTERM like Ctrl-C, so that no child process outlives this one.

    It gives a check, which raises KeyboardInterrupt for a signal that was lost: Dagster replaces the handler
    of SIGINT for parts of a run, and drops a signal that comes between its own checks.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def check() -> None:
        with suppress(BlockingIOError):
            if {signal.SIGINT, signal.SIGTERM}.intersection(received.recv(1024)):
                raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: its owner handles signals
        yield lambda: None
        return
    received, noted = socket.socketpair()
    received.setblocking(False)
    noted.setblocking(False)
    descriptor = signal.set_wakeup_fd(noted.fileno(), warn_on_full_buffer=False)
    try:
        yield check
    finally:
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGTERM, before)
        received.close()
        noted.close()
