"""The journal: keeps each record safe on disk before its reply leaves.

    journal/<dataset>/<writer>-<sequence>.jsonl     one JSON record a line, append only

An append is one `write(2)`: it survives `kill -9` of the process. With `JOURNAL_SYNC=group` the
caller also waits for the next `fdatasync`, which one thread issues for all records since the last one
(`router.journal.group_sync`). Then the record also survives a power cut. A sealer thread closes the
journal every few seconds and turns it into a Parquet segment. The owner of an open journal holds an
exclusive `flock`, which the kernel releases when the owner dies. A process that gets the lock of another's
journal may seal it, so leftovers are adopted once, by any process.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

from router.errors import JournalError, SegmentError
from router.files import make_folder, sync_folder
from router.journal.group_sync import GroupSync
from router.records import DATASETS, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger("router.journal")

PROBE_INTERVAL_S = 0.5
"""Least time between two tries of a failed journal."""
PROBE_BYTES = 64 << 10
"""Space that must be free before requests are accepted again: an empty probe would always fit."""


class RecordSink(Protocol):
    """A destination for the router's records."""

    def append(self, *records: Record) -> None:
        """Return once the records are as safe as the sink promises; JournalError otherwise."""

    async def append_async(self, *records: Record) -> None:
        """`append` without holding up the event loop."""

    def check_writable(self) -> None:
        """JournalError while records cannot be written. It is cheap while they can."""

    def backlog_bytes(self) -> int:
        """Bytes that are appended and not yet sealed."""

    @property
    def error(self) -> Exception | None:
        """Why the last append or sealing failed; None if it did not."""

    def close(self) -> None:
        """Seal all appended records and release every resource."""


