"""Requests in flight at a process's death: an append-only log of each process, under budgets/.

    A <file>                            the log of that name is taken into this one
    C <amount> <ends_s> <account>       charged beyond the records
    R <request> <amount> (<ends_s> <account>)…      reserved; a later line of the request replaces it
    F <request> <amount>                finished: charged so much beyond its record

A line is one `write(2)` before the call, so it survives the process. Nothing is synced: a power cut ends
the providers' calls too, or nearly so. A request that is settled at its record's cost needs no further
line, since the record holds the cost. A request without a record at the next start was in flight, and
counts as spent at its worst case. So does a request with an unknown recorded cost.

Accounts are named by a SHA-256 of their subject, so the log holds no id of a person. A log that has
grown is rewritten with the requests in flight and one line for each account.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.files import TEMPORARY_PREFIX, make_folder, whole_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from router.limits.counters import Account

logger = logging.getLogger("router.limits")

MAX_BYTES = 1 << 20
"""A log this large is rewritten. Beyond it, only requests in flight can make it grow."""


@dataclass(slots=True)
class Charge:
    """An amount charged to an account beyond the records."""

    amount: int
    ends_s: int


Reservation = tuple[int, tuple[tuple[int, str], ...]]
"""An amount, and the end and key of each account."""


@dataclass(slots=True)
class _Contents:
    """The content of a log."""

    absorbed: set[str] = field(default_factory=set)
    charges: dict[str, Charge] = field(default_factory=dict)
    reserved: dict[str, Reservation] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)


class ReservationLog:
    """This process's log. It is safe to use from several threads."""

    def __init__(
        self, folder: Path, *, counts_soft: bool = False, warns: bool = True, max_bytes: int = MAX_BYTES
    ) -> None:
        """`counts_soft`: soft budgets too. `warns` of other routers in the folder."""
        make_folder(folder)
        self.folder = folder
        self.counts_soft = counts_soft
        self._warns = warns
        self.path = folder / f"{secrets.token_hex(6)}.log"
        self._max_bytes = max_bytes
        self._rewrite_at = max_bytes
        self._lock = threading.Lock()  # guards everything below
        self._in_flight: dict[str, tuple[int, tuple[Account, ...]]] = {}
        self._charges: dict[str, Charge] = {}
        self._absorbed: set[str] = set()
        self._descriptor, self._size = self._create(b"")

    def reserve(self, request_id: str, amount: int, accounts: tuple[Account, ...]) -> None:
        """Note a reservation before its call. OSError, and nothing noted, when that fails."""
        if not self.counts_soft:
            accounts = tuple([account for account in accounts if account.is_hard])
        line = _reserved(request_id, amount, accounts)
        with self._lock:
            if self._size > self._rewrite_at:
                self._rewrite()
            self._append(line)
            self._in_flight[request_id] = amount, accounts

    def settle(self, request_id: str, cost: int | None, unrecorded: int) -> None:
        """Note the charge of a request beyond its record's cost. See `Limits.settle`."""
        with self._lock:
            amount, accounts = self._in_flight.pop(request_id, (0, ()))
            kept = amount if cost is None else unrecorded
            if kept:
                for account in accounts:
                    _add(self._charges, account.key, kept, account.ends_s)
            if accounts and cost is not None and (unrecorded or not cost):
                try:
                    self._append(f"F {request_id} {unrecorded}\n".encode())
                except OSError as error:  # the next start counts the worst case instead
                    logger.error("a settled reservation cannot be noted: %s", error)

    def adopt(self, find_costs: Callable[[Collection[str]], Mapping[str, int | None]]) -> dict[str, int]:
        """Take over the logs of processes that are gone, and return their charges by account.

        `find_costs` returns the cost of each request that has a record.
        """
        held = dict(self._leftovers())
        try:
            charges = _charged(
                {path.name: _read(descriptor) for path, descriptor in held.items()}, find_costs
            )
            with self._lock:
                for key, charge in charges.items():
                    _add(self._charges, key, charge.amount, charge.ends_s)
                self._absorbed |= {path.name for path in held}
                self._rewrite()  # from here on the others' charges are ours
                for path in held:
                    path.unlink(missing_ok=True)
                self._absorbed.clear()
                return {key: charge.amount for key, charge in self._charges.items()}
        finally:
            for descriptor in held.values():
                os.close(descriptor)

    def close(self) -> None:
        """Release the log. The file stays if it holds anything that the records do not."""
        with self._lock:
            if self._descriptor < 0:
                return
            self._rewrite()
            if self._size == 0:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: bytes) -> None:
        written = os.write(self._descriptor, line)
        if written != len(line):  # the disk is full: half a line must not precede the next
            os.ftruncate(self._descriptor, self._size)
            raise OSError(errno.ENOSPC, "No space left on device")
        self._size += written

    def _rewrite(self) -> None:
        now = time.time()
        self._charges = {key: item for key, item in self._charges.items() if item.ends_s > now}
        lines = [f"A {name}\n".encode() for name in sorted(self._absorbed)]
        lines += [f"C {item.amount} {item.ends_s} {key}\n".encode() for key, item in self._charges.items()]
        lines += [_reserved(name, *item) for name, item in self._in_flight.items()]
        old = self._descriptor
        self._descriptor, self._size = self._create(b"".join(lines))
        self._rewrite_at = max(self._max_bytes, 2 * self._size)
        os.close(old)

    def _create(self, content: bytes) -> tuple[int, int]:
        """Put a new file in the place of the log, locked before another process can see it."""
        temporary = self.path.with_name(f"{TEMPORARY_PREFIX}{self.path.name}-{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.write(descriptor, content) != len(content):
                raise OSError(errno.ENOSPC, "No space left on device")
            temporary.replace(self.path)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        return descriptor, len(content)

    def _leftovers(self) -> Iterator[tuple[Path, int]]:
        for path in sorted(self.folder.glob("[!.]*.log")):
            if path == self.path:
                continue
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_ours = path.stat().st_ino == os.fstat(descriptor).st_ino
            except (BlockingIOError, FileNotFoundError):
                is_ours = False
            if is_ours:
                yield path, descriptor
                continue
            os.close(descriptor)
            if not self._warns:
                continue
            logger.warning(
                "another router counts budgets in `%s`: each of them admits the whole budget. To share it,"
                " use LIMITS_STORE=file for both, or REDIS_URL",
                self.folder,
            )


def read_held(
    folder: Path, find_costs: Callable[[Collection[str]], Mapping[str, int | None]]
) -> dict[str, int]:
    """The charges beyond the records in the logs of every process, running or gone, by account."""
    return {key: charge.amount for key, charge in _charged(_read_all(folder), find_costs).items()}


def read_apart(
    folder: Path, find_costs: Callable[[Collection[str]], Mapping[str, int | None]]
) -> tuple[dict[str, Charge], dict[str, Reservation]]:
    """The same in two parts: by account what stays charged, and by request what is in flight."""
    in_flight: dict[str, Reservation] = {}
    return _charged(_read_all(folder), find_costs, in_flight=in_flight), in_flight


def _read_all(folder: Path) -> dict[str, bytes]:
    contents = {}
    for path in folder.glob("[!.]*.log"):
        with contextlib.suppress(FileNotFoundError):  # its process ended, and left no charges
            contents[path.name] = path.read_bytes()
    return contents


def _charged(
    logs: Mapping[str, bytes],
    find_costs: Callable[[Collection[str]], Mapping[str, int | None]],
    *,
    in_flight: dict[str, Reservation] | None = None,
) -> dict[str, Charge]:
    """The charges of some logs, by name. A log that another of them has taken over counts once.

    With `in_flight`, requests without a cost are put there instead.
    """
    contents = {name: _parse(content) for name, content in logs.items()}
    absorbed = set().union(*(item.absorbed for item in contents.values()))
    fresh = [item for name, item in contents.items() if name not in absorbed]
    costs = find_costs({name for item in fresh for name in item.reserved if name not in item.finished})
    charges: dict[str, Charge] = {}
    for item in fresh:
        _count(item, costs, charges, in_flight)
    return charges


def _reserved(request_id: str, amount: int, accounts: tuple[Account, ...]) -> bytes:
    listed = "".join([f" {account.ends_s} {account.key}" for account in accounts])
    return f"R {request_id} {amount}{listed}\n".encode()


def _add(charges: dict[str, Charge], key: str, amount: int, ends_s: int) -> None:
    charge = charges.setdefault(key, Charge(0, ends_s))
    charge.amount += amount
    charge.ends_s = max(charge.ends_s, ends_s)


def _count(
    contents: _Contents,
    costs: Mapping[str, int | None],
    charges: dict[str, Charge],
    in_flight: dict[str, Reservation] | None,
) -> None:
    for key, charge in contents.charges.items():
        _add(charges, key, charge.amount, charge.ends_s)
    for name, (reserved, accounts) in contents.reserved.items():
        if in_flight is not None and name not in contents.finished and costs.get(name) is None:
            in_flight[name] = reserved, accounts
            continue
        amount = contents.finished.get(name, reserved if costs.get(name) is None else 0)
        for ends_s, key in accounts if amount else ():
            _add(charges, key, amount, ends_s)


def _read(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _parse(content: bytes) -> _Contents:
    found = _Contents()
    for line in whole_lines(content).decode(errors="replace").splitlines():
        kind, *words = line.split(" ")
        try:
            if kind == "A":
                found.absorbed.add(words[0])
            elif kind == "C":
                _add(found.charges, words[2], int(words[0]), int(words[1]))
            elif kind == "R":
                ends = map(int, words[2::2])
                found.reserved[words[0]] = int(words[1]), tuple(zip(ends, words[3::2], strict=True))
            elif kind == "F":
                found.finished[words[0]] = int(words[1])
        except (ValueError, IndexError):
            logger.error("a line of a reservation log cannot be read: `%s`", line[:200])
    return found
