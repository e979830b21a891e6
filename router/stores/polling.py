"""The newest value of a server, in memory: a thread asks for it, and requests never do.

A copy of the value lies in the data folder. A process that starts while the server is away takes it, and
says how old it is. The copy's modification time is the last moment at which the server confirmed it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from router.errors import ConfigError, IntelliRouterError
from router.files import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger("router")

T = TypeVar("T")
START_S = 6.0
"""Longest wait for the server at a start, before the copy is taken."""
SILENT_S = 5.0
"""A server that answers nothing for so long counts as away, even if its connections are open."""
OWNER_ONLY = 0o600


class Polled(Generic[T]):
    """The value, its revision, and whether the server confirms it at the moment."""

    def __init__(
        self,
        fetch: Callable[[object, T | None], tuple[object, T]],
        *,
        what: str,
        copy: Path,
        identity: str,
        pack: Callable[[T], Any],
        unpack: Callable[[Any], T],
        interval_s: float,
        start_s: float = START_S,
    ) -> None:
        """Read the value, or take the copy. ConfigError if the server is away and there is no copy.

        `fetch` gives the revision and the value, from the ones known before. `what` names the value in
        messages. `identity` names the server, so that another one's copy is not taken.
        """
        self._fetch = fetch
        self._what = what
        self._copy = copy
        self._identity = identity
        self._pack = pack
        self._unpack = unpack
        self._interval_s = interval_s
        self.on_change: Callable[[], None] = _nothing
        """Called after each change of the value, by the thread that asks."""
        self._lock = threading.Lock()  # one fetch at a time
        self._stop = threading.Event()
        self._first = threading.Event()
        self._known: tuple[object, T | None] = (None, None)
        self._failure: Exception | None = None
        self._confirmed_at: float | None = None
        self._asked_at = time.monotonic()
        self._thread = threading.Thread(target=self._poll_forever, name=f"poll-{copy.stem}", daemon=True)
        self._thread.start()
        self._first.wait(start_s)
        if self._confirmed_at is None:
            self._take_copy()

    @property
    def revision(self) -> object:
        """Changes with the value."""
        return self._known[0]

    @property
    def value(self) -> T:
        """The newest value that is known."""
        value = self._known[1]
        assert value is not None  # noqa: S101 - the constructor raises without one
        return value

    @property
    def as_of(self) -> datetime | None:
        """The last moment at which the server confirmed the value."""
        return None if self._confirmed_at is None else datetime.fromtimestamp(self._confirmed_at, UTC)

    @property
    def error(self) -> ConfigError | None:
        """Why the value may be old, and how old it is. None while the server confirms it."""
        failure = self._failure
        if failure is None and time.monotonic() - self._asked_at > SILENT_S + self._interval_s:
            failure = ConfigError("PostgreSQL does not answer: check that DATABASE_URL's server runs")
        if failure is None:
            return None
        moment = self.as_of
        shown = "" if moment is None else f", as they were at {moment:%Y-%m-%d %H:%M:%S} UTC"
        return ConfigError(f"{failure}. The {self._what} in use are a copy{shown}")

    @property
    def age_s(self) -> float | None:
        """Seconds since the server confirmed the value; None if it never did."""
        return None if self._confirmed_at is None else max(time.time() - self._confirmed_at, 0.0)

    def poll(self) -> None:
        """Ask now. It raises as the server does."""
        with self._lock:
            revision, value = self._known
            new_revision, new_value = self._fetch(revision, value)
            self._confirmed_at, self._asked_at = time.time(), time.monotonic()
            self._failure = None
            self._known = (new_revision, new_value)
            try:
                self._keep(new_value, is_new=new_revision != revision)
            except OSError as error:
                logger.warning("the copy `%s` of the %s was not written: %s", self._copy, self._what, error)

    def close(self) -> None:
        """Stop to ask. A fetch that hangs is left to its thread."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _poll_forever(self) -> None:
        while True:
            before = self._known[0]
            try:
                self.poll()
                if self._known[0] != before:
                    self.on_change()
            except (IntelliRouterError, OSError) as error:
                self._note(error)
            except Exception as error:
                self._note(error)
                logger.exception("the %s were not read", self._what)
            self._first.set()
            if self._stop.wait(self._interval_s):
                return

    def _note(self, error: Exception) -> None:
        if str(error) != str(self._failure):
            logger.warning("the %s were not read, the older ones stay: %s", self._what, error)
        self._asked_at = time.monotonic()
        self._failure = error

    def _keep(self, value: T, *, is_new: bool) -> None:
        if is_new or not self._copy.exists():
            make_folder(self._copy.parent)
            content = orjson.dumps({"identity": self._identity, "value": self._pack(value)})
            write_atomically(self._copy, content, mode=OWNER_ONLY)
        else:
            os.utime(self._copy)

    def _take_copy(self) -> None:
        failure = self._failure or ConfigError(
            "PostgreSQL does not answer: check that DATABASE_URL's server runs"
        )
        try:
            moment = self._copy.stat().st_mtime
            kept = orjson.loads(self._copy.read_bytes())
            if kept["identity"] != self._identity:
                raise ValueError
            value = self._unpack(kept["value"])
        except FileNotFoundError:
            self._stop.set()
            raise ConfigError(
                f"{failure}. There is no copy of the {self._what} at `{self._copy}` to start from"
            ) from None
        except (OSError, ValueError, TypeError, KeyError):
            self._stop.set()
            raise ConfigError(
                f"{failure}. The copy of the {self._what} at `{self._copy}` is damaged, or another server's"
            ) from None
        with self._lock:
            if self._confirmed_at is None:
                self._known = (("copy", moment), value)
                self._confirmed_at = moment
                self._failure = failure
        logger.warning("%s", self.error)


def _nothing() -> None:
    """There is no listener."""
