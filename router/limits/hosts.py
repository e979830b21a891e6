"""A host's own memory of the epochs of a shared store, in its data folder, under budgets/.

    host      the source of the host's id
    epoch     the epoch in which the host counts, and the last one in which it has reported its spend
    hosts     the hosts of the store, and when each was last seen

A host is a data folder: its processes report once, for all of them. A copy of a data folder is another
host, since the id depends on the file's place on the disk. A copy knows from `epoch` that its spend is
reported already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import secrets
import threading
from typing import TYPE_CHECKING, Protocol

from router.files import TEMPORARY_PREFIX, locked, make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ID_LENGTH = 16
"""Characters of the ids of epochs and hosts."""
REMEMBERED_US = 60_000_000
"""The file of hosts may be this much older than the store's knowledge. It spares a write for each look."""


class Host(Protocol):
    """A host's memory of epochs."""

    id: str

    def epoch(self) -> str:
        """The epoch in which the host counts its requests: its processes must not count in another."""

    def has_reported(self, epoch: str) -> bool:
        """Whether the host's spend was reported in this epoch."""

    def enter(self, epoch: str) -> None:
        """Let the host count in this epoch from now on."""

    def note_report(self, epoch: str) -> None:
        """Remember that the host has reported."""

    def known(self) -> Mapping[str, int]:
        """When other hosts were last seen, in microseconds of the store's clock."""

    def remember(self, hosts: Mapping[str, int]) -> None:
        """Know these hosts."""

    def reporting(self) -> contextlib.AbstractContextManager[None]:
        """Held by the one process of the host that reports."""


class HostInMemory:
    """A Host without a data folder. Its process is the whole host."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(ID_LENGTH // 2)
        self._epoch = self._reported = ""
        self._hosts: Mapping[str, int] = {}
        self._lock = threading.Lock()  # held while the host reports

    def epoch(self) -> str:
        """See Host."""
        return self._epoch

    def has_reported(self, epoch: str) -> bool:
        """See Host."""
        return self._reported == epoch

    def enter(self, epoch: str) -> None:
        """See Host."""
        self._epoch = epoch

    def note_report(self, epoch: str) -> None:
        """See Host."""
        self._reported = epoch

    def known(self) -> Mapping[str, int]:
        """See Host."""
        return self._hosts

    def remember(self, hosts: Mapping[str, int]) -> None:
        """See Host."""
        self._hosts = dict(hosts)

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """See Host."""
        with self._lock:
            yield


class HostFolder:
    """A Host in a data folder, for all its processes."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._path = folder / "epoch"
        self._hosts_path = folder / "hosts"
        self.id = _read_id(folder / "host")
        self._seen = b"", ""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < 2 * ID_LENGTH:
                os.ftruncate(descriptor, 2 * ID_LENGTH)
            # Each request reads it several times: this way without a system call.
            self._shared = mmap.mmap(descriptor, 2 * ID_LENGTH)
        finally:
            os.close(descriptor)

    def epoch(self) -> str:
        """See Host."""
        seen = self._shared[:ID_LENGTH]
        if seen != self._seen[0]:
            self._seen = seen, seen.decode()
        return self._seen[1]

    def has_reported(self, epoch: str) -> bool:
        """See Host."""
        return self._shared[ID_LENGTH:].decode() == epoch

    def enter(self, epoch: str) -> None:
        """See Host."""
        self._shared[:ID_LENGTH] = epoch.encode()
        self._shared.flush()

    def note_report(self, epoch: str) -> None:
        """See Host."""
        self._shared[ID_LENGTH:] = epoch.encode()
        self._shared.flush()

    def known(self) -> Mapping[str, int]:
        """See Host."""
        try:
            found = json.loads(self._hosts_path.read_bytes())
            return {str(name): int(seen) for name, seen in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}  # none was seen, or the file was cut

    def remember(self, hosts: Mapping[str, int]) -> None:
        """See Host. The file is written again where it lacks a host, or is a minute old."""
        known = self.known()
        if any(seen - known.get(name, 0) > REMEMBERED_US for name, seen in hosts.items()):
            with contextlib.suppress(OSError):
                write_atomically(self._hosts_path, json.dumps(dict(hosts)).encode(), mode=0o600)

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """See Host."""
        with locked(self._path):
            yield


def _read_id(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
        temporary.write_text(secrets.token_hex(16))
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(temporary, path)
        temporary.unlink()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content, place = os.read(descriptor, 64), os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)
    return hashlib.sha256(content + str(place).encode()).hexdigest()[:ID_LENGTH]
