"""Looks at Dagster's databases of runs and events, so that a damaged one has a message and a remedy."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_S = 5.0
PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""Results that say nothing of the file: another process holds it, or the disk takes nothing."""
UNWRITTEN = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
REMEDY = (
    "Stop Dagster, move the file away and run the command again. Only the history of earlier runs is lost,"
    " no record"
)


def damaged(dagster_home: Path) -> Iterator[tuple[Path, str]]:
    """The SQLite databases under Dagster's folder that cannot be read, each with the reason."""
    for path in sorted(dagster_home.rglob("*.db")):
        try:
            uri = f"{path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S)) as connection:
                ((verdict,), *_) = connection.execute("pragma quick_check(1)").fetchall()
            if verdict != "ok":
                yield path, str(verdict).partition("\n")[0]
        except sqlite3.DatabaseError as error:
            if _primary_code(error) not in PASSING:
                yield path, str(error)


def unwritten(error: BaseException | None) -> str | None:
    """The reason for which SQLite or the disk did not take what Dagster writes. None for another error."""
    while error is not None:
        if isinstance(error, sqlite3.Error) and _primary_code(error) in UNWRITTEN:
            return str(error)
        if isinstance(error, OSError) and error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EACCES,
            errno.EROFS,
        ):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def _primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension, 0 if Python raised the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
