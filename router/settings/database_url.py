"""Accepts DATABASE_URL, or refuses it with the way out. No message shows a part that can be a password."""

from __future__ import annotations

from urllib.parse import urlsplit

DRIVER = "postgresql+psycopg"
POSTGRESQL = frozenset({"postgresql", "postgres", DRIVER})
SHAPE = "`postgresql://USER@HOST:5432/NAME`, with `:` and the password after USER"
LEAVE_OUT = "leave DATABASE_URL out, and the data folder holds configuration and keys"
REMEDIES = {
    "duckdb": "The warehouse is always the file `warehouse/intellirouter.duckdb` of the data folder, and"
    " INTELLIROUTER_HOME places that folder",
    "sqlite": "One machine needs no database",
    "mongodb": "MongoDB cannot hold configuration and keys",
}
"""Other databases that people name, and the reason against each."""


def postgresql_url(url: str) -> str:
    """The URL with the driver `psycopg`. ValueError if it names no PostgreSQL database."""
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(f"is not a URL: write {SHAPE}, or {LEAVE_OUT}")
    if scheme not in POSTGRESQL:
        raise ValueError(_refusal(scheme))
    try:
        parts = urlsplit(f"postgresql://{rest}")
        _ = parts.port
    except ValueError:
        fault = "has a host or a port that cannot be read"
    else:
        if parts.path.strip("/"):
            return f"{DRIVER}://{rest}"
        fault = "names no database"
    raise ValueError(f"{fault}: write {SHAPE} and `%40` for an `@` in it")


def shown_address(url: str, *, unreadable: str) -> str:
    """A URL without user, password and options, for messages; `unreadable` where it has no such parts."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return unreadable
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _refusal(scheme: str) -> str:
    database, _, driver = scheme.partition("+")
    if database in ("postgresql", "postgres") and driver.isalnum():
        return f"asks for the driver `{driver:.20}`: write `postgresql://` or `{DRIVER}://`"
    reason = REMEDIES.get(database)
    shown = f"`{database}`" if database.isalnum() and len(database) <= 20 else "another database"
    because = f"{reason}. " if reason else ""
    return f"names {shown}, and only PostgreSQL is supported. {because}To go on, {LEAVE_OUT}"
