"""`retention.yaml`: periods for single organisations, and legal holds. The pipelines carry them out.

    organizations:
      acme: {analytics_days: 30, request_log_days: 7}
    legal_holds:
      - {organization: globex, reason: "case 12/2026", since: 2026-11-01}
      - {user: u-17, reason: "complaint of 3 November", since: 2026-11-03}

`organization` and `user` together mean that user in that organisation.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from router.documents import Entry, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Days = Annotated[int, Field(ge=1, le=36500)]


class Periods(Entry):
    """The days that one organisation's rows are kept. None means the default period."""

    analytics_days: Days | None = None
    """Days of raw records, in place of ANALYTICS_RETENTION_DAYS."""
    request_log_days: Days | None = None
    """Days of the audit trail, in place of REQUEST_LOG_RETENTION_DAYS."""


class LegalHold(Entry):
    """Rows that must not be removed, and the reason."""

    organization: str | None = None
    """All rows of this organisation."""
    user: str | None = None
    """All rows of this user; with an organisation, only those in it."""
    reason: Annotated[str, Field(min_length=1)]
    """Why they must stay, such as the number of a case."""
    since: date
    """The day on which the hold was placed."""

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
    """Periods by organisation."""
    legal_holds: tuple[LegalHold, ...] = ()
    """Rows that no retention and no erasure removes."""

    @classmethod
    def load(cls, path: Path) -> RetentionFile:
        """Read the file's rules. A missing file means no rules. ConfigError if the file is invalid."""
        return parse_yaml(path.read_bytes(), cls, path) if path.exists() else cls()

    def holds_on(self, organizations: Iterable[str | None], user: str) -> list[LegalHold]:
        """The holds that keep any row of the user in these organisations."""
        found = list(organizations)
        return [hold for hold in self.legal_holds if any(hold.covers(name, user) for name in [*found, None])]
