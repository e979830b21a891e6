"""What exploration cost, as people read it."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from pipelines.refresh import refresh
from pipelines.reports import reports
from router.config import Settings
from router.records import Candidate, RequestRecord
from tests.pipelines.helpers import make_record, seal_records


def test_the_report_sums_what_explored_models_cost_beyond_the_best(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    """A dearer model adds the difference, a cheaper one nothing, and an unknown cost is not counted."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    def explored(model: str, cost_usd: float | None) -> RequestRecord:
        candidates = [
            Candidate(model="best", is_eligible=True, utility=0.5, cost_usd=0.001, probability=0.9),
            Candidate(model=model, is_eligible=True, utility=0.4, cost_usd=cost_usd, probability=0.1),
            Candidate(model="out", is_eligible=False, exclusion="no key", utility=0.9, cost_usd=0.1),
        ]
        return make_record(now, model_decided=model, candidates=candidates, is_exploration=model != "best")

    records = [
        explored("dear", 0.011),
        explored("dear", 0.004),
        explored("cheap", 0.0001),
        explored("unpriced", None),
        explored("best", 0.001),
    ]
    seal_records(settings, records)
    assert refresh(settings, instance=instance).success
    (found,) = reports.report(settings, "exploration-cost").table.to_pylist()
    assert (found["requests"], found["explorations"], found["explorations_with_cost"]) == (5, 4, 3)
    assert found["exploration_usd"] == pytest.approx(0.013)
