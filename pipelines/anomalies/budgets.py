"""The mart `budget_status`: every budget of limits.yaml in its running period, with its pace.

A period has the router's own bounds (UTC days, ISO weeks, months). The spending is what sealed records
say, up to the newest one. The requests in flight, and those whose cost is unknown, are not in it: the
router charges them at their worst case, so `GET /v1/budgets` can be ahead of this table.

`projected_usd` is the spending at the end of the period, and `projection` says how it was found:

    last_week   the rest of the period costs as much as the same hours cost in the last seven days
    mean        the rest costs as much an hour as the period so far, if the week before has no traffic
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import sqlfiles
from router.errors import ConfigError
from router.limits.book import LimitBook
from router.limits.periods import DAY_S, first_day, period_of
from router.sessions.sessions import owned_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.warehouse.warehouse import Warehouse
    from router.limits.book import BudgetEntry
    from router.limits.counters import Scope
    from router.limits.periods import Period

TABLE = "budget_status"
DEFAULT_ALERTS = (0.8, 1.0)
"""Shares of a budget that are noticed if its entry has no `alert_at`."""
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
MICRO_USD = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetsResult:
    """The result of bringing the mart up to date."""

    budgets: int = 0
    """Rows of the mart."""
    reached: int = 0
    """Rows that reached a share at which an alert is wanted."""
    over: int = 0
    """Rows whose projection is beyond the limit."""
    problem: str | None = None
    """Why the mart was left as it was. None if it is up to date."""


def compute_budgets(
    warehouse: Warehouse,
    *,
    now: datetime | None = None,
    before: Callable[[Sequence[Mapping[str, Any]]], None] | None = None,
) -> BudgetsResult:
    """Bring the mart up to date with the periods of `now`. A broken limits.yaml changes nothing.

    `before` gets the rows before the mart has them.
    """
    try:
        book = LimitBook.load(warehouse.settings.limits_file)
    except ConfigError as error:
        return BudgetsResult(problem=f"{error}; the table was left as it is")
    moment = now or datetime.now(UTC)
    rows = [row for scope, period in _kinds(book) for row in _rows(warehouse, book, scope, period, moment)]
    if before is not None:
        before(rows)
    warehouse.replace_rows(TABLE, rows)
    return BudgetsResult(
        budgets=len(rows),
        reached=sum(row["alert_reached"] is not None for row in rows),
        over=sum((row["projected_share"] or 0) > 1 for row in rows),
    )


def _kinds(book: LimitBook) -> list[tuple[Scope, Period]]:
    return sorted({(entry.scope, entry.period) for entry in book.budgets})


def _rows(
    warehouse: Warehouse, book: LimitBook, scope: Scope, period: Period, now: datetime
) -> Iterator[dict[str, Any]]:
    """The rows of all budgets of a scope and a period."""
    window = _Window.of(period, now, _latest(warehouse, now))
    spending = {item.subject: item for item in _spending(warehouse, scope, window)}
    if scope in ("organization", "key"):  # a person has a row only through requests, so an erasure removes it
        for entry in book.budgets:
            if (entry.scope, entry.period) == (scope, period) and entry.subject != "*":
                spending.setdefault(entry.subject, _Spending.none(scope, entry.subject))
    for subject, item in sorted(spending.items()):
        for entry in book.budgets_of(scope, subject):
            if entry.period == period:
                yield _row(entry, item, window)


def _latest(warehouse: Warehouse, now: datetime) -> datetime:
    """The newest record. Records from a clock that is ahead do not count."""
    found = warehouse.value(sqlfiles.load("rollups/latest_record"), now=now)
    return min(found, now).astimezone(UTC) if isinstance(found, datetime) else now


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A period, and the moment up to which it is known."""

    start: datetime
    end: datetime | None
    """None for a `total`, which has no end to project to."""
    as_of: datetime
    since: datetime
    """The oldest record that is read."""

    @classmethod
    def of(cls, period: Period, now: datetime, latest: datetime) -> _Window:
        day = int(now.timestamp() // DAY_S)
        starts_s, ends_s = period_of(period, day)
        is_total = period == "total"
        start = datetime.fromtimestamp(first_day(period, day) * DAY_S if is_total else starts_s, UTC)
        as_of = max(latest, start)
        return cls(
            start=start,
            end=None if is_total else datetime.fromtimestamp(ends_s, UTC),
            as_of=as_of,
            since=min(start, as_of - WEEK - HOUR),
        )

    @property
    def whole_weeks(self) -> int:
        """Weeks that fit into the rest of the period."""
        return 0 if self.end is None else (self.end - self.as_of) // WEEK

    @property
    def tail_end(self) -> datetime:
        """The end of the hours, in the last seven days, that the rest beyond whole weeks repeats."""
        start = self.as_of - WEEK
        return start if self.end is None else start + (self.end - self.as_of) % WEEK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spending:
    """The spending of one subject."""

    subject: str
    keys: dict[str, str | None]
    requests: int
    requests_with_cost: int
    spent: Decimal | None
    week: Decimal | None
    tail: Decimal | None
    first_at: datetime | None

    @classmethod
    def none(cls, scope: Scope, subject: str) -> _Spending:
        """A subject without a request."""
        column = "organization_id" if scope == "organization" else "api_key_id"
        return cls(
            subject=subject,
            keys={
                **dict.fromkeys(("organization_id", "api_key_id", "user_id", "session_id")),
                column: subject,
            },
            requests=0,
            requests_with_cost=0,
            spent=Decimal(0),
            week=None,
            tail=None,
            first_at=None,
        )


def _spending(warehouse: Warehouse, scope: Scope, window: _Window) -> Iterator[_Spending]:
    bounds = {
        "start": window.start,
        "since": window.since,
        "until": window.as_of,
        "week_ago": window.as_of - WEEK,
        "tail_end": window.tail_end,
    }
    if scope == "organization":
        found = warehouse.run("marts/budget_spend_of_organizations", **bounds).fetchall()
        rows = [(row[0], None, None, None, *row[1:]) for row in found]
    else:
        rows = warehouse.run("marts/budget_spend", scope=scope, **bounds).fetchall()
    for organization, key, user, session, requests, known, spent, week, tail, first_at in rows:
        subject = (
            owned_session(session, key, organization) if scope == "session" else organization or key or user
        )
        yield _Spending(
            subject=subject,
            keys={"organization_id": organization, "api_key_id": key, "user_id": user, "session_id": session},
            requests=requests,
            requests_with_cost=known,
            spent=spent if requests else Decimal(0),
            week=week,
            tail=tail,
            first_at=first_at,
        )


def _row(entry: BudgetEntry, item: _Spending, window: _Window) -> dict[str, Any]:
    projected, method = _projection(item, window)
    share = _share(item.spent, entry.usd)
    wanted = sorted(entry.alert_at or DEFAULT_ALERTS)
    is_total = window.end is None
    return {
        "budget_id": entry.id,
        "scope": entry.scope,
        **item.keys,
        "period": entry.period,
        "mode": entry.mode,
        "period_start": None if is_total else window.start,
        "period_end": window.end,
        "as_of": window.as_of,
        "limit_usd": entry.usd,
        "requests": item.requests,
        "requests_without_cost": item.requests - item.requests_with_cost,
        "spent_usd": item.spent,
        "remaining_usd": None if item.spent is None else max(entry.usd - item.spent, Decimal(0)),
        "spent_share": share,
        "projected_usd": projected,
        "projected_share": _share(projected, entry.usd),
        "projection": method,
        "alert_at": wanted,
        "alert_reached": None if share is None else max((at for at in wanted if share >= at), default=None),
    }


def _projection(item: _Spending, window: _Window) -> tuple[Decimal | None, str | None]:
    """The spending at the end of the period, and how it was found. None if it is not known."""
    if item.spent is None or window.end is None or item.first_at is None:
        return None, None
    if item.first_at <= window.as_of - WEEK:
        rest = window.whole_weeks * (item.week or Decimal(0)) + (item.tail or Decimal(0))
        return (item.spent + rest).quantize(MICRO_USD), "last_week"
    elapsed = window.as_of - max(window.start, item.first_at)
    if elapsed < HOUR:  # too short to know a pace
        return None, None
    rest = item.spent * Decimal((window.end - window.as_of) / elapsed)
    return (item.spent + rest).quantize(MICRO_USD), "mean"


def _share(amount: Decimal | None, limit: Decimal) -> float | None:
    return None if amount is None or not limit else float(amount / limit)
