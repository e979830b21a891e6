"""Atomic writes: a crash or a power cut leaves the whole old file or the whole new one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
"""Readers ignore names that start with this."""
EMPTY_READS, EMPTY_PAUSE_S = 5, 0.04
"""How often, and at which interval, an empty document is read again."""
_MAX_REMEMBERED = 4096
_durable: set[Path] = set()
"""Folders whose entry in their parent this process has synced."""
_is_deferred: ContextVar[bool] = ContextVar("deferred", default=False)
"""Whether this thread syncs later, all at once."""


def version_of(path: Path) -> tuple[int, int, int] | None:
    """A value that changes when the file is replaced or written to; None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_document(path: Path) -> bytes:
    """The content of a file that people edit. FileNotFoundError if there is none.

    An editor that empties a file before it writes must not make us use an empty document. An empty file is
    read again for a moment.
    """
    for _ in range(EMPTY_READS):
        if content := path.read_bytes():
            return content
        time.sleep(EMPTY_PAUSE_S)
    return b""


def write_atomically(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write under a temporary name in the same folder, sync, rename, sync the folder.

    `mode` sets the file's permissions before anything is written; None: the process's default.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            if not _is_deferred.get():
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def synced_together() -> Iterator[None]:
    """Sync this thread's writes inside all at once, at the end, instead of each by itself.

    For thousands of files in a folder that no reader looks into yet: until the end, a power cut leaves any
    of them empty.
    """
    before = _is_deferred.set(True)
    try:
        yield
    finally:
        _is_deferred.reset(before)
    os.sync()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file that is replaced whole. The kernel releases it when this process dies."""
    make_folder(path.parent)
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (a rename, a removal) durable."""
    if _is_deferred.get():
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each durable before anything is put into it.

    A process may have been killed after it created a folder and before it synced the parent. So every
    process syncs the parent of an existing folder once.
    """
    is_there = folder.is_dir()
    if is_there and folder in _durable:
        return
    if not is_there:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    try:
        sync_folder(folder.parent)
    except PermissionError:
        if not is_there:
            raise
    if len(_durable) >= _MAX_REMEMBERED:
        _durable.clear()
    _durable.add(folder)


def whole_lines(content: bytes) -> bytes:
    """The lines that are there to their end: a crash can leave a part of one."""
    return content[: content.rfind(b"\n") + 1]


def append_lines(path: Path, lines: bytes, *, after: int, mode: int) -> None:
    """Write lines after the first `after` bytes of a file, over any part of a line that a crash left.

    They are on disk then. A new file gets `mode`. Hold the file's lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(after)
        file.seek(after)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_cache(
    path: Path, *pragmas: str, must_exist: bool = False, busy_s: float = 5.0
) -> sqlite3.Connection:
    """Open a SQLite file that processes share. It can be built again, so it is never synced.

    Any thread may use the connection. `busy_s` is the longest wait for another process.
    """
    import sqlite3  # only servers of several processes need it

    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={'rw' if must_exist else 'rwc'}",
        uri=True,
        isolation_level=None,
        timeout=busy_s,
        check_same_thread=False,
    )
    try:
        for pragma in ("synchronous=off", *pragmas):
            connection.execute(f"pragma {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection
