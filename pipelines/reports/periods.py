"""Days and months of a time zone, as UTC moments.

A `Period` runs from a moment up to, and not including, another. Both are UTC. Local days have 24 hours
but for those with a change of time, which have 23 or 25:

    zone = zone_of(settings, "acme")          # its own zone, else REPORT_TIMEZONE
    november = month(zone, "2026-11")         # from its first local midnight up to December's
    asked = between(zone, "2026-11-01", "2026-11-07")      # the 7th is in it
    [day.since for day in asked.days()]

Rollups count by quarters of an hour, of which every zone's midnight is one. `between` gives moments on
that grid only, so that the parts of a period add up to the whole. In SQL, `cast(timezone('Asia/Kolkata',
quarter) as date)` is a moment's local date.
"""

from __future__ import annotations

import contextlib
import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pipelines.errors import QueryError
from router.configuration.documents import ORGANIZATIONS
from router.configuration.organizations import OrganizationsFile
from router.settings.time_zones import known_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.config import Settings

GRAIN = timedelta(minutes=15)
"""The shortest period that rollups distinguish."""
MOMENTS = timedelta(days=2)
"""A title names the hours of a shorter period."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH = re.compile(r"\d{4}-\d{2}")
_AGE = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A stretch of time, and the zone that its days are counted in."""

    since: datetime
    """The first moment in it, UTC."""
    until: datetime
    """The first moment after it, UTC."""
    zone: ZoneInfo

    def days(self) -> Iterator[Period]:
        """Its local days, in order. The first and the last are cut to the period."""
        start = self.since
        while start < self.until:
            end = _midnight(self.zone, start.astimezone(self.zone).date() + timedelta(days=1))
            yield Period(since=start, until=min(end, self.until), zone=self.zone)
            start = end

    def title(self) -> str:
        """Its days as a title, such as `November 2026` or `29 December 2025 to 3 January 2026`.

        A whole month has its name. A period of less than two days keeps its hours.
        """
        since, until = (moment.astimezone(self.zone) for moment in (self.since, self.until))
        if self.until - self.since < MOMENTS and (since.time(), until.time()) != (time(), time()):
            return str(self)
        first = since.date()
        last = max(first, (self.until - timedelta(microseconds=1)).astimezone(self.zone).date())
        following = self.until.astimezone(self.zone).date()
        if since.time() == until.time() == time() and first.day == following.day == 1 and first < following:
            return _joined(f"{first:%B}", f"{last:%B}", first.year, last)
        if (first.year, first.month) == (last.year, last.month):
            return _joined(str(first.day), str(last.day), first.year, last, f" {last:%B}")
        return _joined(f"{first.day} {first:%B}", f"{last.day} {last:%B}", first.year, last)

    def __str__(self) -> str:
        """Its bounds in local time, with the zone: `2026-11-01 00:00 to 2026-12-01 00:00 Europe/Berlin`."""
        since, until = (moment.astimezone(self.zone) for moment in (self.since, self.until))
        return f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} {self.zone.key}"


def zone_of(settings: Settings, organization: str | None = None, *, named: str | None = None) -> ZoneInfo:
    """The zone that is named, else the organisation's own, else REPORT_TIMEZONE.

    QueryError for a name that the IANA database lacks, ConfigError for an organizations.yaml with a fault.
    """
    if named is not None:
        try:
            return ZoneInfo(known_zone(named))
        except ValueError as error:
            raise QueryError(f"`{named:.64}` {error}") from None
    if organization is not None:
        file = OrganizationsFile.load(settings.documents / ORGANIZATIONS)
        for item in file.organizations:
            if item.id == organization and "time_zone" in item.model_fields_set:
                return ZoneInfo(item.time_zone)
    return ZoneInfo(settings.report_timezone)


def day(zone: ZoneInfo, text: str | date) -> Period:
    """A local day, given as `2026-11-20`. QueryError if there is none."""
    first = text if isinstance(text, date) else _date(text)
    return Period(since=_midnight(zone, first), until=_midnight(zone, _next_day(first)), zone=zone)


def month(zone: ZoneInfo, text: str) -> Period:
    """A local month, given as `2026-11`. QueryError if there is none."""
    if not _MONTH.fullmatch(text.strip()):
        raise QueryError(f"`{text:.40}` is no month: give one such as `2026-11`")
    first = _date(f"{text.strip()}-01", text)
    following = _next_day(first.replace(day=monthrange(first.year, first.month)[1]))
    return Period(since=_midnight(zone, first), until=_midnight(zone, following), zone=zone)


