"""Reads `retention.yaml`: periods for single organisations, and legal holds.

    organizations:
      acme: {analytics_days: 30, request_log_days: 7}
    legal_holds:
      - {organization: globex, reason: "case 12/2026", since: 2026-11-01}
      - {user: u-17, reason: "complaint of 3 November", since: 2026-11-03}

A shorter period removes the organisation's rows earlier. A longer one keeps them when their partition is
removed. A hold keeps rows until you lift it, regardless of the periods, and blocks the erasure of the
persons it covers. `organization` and `user` together mean that user in that organisation. Feedback
follows its request. Rollups have one period for all organisations.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lake import reading
from router.records import RequestLog, SecurityEvent

if TYPE_CHECKING:
    from router.config import Settings
    from router.configuration.retention import RetentionFile

COLUMNS = ("timestamp", "organization_id", "user_id")
"""The columns that decide whether a request's row is removed."""


class Cutoffs:
    """The moments before which the rows of one dataset are removed, as of `now`. Whole UTC days."""

    def __init__(self, dataset: str, rules: RetentionFile, settings: Settings, now: datetime) -> None:
        days: dict[str, int | None] = {}
        period = settings.retention_days
        if dataset == SecurityEvent.DATASET:  # one period: most refusals belong to no organisation
            period = settings.security_event_retention_days
        elif dataset == RequestLog.DATASET:
            period = settings.request_log_retention_days
            days = {name: periods.request_log_days for name, periods in rules.organizations.items()}
        else:
            days = {name: periods.analytics_days for name, periods in rules.organizations.items()}
        self.default = _cutoff(now, period)
        self._of = {name: _cutoff(now, count) for name, count in days.items() if count is not None}
        self._holds = rules.legal_holds

    @property
    def latest(self) -> datetime:
        """The latest cutoff: no row from this moment on is removed."""
        return max([self.default, *self._of.values()])

    @property
    def keeps_some(self) -> bool:
        """Whether a row older than the default cutoff may stay."""
        return bool(self._holds) or any(cutoff < self.default for cutoff in self._of.values())

    def goes(self, rows: Any) -> Any:
        """A mask over a pyarrow Table with COLUMNS: whether to remove each row."""
        return pc.and_not(self._is_past(rows), self._is_held(rows))

    def held(self, rows: Any) -> int:
        """Count the rows that only a legal hold keeps."""
        return reading.count(pc.and_(self._is_past(rows), self._is_held(rows)))

    def _is_past(self, rows: Any) -> Any:
        moments, organizations = rows.column("timestamp"), rows.column("organization_id")
        past = pc.less(moments, self.default)
        for name, cutoff in self._of.items():
            past = pc.if_else(_equals(organizations, name), pc.less(moments, cutoff), past)
        return past

    def _is_held(self, rows: Any) -> Any:
        held = pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])
        for hold in self._holds:
            covered = pa.chunked_array([pa.repeat(pa.scalar(True), rows.num_rows)])
            for column, name in (("organization_id", hold.organization), ("user_id", hold.user)):
                if name is not None:
                    covered = pc.and_(covered, _equals(rows.column(column), name))
            held = pc.or_(held, covered)
        return held


def _equals(column: Any, value: str) -> Any:
    return pc.fill_null(pc.equal(column, value), False)


def _cutoff(now: datetime, days: int) -> datetime:
    day = (now - timedelta(days=days)).astimezone(UTC).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
