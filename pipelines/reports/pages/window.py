"""The period of a page, and whose requests it is about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from pipelines.reports.pages.questions import question_of
from pipelines.reports.periods import Period, month, on_grid, parse_moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The period of a page, and whose requests it is about."""

    since: datetime | None
    """None: each report's own period, up to `until`."""
    until: datetime
    zone: ZoneInfo = field(default=ZoneInfo("UTC"))
    """The zone of days and months."""
    organization: str | None = None
    """None is all requests, and the empty text is those of no organisation."""
    environment: str | None = None
    """None: the requests of every environment."""

    def of(self, name: str) -> Window:
        """The period of one report. One that compares months gets its own start, of a whole month."""
        own = question_of(name).window
        if self.since is not None and own is None:
            return self
        start = on_grid(parse_moment(own or "30d", now=self.until))
        if own is None:
            return replace(self, since=start)
        start = min(start, self.since) if self.since else start
        return replace(self, since=month(self.zone, f"{start.astimezone(self.zone):%Y-%m}").since)

    def is_cut(self) -> bool:
        """Whether it ends within a month."""
        until = self.until.astimezone(self.zone)
        return month(self.zone, f"{until:%Y-%m}").since != self.until

    def title(self) -> str:
        """The period as a title."""
        if self.since is None:
            return f"up to {self}"
        return Period(since=self.since, until=self.until, zone=self.zone).title()

    def whose(self) -> str:
        """The end of a phrase on the requests that it is about."""
        where = "" if self.environment is None else f" in environment {self.environment}"
        if self.organization is None:
            return where
        return (
            f" of organisation {self.organization}" if self.organization else " without an organisation"
        ) + where

    def __str__(self) -> str:
        if self.since is None:
            return f"{self.until.astimezone(self.zone):%Y-%m-%d %H:%M} {self.zone.key}"
        return str(Period(since=self.since, until=self.until, zone=self.zone))
