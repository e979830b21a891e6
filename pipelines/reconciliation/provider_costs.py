"""Our cost against the cost that providers report in their answers, without any file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.reports.reports import Answer, opened
from pipelines.warehouse import sqlfiles

if TYPE_CHECKING:
    from datetime import datetime

    from router.config import Settings


def provider_costs(settings: Settings, *, since: datetime, until: datetime) -> Answer:
    """One row for each model with a reported cost: both sums, of the requests that have both."""
    with opened(settings) as connection:
        found = connection.sql(
            sqlfiles.load("reconciliation/provider_costs").text, params={"since": since, "until": until}
        )
        return Answer(table=found.to_arrow_table())
