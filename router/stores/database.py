"""PostgreSQL, opened from DATABASE_URL. Only this room imports SQLAlchemy and Alembic.

The tables are created and changed by migrations, under an advisory lock: of many processes that start at
once, one migrates and the others wait. No message shows the password.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from router.errors import ConfigError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import sqlalchemy as sa

CONNECT_S = 3
"""Longest wait for a connection to the server."""
STATEMENT_MS = 10_000
"""PostgreSQL ends a statement that takes longer."""
LOCK_KEY = 0x1_4E7E_11
"""The advisory lock of migrations and changes."""
INSTALL = "DATABASE_URL is set and the package `{}` is missing: `pip install 'intellirouter[postgres]'`"


class Database:
    """One database, with a pool of connections. It connects at the first use."""

    def __init__(self, url: str, *, pool: tuple[int, int] | None = None, echo: bool = False) -> None:
        """`url` as the settings have it. ConfigError if a package is missing or the URL is not usable.

        `pool` are the connections that stay open, and those beyond them while all are in use. None: each
        transaction has a connection of its own, as suits a command.
        """
        try:
            import psycopg  # noqa: F401
            import sqlalchemy as sa
        except ImportError as error:
            missing = (error.name or "sqlalchemy").partition(".")[0]
            raise ConfigError(INSTALL.format(missing)) from None
        self._sa = sa
        self._is_migrated = False
        fault: str | None = None
        try:
            parsed = sa.make_url(url)
            self._secrets = {str(value) for value in (parsed.password, parsed.query.get("password")) if value}
            self.identity = hashlib.sha256(
                f"{parsed.host}\n{parsed.port}\n{parsed.database}\n{parsed.query.get('host')}".encode()
            ).hexdigest()
            """Names the database without its user and password."""
            place = parsed.query.get("host") or parsed.host or "localhost"
            port = f":{parsed.port}" if parsed.port else ""
            self.name = f"postgresql://{place}{port}/{parsed.database}"
            """The address, for messages: without the user and the password."""
            self._engine = sa.create_engine(
                parsed,
                **_pool_options(sa, pool),
                echo=echo,
                hide_parameters=True,
                connect_args=_connect_options(parsed.query),
            )
        except (sa.exc.ArgumentError, ValueError, TypeError) as error:
            fault = type(error).__name__
        if fault is not None:  # after the handler: a traceback shows the cause, which may quote the URL
            raise ConfigError(
                f"DATABASE_URL cannot be used ({fault}): write `postgresql://USER@HOST:5432/NAME`, with `:`"
                " and the password after USER"
            )

    @contextmanager
    def transaction(self, *, is_change: bool = False) -> Iterator[sa.Connection]:
        """One transaction on the current tables. Changes exclude one another, and reads see one moment.

        DatabaseUnavailableError if the server does not answer or refuses.
        """
        with self._explained():
            if not self._is_migrated:
                self._migrate()
            engine = (
                self._engine
                if is_change
                else self._engine.execution_options(isolation_level="REPEATABLE READ")
            )
            function = self._sa.func
            with engine.begin() as connection:
                connection.execute(
                    self._sa.select(function.set_config("statement_timeout", str(STATEMENT_MS), True))
                )
                if is_change:
                    connection.execute(self._sa.select(function.pg_advisory_xact_lock(LOCK_KEY)))
                yield connection

    def migrate(self) -> None:
        """Bring the tables up to date. Safe to call from many processes at once."""
        with self._explained():
            self._migrate()

    def close(self) -> None:
        """Close the connections. You can call it twice."""
        self._engine.dispose()

    def _migrate(self) -> None:
        from router.stores.tables import HEAD, SCHEMA

        sa = self._sa
        with self._engine.connect() as connection:
            if self._revision(connection) == HEAD:  # Alembic takes a second to import
                self._is_migrated = True
                return
        with self._engine.begin() as connection:
            # Until the transaction ends, which also makes the tables visible to the others.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
            found = self._revision(connection)
            if found != HEAD:
                from router.stores.migrations import upgrade

                upgrade(connection, found)
        if self._revision_now() != HEAD:
            raise ConfigError(
                f"the schema `{SCHEMA}` of `{self.name}` was not migrated to `{HEAD}`. See the log"
            )
        self._is_migrated = True

    def _revision_now(self) -> str | None:
        with self._engine.connect() as connection:
            return self._revision(connection)

    def _revision(self, connection: sa.Connection) -> str | None:
        from router.stores.tables import SCHEMA

        sa = self._sa
        if not sa.inspect(connection).has_table("alembic_version", schema=SCHEMA):
            return None
        table = sa.table("alembic_version", sa.column("version_num"), schema=SCHEMA)
        return connection.execute(sa.select(table.c.version_num)).scalar()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        failure: str | None = None
        try:
            yield
        except self._sa.exc.OperationalError as error:
            failure = f"does not answer ({self._reason(error)}): check DATABASE_URL, and that its server runs"
        except self._sa.exc.SQLAlchemyError as error:
            failure = f"refuses ({self._reason(error)}): check DATABASE_URL, and the rights of its user"
        if failure is not None:  # after the handler: a traceback shows the cause
            raise DatabaseUnavailableError(f"PostgreSQL at `{self.name}` {failure}")

    def _reason(self, error: Any) -> str:
        """The first line of the server's message, without the password."""
        said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        reason = said[0]
        for secret in self._secrets:
            for text in (secret, unquote(secret)):
                reason = reason.replace(text, "[password]")
        return reason[:300]


def open_database(url: str | None, *, pool: tuple[int, int] | None, echo: bool) -> Database:
    """The database of the settings. ConfigError if there is none."""
    if url is None:
        raise ConfigError(
            "DATABASE_URL is not set: set it to `postgresql://USER@HOST:5432/NAME`, with `:` and the password"
            " after USER"
        )
    return Database(url, pool=pool, echo=echo)


def _connect_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a connection, except those that the URL has itself. Poolers take them too."""
    options = {
        "connect_timeout": CONNECT_S,
        "application_name": "intellirouter",
        # A machine that vanished is noticed after this time.
        "tcp_user_timeout": 2 * CONNECT_S * 1000,
        "keepalives_idle": 2 * CONNECT_S,
    }
    # Statements are not prepared: behind a pooler, the next one may reach another connection.
    return {"prepare_threshold": None} | {name: value for name, value in options.items() if name not in given}


def _pool_options(sa: Any, pool: tuple[int, int] | None) -> dict[str, Any]:
    if pool is None:
        return {"poolclass": sa.NullPool}
    size, overflow = pool
    return {
        "pool_size": size,
        "max_overflow": overflow,
        "pool_timeout": CONNECT_S,
        "pool_pre_ping": True,
    }
