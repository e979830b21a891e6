"""Runs ad-hoc SQL and the reports of `sql/reports`.

Both run on the published copy, read-only, without access to files or settings, and for a bounded
time.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import QueryError, WarehouseError
from pipelines.reports import statements
from pipelines.reports.pages.questions import question_of
from pipelines.reports.periods import on_grid
from pipelines.warehouse import linked_views, sqlfiles
from pipelines.warehouse.sqlfiles import quoted_text
from pipelines.warehouse.warehouse import configuration, in_utc
from router.errors import nearest
from router.records import moment_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from pipelines.reports.periods import Period
    from pipelines.warehouse.sqlfiles import SqlFile
    from router.config import Settings

HOUR = timedelta(hours=1)
QUERY_TIMEOUT_S = 30.0
NULL_BY_ZERO: dict[str, str | bool | int | float | list[str]] = {
    "ieee_floating_point_ops": False,
    "error_on_division_by_zero": False,
}
"""A quotient by zero is not known. DuckDB's default is infinity, and then every average of it is too."""


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
            with statements.named_way(statement):
                if statement.expected_result_type != [duckdb.ExpectedResultType.NOTHING]:
                    answer = _execute(connection, statements.text_of(statement), timeout_s, bound)
                else:
                    answer = None
                    with _bounded(connection, timeout_s):
                        connection.execute(statements.text_of(statement), bound or None)
            if answer is not None:
                yield answer


def report(
    settings: Settings,
    name: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    organization: str | None = None,
    environment: str | None = None,
    timezone: str | None = None,
    timeout_s: float = QUERY_TIMEOUT_S,
) -> Answer:
    """Run `sql/reports/<name>.sql`. The file has defaults for its variables.

    Moments count from the start of their quarter of an hour. `timezone` is the zone of the report's days.
    """
    file_of(name)
    with opened(settings, organization=organization, environment=environment) as connection:
        variables = {
            "since": since,
            "until": until,
            "organization": organization,
            "environment": environment,
            "timezone": timezone,
        }
        return run(connection, name, variables, timeout_s=timeout_s)


def run(
    connection: duckdb.DuckDBPyConnection, name: str, variables: Mapping[str, object], *, timeout_s: float
) -> Answer:
    """Run a report on an open warehouse, with these variables and no other ones.

    QueryError for an organisation's figures if the report has none by organisation, and for an environment's
    if it has none by environment.
    """
    if variables.get("organization") is not None and not question_of(name).is_by_organization:
        raise QueryError(f"the report `{name}` is not kept by organisation: leave --organization out")
    if variables.get("environment") is not None and not question_of(name).is_by_environment:
        raise QueryError(f"the report `{name}` is not kept by environment: leave --environment out")
    set_variables(connection, variables)
    return _execute(connection, file_of(name).text, timeout_s)


def set_variables(connection: duckdb.DuckDBPyConnection, variables: Mapping[str, object]) -> None:
    """Set variables of the session. None is a variable without a value."""
    for name, value in variables.items():
        connection.execute(f"set variable {name} = $value", {"value": value})


def file_of(name: str) -> SqlFile:
    """The SQL of a report. QueryError if there is none of this name."""
    known = report_names()
    if name not in known:
        raise QueryError(f"unknown report `{name}`: {nearest(name, known)}")
    return sqlfiles.load(f"reports/{name.replace('-', '_')}")


def note_on_grain(connection: duckdb.DuckDBPyConnection, name: str, period: Period) -> str | None:
    """A sentence on the hours that the bounds of a report cut, if there are any.

    Releases before this one kept usage by whole hours. Such an hour counts at its first quarter.
    """
    if "usage_quarter_hourly" not in file_of(name).reads:
        return None
    is_daily = {"day", "month"} & set(file_of(name).header["grain"].split(", "))
    days = period.days() if is_daily else (period,)
    bounds = {moment for part in days for moment in (part.since, part.until)}
    cut = [on_grid(moment, HOUR) for moment in bounds if on_grid(moment, HOUR) != on_grid(moment)]
    statement = sqlfiles.load("evaluation/whole_hours").text
    hours, first = connection.execute(statement, {"hours": cut}).fetchone() or (0, None)
    if first is None:
        return None
    return (
        f"{hours} hours that an earlier release counted as a whole are cut by these bounds, the first at"
        f" {first.astimezone(period.zone):%Y-%m-%d %H:%M} {period.zone.key}: each counts where it starts"
    )


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


@contextlib.contextmanager
def opened(
    settings: Settings,
    variables: Mapping[str, object] | None = None,
    *,
    organization: str | None = None,
    environment: str | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published warehouse with variables, read-only, without access to files or settings.

    `environment` leaves only its rows in sight. QueryError for an unknown one, or an unknown organisation: an
    empty report would read as no cost.
    """
    path = settings.warehouse_file
    if not path.exists():
        raise WarehouseError(f"no warehouse at `{path}` yet: run `intellirouter refresh` to build it")
    try:
        connection = duckdb.connect(
            str(path),
            read_only=True,
            config={**configuration(settings), **NULL_BY_ZERO},
        )
    except duckdb.Error as error:
        raise WarehouseError(
            f"the warehouse at `{path}` does not open: {error}."
            " Run `intellirouter refresh` to publish it again. Programs that query it must open it read-only"
            " (`duckdb -readonly`)"
        ) from error
    with connection:
        in_utc(connection)
        set_variables(connection, variables or {})
        _confine(connection, settings)
        if organization:
            require_organization(connection, organization)
        if environment is not None:
            _require(connection, "environment", environment, "marts/known_environments")
            _narrow(connection, environment)
        yield connection


def _confine(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Leave the files that views read in reach, and no others. Nothing can undo it."""
    if connection.execute(sqlfiles.load("tables/is_locked").text).fetchone() == (
        True,
    ):  # another connection of this process has the database open
        return
    folder = quoted_text(f"{linked_views.folder(settings)}/")
    connection.execute(f"set allowed_directories = [{folder}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def require_organization(connection: duckdb.DuckDBPyConnection, organization: str) -> None:
    """QueryError for an organisation that neither records nor organizations.yaml name."""
    _require(connection, "organisation", organization, "marts/known_organizations")


def _require(connection: duckdb.DuckDBPyConnection, kind: str, name: str, listing: str) -> None:
    known = [found for (found,) in connection.execute(sqlfiles.load(listing).text).fetchall()]
    if name not in known:
        raise QueryError(f"unknown {kind} `{name}`: {nearest(name, known)}")


def _narrow(connection: duckdb.DuckDBPyConnection, environment: str) -> None:
    """Leave only the rows of an environment in sight, in every table that has environments.

    Temporary views hide the tables of their names, so that the SQL of a report stays as it is.
    """
    set_variables(connection, {"environment": environment})
    for database, table in connection.execute(sqlfiles.load("tables/with_environment").text).fetchall():
        rows = connection.table(f'"{database}".main."{table}"')
        connection.register(table, rows.filter("environment = getvariable('environment')"))


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
        raise QueryError(f"the query cannot be run: {statements.fault(error)}") from error
    finally:
        timer.cancel()


def _no_rows() -> pa.Table:
    import pyarrow as pa

    return pa.table({})
