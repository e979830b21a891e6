"""The connection to PostgreSQL by ADBC: statements of `sql/postgres`, Arrow COPY, errors with a remedy."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.errors import CopyBusyError, CopyError, RefusedRowsError
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.sqlfiles import SelectList, quoted_name
from router.errors import MASK, ConfigError, masked
from router.settings.database_url import shown_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

SHAPE = "`postgresql://HOST:5432/NAME`, with `USER:PASSWORD@` before HOST"
SCHEMES = ("postgresql", "postgres")
CONNECT_TIMEOUT_S = 10
LOCK_WAIT_S = 60.0
"""The time that a mirror waits for another one to finish, or for a killed one's connection to end."""
LOCK_TIMEOUT_S = 60
"""The longest wait for a table that a reader of the copies locks."""
STATEMENT_TIMEOUT_S = 3600
"""The longest time that one statement may take."""
_REMEDIES = {
    "28": "check the user and password in MIRROR_URL",
    "3D": "create the database, or correct its name in MIRROR_URL",
    "42501": "grant the user of MIRROR_URL the right to create and to write in the schema MIRROR_SCHEMA",
    "25006": "MIRROR_URL names a server or session that is read-only: name the primary server",
    "53100": "the server's disk is full: free space there, then run `intellirouter mirror`",
    "53": "the server has too little memory or too few connections left: raise its limits",
    "2BP01": "a view of yours depends on the table: drop it, run `intellirouter mirror`, create it again",
    "55P03": "another session locks the table: end it, then run `intellirouter mirror`",
    "57014": "the statement was cancelled: run `intellirouter mirror` again",
    "08": "the server is not reachable: the next run goes on where this one stopped",
    "57P": "the server is shutting down: the next run goes on where this one stopped",
}
"""By SQLSTATE, or by its first digits."""
_REFUSALS = ("22", "23")
"""Classes of SQLSTATE that the content of rows causes."""


class Target:
    """The server that MIRROR_URL names, while it is entered."""

    def __init__(self, url: str, schema: str, *, lock_wait_s: float | None = LOCK_WAIT_S) -> None:
        """`lock_wait_s` None: for reading, without the lock that excludes another mirror."""
        self._url = url
        self._lock_wait_s = lock_wait_s
        self.schema = schema
        self.shown = shown(url)
        """The URL without its user and password."""
        self._connection: Any = None

    def __enter__(self) -> Self:
        try:
            from adbc_driver_postgresql import dbapi
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the mirror needs `{error.name}`, which is not installed:"
                " pip install 'intellirouter[mirror]'"
            ) from None
        with self._explained("connect"):
            self._connection = dbapi.connect(_with_timeout(self._url))
        try:
            self._prepare_session()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):  # a broken connection cannot close, and need not
                self._connection.close()
            self._connection = None

    def _prepare_session(self) -> None:
        with self.transaction("open a session"):
            self.run("session", f"{STATEMENT_TIMEOUT_S}s", f"{LOCK_TIMEOUT_S}s")
        if self._lock_wait_s is None:
            return
        deadline = time.monotonic() + self._lock_wait_s
        while True:
            with self.transaction("take the lock"):
                ((is_ours,),) = self.run("take_lock", self.schema)
            if is_ours:
                return
            if time.monotonic() >= deadline:
                raise CopyBusyError(
                    f"another mirror has written `{self.shown}` for {self._lock_wait_s:.0f} s: wait for it,"
                    " or end that process"
                )
            time.sleep(0.1)

    def table(self, name: str) -> SelectList:
        """A table of the schema, in quotes."""
        return SelectList(f"{quoted_name(self.schema)}.{quoted_name(name)}")

    def run(self, key: str, /, *values: str, **places: str) -> list[tuple[Any, ...]]:
        """Execute `sql/postgres/<key>.sql` with its places filled and values bound. Returns its rows."""
        names = {name: SelectList(text) for name, text in places.items()}
        text = (sqlfiles.folder() / "postgres" / f"{key}.sql").read_text(encoding="utf-8")
        if "{schema}" in text:
            names["schema"] = SelectList(quoted_name(self.schema))
        return self.execute(sqlfiles.load(f"postgres/{key}", **names).text, *values)

    def execute(self, text: str, *values: str) -> list[tuple[Any, ...]]:
        """Execute one statement in the open transaction."""
        with self._connection.cursor() as cursor:
            cursor.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []

    def stage(self, reader: Any) -> int:
        """Copy Arrow batches into the staging table. Returns the number of rows."""
        with self._connection.cursor() as cursor:
            return int(cursor.adbc_ingest("staging", reader, mode="append", temporary=True))

    @contextlib.contextmanager
    def transaction(self, purpose: str) -> Iterator[None]:
        """Commit all statements inside, or none. A CopyError says what failed and what to do."""
        with self._explained(purpose):
            try:
                yield
            except BaseException:
                with contextlib.suppress(Exception):
                    self._connection.rollback()
                raise
            self._connection.commit()

    @contextlib.contextmanager
    def _explained(self, purpose: str) -> Iterator[None]:
        from adbc_driver_manager import Error

        try:
            yield
        except Error as error:
            code = error.sqlstate or ""
            if code.startswith(_REFUSALS):
                # The server's text quotes the row.
                raise RefusedRowsError(f"PostgreSQL refuses a row (SQLSTATE {code})") from None
            remedy = next((text for start, text in _REMEDIES.items() if code.startswith(start)), None)
            if not code:
                remedy = "check that the server runs and that MIRROR_URL is right; the next run goes on"
            fault = self._withoutsecrets_of(str(error))
            raise CopyError(
                f"`{self.shown}` could not {purpose}: {fault}; {remedy or 'correct this, and run it again'}",
                sqlstate=code,
            ) from None

    def _withoutsecrets_of(self, text: str) -> str:
        """The server's message, without the URL's password and the statement."""
        text = text.partition("\nQuery was:")[0].partition("\nLINE ")[0]
        if "ERROR:" in text:  # the statement is before it
            text = text.rpartition("ERROR:")[2]
        text = " ".join(text.split()).replace(self._url, self.shown)
        # A URL that cannot be parsed is quoted in parts, so each part goes too.
        for secret in secrets_of(self._url):
            text = text.replace(secret, MASK)
        return masked(text)


def checked_url(url: str) -> str:
    """The URL, or a ConfigError that does not show it."""
    scheme, separator, rest = url.strip().partition("://")
    if scheme.partition("+")[0] not in SCHEMES or not separator or not rest:
        raise ConfigError(f"MIRROR_URL is not the URL of a PostgreSQL server: write {SHAPE}")
    return f"postgresql://{rest}"  # without the driver that SQLAlchemy is given


def shown(url: str) -> str:
    """The URL without user, password and options, for messages."""
    return shown_address(url, unreadable="the server of MIRROR_URL")


def secrets_of(url: str) -> list[str]:
    """The texts of a URL that no message may show, longest first."""
    authority = url.partition("://")[2].rpartition("@")[0]
    password = authority.partition(":")[2]
    options = [part.partition("=")[2] for part in url.partition("?")[2].split("&") if "pass" in part]
    found = {text for text in (password, *options) if text}
    found |= {unquote(text) for text in found}
    return sorted(found, key=len, reverse=True)


def _with_timeout(url: str) -> str:
    if "connect_timeout=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout={CONNECT_TIMEOUT_S}"
