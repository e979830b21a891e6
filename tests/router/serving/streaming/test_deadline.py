"""`Deadline`: what `asyncio.timeout_at` does, for many waits."""

from __future__ import annotations

import asyncio

import pytest

from router.serving.streaming import Deadline


async def wait(deadline: Deadline, seconds: float) -> None:
    """One wait under a deadline."""
    with deadline:
        await asyncio.sleep(seconds)


def test_the_wait_that_passes_it_is_given_up() -> None:
    """Waits before it are left alone; the one under way ends, and every later one at once."""

    async def run() -> int:
        deadline = Deadline(asyncio.get_running_loop().time() + 0.1)
        await wait(deadline, 0)
        with pytest.raises(TimeoutError):
            await wait(deadline, 30)
        with pytest.raises(TimeoutError):
            await wait(deadline, 0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(run()) == 0


def test_between_waits_it_cancels_nobody() -> None:
    """A caller who takes long between two waits hears of it at the next."""

    async def run() -> None:
        deadline = Deadline(asyncio.get_running_loop().time() + 0.05)
        await asyncio.sleep(0.15)
        with pytest.raises(TimeoutError):
            await wait(deadline, 0)

    asyncio.run(run())


def test_a_cancellation_of_others_goes_on() -> None:
    """Who cancels the task does not get a TimeoutError, and a stopped deadline does nothing."""

    async def run() -> None:
        deadline = Deadline(asyncio.get_running_loop().time() + 30)
        task = asyncio.create_task(wait(deadline, 30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stopped = Deadline(asyncio.get_running_loop().time())
        stopped.stop()
        await wait(stopped, 0.05)
        deadline.stop()

    asyncio.run(run())
