"""The results as people ask for them, from the published warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import QueryError
from pipelines.reports.reports import Answer, opened
from pipelines.warehouse import sqlfiles
from router.errors import nearest

if TYPE_CHECKING:
    from router.config import Settings


def results(settings: Settings, experiment_id: str | None = None, *, phases: bool = False) -> Answer:
    """Every experiment's results, or one's. QueryError names those that have some.

    `phases`: the shares, times and requests of each phase instead.
    """
    with opened(settings) as connection:
        known = [
            name
            for (name,) in connection.execute(
                "select distinct experiment_id from experiment_results order by experiment_id"
            ).fetchall()
        ]
        if experiment_id is not None and experiment_id not in known:
            raise QueryError(
                f"experiment `{experiment_id}` has no results: {nearest(experiment_id, known)}. Results"
                " come with the refresh after its first requests: run `intellirouter refresh`"
            )
        file = "evaluation/experiment_phases" if phases else "evaluation/experiment_results"
        found = connection.sql(sqlfiles.load(file).text, params={"id": experiment_id})
        return Answer(table=found.to_arrow_table())
