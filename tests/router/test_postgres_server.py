"""The PostgreSQL server of the tests: what the suites on it rely on."""

from __future__ import annotations

import psycopg
import pytest

from tests.postgres import PostgresServer


def test_each_database_is_empty_and_its_own(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A table of one test is not there in the next one's database."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create table seen (n int)")
    with psycopg.connect(postgres_server.create_database()) as other:
        (tables,) = (
            other.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() or ()
        )
    assert tables == 0


def test_the_server_asks_for_the_password(postgres_server: PostgresServer) -> None:
    """A URL with a wrong password is refused, so a URL that works carries the right one."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.url(password="wrong"))


@pytest.mark.slow
def test_data_is_there_after_a_stop_and_a_start() -> None:
    """A stopped server refuses connections, and has its data again on the same port."""
    if reason := PostgresServer.missing():
        pytest.skip(reason)
    with PostgresServer() as server:
        url = server.create_database()
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
