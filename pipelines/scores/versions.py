"""`model_versions`: which version of each model serves, and since when.

A model's `version` in catalog.yaml, or its name at the provider, says that another model now answers under
its id. The outcomes of the version before then count as a weak prior, so that the new version is explored
like a new model. The lake does not hold the history of the catalog, so a file beside the scores does:
it survives a rebuild.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from pipelines.errors import WarehouseError
from pipelines.warehouse import sqlfiles
from router.files import make_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.warehouse.warehouse import Warehouse
    from router.catalog.catalog import Catalog

OLD_OUTCOMES = 5.0
"""Outcomes that those of all earlier versions count for at most, over all tasks: fewer than a model is owed
before it can be ruled out (`router.scores.exploration`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of one model."""

    model: str
    version: str
    since: datetime | None
    """Latest record at the first refresh that read this version. None for a model's first version."""


def note_versions(warehouse: Warehouse, catalog: Catalog) -> None:
    """Add versions that are new in the catalog, and load all of them into `model_versions`."""
    path = warehouse.settings.versions_file
    known = read_versions(path)
    current = {item.model: item.version for item in known}
    moment = warehouse.value(sqlfiles.load("rollups/latest_record"), now=datetime.now(UTC))
    since = moment.astimezone(UTC) if isinstance(moment, datetime) else None
    new = [
        Version(model=model.id, version=model.version, since=since if model.id in current else None)
        for model in sorted(catalog.models.values(), key=lambda model: model.id)
        if current.get(model.id) != model.version
    ]
    if new:
        known += new
        make_folder(path.parent)
        write_atomically(path, b"".join(orjson.dumps(item) + b"\n" for item in known))
    warehouse.replace_rows("model_versions", [asdict(item) for item in known])


def read_versions(path: Path) -> list[Version]:
    """The versions of the file, oldest first. None without a file. WarehouseError names a damaged line."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [_version_of(line, f"line `{number}` of `{path}`") for number, line in enumerate(lines, 1)]


def _version_of(line: bytes, place: str) -> Version:
    try:
        raw = orjson.loads(line)
        since = None if raw["since"] is None else datetime.fromisoformat(raw["since"])
        return Version(model=raw["model"], version=raw["version"], since=since)
    except (ValueError, TypeError, KeyError) as error:
        raise WarehouseError(
            f"{place} is not a version of a model: restore the file from a backup, or remove the line"
        ) from error
