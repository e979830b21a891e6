"""The tables `billing_records` and `billing_restatements`: closed lines as they are, open ones as of now."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.billing import closed, restatements
from pipelines.billing.accounts import CURRENCY, Accounts
from pipelines.billing.lines import IDENTITY, bills_with_usage, lines_of
from pipelines.billing.list_prices import ListPrices
from pipelines.billing.restatements import Restatement
from pipelines.errors import FrozenBillError
from router.catalog.prices import ZERO_USD
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from zoneinfo import ZoneInfo

    import duckdb

    from pipelines.billing.accounts import Bill, BillKey
    from pipelines.billing.closed import Closing
    from pipelines.billing.lines import Line, LineKey
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

Row = dict[str, Any]
logger = logging.getLogger("pipelines.billing")
REFRESH = "refresh"
"""The source of restatements that a refresh finds."""


class Books:
    """Everything that bills are made from, read in one moment."""

    def __init__(
        self, settings: Settings, connection: duckdb.DuckDBPyConnection, zone: ZoneInfo | None = None
    ):
        """`zone` replaces the organisations' own zones. ConfigError or FrozenBillError names a bad file."""
        self.connection = connection
        self.prices = ListPrices.load(settings)
        self.accounts = Accounts(settings, zone=zone)
        self.closings = closed.read_closings(settings)
        self.closed = closed.closed_bills(self.closings)
        self.frozen = [(closing, closed.read_lines(closing)) for closing in self.closings]
        """Each closing with its lines."""
        self.restatements = restatements.read_all(settings)

    def open_rows(self, bills: Iterable[Bill] | None = None) -> list[Row]:
        """The lines of the open bills that have some. `bills`: only of these."""
        found = bills_with_usage(self.connection, self.accounts, self.closed) if bills is None else bills
        wanted = [bill for bill in found if bill.closed_at is None]
        lines = lines_of(self.connection, wanted, self.prices)
        by_key = {bill.key: bill for bill in wanted}
        changes = _differences(row for row in self.restatements if row["source"] != REFRESH)
        return [row for key in lines for row in _open_bill(by_key[key], lines[key], changes.get(key, {}))]

    def closed_rows(self) -> list[Row]:
        """The lines of the closed bills, with the changes since."""
        return [row for closing, lines in self.frozen for row in self._closing(closing, lines)]

    def _closing(self, closing: Closing, lines: Iterable[Row]) -> Iterable[Row]:
        later = _differences(row for row in self.restatements if row["id"] not in closing.restatements)
        by_bill: dict[BillKey, list[Row]] = defaultdict(list)
        for row in lines:
            by_bill[row["organization_id"], row["month"]].append(row)
        for bill in closing.bills:
            changes = dict(later.get(bill.key, {}))
            for row in by_bill[bill.key]:
                difference = changes.pop(line_key(row), ZERO_USD)
                yield {**row, "restated_usd": bill.billed(difference)}
            for key, difference in sorted(changes.items(), key=lambda item: [text or "" for text in item[0]]):
                yield _row(bill, _no_line(key), billed=None, restated=bill.billed(difference))


@dataclass(frozen=True, slots=True, kw_only=True)
class BillsResult:
    """The result of loading the tables."""

    restated: int = 0
    """Closed lines that differ from the usage of now, and were restated."""
    problem: str | None = None
    """Why the tables were not changed. None if they were loaded."""


def load_bills(warehouse: Warehouse) -> BillsResult:
    """Bring both tables up to the lake, and restate closed lines that differ.

    If a closed bill or organizations.yaml cannot be used, the tables are not changed: records, scores and the
    published warehouse do not depend on it.
    """
    settings = warehouse.settings
    try:
        books = Books(settings, warehouse.connection)
        changed = changes_of_closed(settings, books)
        if restatements.add(settings, changed) is not None:
            books = Books(settings, warehouse.connection)
        rows: list[Row] = [*books.closed_rows(), *books.open_rows()]
    except (ConfigError, FrozenBillError) as error:
        logger.warning("bills were not loaded: %s", error)
        return BillsResult(problem=f"{error}; the tables were not changed")
    warehouse.replace_rows("billing_records", sorted(rows, key=_order))
    warehouse.replace_rows("billing_restatements", books.restatements)
    return BillsResult(restated=len(changed))


def changes_of_closed(settings: Settings, books: Books) -> list[Restatement]:
    """How the usage of closed months differs from their lines and restatements."""
    bills = [bill for bill in books.closed.values() if _has_usage(settings, bill)]
    now = lines_of(books.connection, bills, books.prices)
    known = _known(books)
    found = []
    for bill in bills:
        lines = {line.key: line for line in now.get(bill.key, ())}
        before = known.get(bill.key, {})
        if settings.rollup_retention_days is not None and not lines:
            continue  # the usage itself has expired
        for key in sorted(lines.keys() | before.keys(), key=lambda item: [text or "" for text in item]):
            old, line = before.get(key, (0, None)), lines.get(key)
            new = (0, None) if line is None else (line.requests, line.contracted_cost_usd)
            if old != new:
                found.append(_restatement(bill, key, old, new))
    return found