class Journal:
    """A RecordSink on a local folder, with one append log per dataset and process."""

    def __init__(
        self, home: Path, *, seal_interval_s: float, max_bytes: int, sync: Literal["os", "group"] = "os"
    ) -> None:
        """Open journals under `home`/journal, adopt dead processes' leftovers, start the sealer.

        `seal_interval_s` is the longest wait of a record for its segment. A journal of `max_bytes` is
        sealed early. With `sync` `os` an append survives the end of the process, with `group` also a
        power cut.
        """
        self._lake = home / "lake"
        self._seal_interval_s = seal_interval_s
        self._wake = threading.Event()
        self._is_closing = False
        self.writer_id = secrets.token_hex(6)
        self._sync = GroupSync(on_failure=self._distrust) if sync == "group" else None
        self._logs = {
            dataset: AppendLog(
                home / "journal" / dataset,
                self.writer_id,
                max_bytes=max_bytes,
                on_full=self._wake.set,
                is_durable=self._sync is not None,
            )
            for dataset in DATASETS
        }
        self._seal_lock = threading.Lock()  # one sealing at a time, by the thread or close()
        self._append_error: JournalError | None = None
        self._seal_error: SegmentError | OSError | None = None
        self._probed_at = 0.0
        self._sealer = threading.Thread(target=self._seal_forever, name="journal-sealer", daemon=True)
        self._sealer.start()

    def append(self, *records: Record) -> None:
        """See RecordSink."""
        written = self._write(records)
        if self._sync is not None:
            self._sync.wait(written)

    async def append_async(self, *records: Record) -> None:
        """See RecordSink."""
        written = self._write(records)
        if self._sync is not None:
            await self._sync.wait_async(written)

    def check_writable(self) -> None:
        """See RecordSink.

        After a failed append nothing is accepted until a probe of the folder succeeds. So a request is
        refused before it costs money, and serving resumes by itself.
        """
        if self._append_error is None:
            return
        now = time.monotonic()
        if now - self._probed_at < PROBE_INTERVAL_S:
            raise self._append_error
        self._probed_at = now
        try:
            for log in self._logs.values():
                log.probe()
        except OSError as error:
            self._append_error = _not_written(error)
            raise self._append_error from error
        self._append_error = None

    @property
    def error(self) -> Exception | None:
        """See RecordSink."""
        return self._append_error or self._seal_error

    def backlog_bytes(self) -> int:
        """See RecordSink."""
        return sum(log.size for log in self._logs.values())

    def seal_now(self) -> None:
        """Seal everything appended so far, and leftovers of dead processes.

        A journal that cannot be sealed does not block the others, except later journals of its writer
        if the disk failed. Its error is raised last.
        """
        failure: SegmentError | OSError | None = None
        with self._seal_lock:
            for dataset, log in self._logs.items():
                try:
                    rotated = log.rotate()
                    finished = [*rotated, *_adopt(log.folder)]
                except OSError as error:  # no room for a new journal: the open one goes on
                    failure = error
                    continue
                # Seal in a writer's order, and stop after one that may have its manifest but not yet
                # its place at the chain's head: another manifest would take the same place.
                stopped = set()
                for file in sorted(finished, key=lambda item: item.path):
                    if file.writer_id in stopped:
                        file.close(is_sealed=False)
                        continue
                    try:
                        self._seal_one(dataset, file, is_new=file in rotated)
                    except SegmentError as error:
                        failure = error
                    except OSError as error:
                        failure = error
                        stopped.add(file.writer_id)
        self._seal_error = failure
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Seal everything and stop. You cannot use the journal afterwards."""
        if self._is_closing:
            return
        self._is_closing = True
        self._wake.set()
        self._sealer.join()
        self._seal_quietly()
        for log in self._logs.values():
            log.close()
        if self._sync is not None:
            self._sync.close()

    def _write(self, records: tuple[Record, ...]) -> list[JournalFile]:
        written: list[JournalFile] = []
        try:
            for record in records:
                written.append(self._logs[record.DATASET].append(encode(record)))  # noqa: PERF401 - counted when one fails
        except OSError as error:
            self._append_error = _not_written(error, written=len(written))
            raise self._append_error from error
        self._append_error = None
        return written

    def _distrust(self, error: JournalError) -> None:
        """Switch to another file: after a failed sync the kernel may report the next one as good."""
        self._append_error = error
        self._wake.set()

    def _seal_forever(self) -> None:
        self._seal_quietly()  # leftovers first: another process may be waiting for those records
        while not self._is_closing:
            self._wake.wait(self._seal_interval_s)
            self._wake.clear()
            self._seal_quietly()

    def _seal_quietly(self) -> None:
        # Only here may sealing fail while serving goes on: the records are in the journal, `error`
        # shows in /health, and the next round tries again.
        try:
            self.seal_now()
        except (SegmentError, OSError) as error:
            logger.error("sealing failed, records stay in the journal: %s", error)

    def _seal_one(self, dataset: str, file: JournalFile, *, is_new: bool) -> None:
        from router.journal import segments

        # The descriptor holds the lock until the segment exists and the journal is removed.
        is_sealed = False
        try:
            segments.seal(
                file.path,
                dataset=dataset,
                writer_id=file.writer_id,
                sequence=file.sequence,
                lake=self._lake,
                is_new=is_new,
            )
            is_sealed = True
            file.path.unlink()
            sync_folder(file.path.parent)
        except SegmentError:
            file.path.rename(file.path.with_suffix(".bad"))  # kept for a person, and the others still seal
            raise
        finally:
            file.close(is_sealed=is_sealed)


class JournalFile:
    """One open, locked journal file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._is_open = True
        self._error: OSError | None = None
        self._lock = threading.Lock()  # guards the descriptor's number against reuse while it syncs

    @property
    def writer_id(self) -> str:
        """The id of the journal's writer."""
        return self.path.stem.rpartition("-")[0]

    @property
    def sequence(self) -> int:
        """Its number among its writer's journals; SegmentError if its name has none."""
        number = self.path.stem.rpartition("-")[2]
        if not number.isdecimal():
            raise SegmentError(f"journal `{self.path.name}` is not named for a writer and a number")
        return int(number)

    def sync(self) -> None:
        """Make the appended data durable. After the file is sealed and closed, this does nothing."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._is_open:
                os.fdatasync(self.descriptor)

    def close(self, *, is_sealed: bool = True) -> None:
        """Release the lock. Callers that wait for a sync have their records in the segment.

        Without a segment (e.g. the disk is full) the records are only in this file: it is synced first.
        """
        with self._lock:
            try:
                if not is_sealed:
                    os.fdatasync(self.descriptor)
            except OSError as error:
                self._error = error
            finally:
                self._is_open = False
                os.close(self.descriptor)


class AppendLog:
    """One dataset's open journal file."""

    def __init__(
        self,
        folder: Path,
        writer_id: str,
        *,
        max_bytes: int,
        on_full: Callable[[], None],
        is_durable: bool,
    ) -> None:
        make_folder(folder)
        self.folder = folder
        self._writer_id = writer_id
        self._max_bytes = max_bytes
        self._on_full = on_full
        self._is_durable = is_durable
        self._sequence = 0
        self._lock = threading.Lock()  # guards the file being appended to and its size
        self.size = 0
        self._is_torn = False
        self._file = self._open_next()

    def append(self, line: bytes) -> JournalFile:
        """Write one whole line and return its file; OSError, and nothing written, if that fails."""
        with self._lock:
            file = self._file
            if self._is_torn:
                self._on_full()
                raise OSError(errno.EIO, "the journal ends in half a record, the next one is not open yet")
            written = os.write(file.descriptor, line)
            if written != len(line):
                # A short write (disk full) leaves half a record. Cut it, so that the next one starts on
                # its own line. If that fails, the next one starts in its own file.
                self._is_torn = True
                os.ftruncate(file.descriptor, self.size)
                self._is_torn = False
                raise OSError(errno.ENOSPC, "No space left on device")
            self.size += written
            is_full = self.size >= self._max_bytes
        if is_full:
            self._on_full()
        return file

    def probe(self) -> None:
        """Write and remove a file in the journal's folder; OSError if that fails."""
        path = self.folder / f".tmp-probe-{self._writer_id}"
        try:
            with path.open("wb") as file:
                file.write(b"\0" * PROBE_BYTES)
                file.flush()
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)

    def rotate(self) -> list[JournalFile]:
        """Start a new file, and return the finished one, still locked, if it holds anything."""
        with self._lock:
            if self.size == 0 and not self._is_torn:
                return []
            finished, self._file = self._file, self._open_next()
            self.size = 0
            self._is_torn = False
        return [finished]

    def close(self) -> None:
        """Remove the file if it is empty, and release it."""
        with self._lock:
            if self.size == 0:  # otherwise someone appended after the last sealing: adopted at the next start
                self._file.path.unlink(missing_ok=True)
            self._file.close()

    def _open_next(self) -> JournalFile:
        while True:
            self._sequence += 1
            path = self.folder / f"{self._writer_id}-{self._sequence:08d}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            file = JournalFile(path, os.open(path, flags, 0o600))
            # Another process may adopt the new, still empty file before the lock is ours.
            if _lock(file):
                if self._is_durable:
                    sync_folder(self.folder)  # a synced file without a name would be lost
                return file


def _adopt(folder: Path) -> list[JournalFile]:
    """Finished journals without a lock: of a dead process, or ours after a failed sealing."""
    adopted = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            file = JournalFile(path, os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except FileNotFoundError:
            continue
        if _lock(file):
            adopted.append(file)
    return adopted


def _lock(file: JournalFile) -> bool:
    """Take the journal's lock; False, with the file closed, if it is held or was sealed."""
    try:
        fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    if not file.path.exists():  # sealed and removed between opening and locking
        file.close()
        return False
    return True


def _not_written(error: OSError, *, written: int = 0) -> JournalError:
    return JournalError(
        f"the record cannot be written to the journal: {error.strerror or error};"
        " free space or check the data folder, serving resumes by itself",
        written=written,
    )


def encode(record: Record) -> bytes:
    """One journal line: JSON, moments in UTC, money as plain decimal text."""
    return orjson.dumps(record, default=_decimal_as_text, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _decimal_as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # 1E-7 in exponent form is refused by Parquet's decimal parser
    raise TypeError(f"{type(value).__name__} cannot be stored in a record")
