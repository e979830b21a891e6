"""PostgreSQL: its tables, who creates them, and what messages show."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import traceback
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from router.errors import ConfigError, DatabaseUnavailableError
from router.stores.database import Database
from router.stores.tables import HEAD, SCHEMA, metadata
from tests.places import ROOT
from tests.postgres import PASSWORD, PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Open = Callable[..., Database]


@pytest.fixture
def open_one(postgres_url: str) -> Iterator[Open]:
    """Opens the test's database."""
    opened: list[Database] = []

    def open_database(url: str = postgres_url, **options: Any) -> Database:
        opened.append(Database(url.replace("postgresql:", "postgresql+psycopg:"), **options))
        return opened[-1]

    yield open_database
    for database in opened:
        database.close()


@pytest.mark.smoke
def test_the_migrations_make_the_tables_of_the_code(open_one: Open) -> None:
    """Alembic finds no difference between the migrated database and `tables`, and HEAD is its last file."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from router.stores.migrations import configuration

    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD
    database = open_one()
    database.migrate()
    with database.transaction() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "version_table_schema": SCHEMA,
                "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
                "compare_type": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_processes_that_start_at_once_migrate_once(open_one: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Eight connections wait for one another, and all find the tables."""
    databases = [open_one() for _ in range(8)]
    start = threading.Barrier(len(databases))
    faults: list[Exception] = []

    def migrate(database: Database) -> None:
        start.wait()
        try:
            database.migrate()
        except ConfigError as error:
            faults.append(error)

    threads = [threading.Thread(target=migrate, args=(database,)) for database in databases]
    with caplog.at_level(logging.INFO, "alembic"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults
    assert sum("Running upgrade" in message for message in caplog.messages) == int(HEAD)


def test_a_database_of_a_newer_release_is_refused(open_one: Open) -> None:
    """The message names the revision and the way out, and nothing is changed."""
    database = open_one()
    database.migrate()
    table = sa.table("alembic_version", sa.column("version_num"), schema=SCHEMA)
    with database.transaction(is_change=True) as connection:
        connection.execute(table.update().values(version_num="9999"))
    with pytest.raises(ConfigError, match=r"revision `9999`.*newer release"):
        open_one().migrate()


@pytest.mark.parametrize("fault", ["password", "port", "database"])
def test_no_message_shows_the_password(
    postgres_server: PostgresServer, open_one: Open, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """Neither the error nor its traceback nor the log, whatever is wrong with the URL."""
    url = postgres_server.create_database()
    secret = "s3cr3t-of-the-database"
    if fault == "password":
        url = url.replace(PASSWORD, secret)
    else:
        secret = PASSWORD
        url = url.replace(f":{postgres_server.port}/", ":9/") if fault == "port" else f"{url}-missing"
    with caplog.at_level(logging.DEBUG), pytest.raises(DatabaseUnavailableError) as failure:
        open_one(url).migrate()
    shown = "".join(traceback.format_exception(failure.value)) + caplog.text
    assert secret not in shown
    assert "check DATABASE_URL" in shown


def test_a_user_without_rights_is_told_so(postgres_server: PostgresServer, open_one: Open) -> None:
    """The server's reason is shown, with what to check."""
    url = postgres_server.create_database()
    postgres_server.execute("drop role if exists visitor")
    postgres_server.execute("create role visitor login password 'visitor-password'")
    with pytest.raises(DatabaseUnavailableError, match=r"refuses \(permission denied.*rights of its user"):
        open_one(url.replace(f"intellirouter:{PASSWORD}", "visitor:visitor-password")).migrate()


def test_options_of_the_url_are_kept(postgres_url: str, open_one: Open) -> None:
    """A URL may name its own application, schema path or TLS mode."""
    database = open_one(
        f"{postgres_url}?application_name=mine&options=-csearch_path%3Delsewhere&sslmode=prefer"
    )
    with database.transaction() as connection:
        found = [
            connection.execute(sa.select(sa.func.current_setting(name))).scalar()
            for name in ("application_name", "search_path", "statement_timeout")
        ]
    assert found == ["mine", "elsewhere", "10s"]


def test_echo_shows_statements_without_values(open_one: Open, caplog: pytest.LogCaptureFixture) -> None:
    """DB_ECHO is for people who look for slow statements, and documents are not for their eyes."""
    from router.stores.tables import in_force

    database = open_one(echo=True)
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"), database.transaction(is_change=True) as one:
        one.execute(in_force.insert().values(name="catalog.yaml", content=b"canary-content"))
    assert "INSERT INTO" in caplog.text
    assert "canary-content" not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("package", ["sqlalchemy", "psycopg", "alembic"])
def test_a_missing_package_is_one_line(package: str, postgres_url: str) -> None:
    """It names the extra to install, and neither the URL nor a traceback."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from router.errors import ConfigError\n"
        "from router.stores.database import Database\n"
        "try:\n"
        f"    Database({postgres_url.replace('postgresql:', 'postgresql+psycopg:')!r}).migrate()\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.count("\n") == 1
    assert f"`{package}` is missing: `pip install 'intellirouter[postgres]'`" in done.stdout


def test_nothing_of_it_is_imported_without_a_url() -> None:
    """A router on the data folder loads no driver, and neither does the command line's help."""
    code = (
        "import sys\n"
        "import router.router, router.keys.opening, router.configuration.opening\n"
        "import router.configuration.database, router.configuration.polled, router.keys.database\n"
        "print({'sqlalchemy', 'alembic', 'psycopg', 'redis'} & sys.modules.keys())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "set()\n"