def _has_usage(settings: Settings, bill: Bill) -> bool:
    """Whether the whole of the bill's usage is within the lifetime of rollups."""
    days = settings.rollup_retention_days
    return days is None or bill.since > datetime.now(UTC) - timedelta(days=days - 1)


def _known(books: Books) -> dict[BillKey, dict[LineKey, tuple[int, Decimal | None]]]:
    """Requests and cost of each closed line, as the last refresh saw them."""
    known: dict[BillKey, dict[LineKey, tuple[int, Decimal | None]]] = defaultdict(dict)
    for _, lines in books.frozen:
        for row in lines:
            if row["requests"]:
                key = row["organization_id"], row["month"]
                known[key][line_key(row)] = row["requests"], row["contracted_cost_usd"]
    for row in books.restatements:
        if row["source"] == REFRESH:
            key = row["organization_id"], row["month"]
            known[key][line_key(row)] = row["new_requests"], row["new_usd"]
    return known


def _restatement(
    bill: Bill, key: LineKey, old: tuple[int, Decimal | None], new: tuple[int, Decimal | None]
) -> Restatement:
    reason = "late records" if new[0] > old[0] else "missing records" if new[0] < old[0] else "other cost"
    return Restatement(
        month=bill.month,
        organization_id=bill.organization_id,
        **dict(zip(IDENTITY, key, strict=True)),
        old_requests=old[0],
        new_requests=new[0],
        old_usd=old[1],
        new_usd=new[1],
        reason=reason,
        source=REFRESH,
    )


def _open_bill(bill: Bill, lines: Sequence[Line], changes: Mapping[LineKey, Decimal]) -> Iterable[Row]:
    left = dict(changes)
    for line in lines:
        difference, cost = left.pop(line.key, None), line.contracted_cost_usd
        known = None if cost is None and difference is None else (cost or ZERO_USD) + (difference or ZERO_USD)
        yield _row(bill, asdict(line), billed=None if known is None else bill.billed(known))
    for key, difference in left.items():
        yield _row(bill, _no_line(key), billed=bill.billed(difference))


def _differences(rows: Iterable[Row]) -> dict[BillKey, dict[LineKey, Decimal]]:
    found: dict[BillKey, dict[LineKey, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO_USD))
    for row in rows:
        found[row["organization_id"], row["month"]][line_key(row)] += row["difference_usd"]
    return found


def line_key(row: Row) -> LineKey:
    """The key of a line, of a row of either table."""
    model, provider, price_id, service_tier = (row[name] for name in IDENTITY)
    return model, provider, price_id, service_tier


def _no_line(key: LineKey) -> Row:
    """A line without usage, for a restatement of something that was not billed."""
    counts = ("requests", "failures", "requests_with_cost", "requests_with_tokens", "requests_with_list_cost")
    kinds = ("input", "cached_input", "cache_write", "output", "reasoning")
    return {
        **dict(zip(IDENTITY, key, strict=True)),
        **dict.fromkeys(counts, 0),
        **{f"tokens_{kind}": None for kind in kinds},
        "list_cost_usd": None,
        "contracted_cost_usd": None,
    }


def _row(bill: Bill, line: Mapping[str, Any], *, billed: Decimal | None, restated: Decimal = ZERO_USD) -> Row:
    """A row of `billing_records`, in the order of its columns."""
    return {
        "month": bill.month,
        "status": bill.status,
        "organization_id": bill.organization_id,
        **{name: line[name] for name in IDENTITY},
        "requests": line["requests"],
        "failures": line["failures"],
        "requests_with_cost": line["requests_with_cost"],
        "requests_unknown_cost": line["requests"] - line["requests_with_cost"],
        **{
            name: line[name]
            for name in ("requests_with_tokens", *(n for n in line if n.startswith("tokens_")))
        },
        "requests_with_list_cost": line["requests_with_list_cost"],
        "list_cost_usd": line["list_cost_usd"],
        "contracted_cost_usd": line["contracted_cost_usd"],
        "billed_cost_usd": billed,
        "restated_usd": restated,
        "currency": CURRENCY,
        "time_zone": bill.time_zone,
        "since": bill.since,
        "until": bill.until,
        "closed_at": bill.closed_at,
    }


def _order(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["month"], *(row[name] or "" for name in ("organization_id", *IDENTITY))
