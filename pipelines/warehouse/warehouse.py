"""The build database: the one DuckDB file that the pipelines write, one process at a time.

It is a cache of the lake. If it cannot be opened, it is set aside and filled again from the
segments. Readers use a finished copy (`publishing`) and never wait for its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import WarehouseBusyError, WarehouseError
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.documents import follow_documents
from router.files import TEMPORARY_PREFIX, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.warehouse.sqlfiles import SqlFile
    from router.config import Settings

logger = logging.getLogger("pipelines.warehouse")

STORAGE_VERSION = "v1.5.0"
"""Older shells and BI tools can open files of this version. It costs neither speed nor size."""
LOCK_WAIT_S = 120.0
"""The time that a refresh waits for another one to finish."""
_NOT_CORRUPT = (
    "could not set lock",
    "permission denied",
    "no space left",
    "too many open files",
    "read-only",
)
"""Failures to open that setting the file aside would not cure."""
_CORRUPT = "corrupt database file"
"""DuckDB's error for a block with a wrong checksum. It can come long after opening."""


class Warehouse:
    """The build database of one data folder, locked while this object is entered."""

    def __init__(self, settings: Settings, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self.settings = settings
        self._lock_wait_s = lock_wait_s
        self._lock: int | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Warehouse:
        self.settings.build_file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.settings.build_file.with_suffix(".lock"), self._lock_wait_s)
        try:
            follow_documents(self.settings)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.close()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The open, migrated database. It is opened on first use, and again after `close`."""
        if self._connection is None:
            if self._lock is None:
                raise WarehouseError(
                    "the build database is used outside of its lock: enter the Warehouse first"
                )
            self._connection = _open_or_rebuild(self.settings)
        return self._connection

    def close(self) -> None:
        """Write everything to the file and close it. The lock is kept."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def recreate(self) -> None:
        """Copy everything into a new file, because DELETE leaves the deleted bytes in the old one."""
        build = self.settings.build_file
        fresh = build.with_name(f"{TEMPORARY_PREFIX}{build.name}")
        fresh.unlink(missing_ok=True)  # the file of a stopped run
        connection = self.connection
        connection.execute(
            f"attach {sqlfiles.quoted_text(str(fresh))} as fresh (storage_version '{STORAGE_VERSION}')"
        )
        connection.execute(f'copy from database "{build.stem}" to fresh')
        connection.execute("detach fresh")
        self.close()
        for path in (fresh, build):
            path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(build)
        sync_folder(build.parent)

    def run(self, file: str | SqlFile, **parameters: Any) -> duckdb.DuckDBPyConnection:
        """Execute a file of `sql/`, given by its key or loaded, with the parameters bound."""
        loaded = sqlfiles.load(file) if isinstance(file, str) else file
        with self._watched():
            return self.connection.execute(loaded.text, parameters)

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a small query."""
        with self._watched():
            return self.connection.execute(query, parameters).fetchall()

    def value(self, query: str | SqlFile, **parameters: Any) -> Any:
        """The first value of a query that returns one row. None if it returns none."""
        with self._watched():
            text = query if isinstance(query, str) else query.text
            row = self.connection.execute(text, parameters).fetchone()
        return None if row is None else row[0]

    def is_distrusted(self) -> bool:
        """Whether a read found the file corrupt. The next opening sets it aside."""
        return _distrusted(self.settings).exists()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if _CORRUPT in str(error).lower():
                logger.error("build database is corrupt, the next run rebuilds it: %s", error)
                _distrusted(self.settings).touch()
            raise

    def replace_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Make these the only rows of a table, in one transaction; whether anything changed.

        If the table has exactly these rows, in any order, nothing is written: it would only grow the file.
        """
        found = self.run(sqlfiles.load("tables/rows", table=table))
        names = [item[0] for item in found.description or []]
        stored = found.fetchall()
        wanted = [tuple(row.get(name) for name in names) for row in rows]
        if sorted(stored, key=_comparable) == sorted(wanted, key=_comparable):
            return False
        with self.transaction():
            self.run(sqlfiles.load("tables/clear", table=table))
            self.insert(table, rows)
        return True

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows. Each must have the same columns, by name."""
        with self._watched():
            sqlfiles.insert_rows(self.connection, table, rows)

    def count(self, table: str) -> int:
        """How many rows a table has."""
        row = self.run(sqlfiles.load("tables/count", table=table)).fetchone()
        return 0 if row is None else int(row[0])

    def arrow(self, loaded: SqlFile, **parameters: Any) -> Any:
        """The rows of a statement as a pyarrow Table. It reads committed data only."""
        with self.connection.cursor() as cursor:  # the connection itself may hold an unfinished result
            return in_utc(cursor).sql(loaded.text, params=parameters).to_arrow_table()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Commit all statements inside, or none of them."""
        connection = self.connection
        with self._watched():
            connection.begin()
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # a broken connection cannot roll back, and need not
                    connection.rollback()
                raise
            connection.commit()