def between(zone: ZoneInfo, since: str, until: str | None = None, *, now: datetime | None = None) -> Period:
    """The period from `since` to `until`, as a person gives them.

    A day starts at its local midnight as `since`, and is in the period as `until`. A month is read in the
    same way. A moment without an offset is local. An age such as `7d` counts back from now, to the start of
    that quarter of an hour. Without `until` the period ends now. QueryError for anything else, for a moment
    within a quarter of an hour, and for a period that ends before it starts.
    """
    moment = now or datetime.now(UTC)
    start = bound(zone, since, now=moment)
    end = moment if until is None else bound(zone, until, now=moment, is_end=True)
    if until is not None and end <= start:
        raise QueryError(f"`{until}` is not after `{since}`: give a period that ends after its start")
    return Period(since=start, until=max(start, end), zone=zone)


def parse_moment(text: str, *, zone: ZoneInfo | None = None, now: datetime | None = None) -> datetime:
    """A moment given as `7d`, `24h`, `2026-11-01` or ISO 8601. Without an offset it is local to the zone.

    The zone is UTC by default. QueryError for any other text.
    """
    if match := _AGE.fullmatch(text.strip()):
        age = timedelta(**{_UNITS[match[2]]: int(match[1])})
        with contextlib.suppress(OverflowError):
            return (now or datetime.now(UTC)) - age
        raise QueryError(f"`{text}` is before the year 1: give a shorter age, such as `5200w`")
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise QueryError(
            f"`{text}` is no moment: give an age such as `7d` or `24h`, a date such as `2026-11-01`,"
            " or an ISO 8601 moment"
        ) from None
    with contextlib.suppress(OverflowError):
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone or UTC)).astimezone(UTC)
    raise QueryError(f"`{text}` is outside of the years 1 to 9999 in UTC: give another moment")


def bound(zone: ZoneInfo, text: str, *, now: datetime, is_end: bool = False) -> datetime:
    """One bound of a period, as `between` reads it."""
    given = text.strip()
    if _MONTH.fullmatch(given) or _DAY.fullmatch(given):
        period = month(zone, given) if _MONTH.fullmatch(given) else day(zone, _date(given, text))
        return period.until if is_end else period.since
    moment = parse_moment(text, zone=zone, now=now)
    if _AGE.fullmatch(given):
        return on_grid(moment)
    if on_grid(moment) != moment:
        raise QueryError(
            f"`{text}` lies within a quarter of an hour, and reports count whole ones: give"
            f" {on_grid(moment).astimezone(zone):%H:%M} or {(on_grid(moment) + GRAIN).astimezone(zone):%H:%M}"
        )
    return moment


def on_grid(moment: datetime, grain: timedelta = GRAIN) -> datetime:
    """The start of the moment's quarter of an hour, or of a longer grain."""
    return moment - (moment - datetime.min.replace(tzinfo=UTC)) % grain


def _joined(first: str, last: str, first_year: int, end: date, month: str = "") -> str:
    """Two names with the years that a reader needs, or one if they are the same."""
    if first_year != end.year:
        return f"{first} {first_year} to {last} {end.year}"
    return f"{last if first == last else f'{first} to {last}'}{month} {end.year}"


def _date(given: str, text: str | None = None) -> date:
    with contextlib.suppress(ValueError):
        return date.fromisoformat(given.strip())
    raise QueryError(
        f"`{given if text is None else text}` is no moment: give an age such as `7d` or `24h`, a date such as"
        " `2026-11-01`, or an ISO 8601 moment"
    )


def _next_day(local: date) -> date:
    try:
        return local + timedelta(days=1)
    except OverflowError:
        raise QueryError(f"`{local}` is the last day that there is: give an earlier one") from None


def _midnight(zone: ZoneInfo, local: date) -> datetime:
    """The moment at which a local day starts. Where the clock skips midnight, it is the skip itself."""
    try:
        return datetime.combine(local, time(), tzinfo=zone).astimezone(UTC)
    except OverflowError:
        raise QueryError(f"`{local}` is outside of the years 1 to 9999 in UTC: give another day") from None
