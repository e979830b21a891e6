"""One line for the failures that the machine causes: a read-only folder, a full disk, a missing package.

Everything else is a mistake of this program, and keeps its traceback.
"""

from __future__ import annotations

import errno
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTRAS: Mapping[str, str] = {
    "adbc_driver_postgresql": "mirror",
    "alembic": "postgres",
    "botocore": "bedrock",
    "click": "server",
    "dagster": "pipelines",
    "dagster_dg_cli": "pipelines",
    "dagster_webserver": "pipelines",
    "duckdb": "pipelines",
    "genai_prices": "pipelines",
    "httptools": "server",
    "numpy": "pipelines",
    "opentelemetry": "otel",
    "polars": "pipelines",
    "psycopg": "postgres",
    "pymongo": "mongodb",
    "pytz": "pipelines",
    "pyiceberg": "iceberg",
    "pyspark": "spark",
    "redis": "redis",
    "rich": "server",
    "sqlalchemy": "postgres",
    "sqlglot": "spark",
    "uvicorn": "server",
    "uvloop": "server",
}
"""The extra that installs each package, by the name that the package is imported by."""
ADVICE: Mapping[int, str] = {
    errno.EACCES: "give this user the right to read and write it, or name another folder with --home",
    errno.EPERM: "give this user the right to read and write it, or name another folder with --home",
    errno.EROFS: "mount it for writing, or name another folder with --home",
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there, or raise the quota",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EIO: "check the disk",
    errno.ENOTDIR: "a part of this path is a file: name a folder",
    errno.EEXIST: "it is in the way: remove it, or choose another name",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""The remedy for each failure of the operating system that a user can mend."""


DAMAGED = frozenset({"DatabaseError", "OperationalError"})
"""Errors of SQLite. Only those of Dagster reach a command: the others are handled where files are read."""


def hiding_line(place: Path | None) -> str:
    """The advice for a file or folder that has the name of our package."""
    return (
        f"`{place}` hides the package `pipelines` of IntelliRouter: rename it, or start from another folder"
    )


def hidden_by(package: str, *, also: Path | None = None) -> Path | None:
    """The file or folder of another program that Python finds in place of our package. None if none is.

    `also` is a folder that another process will look into first.
    """
    ours = Path(__file__).resolve().parents[2] / package
    found = find_spec(package)
    places = [] if found is None else [*(found.submodule_search_locations or ()), found.origin]
    if also is not None:
        places += [str(path) for path in (also / package, also / f"{package}.py") if path.exists()]
    for place in map(Path, filter(None, places)):
        if ours not in (place.resolve(), place.resolve().parent):
            return place
    return None


def as_line(error: BaseException) -> str | None:
    """What failed, the path or the package, and what to do. None for any other error."""
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package == "pipelines":
            return hiding_line(hidden_by(package))
        extra = EXTRAS.get(package)
        return extra and (
            f"this command needs `{package}`, which is not installed: pip install 'intellirouter[{extra}]'"
        )
    if type(error).__name__ in DAMAGED and type(error).__module__.startswith(("sqlite3", "sqlalchemy")):
        return (
            f"Dagster's history of runs cannot be used: {getattr(error, 'orig', error)}; move `dagster` in"
            " the data folder (or DAGSTER_HOME) away, and run again"
        )
    advice = ADVICE.get(error.errno or 0) if isinstance(error, OSError) else None
    if advice is None or not isinstance(error, OSError):
        return None
    place = "a file" if error.filename is None else f"`{error.filename}`"
    return f"{place} cannot be used: {error.strerror}; {advice}"
