"""The doctor's checks of the configuration: its history, and organisations that organizations.yaml lacks."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

import duckdb

from pipelines.doctor.findings import error, warning
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import configuration
from router.configuration.opening import open_source
from router.configuration.unlisted import remedy, unlisted_organizations
from router.errors import ConfigError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.doctor.findings import Finding
    from router.config import Settings
    from router.configuration.source import StateSource

_RESTORE = "restore the folder `configuration` from a backup: records of this version cannot be explained"
_START = "routers serve the copy that they have; nothing is lost. Start the server, or correct DATABASE_URL"
_CHECK = "correct the document: routers keep the version before it"


def configurations(settings: Settings) -> Iterator[Finding]:
    """Check every document of the history, and the names of organisations."""
    with closing(open_source(settings)) as source:
        yield from _of_source(source, settings)


def _of_source(source: StateSource, settings: Settings) -> Iterator[Finding]:
    try:
        versions = source.versions()
    except DatabaseUnavailableError as problem:
        yield error("the history of the configuration cannot be read", problem, _START)
        return
    except ConfigError as problem:
        yield error("the history of the configuration cannot be read", problem, _RESTORE)
        return
    digests = {
        digest: (version.number, name) for version in versions for name, digest in version.documents.items()
    }
    for digest, (number, name) in sorted(digests.items(), key=lambda item: item[1]):
        try:
            source.document(digest)
        except (ConfigError, OSError) as problem:
            yield error(f"document `{name}` of version {number} is missing or damaged", problem, _RESTORE)
    try:
        found = unlisted_organizations(source.read(), settings, recorded=_recorded(settings))
    except ConfigError as problem:
        yield warning("a document cannot be used", problem, _CHECK)
        return
    for name, places in found.items():
        yield warning(
            "organizations.yaml lacks an organisation",
            name,
            remedy(places),
        )


def _recorded(settings: Settings) -> list[str]:
    """The organisations of the published warehouse's records. None without a warehouse."""
    if not settings.warehouse_file.exists():
        return []
    with (
        suppress(duckdb.Error),  # another check names a warehouse that cannot be opened
        duckdb.connect(
            str(settings.warehouse_file), read_only=True, config=configuration(settings)
        ) as connection,
    ):
        statement = sqlfiles.load("marts/recorded_organizations").text
        return [name for (name,) in connection.execute(statement).fetchall()]
    return []
