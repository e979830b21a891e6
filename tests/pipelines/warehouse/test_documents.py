"""Jobs on DATABASE_URL: they read the documents of the database, and share the prices they refreshed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipelines.warehouse.documents import follow_documents, share_prices
from pipelines.warehouse.warehouse import Warehouse
from router.catalog.price_book import PriceBook
from router.config import Settings
from router.configuration.changing import apply
from router.configuration.moving import push
from router.configuration.opening import open_source_database
from router.errors import DatabaseUnavailableError
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW

if TYPE_CHECKING:
    from pathlib import Path

RETENTION = b"organizations: {acme: {days: 30}}\n"


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str) -> Settings:
    """A data folder whose documents are in the database."""
    home = tmp_path / "home"
    home.mkdir()
    write_catalog(home, ["small"])
    settings = Settings.load({"DATABASE_URL": postgres_url}, home=home)
    push(settings)
    return settings


def change(settings: Settings, name: str, content: bytes | None) -> None:
    """Apply a document on the database."""
    source = open_source_database(settings)
    source.edit(name, content)
    source.database.close()


def test_a_job_reads_the_documents_of_the_database(settings: Settings) -> None:
    """Entering the warehouse brings the copies up to date; a document that was removed is gone."""
    (settings.home / "retention.yaml").write_text("a file of the folder is not read")
    change(settings, "retention.yaml", RETENTION)
    with Warehouse(settings):
        assert settings.retention_file.read_bytes() == RETENTION
        assert settings.catalog_file.read_bytes() == (settings.home / "catalog.yaml").read_bytes()
    change(settings, "retention.yaml", None)
    with Warehouse(settings):
        assert not settings.retention_file.exists()


def test_without_the_server_a_job_has_the_older_copies(settings: Settings, tmp_path: Path) -> None:
    """It works with them; a machine without copies is told what is missing."""
    follow_documents(settings)
    gone = {"DATABASE_URL": "postgresql://u@127.0.0.1:9/n"}
    with Warehouse(Settings.load(gone, home=settings.home)) as warehouse:
        assert warehouse.settings.catalog_file.exists()
    with pytest.raises(DatabaseUnavailableError), Warehouse(Settings.load(gone, home=tmp_path / "new")):
        pass


def test_refreshed_prices_reach_the_database(settings: Settings) -> None:
    """Routers get the book from there, and a later change of a document keeps it whole."""
    book = PriceBook.of({}, unlisted=frozenset(), source="test", updated_at=NOW).to_json()
    settings.price_book_file.parent.mkdir(parents=True, exist_ok=True)
    settings.price_book_file.write_bytes(book)
    share_prices(settings)
    source = open_source_database(settings)
    apply(source, settings, {"limits.yaml": b"limits: []\n"})
    assert source.read()["prices/book.json"] == book
    source.database.close()
