"""The HTTP shim as a process on a disk that can be made full, or broken, and well again."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from router.providers.fake import ChildProcess
from tests.crash import preload
from tests.crash.preload import Action, Control, Kind
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

TMPFS_BYTES = 8 << 20


class Disk(Protocol):
    """Where the data folder lies."""

    home: Path
    environment: dict[str, str]
    """What the shim's process needs."""

    def fill(self) -> None:
        """From now on nothing more fits."""

    def free(self) -> None:
        """There is space again."""


class FullTmpfs:
    """A small file system of its own, filled by a file."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.environment: dict[str, str] = {}
        self._filler = folder / "filler"

    def fill(self) -> None:
        """See Disk."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass

    def free(self) -> None:
        """See Disk."""
        self._filler.unlink()


class InjectedFull:
    """Any disk; the interposer says that it is full."""

    def __init__(self, folder: Path, control: Control) -> None:
        self.home = folder / "home"
        self.control = control
        self.environment = {
            preload.LIBRARY_VARIABLE: str(preload.compiled()),
            preload.CONTROL_VARIABLE: str(control.path),
        }

    def fill(self) -> None:
        """See Disk."""
        self.control.arm(self.home, Action.FAIL_FROM, target=1, kinds=Kind.GROWS, error=errno.ENOSPC)

    def free(self) -> None:
        """See Disk."""
        self.control.disarm()

    def fail_once(self, target: int) -> None:
        """The `target`-th call from now on fails with an I/O error."""
        self.control.arm(self.home, Action.FAIL_ONCE, target=target, error=errno.EIO)


@contextlib.contextmanager
def small_tmpfs(folder: Path) -> Iterator[Path]:
    """Mount a tmpfs on `folder`; PermissionError where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise PermissionError("there is no `mount` command") from None
    if mounted.returncode != 0:
        raise PermissionError(f"a tmpfs cannot be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@contextlib.contextmanager
def serving(
    disk: Disk,
    provider_url: str,
    log: Path,
    *,
    on_error: Literal["refuse", "serve"],
    sync: Literal["os", "group"],
) -> Iterator[str]:
    """URL of `intellirouter serve` on the disk; on leaving it is stopped in order."""
    write_catalog(disk.home, ["small"], base_url=provider_url)
    command = [sys.executable, "-m", "router.cli", "serve", "--home", str(disk.home), "--port", "0"]
    environment = {
        **disk.environment,
        "JOURNAL_ON_ERROR": on_error,
        "JOURNAL_SYNC": sync,
        "JOURNAL_SEAL_INTERVAL_S": "0.2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    }
    with ChildProcess(
        command, ready="intellirouter listening on ", log_file=log, environment=environment
    ) as server:
        yield server.url
