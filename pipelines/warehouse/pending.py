"""Lists the segments that wait in the lake, without access to the build database.

It compares the lake with the published copy, which may be a refresh behind, never ahead.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import duckdb

from pipelines.lake import reading
from pipelines.warehouse import loading
from pipelines.warehouse.warehouse import configuration
from router.records import DATASETS

if TYPE_CHECKING:
    from router.config import Settings

logger = logging.getLogger("pipelines.warehouse")


def pending_segments(settings: Settings) -> list[str]:
    """Names of the segments that the published warehouse has neither loaded nor quarantined.

    These are all segments if there is no warehouse, or if it cannot be read: a program has it open for
    writing, or damaged it. The next refresh publishes it again.
    """
    if settings.warehouse_file.exists():
        try:
            return _not_loaded(settings)
        except duckdb.Error as error:
            logger.warning(
                "the published warehouse cannot be read, a refresh publishes it again. Open it read-only"
                " (`duckdb -readonly`) if you query it: %s",
                error,
            )
    listings = {dataset: reading.scan(settings.lake, dataset) for dataset in DATASETS}
    return sorted(
        f"{dataset}/{segment.manifest.name}"
        for dataset, listing in listings.items()
        for segment in listing.segments
    )


def _not_loaded(settings: Settings) -> list[str]:
    names: list[str] = []
    with duckdb.connect(
        str(settings.warehouse_file), read_only=True, config=configuration(settings)
    ) as connection:
        settled = loading.settled_folders(connection)
        refused = {
            fingerprint
            for (fingerprint,) in connection.execute("select fingerprint from pipeline.quarantine").fetchall()
        }
        for dataset in DATASETS:
            listing = reading.scan(settings.lake, dataset, settled=settled)
            known = loading.known_names(connection, (segment.manifest for segment in listing.segments))
            names += [
                f"{dataset}/{segment.manifest.name}"
                for segment in listing.segments
                if segment.manifest.name not in known and segment.fingerprint not in refused
            ]
    return sorted(names)
