"""Loads the versions that the tables lack. What is there stays, so a refresh costs only new versions.

If the stored versions are not the first ones of the history (another folder was restored, or a person was
erased from its documents), the tables are made from the beginning.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from pipelines.configurations.entries import (
    MODEL_CONTENT,
    ORGANIZATION_CONTENT,
    POLICY_CONTENT,
    Reader,
)
from pipelines.configurations.periods import extended
from pipelines.warehouse import sqlfiles
from router.configuration.opening import open_source
from router.configuration.watching import look
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.configurations.periods import Row
    from pipelines.warehouse.warehouse import Warehouse
    from router.configuration.source import StateSource, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationsResult:
    """The result of loading the tables."""

    versions: int = 0
    """Versions in the history."""
    added: int = 0
    """Of these, versions that the tables lacked."""
    problem: str | None = None
    """Why a version is missing, or a table does not show it. None if all is there."""


def load_configurations(warehouse: Warehouse, *, from_start: bool = False) -> ConfigurationsResult:
    """Note the documents in force, and add the versions that the tables lack.

    `from_start`: make all rows again.
    """
    with closing(open_source(warehouse.settings)) as source:
        return _load(warehouse, source, from_start=from_start)


def _load(warehouse: Warehouse, source: StateSource, *, from_start: bool) -> ConfigurationsResult:
    settings = warehouse.settings
    try:
        source.settle()
        seen = look(source, settings)
        versions = source.versions()
    except (ConfigError, OSError) as error:
        return ConfigurationsResult(problem=f"{error}; the tables were not changed")
    problem = None if seen.history_error is None else str(seen.history_error)
    stored = _rows(warehouse, "config_versions", "version")
    first = 0 if from_start or not _are_first(stored, versions) else len(stored)
    if first == len(versions) and len(stored) == first:
        return ConfigurationsResult(versions=len(versions), problem=problem)
    reader = Reader(source)
    try:
        _extend(warehouse, reader, versions, first)
    except ConfigError as error:
        return ConfigurationsResult(problem=f"{error}; the tables were not changed")
    if reader.problems:
        problem = "; ".join([*([problem] if problem else []), *reader.problems])
    return ConfigurationsResult(versions=len(versions), added=len(versions) - first, problem=problem)


def _extend(warehouse: Warehouse, reader: Reader, versions: Sequence[Version], first: int) -> None:
    new = versions[first:]

    def earlier(table: str) -> list[Row]:
        return _rows(warehouse, table) if first else []

    documents = extended(
        earlier("config_documents"),
        [(version, reader.documents(version)) for version in new],
        key=lambda row: row["name"],
        of_version=lambda entry, version: {**entry, **_since(version)},
        content=("digest",),
    )
    policies = extended(
        earlier("routing_configs"),
        [(version, reader.policies(version)) for version in new],
        key=lambda row: (row["name"], row["user_id"], row["organization_id"]),
        of_version=_policy_row,
        content=POLICY_CONTENT,
    )
    models = extended(
        earlier("models_history"),
        [(version, reader.models(version)) for version in new],
        key=lambda row: row["id"],
        of_version=lambda entry, version: {**entry, **_since(version)},
        content=MODEL_CONTENT,
    )
    organizations = extended(
        earlier("organizations_history"),
        [(version, reader.organizations(version)) for version in new],
        key=lambda row: row["id"],
        of_version=lambda entry, version: {**entry, **_since(version)},
        content=ORGANIZATION_CONTENT,
    )
    columns = ("id", *ORGANIZATION_CONTENT)
    current = [{name: row[name] for name in columns} for row in organizations if row["valid_to"] is None]
    # The versions come last: after a crash in between, the next load adds the same versions again.
    _write(warehouse, "config_documents", documents)
    _write(warehouse, "routing_configs", [_with_activity(row) for row in policies])
    _write(warehouse, "models_history", models)
    _write(warehouse, "organizations_history", organizations)
    warehouse.replace_rows("organizations", sorted(current, key=lambda row: str(row["id"])))
    warehouse.replace_rows("config_versions", [_version_row(*pair) for pair in _pairs(versions)])


def _since(version: Version) -> Row:
    return {"version": version.number, "valid_from": version.created_at}


def _policy_row(entry: Row, version: Version) -> Row:
    name = f"{version.created_at.isoformat()} {version.number} {entry['name']} {entry['user_id']}"
    return {
        "id": str(uuid5(NAMESPACE_OID, f"{name} {entry['organization_id']}")),
        "name": entry["name"],
        "user_id": entry["user_id"],
        "policy_json": entry["policy_json"],
        "is_active": True,
        "created_at": version.created_at,
        "organization_id": entry["organization_id"],
        "policy_version": entry["policy_version"],
        "version": version.number,
        "environment": version.environment,
        "config_hash": version.config_hash,
        "valid_from": version.created_at,
    }


def _with_activity(row: Row) -> Row:
    return {**row, "is_active": row["valid_to"] is None}


def _version_row(version: Version, following: Version | None) -> Row:
    return {
        "version": version.number,
        "parent": version.parent,
        "environment": version.environment,
        "author": version.author,
        "origin": version.origin,
        "config_hash": version.config_hash,
        "documents": json.dumps(dict(version.documents), sort_keys=True),
        "valid_from": version.created_at,
        "valid_to": None if following is None else following.created_at,
    }


def _pairs(versions: Sequence[Version]) -> list[tuple[Version, Version | None]]:
    return list(zip(versions, [*versions[1:], None], strict=True))


def _are_first(stored: Sequence[Row], versions: Sequence[Version]) -> bool:
    return len(stored) <= len(versions) and all(
        (row["version"], row["valid_from"], row["config_hash"])
        == (version.number, version.created_at, version.config_hash)
        for row, version in zip(stored, versions, strict=False)
    )


def _rows(warehouse: Warehouse, table: str, order: str | None = None) -> list[dict[str, Any]]:
    found = warehouse.run(sqlfiles.load("tables/rows", table=table))
    columns = [item[0] for item in found.description or []]
    rows = [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
    return rows if order is None else sorted(rows, key=lambda row: row[order])


def _write(warehouse: Warehouse, table: str, rows: list[Row]) -> None:
    warehouse.replace_rows(table, sorted(rows, key=lambda row: (row["version"], str(list(row.values())))))
