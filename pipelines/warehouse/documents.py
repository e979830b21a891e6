"""Documents in DATABASE_URL, for jobs: copies of them as files, and the price book that a job refreshed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from router.configuration.copies import write_documents
from router.configuration.opening import open_source_database
from router.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from router.config import Settings

logger = logging.getLogger("pipelines.warehouse")


def follow_documents(settings: Settings) -> None:
    """Bring the files up to date. Nothing to do without DATABASE_URL.

    While the server is away the older files stay. DatabaseUnavailableError if there are none.
    """
    if settings.database_url is None:
        return
    source = open_source_database(settings)
    try:
        write_documents(settings.documents, source.read())
    except DatabaseUnavailableError as error:
        if not settings.catalog_file.exists():
            raise
        logger.warning("%s. The documents in use are older copies", error)
    finally:
        source.database.close()


def share_prices(settings: Settings) -> None:
    """Put the price book of the data folder into force for every router. Nothing without DATABASE_URL."""
    if settings.database_url is None:
        return
    source = open_source_database(settings)
    try:
        source.put_prices(settings.price_book_file.read_bytes())
    finally:
        source.database.close()
