"""The published warehouse: a finished copy of the build database that people query.

A rename puts it in place. A reader therefore sees the whole old copy or the whole new one, and never a lock.
A visitor may open the copy for writing, and may die and leave a write-ahead log (`.wal`) that no longer
fits. The file is read-only for that reason, and each publish removes such a log and checks the result.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb

from pipelines.errors import WarehouseError
from pipelines.warehouse import descriptions, linked, sqlfiles
from pipelines.warehouse.warehouse import configuration
from router.files import TEMPORARY_PREFIX, make_folder, sync_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.warehouse.warehouse import Warehouse

COPY_BYTES = 64 << 20
SMALL_BYTES = 64 << 20
"""A smaller file may be half empty."""
HEADER_BYTES = 3 * 4096
"""The headers of a DuckDB file. Routers compare them, to see that the file is as it was published."""


def publish_warehouse(warehouse: Warehouse) -> int | None:
    """Publish a copy of the build database. Returns its bytes, or None if the copy is already current.

    DuckDB lets either one process write a file or many processes read it. Readers therefore get a
    finished copy. A reader that has the old copy open keeps it until it opens the file again.
    """
    build, target = warehouse.settings.build_file, warehouse.settings.warehouse_file
    descriptions.comment(warehouse.connection)
    files = linked.listed(warehouse)
    warehouse.rows("checkpoint")
    _shrink(warehouse)
    warehouse.close()
    if _is_current(build, target, warehouse):
        _note_check(warehouse.settings.warehouse_facts_file)
        sync_folder(target.parent)  # an earlier publish may have been killed before its sync
        linked.sweep(warehouse.settings, files)
        return None
    make_folder(target.parent)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}")
    published_at = datetime.now(UTC)
    try:
        size = _copy(build, temporary)
        _check_answers(temporary, warehouse, now=published_at)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    query_ms = _check_published(target, warehouse, now=published_at)
    sync_folder(target.parent)
    moment = published_at.isoformat()
    with target.open("rb") as published:
        header_sha256 = hashlib.sha256(published.read(HEADER_BYTES)).hexdigest()
    facts = {
        "published_at": moment,
        "checked_at": moment,
        "query_ms": round(query_ms, 3),
        "bytes": size,
        "header_sha256": header_sha256,
    }
    write_atomically(warehouse.settings.warehouse_facts_file, json.dumps(facts).encode())
    linked.sweep(warehouse.settings, files)
    return size


def _shrink(warehouse: Warehouse) -> None:
    """Write the build database again if most of its file holds nothing: each publish would copy that."""
    found = warehouse.run("tables/free_bytes").fetchone()
    if found is not None and found[0] > SMALL_BYTES and found[1] > found[0] // 2:
        warehouse.recreate()


def _is_current(build: Path, target: Path, warehouse: Warehouse) -> bool:
    """Whether the published copy is the build database as it is now, and opens."""
    if not target.exists() or _stamp(target) != _stamp(build) or _log_beside(target).exists():
        return False
    try:
        _check_answers(target, warehouse, now=datetime.now(UTC))
    except WarehouseError:  # damaged, or locked by a visitor: a new copy has no lock
        return False
    return True


def _check_published(target: Path, warehouse: Warehouse, *, now: datetime) -> float:
    """Check the copy in its place, without the log that a visitor of the earlier copy left there.

    Returns the time of a typical query in ms.
    """
    _log_beside(target).unlink(missing_ok=True)
    try:
        return _check_answers(target, warehouse, now=now)
    except WarehouseError:  # the visitor's session wrote a log in between
        _log_beside(target).unlink(missing_ok=True)
        return _check_answers(target, warehouse, now=now)


def _log_beside(target: Path) -> Path:
    return target.with_name(f"{target.name}.wal")


def _note_check(facts_file: Path) -> None:
    """Note that the pipelines ran and that the copy is current. Routers report when they last ran."""
    try:
        facts = json.loads(facts_file.read_bytes())
    except (OSError, ValueError):
        return  # the facts are those of an earlier release, or damaged: the next publication writes them
    if isinstance(facts, dict):
        facts["checked_at"] = datetime.now(UTC).isoformat()
        write_atomically(facts_file, json.dumps(facts).encode())


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _copy(source: Path, target: Path) -> int:
    """Copy inside the kernel, and sync. Returns the number of bytes."""
    size = source.stat().st_size
    with source.open("rb") as reader, target.open("wb") as writer:
        offset = 0
        while offset < size:
            copied = os.sendfile(writer.fileno(), reader.fileno(), offset, min(COPY_BYTES, size - offset))
            if copied == 0:
                raise WarehouseError(f"`{source}` shrank while it was copied: refresh again")
            offset += copied
        # The copy gets the build's modification time. Equal times mean that nothing changed since,
        # even if the clock was set meanwhile.
        status = os.fstat(reader.fileno())
        os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fchmod(writer.fileno(), status.st_mode & 0o444)
        os.fsync(writer.fileno())
    return size


def _check_answers(path: Path, warehouse: Warehouse, *, now: datetime) -> float:
    """Run a typical query on the copy. Returns its time in ms. WarehouseError if it fails."""
    try:
        with duckdb.connect(str(path), read_only=True, config=configuration(warehouse.settings)) as copy:
            started = time.perf_counter()
            copy.execute(sqlfiles.load("marts/last_day").text, {"since": now - timedelta(days=1)}).fetchall()
            return 1000 * (time.perf_counter() - started)
    except duckdb.Error as error:
        raise WarehouseError(
            f"the copy of the warehouse at `{path}` does not open: {error}."
            " Run `intellirouter refresh` again; if that fails, `intellirouter rebuild`"
        ) from error
