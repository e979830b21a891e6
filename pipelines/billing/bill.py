"""The answer to `intellirouter bill`: lines from the published warehouse, with their period and zone."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pipelines.billing.accounts import CURRENCY
from pipelines.billing.records import Books, changes_of_closed
from pipelines.errors import BillError, QueryError
from pipelines.reports import periods, reports
from pipelines.reports.reports import Answer
from router.catalog.prices import ZERO_USD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    import duckdb

    from pipelines.billing.accounts import BillKey
    from router.config import Settings

Row = dict[str, Any]
FOR_PEOPLE = (
    "organization_id",
    "model",
    "price_id",
    "service_tier",
    "requests",
    "requests_unknown_cost",
    "tokens_input",
    "tokens_cached_input",
    "tokens_cache_write",
    "tokens_output",
    "tokens_reasoning",
    "list_cost_usd",
    "contracted_cost_usd",
    "billed_cost_usd",
    "restated_usd",
)
"""The columns of a table in a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyBill:
    """The lines of a month, of one organisation or of all."""

    month: str
    organization: str | None
    rows: tuple[Row, ...]
    """Rows of `billing_records`."""
    schema: Any
    """The table's pyarrow schema."""

    def answer(self, *, for_people: bool = False) -> Answer:
        """The lines as columns. People get those with a known value; the title has the rest."""
        import pyarrow as pa

        table = pa.Table.from_pylist(list(self.rows), schema=self.schema)
        if for_people:
            kept = [name for name in FOR_PEOPLE if any(row[name] for row in self.rows)]
            table = table.select([*FOR_PEOPLE[:2], *(name for name in kept if name not in FOR_PEOPLE[:2])])
        return Answer(table=table)

    def title(self) -> list[str]:
        """The lines over a bill for people: whose it is, its zone, period, currency and state."""
        whose = self.organization or "all organisations"
        lines = [
            f"bill of {whose}, {self.month}; amounts in US dollars ({CURRENCY}); --exact shows every digit"
        ]
        lines += sorted({_period(row) for row in self.rows})
        unknown = sum(row["requests_unknown_cost"] for row in self.rows)
        if unknown:
            failures = sum(row["failures"] for row in self.rows)
            lines.append(
                f"the cost of {unknown} requests is not known and in no sum; {failures} requests failed"
            )
        changed = [row for row in self.rows if row["restated_usd"]]
        if changed:
            lines.append(f"{len(changed)} lines changed after closing: see `billing_restatements`")
        return lines


def monthly_bill(
    settings: Settings,
    month: str,
    *,
    organization: str | None = None,
    zone: str | None = None,
    currency: str = CURRENCY,
) -> MonthlyBill:
    """The bill of a month, closed or provisional. `zone` replaces the organisations' own zones.

    QueryError for a misspelt month or zone, another currency and an unknown organisation; BillError for a
    month without requests, and for another zone than that of a closed month.
    """
    month = month.strip()
    require_currency(currency)
    named = None if zone is None else periods.zone_of(settings, named=zone)
    periods.month(named or periods.zone_of(settings), month)
    with reports.opened(settings) as connection:
        if organization is not None:
            reports.require_organization(connection, organization)
        books = Books(settings, connection, named)
        rows = [*books.closed_rows(), *books.open_rows()]
        schema = _schema(connection)
    wanted = [row for row in rows if row["month"] == month and organization in (None, row["organization_id"])]
    _require_zone(wanted, named)
    if not wanted:
        raise BillError(_no_lines(month, organization, rows))
    wanted.sort(key=lambda row: [row[name] or "" for name in ("organization_id", "model", "price_id")])
    return MonthlyBill(month=month, organization=organization, rows=tuple(wanted), schema=schema)


def require_currency(currency: str) -> None:
    """QueryError for another currency than that of prices and records."""
    if currency.upper() != CURRENCY:
        raise QueryError(
            f"bills are in `{CURRENCY}`, the currency of prices and records, not in `{currency:.12}`: export"
            " the lines with --format csv, and convert them at the rate of your books"
        )


def _require_zone(rows: Iterable[Row], zone: Any) -> None:
    for row in rows:
        if zone is not None and row["status"] == "closed" and row["time_zone"] != zone.key:
            raise BillError(
                f"`{row['month']}` of `{row['organization_id'] or 'no organisation'}` was closed in"
                f" `{row['time_zone']}`, and its lines cannot be shown in `{zone.key}`: leave --timezone out"
            )


def _no_lines(month: str, organization: str | None, rows: Sequence[Row]) -> str:
    whose = "" if organization is None else f" of `{organization}`"
    known = sorted({row["month"] for row in rows if organization in (None, row["organization_id"])})
    if not known:
        return f"there are no requests{whose} to bill: run `intellirouter refresh` after some were served"
    there = ", ".join(f"`{name}`" for name in known[-6:])
    return f"there are no requests{whose} in `{month}`: the last months with requests are {there}"


def _period(row: Row) -> str:
    zone = ZoneInfo(row["time_zone"])
    period = periods.Period(since=row["since"], until=row["until"], zone=zone)
    state = "provisional: the month is open"
    if row["closed_at"] is not None:
        state = f"closed at {row['closed_at'].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    elif row["until"] <= datetime.now(UTC):
        state = "provisional: the month is over, `intellirouter bill close` freezes it"
    return f"{period}, {state}"


def _schema(connection: duckdb.DuckDBPyConnection) -> Any:
    from pipelines.warehouse import sqlfiles

    rows = connection.sql(sqlfiles.load("tables/rows", table="billing_records").text)
    return rows.limit(0).to_arrow_table().schema


def status(settings: Settings) -> Answer:
    """Each bill: its state, sums, and how many of its lines the usage of now would change.

    The next refresh makes restatements of those.
    """
    import pyarrow as pa

    with reports.opened(settings) as connection:
        books = Books(settings, connection)
        rows = [*books.closed_rows(), *books.open_rows()]
        pending = Counter((item.organization_id, item.month) for item in changes_of_closed(settings, books))
    files = {bill.key: closing for closing in books.closings for bill in closing.bills}
    of_bill: dict[BillKey, list[Row]] = defaultdict(list)
    for row in rows:
        of_bill[row["organization_id"], row["month"]].append(row)
    keys = sorted(of_bill, key=lambda key: (key[1], key[0] or ""))
    money = pa.decimal128(38, 12)
    names = ("status", "time_zone", "since", "until", "closed_at")
    return Answer(
        table=pa.table(
            {
                "month": [month for _, month in keys],
                "organization_id": pa.array([name for name, _ in keys], pa.string()),
                **{name: [of_bill[key][0][name] for key in keys] for name in names},
                "lines": [len(of_bill[key]) for key in keys],
                "requests": [sum(row["requests"] for row in of_bill[key]) for key in keys],
                "requests_unknown_cost": [
                    sum(row["requests_unknown_cost"] for row in of_bill[key]) for key in keys
                ],
                "billed_cost_usd": pa.array([_total(of_bill[key], "billed_cost_usd") for key in keys], money),
                "restated_usd": pa.array([_total(of_bill[key], "restated_usd") for key in keys], money),
                "lines_to_restate": [pending[key] for key in keys],
                "sha256": pa.array(
                    [files[key].sha256 if key in files else None for key in keys], pa.string()
                ),
            }
        )
    )


def _total(rows: Iterable[Row], name: str) -> Decimal | None:
    """The sum of the known amounts. None if none is known."""
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known, ZERO_USD) if known else None
