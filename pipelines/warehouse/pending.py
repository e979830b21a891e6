"""Lists the segments that wait in the lake, without access to the build database.

It compares the lake with the published copy, which may be a refresh behind, never ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from pipelines.lake import reading
from pipelines.warehouse import loading
from pipelines.warehouse.warehouse import configuration
from router.records import DATASETS

if TYPE_CHECKING:
    from router.config import Settings


def pending_segments(settings: Settings) -> list[str]:
    """Names of the segments that the published warehouse has neither loaded nor quarantined."""
    if not settings.warehouse_file.exists():
        listings = [reading.scan(settings.lake, dataset) for dataset in DATASETS]
        return sorted(segment.manifest.name for listing in listings for segment in listing.segments)
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
