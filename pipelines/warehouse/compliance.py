"""The trail of changes as the table `compliance_logs`."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import sqlfiles
from router.configuration.events import events_of
from router.configuration.opening import open_source
from router.errors import ConfigError
from router.keys.opening import open_key_store

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.configuration.source import StateSource
    from router.keys.audit_trail import AuditEvent

CONFIGURATION = ("config.", "hold.")
"""The beginnings of the actions that the history of the configuration holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceResult:
    """The result of loading the table."""

    events: int = 0
    problem: str | None = None
    """Why the table was not changed. None if it was loaded."""


def load_compliance(warehouse: Warehouse, *, from_start: bool = False) -> ComplianceResult:
    """Load the file and the changes of the configuration into `compliance_logs`.

    If one of them is damaged, the table is not changed. Rows of the configuration that the table holds are
    not made again, unless `from_start`: a person may have been erased from the documents.
    """
    settings = warehouse.settings
    found = warehouse.run(sqlfiles.load("tables/rows", table="compliance_logs"))
    columns = [item[0] for item in found.description or []]
    stored = [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
    kept = {row["id"]: row for row in stored if row["action"].startswith(CONFIGURATION) and not from_start}
    try:
        with closing(open_key_store(settings)) as keys:
            events = keys.events()
        with closing(open_source(settings)) as source:
            known = _of_history(source, kept)
            events += events_of(source, known=known)
    except (ConfigError, OSError) as error:
        return ComplianceResult(problem=f"{error}; the table was not changed")
    rows = [*map(_row, events), *(row for name, row in kept.items() if name in known)]
    warehouse.replace_rows("compliance_logs", sorted(rows, key=lambda row: str(row["id"])))
    return ComplianceResult(events=len(rows))


def _of_history(source: StateSource, kept: dict[str, dict[str, Any]]) -> set[str]:
    """The ids of stored events that are of this history: another folder may have been restored."""
    moments = {version.created_at for version in source.versions()}
    return {name for name, row in kept.items() if row["timestamp"] in moments}


def _row(event: AuditEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "timestamp": event.timestamp,
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "before": None if event.before is None else json.dumps(event.before),
        "after": json.dumps(event.after),
    }
