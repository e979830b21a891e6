"""Looks at Dagster's databases of runs and events, so that a damaged one has a message and a remedy."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_S = 5.0
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
            if getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                yield path, str(error)
