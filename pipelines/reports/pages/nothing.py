"""Says why a report has no rows, and what to do then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.reports import reports
from pipelines.reports.pages.questions import question_of
from pipelines.warehouse import sqlfiles

if TYPE_CHECKING:
    import duckdb

    from pipelines.reports.pages.window import Window

COUNTING = {"request_analytics", "usage_quarter_hourly"}
"""A report that reads one of these has no rows in a period without requests."""


def nothing(connection: duckdb.DuckDBPyConnection, name: str, window: Window) -> str:
    """The sentence in the place of a report without rows. The connection has the report's variables."""
    known = connection.execute(sqlfiles.load("marts/known_cost").text).fetchone()
    own = question_of(name).nothing
    if not COUNTING & set(reports.file_of(name).reads) or (known is not None and known[0]):
        return own or "No request of this period counts in this report."
    since, until = str(window).split(" to ")
    return f"No requests{window.whose()} between {since} and {until}. {_held(connection, window)}"


def _held(connection: duckdb.DuckDBPyConnection, window: Window) -> str:
    found = connection.execute(sqlfiles.load("marts/request_bounds").text).fetchone()
    if found is None or found[0] is None:
        return "The warehouse holds none at all: `intellirouter refresh` loads those that were served."
    first, last = (f"{moment.astimezone(window.zone):%Y-%m-%d %H:%M}" for moment in found)
    return f"The warehouse holds requests from {first} to {last}: choose days with --since and --until."
