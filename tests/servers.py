"""`intellirouter serve` as processes of its own, and clients that open many connections to it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.providers.fake import ChildProcess
from tests.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


class Served(ChildProcess):
    """The server on a data folder, entered when its URL is printed."""

    def __init__(self, home: Path, *, workers: int, **environment: str) -> None:
        """`environment` are settings by their variables."""
        self.log = home.parent / f"{home.name}.serve.log"
        command = [sys.executable, "-m", "router.cli", "serve", "--home", str(home), "--port", "0"]
        super().__init__(
            [*command, "--workers", str(workers)],
            ready="intellirouter listening on ",
            log_file=self.log,
            environment={"PYTHONPATH": str(ROOT), **environment},
        )

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def workers(self) -> list[int]:
        """Process ids of the workers that run."""
        running = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
        return [pid for pid in running if self._has_worker(pid)]

    def _has_worker(self, pid: int) -> bool:
        if _parent_of(pid) != self.pid:
            return False
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The supervisor has other children: multiprocessing's resource tracker.
            return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    def kill_group(self) -> None:
        """SIGKILL for the supervisor and every worker at once."""
        os.killpg(self.pid, signal.SIGKILL)
        self.kill()


def until(holds: Callable[[], Any], *, timeout_s: float = 30.0) -> Any:
    """What `holds` gives, once it is true; AssertionError when it never is."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not asked for does not."""
    return _stat(pid)[:1] not in ([], ["Z"])


def _parent_of(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str]:
    """State, parent and what follows in /proc/PID/stat; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
