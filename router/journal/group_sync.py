"""Group commit: one `fdatasync` for all records that came while the last one ran.

A sync takes milliseconds, and its cost does not depend on the amount of data. So waiting callers share
it: each waits at most for the sync in progress and the next one.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from router.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Syncable(Protocol):
    """A file that can be made durable."""

    def sync(self) -> None:
        """Return once everything written before the call is durable; OSError otherwise."""


class GroupSync:
    """A thread that syncs files for all waiting callers."""

    def __init__(self, *, on_failure: Callable[[JournalError], None]) -> None:
        """`on_failure` is called in the thread, before the waiting callers get the error of a failed sync."""
        self._on_failure = on_failure
        self._has_work = threading.Condition()  # guards _dirty, _waiting and _is_closing
        self._dirty: set[Syncable] = set()
        self._waiting: Future[None] = Future()
        self._is_closing = False
        self._thread = threading.Thread(target=self._sync_forever, name="journal-sync", daemon=True)
        self._thread.start()

    def wait(self, files: Iterable[Syncable]) -> None:
        """Return once `files` are durable; JournalError if the sync fails."""
        self._enlist(files).result()

    async def wait_async(self, files: Iterable[Syncable]) -> None:
        """`wait` without holding up the event loop."""
        # Shielded: one cancelled request must not cancel the sync that others wait for.
        await asyncio.shield(asyncio.wrap_future(self._enlist(files)))

    def close(self) -> None:
        """Finish the waiting syncs and stop."""
        with self._has_work:
            self._is_closing = True
            self._has_work.notify()
        self._thread.join()

    def _enlist(self, files: Iterable[Syncable]) -> Future[None]:
        with self._has_work:
            self._dirty.update(files)
            self._has_work.notify()
            return self._waiting

    def _sync_forever(self) -> None:
        while True:
            with self._has_work:
                while not self._dirty and not self._is_closing:
                    self._has_work.wait()
                if not self._dirty:
                    return
                dirty, self._dirty = self._dirty, set()
                waiting, self._waiting = self._waiting, Future()
            try:
                for file in dirty:
                    file.sync()
            except OSError as error:
                failure = JournalError(
                    f"the record is written but not synced to disk: {error.strerror or error};"
                    " check the disk under the data folder"
                )
                self._on_failure(failure)
                waiting.set_exception(failure)
            else:
                waiting.set_result(None)
