"""Run several processes on one port: start them, replace those that die, and stop them in order.

It replaces uvicorn's supervisor, which restarts a broken worker without a pause, leaves its workers
running when it is killed, and does not say when the port answers.

Workers inherit one bound socket and accept from it in turn. Each holds a pipe to the supervisor. If the
pipe ends, the supervisor is gone, and the worker stops in order. So a port is never served unwatched.

    SIGTERM, SIGINT     workers finish requests in flight (DRAIN_TIMEOUT_S), and the exit code is 0.
                        A second SIGINT does not wait for them
    SIGHUP              workers are replaced one by one, each after its successor answers
"""

from __future__ import annotations

import contextlib
import errno
import logging
import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import time
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from router.errors import ConfigError
from router.files import TEMPORARY_PREFIX, make_folder
from router.server.process import worker
from router.server.process.logs import announce, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from router.config import Settings
    from router.readiness.faults import Fault

logger = logging.getLogger("router.server")

FIRST_DELAY_S = 0.1
"""The wait before the first dead worker is replaced. It doubles with each further death."""
LONGEST_DELAY_S = 30.0
STABLE_S = 60.0
"""After this time without a death, the next one counts as the first."""
CLOSING_S = 15.0
"""The time to seal the journal after DRAIN_TIMEOUT_S. Then the worker is killed, and loses nothing."""


@dataclass(slots=True, eq=False)
class _Worker:
    slot: int
    process: SpawnProcess
    link: Connection
    is_ready: bool = False
    is_outdated: bool = False
    """To be replaced."""
    is_leaving: bool = False
    """Asked to stop."""


@dataclass(slots=True)
class _Deaths:
    """Counts the deaths of workers, and delays the next start."""

    number: int = 0
    last: float = field(default_factory=time.monotonic)
    start_at: float = 0.0

    def count(self) -> float:
        """Count one more death, and return the delay before the next start."""
        now = time.monotonic()
        self.number = 1 if now - self.last > STABLE_S else self.number + 1
        self.last = now
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(self.number - 1, 16), LONGEST_DELAY_S)
        self.start_at = max(self.start_at, now + delay_s)
        return delay_s


class Supervisor:
    """Keeps `settings.workers` processes serving."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener = bound(settings.host, settings.port)
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._deaths = _Deaths()
        self._has_served = False
        self._is_announced = False
        self._faults: tuple[Fault, ...] = ()
        """The faults that the worker found which became ready last."""
        self._signals: list[int] = []
        self._kill_at: float | None = None
        """Set when the supervisor stops."""

    def run(self) -> int:
        """Run until SIGINT or SIGTERM, and return the exit code."""
        with _folder(self._settings.home / "workers") as folder, self._listening() as wakeup:
            try:
                while self._kill_at is None or self._workers:
                    self._handle_signals()
                    self._reconcile(folder)
                    self._wait(wakeup)
            finally:
                for item in self._workers:
                    item.process.kill()
        return 0 if self._has_served else 1

    def _handle_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGHUP and not os.isatty(0):
                for item in self._workers:
                    item.is_outdated = True
            elif self._kill_at is None:
                self._stop()
            elif number == signal.SIGINT:  # Ctrl-C again: workers do not wait for requests in flight
                self._tell(signal.SIGINT)

    def _stop(self) -> None:
        self._kill_at = time.monotonic() + self._settings.drain_timeout_s + CLOSING_S
        self._listener.close()  # refused from here on, once the workers close theirs
        self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for item in self._workers:
            item.is_leaving = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(item.process.pid or 0, number)

    def _reconcile(self, folder: Path) -> None:
        """Start missing workers, retire replaced ones, and kill those that do not end."""
        now = time.monotonic()
        if self._kill_at is not None:
            if now > self._kill_at:
                for item in self._workers:
                    item.process.kill()
            return
        staying = [item for item in self._workers if not item.is_leaving]
        ready = [item for item in staying if item.is_ready]
        outdated = [item for item in ready if item.is_outdated]
        if outdated and len(ready) > self._settings.workers:
            outdated[0].is_leaving = True
            outdated[0].process.terminate()
        # Only one worker starts first, so that an error that prevents its start appears once.
        wanted = self._settings.workers + bool(outdated) if self._has_served else 1
        if now >= self._deaths.start_at:
            for _ in range(wanted - len(staying)):
                self._start(folder)
        if len(ready) >= self._settings.workers and not self._is_announced:
            self._is_announced = True
            announce(url_of(self._listener), self._faults)

    def _start(self, folder: Path) -> None:
        taken = {item.slot for item in self._workers}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=worker.work,
            kwargs={
                "settings": self._settings,
                "listener": self._listener,
                "link": theirs,
                "folder": folder,
                "slot": slot,
            },
            name=f"intellirouter-worker-{slot}",
        )
        process.start()
        theirs.close()  # this is the worker's end: our end reads EOF when it dies
        self._workers.append(_Worker(slot, process, ours))

    def _wait(self, wakeup: socket.socket) -> None:
        """Wait until something happens, or is due."""
        now = time.monotonic()
        due = [at - now for at in (self._deaths.start_at, self._kill_at) if at is not None and at > now]
        watched: list[Any] = [wakeup, *(item.process.sentinel for item in self._workers)]
        watched += [item.link for item in self._workers if not item.is_ready]
        happened = set(wait(watched, min(due, default=None)))
        if wakeup in happened:
            wakeup.recv(4096)
        for item in list(self._workers):
            if item.link in happened and not item.is_ready:
                with contextlib.suppress(EOFError, OSError):
                    self._faults = item.link.recv()
                    item.is_ready = self._has_served = True
            if item.process.sentinel in happened:
                self._bury(item)

    def _bury(self, item: _Worker) -> None:
        item.process.join()
        item.link.close()
        self._workers.remove(item)
        code = item.process.exitcode or 0
        if item.is_leaving and self._kill_at is None:
            return
        if self._kill_at is not None:
            if code:
                logger.error("worker %s %s while it stopped", item.process.pid, _how(code))
        elif not self._has_served:
            self._stop()  # it said why
        else:
            delay_s = self._deaths.count()
            logger.error("worker %s %s: another starts in %.1f s", item.process.pid, _how(code), delay_s)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        """Note signals, and give a socket that becomes readable when one arrives."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {
            number: signal.signal(number, lambda got, _: self._signals.append(got)) for number in numbers
        }
        wakeup = signal.set_wakeup_fd(theirs.fileno())
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            ours.close()
            theirs.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet. ConfigError if the address cannot be bound."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        advice = (
            "choose another --port (INTELLIROUTER_PORT), or stop the program that uses it"
            if error.errno in (errno.EADDRINUSE, errno.EACCES)
            else "name an address of this machine with --host (INTELLIROUTER_HOST)"
        )
        raise ConfigError(
            f"cannot listen on `{host}` port `{port}`: {error.strerror or error}; {advice}"
        ) from error
    return listener


@contextlib.contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    """The folder that the workers share while this process runs. Folders of killed processes go first."""
    make_folder(parent)
    for path in parent.glob("[!.]*"):
        with contextlib.suppress(OSError):  # held, or gone
            descriptor = os.open(path / "supervisor.lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                flock(descriptor, LOCK_EX | LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
    folder = parent / secrets.token_hex(6)
    new = parent / f"{TEMPORARY_PREFIX}{folder.name}"
    new.mkdir(mode=0o700)
    lock = os.open(new / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    flock(lock, LOCK_EX)
    new.rename(folder)  # no process can find it without its lock
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"
