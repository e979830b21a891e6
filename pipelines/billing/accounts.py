"""Whose bill it is, on which terms, and from when until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pipelines.reports import periods
from router.catalog.prices import QUANTUM
from router.configuration.documents import ORGANIZATIONS
from router.configuration.organizations import Organization, OrganizationsFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from router.config import Settings

CURRENCY = "USD"
BillKey = tuple[str | None, str]
"""(organisation, month) of a bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One organisation's month: its bounds, its terms, and whether it is closed."""

    organization_id: str | None
    month: str
    """`2026-11`."""
    time_zone: str
    since: datetime
    """The first moment in it, UTC."""
    until: datetime
    """The first moment after it, UTC."""
    mark_up: Decimal | None = None
    """The share that is added to the cost. None: none is."""
    discount: Decimal | None = None
    """The share that is taken off the cost. None: none is."""
    closed_at: datetime | None = None
    """None: it is open, and its lines are provisional."""

    @property
    def key(self) -> BillKey:
        return self.organization_id, self.month

    @property
    def status(self) -> str:
        return "provisional" if self.closed_at is None else "closed"

    def billed(self, cost: Decimal) -> Decimal:
        """A cost on the organisation's terms, in US dollars, rounded half-even to 12 decimals."""
        share = 1 + (self.mark_up or 0) - (self.discount or 0)
        return (cost * share).quantize(QUANTUM, rounding=ROUND_HALF_EVEN)


class Accounts:
    """The organisations' zones and terms, read once."""

    def __init__(self, settings: Settings, *, zone: ZoneInfo | None = None) -> None:
        """`zone` replaces the zones of organizations.yaml. ConfigError if that file has a fault."""
        file = OrganizationsFile.load(settings.documents / ORGANIZATIONS)
        self._terms = {item.id: item for item in file.organizations}
        self._zone = zone
        self._default = periods.zone_of(settings)

    def names(self) -> dict[str | None, str | None]:
        """The organisations' names, by id. None: not stated."""
        return {name: terms.name for name, terms in self._terms.items()}

    def bill(self, organization: str | None, month: str, closed: Mapping[BillKey, Bill]) -> Bill:
        """The bill of a month. A closed one is as it was closed.

        An open one starts where the closed one before it ends, and ends where the closed one after it starts:
        no hour is billed twice or missed after an organisation changed its zone.
        """
        if (organization, month) in closed:
            return closed[organization, month]
        terms = self._terms.get(organization or "")
        period = periods.month(self._zone_of(terms), month)
        before, after = (closed.get((organization, shifted(month, by))) for by in (-1, 1))
        return Bill(
            organization_id=organization,
            month=month,
            time_zone=period.zone.key,
            since=period.since if before is None else before.until,
            until=period.until if after is None else after.since,
            mark_up=None if terms is None else terms.mark_up,
            discount=None if terms is None else terms.discount,
        )

    def bills(
        self, organization: str | None, first: datetime, last: datetime, closed: Mapping[BillKey, Bill]
    ) -> Iterator[Bill]:
        """Every bill that a moment from `first` to `last` may be on. Some may have no usage."""
        month = f"{first - timedelta(days=2):%Y-%m}"  # no zone is two days from UTC
        while month <= f"{last + timedelta(days=2):%Y-%m}":
            yield self.bill(organization, month, closed)
            month = shifted(month, 1)

    def _zone_of(self, terms: Organization | None) -> ZoneInfo:
        if self._zone is not None:
            return self._zone
        if terms is None or "time_zone" not in terms.model_fields_set:
            return self._default
        return ZoneInfo(terms.time_zone)


def shifted(month: str, by: int) -> str:
    """The month so many months later."""
    year, number = divmod(int(month[:4]) * 12 + int(month[5:]) - 1 + by, 12)
    return f"{year:04}-{number + 1:02}"
