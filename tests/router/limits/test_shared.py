"""Limits and budgets in a file: who begins it, and what happens when it is lost, damaged or held."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from router.config import Settings
from router.errors import ConfigError, LimitsUnavailableError
from router.journal.journal import Journal
from router.limits import shared
from router.limits.counters import Subjects
from router.limits.limits import Limits
from router.limits.shared import FileStore
from router.records import new_id
from tests.router.limits import rush
from tests.router.limits.test_stores import rate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

USD = rush.USD
ADA = Subjects(user="ada", organization="acme")


@pytest.fixture
def open_limits(home: Path) -> Any:
    """Opens routers' limits on one data folder; each stands for a process."""
    (home / "limits.yaml").write_text(rush.BUDGETS)
    opened: list[Limits] = []

    def open_one(store: str = "file") -> Limits:
        opened.append(Limits.open(Settings.load({}, home=home, limits_store=store)))
        return opened[-1]

    yield open_one
    for limits in opened:
        limits.close()


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work())


async def hold(limits: Limits, amount: int, request_id: str | None = None) -> Any:
    """An admission that holds so much; it must be granted."""
    admission = await limits.admit(ADA)
    assert await limits.reserve(admission, request_id or new_id()[0], amount)
    return admission


async def left(limits: Limits) -> int:
    """Pico-dollars that Ada's budget has left."""
    headroom = (await limits.admit(ADA)).headroom
    assert headroom is not None
    return headroom


def current(home: Path) -> Path:
    return (home / "budgets" / "counters.db").resolve()


def test_processes_see_what_the_others_hold_and_settle(open_limits: Any) -> None:
    """One budget for all of them, in every step."""
    first, second = open_limits(), open_limits()

    async def work() -> None:
        admission = await hold(first, 6 * USD)
        assert await left(second) == 4 * USD
        assert not await second.reserve(await second.admit(ADA), "two", 5 * USD)
        await first.settle(admission, USD)
        assert await left(second) == 9 * USD
        assert second.peek(ADA).headroom == 9 * USD

    run(work)
    assert first.health()["store"] == "file"


