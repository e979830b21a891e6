"""`intellirouter serve` as processes of its own, and clients that open many connections to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.providers.fake import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent


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
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.pid)], capture_output=True, text=True
        ).stdout
        return [int(line.split()[0]) for line in listed.splitlines() if "spawn_main" in line]

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
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
