"""Reconciles a provider's bill with the recorded requests: both amounts, and the causes of differences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pipelines.reconciliation.bills import STANDARD, ZERO
from pipelines.reconciliation.cells import Comparing
from pipelines.reconciliation.exports.reading import read
from pipelines.reconciliation.groups import Groups
from pipelines.reconciliation.ledger import Difference, Ledger
from pipelines.reconciliation.ours import Ours
from pipelines.reconciliation.requests import Requests
from pipelines.reconciliation.sides import Key, Side
from pipelines.reports.reports import opened
from router.catalog.prices import tier_name
from router.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date
    from pathlib import Path

    from pipelines.reconciliation.bills import Bill, BillLine, Cause
    from pipelines.reconciliation.exports.columns import Columns
    from pipelines.reconciliation.exports.reading import Shape
    from pipelines.reconciliation.requests import Request
    from router.config import Settings

PRICED_HERE = "the file names no amounts: its tokens are priced at our rates, so a wrong price cannot show"
WITHOUT_TIERS = (
    "the file names no tiers of service: dollars that no single tier's price explains are"
    " `price or served_tier`"
)
WITHOUT_TOKENS = "the file counts no tokens: its dollars are divided by our rates to find them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The result for one file."""

    id: str
    """SHA-256 of the file."""
    file_name: str
    provider: str
    """The shape of the file, or `columns`."""
    catalog_providers: tuple[str, ...]
    since: date
    until: date
    """The last day."""
    timezone: str
    matched_by: str
    """`request_id` or `group`."""
    created_at: datetime
    rows: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def ours_usd(self) -> Decimal:
        """Recorded dollars."""
        return sum((row.ours_usd or ZERO for row in self.rows), ZERO)

    @property
    def theirs_usd(self) -> Decimal:
        """Dollars of the bill, credits included."""
        return sum((row.theirs_usd or ZERO for row in self.rows), ZERO)

    @property
    def differing_usd(self) -> Decimal:
        """The sum of all differences that are more than rounding, each without its sign."""
        return sum(self.by_cause().values(), ZERO)

    @property
    def unexplained_usd(self) -> Decimal:
        """The part of it without a cause."""
        return self.by_cause().get("unexplained", ZERO)

    @property
    def explained_share(self) -> float | None:
        """The part of it with a cause, 0 to 1. None if nothing differs."""
        whole = self.differing_usd
        return None if not whole else float((whole - self.unexplained_usd) / whole)

    def by_cause(self) -> dict[Cause, Decimal]:
        """The dollars of each cause, without their signs."""
        found: dict[Cause, Decimal] = {}
        for row in self.rows:
            if row.cause is not None:
                found[row.cause] = found.get(row.cause, ZERO) + abs(row.difference_usd or ZERO)
        return found


def reconcile(
    settings: Settings,
    path: Path,
    shape: Shape | None,
    *,
    columns: Columns | None = None,
    timezone: ZoneInfo | None = None,
    since: date | None = None,
    until: date | None = None,
    catalog_providers: Collection[str] = (),
) -> Reconciliation:
    """Compare a file with the published warehouse. ReconciliationError names what cannot be compared.

    `timezone` is that of the bill's days; None is UTC, where the file says that it is in UTC.
    """
    zone = timezone or ZoneInfo("UTC")
    bill = read(path, shape, columns=columns, zone=timezone, since=since, until=until)
    with opened(settings) as connection:
        ours = Ours.of(settings, connection, bill, zone=zone, shape=shape, asked=catalog_providers)
        rows = _compare(ours, bill)
    return Reconciliation(
        id=sha256_of(path),
        file_name=path.name,
        provider=shape if columns is None and shape is not None else "columns",
        catalog_providers=tuple(ours.providers),
        since=bill.since,
        until=bill.until,
        timezone=zone.key,
        matched_by="request_id" if bill.has_request_ids else "group",
        created_at=datetime.now(UTC),
        rows=tuple(rows),
        notes=tuple(_notes(bill)),
    )


def _notes(bill: Bill) -> Iterator[str]:
    yield from bill.notes
    if not bill.has_costs:
        yield PRICED_HERE
    elif not bill.has_tokens:
        yield WITHOUT_TOKENS
    if bill.has_costs and not bill.has_tiers:
        yield WITHOUT_TIERS


def _compare(ours: Ours, bill: Bill) -> list[Difference]:
    ledger = Ledger()
    comparing = Comparing(
        bill=bill,
        ledger=ledger,
        rate_of=ours.rate_of,
        tiers_of=ours.tiers,
        tier_rates_of=ours.tier_rates,
        widest_of=ours.widest_of,
        has_costs=bill.has_costs,
        is_exact=bill.has_tokens,
        has_kinds=bill.has_kinds,
    )
    groups, requests = _theirs(ours, bill, ledger)
    if not bill.has_request_ids:
        Groups(comparing).compare(ours.groups(), groups)
        return ledger.rows()
    without_id: dict[Key, Side] = {}
    matched = Requests(comparing)
    left = matched.compare(_with_id(ours, bill, without_id), requests)
    if without_id:  # their ids on the bill are not known, so they are compared by group
        for key, side in left.values():
            groups.setdefault(key, Side()).add(side)
        left = {}
    matched.missing_here(left)
    Groups(comparing).compare(without_id, groups)
    return ledger.rows()


def _with_id(ours: Ours, bill: Bill, without_id: dict[Key, Side]) -> Iterator[tuple[str, Request]]:
    for request_id, key, side in ours.requests():
        if request_id is not None:
            yield request_id, (key, side)
        elif bill.since <= key.day <= bill.until:
            without_id.setdefault(key, Side()).add(side)


def _theirs(ours: Ours, bill: Bill, ledger: Ledger) -> tuple[dict[Key, Side], dict[str, Request]]:
    groups: dict[Key, Side] = {}
    requests: dict[str, Request] = {}
    for line in bill.lines:
        key = Key(
            line.day,
            ours.names.theirs(line.model) if bill.has_models else None,
            (tier_name(line.tier) or STANDARD) if bill.has_tiers else None,
        )
        if line.kind == "credits":
            ledger.add(key, "credits", "credits", theirs_usd=line.usd)
        elif line.request_id is None:
            _add(groups.setdefault(key, Side()), line)
        else:
            _, side = requests.setdefault(line.request_id, (key, Side(requests=1)))
            _add(side, line._replace(requests=None))
    return groups, requests


def _add(side: Side, line: BillLine) -> None:
    if line.tokens is not None:
        side.tokens[line.kind] = side.tokens.get(line.kind, ZERO) + line.tokens
    if line.usd is not None:
        side.usd[line.kind] = side.usd.get(line.kind, ZERO) + line.usd
        side.lines += 1
    if line.requests is not None:
        side.requests = (side.requests or 0) + line.requests
    if line.usd is None and line.tokens:
        side.lines = max(side.lines, 1)