@pytest.mark.parametrize("loss", ["removed", "damaged", "emptied"])
def test_a_lost_file_is_begun_anew_from_records_and_reservations(
    open_limits: Any, home: Path, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was recorded and what is in flight, of every process, is charged in the new file."""
    first, second = open_limits(), open_limits()
    journal = Journal(home, seal_interval_s=60, max_bytes=1 << 20)

    async def work() -> None:
        request_id = new_id()[0]
        done = await hold(first, 3 * USD, request_id)
        journal.append(rush.record(request_id, "ada", 2 * USD))
        await first.settle(done, 2 * USD)
        flying = await hold(second, 5 * USD)
        before = current(home)
        if loss == "removed":
            before.unlink()
        else:
            before.write_bytes(b"damaged " * 4096 if loss == "damaged" else b"")
            before.with_name(before.name + "-wal").write_bytes(b"damaged " * 4096)
        assert await left(first) == 3 * USD
        assert await left(second) == 3 * USD
        assert current(home) != before
        # Held before, settled after: what it held was read from its log, and stays charged.
        await second.settle(flying, USD)
        assert await left(first) == 3 * USD

    with caplog.at_level(logging.ERROR):
        run(work)
    journal.close()
    assert "counting restarts from the records" in caplog.text


def test_the_last_process_leaves_nothing_that_is_used_again(open_limits: Any, home: Path) -> None:
    """What is spent without it, or lost with the power, is read from the records at the next start."""
    first = open_limits()
    run(lambda: hold(first, 6 * USD))
    first.close()
    stale = current(home)
    journal = Journal(home, seal_interval_s=60, max_bytes=1 << 20)
    journal.append(rush.record(new_id()[0], "ada", USD))
    second = open_limits()
    # Six dollars were in flight and never recorded, one was recorded by another router since.
    assert run(lambda: left(second)) == 3 * USD
    assert not stale.exists()
    journal.close()


@pytest.mark.parametrize("stores", [("memory", "file"), ("file", "memory")])
def test_a_budget_holds_when_the_store_changes(open_limits: Any, stores: tuple[str, str]) -> None:
    """What a router that ended had in flight is charged by those that count elsewhere."""
    before = open_limits(stores[0])
    run(lambda: hold(before, 6 * USD))
    before.close()
    assert run(lambda: left(open_limits(stores[1]))) == 4 * USD


def test_a_process_that_joins_opens_no_account_twice(open_limits: Any, home: Path) -> None:
    """What others hold is in the file already; what was spent before is not read into it again."""
    journal = Journal(home, seal_interval_s=60, max_bytes=1 << 20)
    journal.append(rush.record(new_id()[0], "ada", USD))
    first = open_limits()
    run(lambda: hold(first, 2 * USD))
    second = open_limits()
    assert run(lambda: left(second)) == 7 * USD
    journal.close()


def test_routers_that_start_together_do_not_take_each_other_for_strangers(
    open_limits: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a router that counts elsewhere is warned of."""
    with caplog.at_level(logging.WARNING):
        open_limits(), open_limits()
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        open_limits("memory")
    assert "LIMITS_STORE=file" in caplog.text


def hold_forever(folder: str, held: Any) -> None:
    """A process that is stopped in the middle of a transaction."""
    connection = sqlite3.connect(Path(folder, "counters.db").resolve(), isolation_level=None)
    connection.execute("begin immediate")
    held.set()
    time.sleep(60)


def test_a_process_that_is_stopped_halts_nobody_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' event loops go on, their requests are refused after a while, and a kill frees them."""
    monkeypatch.setattr(shared, "TIMEOUT_S", 0.2)
    store = FileStore(tmp_path)
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold_forever, args=(str(tmp_path), held))
    process.start()
    assert held.wait(20)
    ticks = 0

    async def work() -> None:
        nonlocal ticks

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with pytest.raises(LimitsUnavailableError, match="stopped"):
            await store.take([rate(1)], [], 0)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert (await store.take([rate(1)], [], 0)).refused_by is None
        ticking.cancel()

    run(work)
    store.close()
    assert ticks > 0


def test_counters_that_are_over_make_room_and_a_full_file_refuses(tmp_path: Path) -> None:
    """More go than come; without any that is over a new subject is refused, not let through."""
    now = 1_000.0
    store = FileStore(tmp_path, clock=lambda: now, max_bytes=100 << 10)

    async def fill(first: int, number: int) -> None:
        for index in range(first, first + number):
            await store.take([rate(1, key=f"k{index}")], [], 0)

    run(lambda: fill(0, 300))
    for turn in range(1, 20):
        now += 62
        asyncio.run(fill(turn * 300, 300))
    with pytest.raises(LimitsUnavailableError, match="name fewer subjects"):
        run(lambda: fill(100_000, 10_000))
    now += 62
    run(lambda: fill(200_000, 10))
    store.close()


@pytest.mark.parametrize(
    ("given", "store"),
    [
        ({}, "memory"),
        ({"WORKERS": "4"}, "file"),
        ({"WORKERS": "4", "REDIS_URL": "redis://localhost"}, "redis"),
        ({"WORKERS": "4", "LIMITS_STORE": "memory"}, "memory"),
        ({"LIMITS_STORE": "file"}, "file"),
    ],
)
def test_the_store_follows_from_the_settings(given: dict[str, str], store: str) -> None:
    """Unset, it is the least that shares the counters among the workers there are."""
    assert Settings.load(given).limits_store_in_use == store


def test_redis_is_named_with_its_url(home: Path) -> None:
    """LIMITS_STORE=redis alone says nothing."""
    with pytest.raises(ConfigError, match="REDIS_URL is not set"):
        Limits.open(Settings.load({}, home=home, limits_store="redis"))
