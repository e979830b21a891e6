"""A hundred requests at once on a budget for about ten: what is admitted never adds up to more than it."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from router.config import Settings
from router.limits.limits import Limits
from tests.crash.reporting import is_long, show
from tests.router.limits import rush

if TYPE_CHECKING:
    from pathlib import Path

    from tests.router.limits.servers import RedisServer

KILLS = 300 if is_long() else 9
SEED = 20261123


def _check(report: rush.Report) -> None:
    show(report)
    assert report.most <= rush.BUDGET_USD * rush.USD
    # The budget was used: a store that grants nothing passes no test.
    assert report.granted >= 10 * report.budgets


@pytest.mark.parametrize("threads", [1, 4])
def test_one_process_admits_no_more_than_the_budget(home: Path, threads: int) -> None:
    """On one event loop, and on four in four threads."""
    (home / "limits.yaml").write_text(rush.BUDGETS)
    limits = Limits.open(Settings.load({}, home=home))
    events = os.open(home / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def work(seed: int) -> None:
        rng = random.Random(seed)
        await asyncio.gather(
            *(rush.ask(limits, "ada", events, None, rng) for _ in range(rush.AT_ONCE // threads))
        )

    running = [threading.Thread(target=lambda seed=seed: asyncio.run(work(seed))) for seed in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    os.close(events)
    limits.close()
    report = rush.Report(budgets=1)
    rush.replay(home / "events", "ada", report)
    assert report.most <= rush.BUDGET_USD * rush.USD
    assert report.granted >= 10


@pytest.mark.slow
def test_killed_and_started_again_one_process_admits_no_more(tmp_path: Path) -> None:
    """What was in flight at a kill is charged by whoever starts next."""
    _check(rush.loop(tmp_path, kills=KILLS, processes=1, settings={}, seed=SEED))


@pytest.mark.slow
def test_four_processes_on_redis_admit_no_more_while_they_are_killed(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """What was in flight at a kill stays charged in Redis."""
    _check(
        rush.loop(
            tmp_path,
            kills=KILLS,
            processes=4,
            settings={"redis_url": redis_server.url, "limits_recovery_s": "0"},
            seed=SEED,
        )
    )


@pytest.mark.slow
def test_four_processes_on_a_file_admit_no_more_while_they_are_killed(tmp_path: Path) -> None:
    """What was in flight at a kill stays charged in the file, and in the logs when the last one ends."""
    _check(rush.loop(tmp_path, kills=KILLS, processes=4, settings={"limits_store": "file"}, seed=SEED))


def test_the_replay_sees_budgets_that_are_not_shared(home: Path) -> None:
    """The control: four that opened before anything was spent, and count each for itself, pass the budget."""
    (home / "limits.yaml").write_text(rush.BUDGETS)
    apart = [Limits.open(Settings.load({}, home=home)) for _ in range(4)]
    events = os.open(home / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    rng = random.Random(SEED)

    async def work() -> None:
        each = [limits for limits in apart for _ in range(rush.AT_ONCE // 4)]
        await asyncio.gather(*(rush.ask(limits, "ada", events, None, rng) for limits in each))

    asyncio.run(work())
    os.close(events)
    for limits in apart:
        limits.close()
    report = rush.Report(budgets=1)
    rush.replay(home / "events", "ada", report)
    assert report.most > rush.BUDGET_USD * rush.USD
