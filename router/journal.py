"""The journal: where a record is safe before its reply leaves.

    journal/<dataset>/<writer>-<sequence>.jsonl     one JSON record a line, append only

An append is one `write(2)`: it survives `kill -9` of the process (not a power cut). A sealer
thread closes the journal every few seconds and turns it into a Parquet segment. Each open journal
is held by an exclusive `flock`, which the kernel drops when its owner dies; whoever can take the
lock of a journal that is not its own may seal it, so leftovers are adopted once, by any process.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from router.errors import JournalError, SegmentError
from router.records import DATASETS, Record

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("router.journal")


class RecordSink(Protocol):
    """Where the router puts its records."""

    def append(self, record: Record) -> None:
        """Return once the record would survive the end of this process; JournalError otherwise."""

    def backlog_bytes(self) -> int:
        """Bytes appended and not yet sealed."""

    @property
    def error(self) -> Exception | None:
        """Why the last sealing failed; None when it did not. Records stay safe in the journal."""

    def close(self) -> None:
        """Seal what was appended and release every resource."""


class Journal:
    """A RecordSink on a local folder, one append log per dataset and process."""

    def __init__(self, home: Path, *, seal_interval_s: float, max_bytes: int) -> None:
        """Open journals under `home`/journal, adopt dead processes' leftovers, start the sealer.

        `seal_interval_s` bounds how long a record waits for its segment, `max_bytes` how large one
        journal grows before it is sealed early.
        """
        self._lake = home / "lake"
        self._seal_interval_s = seal_interval_s
        self._wake = threading.Event()
        self._is_closing = False
        self.writer_id = secrets.token_hex(6)
        self._logs = {
            dataset: _AppendLog(
                home / "journal" / dataset, self.writer_id, max_bytes=max_bytes, on_full=self._wake.set
            )
            for dataset in DATASETS
        }
        self._seal_lock = threading.Lock()  # one sealing at a time: the thread's, or close()'s
        self._error: SegmentError | OSError | None = None
        self._sealer = threading.Thread(target=self._seal_forever, name="journal-sealer", daemon=True)
        self._sealer.start()

    def append(self, record: Record) -> None:
        """Append one record; JournalError when it is not on disk in full."""
        self._logs[record.DATASET].append(encode(record))

    @property
    def error(self) -> Exception | None:
        """See RecordSink."""
        return self._error

    def backlog_bytes(self) -> int:
        """See RecordSink."""
        return sum(log.size for log in self._logs.values())

    def seal_now(self) -> None:
        """Seal everything appended so far, and leftovers of dead processes.

        A journal that cannot be sealed does not keep the others from it; its error is raised last.
        """
        failure: SegmentError | OSError | None = None
        with self._seal_lock:
            for dataset, log in self._logs.items():
                for path, descriptor in [*log.rotate(), *_adopt(log.folder)]:
                    try:
                        self._seal_one(dataset, path, descriptor)
                    except (SegmentError, OSError) as error:
                        failure = error
        self._error = failure
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Seal everything and stop; the journal cannot be used afterwards."""
        if self._is_closing:
            return
        self._is_closing = True
        self._wake.set()
        self._sealer.join()
        self._seal_quietly()
        for log in self._logs.values():
            log.close()

    def _seal_forever(self) -> None:
        self._seal_quietly()  # leftovers first: another process may be waiting for those records
        while not self._is_closing:
            self._wake.wait(self._seal_interval_s)
            self._wake.clear()
            self._seal_quietly()

    def _seal_quietly(self) -> None:
        # The one place where sealing may fail and serving goes on: the records are in the journal,
        # `error` shows in /health, and the next round tries again.
        try:
            self.seal_now()
        except (SegmentError, OSError) as error:
            logger.error("sealing failed, records stay in the journal: %s", error)

    def _seal_one(self, dataset: str, path: Path, descriptor: int) -> None:
        from router import segments

        # The descriptor holds the lock until the segment stands and the journal is gone.
        try:
            writer_id, sequence = path.stem.rsplit("-", 1)
            segments.seal(path, dataset=dataset, writer_id=writer_id, sequence=int(sequence), lake=self._lake)
            path.unlink()
            segments.sync_folder(path.parent)
        except SegmentError:
            path.rename(path.with_suffix(".bad"))  # kept for a person; the others still seal
            raise
        finally:
            os.close(descriptor)


class _AppendLog:
    """One dataset's open journal file."""

    def __init__(self, folder: Path, writer_id: str, *, max_bytes: int, on_full: Callable[[], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._writer_id = writer_id
        self._max_bytes = max_bytes
        self._on_full = on_full
        self._sequence = 0
        self._lock = threading.Lock()  # guards the file being appended to and its size
        self.size = 0
        self._path, self._descriptor = self._open_next()

    def append(self, line: bytes) -> None:
        with self._lock:
            try:
                written = os.write(self._descriptor, line)
                if written != len(line):
                    # A short write (disk full) leaves half a record: cut it, so that the next one
                    # starts on a line of its own.
                    os.ftruncate(self._descriptor, self.size)
                    raise OSError(28, "No space left on device")
            except OSError as error:
                raise JournalError(
                    f"record not written to journal `{self._path.name}`: {error.strerror};"
                    " free space or check the data folder, then retry"
                ) from error
            self.size += written
            is_full = self.size >= self._max_bytes
        if is_full:
            self._on_full()

    def rotate(self) -> list[tuple[Path, int]]:
        """Start a new file; the finished one, still locked, if it holds anything."""
        with self._lock:
            if self.size == 0:
                return []
            finished = self._path, self._descriptor
            self._path, self._descriptor = self._open_next()
            self.size = 0
        return [finished]

    def close(self) -> None:
        with self._lock:
            if self.size == 0:  # otherwise someone appended after the last sealing: the next start adopts it
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)

    def _open_next(self) -> tuple[Path, int]:
        while True:
            self._sequence += 1
            path = self.folder / f"{self._writer_id}-{self._sequence:08d}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            # Another process may adopt the new, still empty file before the lock is ours.
            if _lock(descriptor, path):
                return path, descriptor


def _adopt(folder: Path) -> list[tuple[Path, int]]:
    """Finished journals that nobody holds: a dead process's, or ours after a failed sealing."""
    adopted = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if _lock(descriptor, path):
            adopted.append((path, descriptor))
    return adopted


def _lock(descriptor: int, path: Path) -> bool:
    """Take the journal's lock; False, and the descriptor closed, when it is held or was sealed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    if not path.exists():  # sealed and removed between opening and locking
        os.close(descriptor)
        return False
    return True


def encode(record: Record) -> bytes:
    """One journal line: JSON, moments in UTC, money as plain decimal text."""
    return orjson.dumps(record, default=_decimal_as_text, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _decimal_as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # 1E-7 in exponent form is refused by Parquet's decimal parser
    raise TypeError(f"{type(value).__name__} has no place in a record")
