"""The trail of changes as the table `compliance_logs`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.errors import ConfigError
from router.keys.audit_trail import read_events

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.keys.audit_trail import AuditEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceResult:
    """The result of loading the table."""

    events: int = 0
    problem: str | None = None
    """Why the table was not changed. None if it was loaded."""


def load_compliance(warehouse: Warehouse) -> ComplianceResult:
    """Load the file into `compliance_logs`. If the file is damaged, the table is not changed."""
    try:
        events = read_events(warehouse.settings.compliance_file)
    except ConfigError as error:
        return ComplianceResult(problem=f"{error}; the table was not changed")
    rows = sorted(map(_row, events), key=lambda row: row["id"])
    warehouse.replace_rows("compliance_logs", rows)
    return ComplianceResult(events=len(rows))


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
