"""Runs ad-hoc SQL and the reports of `sql/reports`.

Both run on the published copy, read-only, without access to files or settings, and for a bounded
time.
"""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import QueryError, WarehouseError
from pipelines.reports import statements
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import configuration, in_utc
from router.errors import nearest
from router.records import moment_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from router.config import Settings

QUERY_TIMEOUT_S = 30.0
NULL_BY_ZERO: dict[str, str | bool | int | float | list[str]] = {
    "ieee_floating_point_ops": False,
    "error_on_division_by_zero": False,
}
"""A quotient by zero is not known. DuckDB's default is infinity, and then every average of it is too."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The columns and rows of a query."""

    table: pa.Table

    @property
    def columns(self) -> list[str]:
        """Column names, in order."""
        return list(self.table.column_names)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows as Python values. None means not known."""
        columns = [column.to_pylist() for column in self.table.columns]
        return zip(*columns, strict=True) if columns else iter(())


def query(settings: Settings, sql: str, *, timeout_s: float = QUERY_TIMEOUT_S) -> Answer:
    """Run a person's SQL on the published warehouse. The answer is that of the last statement with rows."""
    found = list(answers(settings, sql, timeout_s=timeout_s))
    return found[-1] if found else Answer(table=_no_rows())


def answers(
    settings: Settings,
    sql: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    timeout_s: float = QUERY_TIMEOUT_S,
) -> Iterator[Answer]:
    """Run each statement of a text, and give the answer of each that has rows. One runs `timeout_s` at most.

    `parameters` are the values of `$name`. QueryError for one that no statement uses.
    """
    values = parameters or {}
    with opened(settings) as connection:
        parsed = statements.split(connection, sql)
        statements.require_used(parsed, values)
        for statement in parsed:
            bound = statements.bound(statement, values)
            if statement.expected_result_type == [duckdb.ExpectedResultType.NOTHING]:
                with _bounded(connection, timeout_s):
                    connection.execute(statements.text_of(statement), bound or None)
            else:
                yield _execute(connection, statements.text_of(statement), timeout_s, bound)


def report(
    settings: Settings,
    name: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    organization: str | None = None,
    timeout_s: float = QUERY_TIMEOUT_S,
) -> Answer:
    """Run `sql/reports/<name>.sql`. The file has defaults for its variables."""
    known = report_names()
    if name not in known:
        raise QueryError(f"unknown report `{name}`: {nearest(name, known)}")
    statement = sqlfiles.load(f"reports/{name.replace('-', '_')}").text
    variables = {"since": since, "until": until, "organization": organization}
    with opened(settings, variables) as connection:
        if organization is not None:
            _require_organization(connection, organization)
        return _execute(connection, statement, timeout_s)


def title(name: str, since: datetime, until: datetime | None, organization: str | None) -> str:
    """The line over a report for people: its period, its zone and its currency."""
    end = f"{until or datetime.now(UTC):%Y-%m-%d %H:%M} UTC" + (" (now)" if until is None else "")
    whose = "" if organization is None else f", organisation {organization}"
    return f"{name}, {since:%Y-%m-%d %H:%M} to {end}{whose}; amounts in US dollars"


def record(settings: Settings, request_id: str) -> dict[str, Any]:
    """The row of a request in `request_analytics`. QueryError if the warehouse has none."""
    try:
        moment_of(request_id)
    except ValueError as error:
        raise QueryError(
            f"`{request_id:.80}` is no request id: pass the `x-request-id` of the response"
            " (`Response.request_id` in Python)"
        ) from error
    with opened(settings, {"id": request_id.lower()}) as connection:
        answer = _execute(
            connection, "select * from request_analytics where id = getvariable('id')", QUERY_TIMEOUT_S
        )
    for values in answer.rows():
        return dict(zip(answer.columns, values, strict=True))
    raise QueryError(
        f"the warehouse holds no request `{request_id}`: run `intellirouter refresh` if it was just served."
        " Retention or an erasure may have removed it"
    )


def report_names() -> list[str]:
    """The name of every report on the command line."""
    return [key.removeprefix("reports/").replace("_", "-") for key in sqlfiles.names("reports")]


def parse_moment(text: str, *, now: datetime | None = None) -> datetime:
    """Parse a moment given as `7d`, `24h`, `2026-11-01` or ISO 8601. It is UTC if it has no zone."""
    if match := re.fullmatch(r"(\d{1,6})([mhdw])", text.strip()):
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
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    raise QueryError(f"`{text}` is outside of the years 1 to 9999 in UTC: give another moment")


@contextlib.contextmanager
def opened(
    settings: Settings, variables: Mapping[str, object] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published warehouse with variables, read-only, without access to files or settings."""
    path = settings.warehouse_file
    if not path.exists():
        raise WarehouseError(f"no warehouse at `{path}` yet: run `intellirouter refresh` to build it")
    try:
        connection = duckdb.connect(
            str(path),
            read_only=True,
            config={**configuration(settings), **NULL_BY_ZERO, "enable_external_access": False},
        )
    except duckdb.Error as error:
        raise WarehouseError(
            f"the warehouse at `{path}` does not open: {error}."
            " Run `intellirouter refresh` to publish it again. Programs that query it must open it read-only"
            " (`duckdb -readonly`)"
        ) from error
    with connection:
        in_utc(connection)
        for name, value in (variables or {}).items():
            if value is not None:
                connection.execute(f"set variable {name} = $value", {"value": value})
        connection.execute("set lock_configuration = true")
        yield connection


def _require_organization(connection: duckdb.DuckDBPyConnection, organization: str) -> None:
    """An empty report would read as no cost."""
    known = [
        name for (name,) in connection.execute(sqlfiles.load("marts/known_organizations").text).fetchall()
    ]
    if organization not in known:
        raise QueryError(f"unknown organisation `{organization}`: {nearest(organization, known)}")


def _execute(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    timeout_s: float,
    parameters: Mapping[str, Any] | Sequence[Any] = (),
) -> Answer:
    with _bounded(connection, timeout_s):
        found = connection.sql(sql, params=parameters or None)  # None for a statement without a result
        return Answer(table=_no_rows() if found is None else found.to_arrow_table())


@contextlib.contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    """Stop what runs after its time, and name DuckDB's errors as ours."""
    # DuckDB has no statement timeout, so a timer interrupts the query.
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException:
        raise QueryError(
            f"the query ran longer than {timeout_s:g} s and was stopped: narrow it, or raise --timeout"
        ) from None
    except duckdb.Error as error:
        raise QueryError(f"the query cannot be run: {error}") from error
    finally:
        timer.cancel()


def _no_rows() -> pa.Table:
    import pyarrow as pa

    return pa.table({})