def _comparable(row: Sequence[Any]) -> list[tuple[bool, Any]]:
    """A sort key for a row. NULL comes last."""
    return [(value is None, 0 if value is None else value) for value in row]


def set_aside(file: Path) -> Path | None:
    """Rename a database and its WAL to `.broken-<time>`. Returns the new name, or None without a file."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    moved = None
    for path in (file, file.with_name(f"{file.name}.wal")):
        if path.exists():
            target = path.with_name(f"{path.name}.broken-{stamp}")
            path.rename(target)
            moved = moved or target
    sync_folder(file.parent)
    return moved


def configuration(settings: Settings) -> dict[str, str | bool | int | float | list[str]]:
    """The configuration of every DuckDB connection that we open."""
    return {
        "memory_limit": settings.duckdb_memory_limit,
        "threads": settings.duckdb_threads,
        # A missing table must be an error, not a Python variable of the same name.
        "python_enable_replacements": False,
    }


def in_utc(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Set the connection's time zone to UTC. DuckDB does not accept this setting when it opens."""
    return in_zone(connection, "UTC")


def in_zone(connection: duckdb.DuckDBPyConnection, name: str) -> duckdb.DuckDBPyConnection:
    """Set the connection's time zone, by its name in the IANA database."""
    return connection.execute("set TimeZone = $name", {"name": name})


@contextlib.contextmanager
def in_memory(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse that leaves no file behind."""
    with duckdb.connect(":memory:", config=configuration(settings)) as connection:
        _migrate(in_utc(connection))
        yield connection


def _open_or_rebuild(settings: Settings) -> duckdb.DuckDBPyConnection:
    from pipelines.warehouse import archive, history, linked_views

    file = settings.build_file
    if _distrusted(settings).exists():
        set_aside(file)
        _distrusted(settings).unlink()
    is_new = not file.exists()
    try:
        connection = _open(settings)
    except duckdb.Error as error:
        if is_new or any(text in str(error).lower() for text in _NOT_CORRUPT):
            raise WarehouseError(f"build database `{file}` cannot be opened: {error}") from error
        moved = set_aside(file)
        logger.error("build database is corrupt, kept as `%s`; rebuilding from the lake: %s", moved, error)
        is_new = True
        connection = _open(settings)
    try:
        _migrate(connection)
        linked_views.follow(connection, settings)
        if is_new:
            archive.restore_archive(connection, settings.lake)
            history.restore_history(connection, settings)
    except BaseException:
        connection.close()
        if is_new:
            set_aside(file)  # a partial restore must not be used as a complete one
        raise
    return connection


def _distrusted(settings: Settings) -> Path:
    return settings.build_file.with_suffix(".distrusted")


def _open(settings: Settings) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        str(settings.build_file),
        config={**configuration(settings), "storage_compatibility_version": STORAGE_VERSION},
    )
    return in_utc(connection)


def _migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Run every migration that the database does not have yet, each in its own transaction."""
    connection.execute(sqlfiles.load("tables/migrations").text)
    known_before = {name for (name,) in connection.execute("select name from pipeline.migrations").fetchall()}
    known = [sqlfiles.load(key) for key in sqlfiles.names("migrations")]
    newer = sorted(known_before - {file.header["name"] for file in known})
    if newer:
        raise WarehouseError(
            f"the build database has the migration `{newer[-1]}`, which this release does not know."
            " Run the release that made it, or move the file away to rebuild it from the lake"
        )
    for file in known:
        if file.header["name"] in known_before:
            continue
        connection.begin()
        try:
            connection.execute(file.text)
            applied = {"name": file.header["name"], "applied_at": datetime.now(UTC)}
            sqlfiles.insert_rows(connection, "pipeline.migrations", [applied])
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def _lock(path: Path, wait_s: float) -> int:
    """Take the writers' lock. If that takes too long, raise a WarehouseBusyError that names the holder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise WarehouseBusyError(
                    f"another refresh (process `{holder}`) has held `{path}` for {wait_s:.0f} s."
                    " Wait for it, or end that process"
                ) from None
            time.sleep(0.05)
        else:
            break
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)  # a lock that is kept would stop every later refresh of this process
        raise
    return descriptor
