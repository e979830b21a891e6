"""`fsfault.c` compiled, and its control block as Python sees it."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

SOURCE = Path(__file__).with_name("fsfault.c")
LIBRARY_VARIABLE = "LD_PRELOAD"
CONTROL_VARIABLE = "FSFAULT_CONTROL"


class Action(IntEnum):
    """What happens at the chosen call."""

    COUNT = 0
    BEFORE = 1
    """The process is killed and the call does not happen."""
    TORN = 2
    """Half of the data is written, then the process is killed."""
    AFTER = 3
    FAIL_ONCE = 4
    FAIL_FROM = 5
    """This call and every later one fails."""


class Kind(IntFlag):
    """Which calls are counted."""

    GROWS = 1
    """Needs space: write, create, mkdir."""
    SYNCS = 2
    NAMES = 4
    """Rename, remove, truncate, set times."""
    ALL = 7


class _Block(ctypes.Structure):
    _fields_ = (
        ("root", ctypes.c_char * 512),
        ("log", ctypes.c_char * 512),
        ("events", ctypes.c_char * 512),
        ("graveyard", ctypes.c_char * 512),
        ("calls", ctypes.c_int64),
        ("target", ctypes.c_int64),
        ("action", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("kinds", ctypes.c_int32),
        ("failures", ctypes.c_int32),
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One counted file-system call."""

    number: int
    name: str
    path: str

    @property
    def can_be_torn(self) -> bool:
        """Whether half of it can happen."""
        return self.name in {"write", "pwrite", "writev", "sendfile", "copy_file_range"}


class Control:
    """A control block in a file, shared with every process that uses it."""

    def __init__(self, path: Path, *, is_new: bool = True) -> None:
        self.path = path
        if is_new:
            with path.open("wb") as file:
                file.truncate(ctypes.sizeof(_Block))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), ctypes.sizeof(_Block))
        self._block: _Block | None = _Block.from_buffer(self._map)

    @property
    def block(self) -> _Block:
        """The shared memory."""
        assert self._block is not None
        return self._block

    def arm(
        self,
        root: Path,
        action: Action = Action.COUNT,
        *,
        target: int = 0,
        kinds: Kind = Kind.ALL,
        error: int = 0,
        log: Path | None = None,
    ) -> None:
        """From now on count the calls under `root`, and act at the `target`-th, counted from 1."""
        self.disarm()
        block = self.block
        block.calls = block.failures = 0
        block.action, block.target, block.kinds, block.error = action, target, kinds, error
        block.log = b"" if log is None else os.fsencode(log)
        block.root = os.fsencode(root)  # last: it is what switches the library on

    def disarm(self) -> None:
        """Count nothing and fail nothing."""
        self.block.root = b""

    @property
    def calls(self) -> int:
        """Calls counted since `arm`."""
        return int(self.block.calls)

    @property
    def failures(self) -> int:
        """Calls that were made to fail."""
        return int(self.block.failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block = None  # the map cannot be closed while something points into it
        self._map.close()


def calls_of(log: Path) -> list[Call]:
    """The calls of a counted run, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [Call(number, *line.split("\t", 1)) for number, line in enumerate(lines, 1)]


def compiled() -> Path:
    """The compiled library; RuntimeError where no C compiler is found."""
    name = f"fsfault-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}.so"
    path = Path(tempfile.gettempdir()) / f"intellirouter-{os.getuid()}" / name
    if not path.exists():
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise RuntimeError("no C compiler (cc, gcc, clang) on PATH: the interposer cannot be built")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(temporary), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        temporary.replace(path)
    return path


def use(control: Path) -> None:
    """Attach this process, which the library was preloaded into, to a control block."""
    if ctypes.CDLL(str(compiled())).fsfault_use(os.fsencode(control)) != 0:
        raise RuntimeError(f"the control block `{control}` cannot be mapped")
