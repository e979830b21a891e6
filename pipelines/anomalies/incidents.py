"""Departures of series, and the incidents that they belong to.

One fault shows in many series: all traffic, the model, its tasks, the callers. Departures of one metric
in one environment that are nested so, and began within HOURS_APART, are one incident.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

APART = timedelta(hours=12)
"""Departures that are detected further apart are different incidents."""


@dataclass(slots=True, kw_only=True)
class Anomaly:
    """A row of the mart `anomalies`. Figures are in the metric's own unit."""

    environment: str | None
    scope: str
    subject: str | None
    metric: str
    since: datetime
    detected_at: datetime
    ended_at: datetime | None = None
    expected: float = 0.0
    expected_low: float = 0.0
    expected_high: float = 0.0
    seen: float = 0.0
    contributors: str = "[]"
    """JSON: scope, subject and share of the change, the largest first."""
    incident_id: str = ""
    anomaly_id: str = field(init=False)

    def __post_init__(self) -> None:
        """The id follows from the content, so that a second computation finds the same one."""
        parts = (self.environment, self.scope, self.subject, self.metric, self.detected_at.isoformat())
        self.anomaly_id = "an_" + hashlib.sha256(repr(parts).encode()).hexdigest()[:20]

    def row(self) -> dict[str, Any]:
        """The row, in the order of the table's columns."""
        return {
            "anomaly_id": self.anomaly_id,
            "incident_id": self.incident_id,
            "environment": self.environment,
            "scope": self.scope,
            "subject": self.subject,
            "metric": self.metric,
            "since": self.since,
            "detected_at": self.detected_at,
            "ended_at": self.ended_at,
            "expected": self.expected,
            "expected_low": self.expected_low,
            "expected_high": self.expected_high,
            "seen": self.seen,
            "contributors": self.contributors,
        }


def assign(new: Anomaly, known: list[Anomaly]) -> None:
    """Give an anomaly its incident: that of an earlier one which it is a part or the whole of, or its own."""
    for item in reversed(known):
        is_near = new.detected_at - item.detected_at <= APART
        if is_near and item.metric == new.metric and item.environment == new.environment:
            members = {other.scope for other in known if other.incident_id == item.incident_id}
            # Two organisations are not one incident, unless a series that holds both departed too.
            if members - {new.scope}:
                new.incident_id = item.incident_id
                return
    new.incident_id = new.anomaly_id
