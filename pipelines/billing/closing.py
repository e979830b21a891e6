"""Closes a month: its lines are frozen in the lake, and later changes are restatements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.billing import closed
from pipelines.billing.records import REFRESH, Books
from pipelines.errors import BillError
from pipelines.reports.reports import require_organization
from pipelines.warehouse import sqlfiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from pipelines.billing.accounts import Bill
    from pipelines.billing.closed import Closing
    from pipelines.warehouse.warehouse import Warehouse


def close(
    warehouse: Warehouse,
    month: str,
    *,
    now: datetime,
    organization: str | None = None,
    zone: ZoneInfo | None = None,
) -> Closing:
    """Freeze the lines of a month that is over, of one organisation or of all that are still open.

    `zone` replaces the organisations' own zones. BillError if there is nothing to close, if it is closed, or
    if the month is not over. QueryError for an unknown organisation or a misspelt month.
    """
    books = Books(warehouse.settings, warehouse.connection, zone)
    if organization is not None:
        require_organization(warehouse.connection, organization)
    bills = _bills(books, month, organization)
    rows = books.open_rows(bills)
    with_lines = {row["organization_id"] for row in rows}
    wanted = [replace(bill, closed_at=now) for bill in bills if bill.organization_id in with_lines]
    if not wanted:
        raise BillError(f"{_nothing(books, month, organization)}")
    for bill in wanted:
        if bill.until > now:
            raise BillError(
                f"`{month}` is not over: it ends at {bill.until:%Y-%m-%d %H:%M} UTC, midnight in"
                f" `{bill.time_zone}`. Close it then; until then `intellirouter bill` shows provisional lines"
            )
    frozen = [{**row, "status": "closed", "closed_at": now} for row in rows]
    included = [row["id"] for row in books.restatements if row["month"] == month and row["source"] != REFRESH]
    table = _table(warehouse, frozen)
    return closed.freeze(warehouse.settings, wanted, table, restatements=included, now=now)


def _bills(books: Books, month: str, organization: str | None) -> Sequence[Bill]:
    """The open bills of a month. BillError if the one that is asked for is closed."""
    found = books.connection.execute(sqlfiles.load("marts/billed_organizations").text).fetchall()
    names = [name for name, *_ in found if organization in (None, name)]
    bills = [books.accounts.bill(name, month, books.closed) for name in names]
    if bills and all(bill.closed_at is not None for bill in bills):
        raise BillError(already(bills[0]))
    return [bill for bill in bills if bill.closed_at is None]


def already(bill: Bill) -> str:
    """Why a closed bill stays."""
    return (
        f"`{bill.month}` of `{bill.organization_id or 'no organisation'}` is closed since"
        f" {bill.closed_at:%Y-%m-%d %H:%M} UTC, in `{bill.time_zone}`, and stays as it is: what changed since"
        " is in `billing_restatements`, and `intellirouter bill status` counts it"
    )


def _nothing(books: Books, month: str, organization: str | None) -> str:
    closed_ones = [bill for key, bill in books.closed.items() if key[1] == month]
    whose = "" if organization is None else f" of `{organization}`"
    if closed_ones and organization is None:
        return already(closed_ones[0])
    known = sorted({row["month"] for row in [*books.closed_rows(), *books.open_rows()]})
    there = f"there are requests of {', '.join(f'`{name}`' for name in known[-6:])}" if known else "load some"
    return f"there is nothing to bill{whose} in `{month}`: {there}, or run `intellirouter refresh`"


def _table(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> Any:
    import pyarrow as pa

    shape = warehouse.arrow(sqlfiles.load("tables/rows", table="billing_records")).schema
    return pa.Table.from_pylist(list(rows), schema=shape)
