"""Keeps a load's knowledge of the lake: files it does not read, folders it need not list again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.lake import reading
from pipelines.lake.reading import Suspect
from pipelines.warehouse import sqlfiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.lake.reading import Listing
    from pipelines.warehouse.warehouse import Warehouse


def quarantined(warehouse: Warehouse, dataset: str) -> dict[str, Suspect]:
    """The dataset's files in quarantine, by path."""
    rows = warehouse.rows(
        "select path, reason, fingerprint, found_by from pipeline.quarantine where dataset = $dataset",
        dataset=dataset,
    )
    return {row[0]: Suspect(path=row[0], reason=row[1], fingerprint=row[2], found_by=row[3]) for row in rows}


def keep(warehouse: Warehouse, dataset: str, held: dict[str, Suspect], suspects: Sequence[Suspect]) -> None:
    """Write the suspects to the quarantine table, and delete the rows of files that are fine or gone."""
    found = {suspect.path: suspect for suspect in suspects}
    if found == held:
        return
    with warehouse.transaction():
        for path in held.keys() - {path for path, suspect in found.items() if held.get(path) == suspect}:
            warehouse.run(sqlfiles.delete_equal("pipeline.quarantine", "path"), value=path)
        for path, suspect in found.items():
            if held.get(path) != suspect:
                warehouse.run(
                    "load/quarantine",
                    path=path,
                    dataset=dataset,
                    reason=suspect.reason,
                    fingerprint=suspect.fingerprint,
                    found_by=suspect.found_by,
                )


def settle(warehouse: Warehouse, listing: Listing, suspects: Sequence[Suspect], started_ns: int) -> None:
    """Remember the folders without open work, so that their files are not listed again."""
    paths = {suspect.path for suspect in suspects}  # a suspect may be a folder
    troubled = paths | {path.rpartition("/")[0] for path in paths}
    quiet = {
        folder: changed_ns
        for folder, changed_ns in listing.folders.items()
        if folder not in troubled and changed_ns < started_ns - int(reading.SETTLE_S * 1e9)
    }
    if not quiet:
        return
    with warehouse.transaction():
        for folder, changed_ns in quiet.items():
            warehouse.run(sqlfiles.delete_equal("pipeline.settled_folders", "folder"), value=folder)
            warehouse.run("load/settled_folders", folder=folder, changed_ns=changed_ns)
