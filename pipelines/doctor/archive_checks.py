"""Findings about closed days: segments that no figure counts, and archived files that overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.doctor.findings import Finding, error
from pipelines.warehouse import checks, sqlfiles
from router.records import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb


def closed_days(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Name the refused segments and the archived files that are left out."""
    tables = connection.execute(sqlfiles.load("tables/names").text).fetchall()
    if ("archived_parts",) not in tables:
        return  # a copy that an earlier release published
    bounds = {"start": EPOCH, "end": checks.END}
    refused = connection.execute(sqlfiles.load("checks/closed_days_are_counted").text, bounds)
    for dataset, name, rows, day in refused.fetchall():
        yield error(
            "a segment came after its day was closed, and no figure counts it",
            f"{dataset}/{name}: {rows} rows of {day}",
            "run `intellirouter admit`: it adds them to the archived rollups of the day",
        )
    for path, reason in connection.execute(sqlfiles.load("checks/overlapping_parts").text).fetchall():
        yield error("an archived rollup cannot be added", f"{path} {reason}", "the other part counts")
