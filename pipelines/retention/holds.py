"""`retention.yaml`: other periods for single organisations, and legal holds.

    organizations:
      acme: {analytics_days: 30, request_log_days: 7}
    legal_holds:
      - {organization: globex, reason: "case 12/2026", since: 2026-11-01}
      - {user: u-17, reason: "complaint of 3 November", since: 2026-11-03}

A shorter period takes the organisation's rows out earlier, a longer one keeps them when their
partition goes. A hold keeps rows until it is lifted, whatever the periods say, and refuses the
erasure of whom it names; `organization` and `user` together name the user of that organisation.
Feedback goes with its request. Rollups have one period for everybody.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipelines.lake import reading
from router.documents import Entry, parse_yaml
from router.records import RequestLog

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from router.config import Settings

COLUMNS = ("timestamp", "organization_id", "user_id")
"""What decides whether a request's row goes."""
Days = Annotated[int, Field(ge=1, le=36500)]


class Periods(Entry):
    """How long one organisation's rows are kept; None: as long as everybody's."""

    analytics_days: Days | None = None
    request_log_days: Days | None = None


class LegalHold(Entry):
    """Whose rows may not go, and why."""

    organization: str | None = None
    user: str | None = None
    reason: Annotated[str, Field(min_length=1)]
    since: date

    @model_validator(mode="after")
    def _names_somebody(self) -> LegalHold:
        if self.organization is None and self.user is None:
            raise ValueError("a legal hold names an organization, a user, or both")
        return self

    def covers(self, organization: str | None, user: str | None) -> bool:
        """Whether a row of this organisation and user is held."""
        return self.organization in (None, organization) and self.user in (None, user)

    def __str__(self) -> str:
        who = ", ".join(
            f"{kind} `{name}`"
            for kind, name in (("organization", self.organization), ("user", self.user))
            if name is not None
        )
        return f"legal hold on {who} since {self.since} ({self.reason})"


class RetentionFile(Entry):
    """The whole of `retention.yaml`."""

    organizations: dict[str, Periods] = Field(default_factory=dict)
    legal_holds: tuple[LegalHold, ...] = ()

    @classmethod
    def load(cls, path: Path) -> RetentionFile:
        """The file's rules, none when there is no file; ConfigError when it cannot be used."""
        return parse_yaml(path.read_bytes(), cls, path) if path.exists() else cls()

    def holds_on(self, organizations: Iterable[str | None], user: str) -> list[LegalHold]:
        """The holds that keep any row of the user in these organisations."""
        found = list(organizations)
        return [hold for hold in self.legal_holds if any(hold.covers(name, user) for name in [*found, None])]


class Cutoffs:
    """Up to which moment each row of one dataset goes, as of `now`. Whole UTC days."""

    def __init__(self, dataset: str, rules: RetentionFile, settings: Settings, now: datetime) -> None:
        is_log = dataset == RequestLog.DATASET
        self.default = _cutoff(
            now, settings.request_log_retention_days if is_log else settings.retention_days
        )
        days = {
            name: periods.request_log_days if is_log else periods.analytics_days
            for name, periods in rules.organizations.items()
        }
        self._of = {name: _cutoff(now, count) for name, count in days.items() if count is not None}
        self._holds = rules.legal_holds

    @property
    def latest(self) -> datetime:
        """No row from this moment on goes, whosever it is."""
        return max([self.default, *self._of.values()])

    @property
    def keeps_some(self) -> bool:
        """Whether a row older than the default cutoff may stay."""
        return bool(self._holds) or any(cutoff < self.default for cutoff in self._of.values())

    def goes(self, rows: Any) -> Any:
        """For each row of a pyarrow Table with COLUMNS, whether it goes."""
        return pc.and_not(self._is_past(rows), self._is_held(rows))

    def held(self, rows: Any) -> int:
        """How many rows only a legal hold keeps."""
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
