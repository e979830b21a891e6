"""DATABASE_URL: PostgreSQL in every spelling of its own, and a way out for everything else."""

from __future__ import annotations

import pytest

from router.config import Settings
from router.errors import ConfigError


def url_of(text: str) -> str | None:
    """The setting, as it is used."""
    value = Settings.load({"DATABASE_URL": text}).database_url
    return None if value is None else value.get_secret_value()


@pytest.mark.smoke
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "POSTGRESQL"])
def test_postgresql_is_accepted_in_its_spellings(scheme: str) -> None:
    """The driver is the one that is installed, whatever the URL leaves open."""
    assert url_of(f"{scheme}://ada@db:5432/router") == "postgresql+psycopg://ada@db:5432/router"


def test_an_empty_url_is_unset() -> None:
    """A line of a .env file that is not filled in."""
    assert url_of("") is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///router.db", "`sqlite`.*One machine needs no database.*leave DATABASE_URL out"),
        ("duckdb:///w.duckdb", "`duckdb`.*warehouse/intellirouter.duckdb.*INTELLIROUTER_HOME"),
        ("mongodb://db/router", "`mongodb`.*MongoDB cannot hold"),
        ("mysql+pymysql://db/router", "`mysql`.*only PostgreSQL"),
        ("postgresql+asyncpg://db/router", "driver `asyncpg`: write `postgresql://`"),
        ("postgresql://db:port/router", "a port that cannot be read"),
        ("postgresql://db:5432", "names no database"),
        ("warehouse.duckdb", "is not a URL"),
    ],
)
def test_another_address_is_refused_with_the_way_out(url: str, words: str) -> None:
    """The message names the kind of database that was asked for, and what to write instead."""
    with pytest.raises(ConfigError, match=f"DATABASE_URL: .*{words}"):
        Settings.load({"DATABASE_URL": url})


@pytest.mark.parametrize("url", ["mysql://ada:hunter2@db/x", "postgresql://ada:hunter2@db:x/y", "hunter2"])
def test_no_message_shows_the_password(url: str) -> None:
    """A refused URL may hold the real password."""
    with pytest.raises(ConfigError) as caught:
        Settings.load({"DATABASE_URL": url})
    assert "hunter2" not in str(caught.value)


def test_the_settings_hide_the_password() -> None:
    """Settings are printed in tracebacks and logs."""
    assert "hunter2" not in repr(Settings.load({"DATABASE_URL": "postgresql://ada:hunter2@db/router"}))
