"""Feedback under a misspelt metric would score nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from router.errors import RequestError
from router.request.feedback import check_feedback
from tests.pipelines.helpers import id_at


@pytest.mark.parametrize("metric", ["qualty", "Quality", "qaulity", "quality ", "quality2"])
def test_a_misspelt_quality_is_refused(metric: str) -> None:
    now = datetime.now(UTC)
    with pytest.raises(RequestError, match="nearest known: `quality`"):
        check_feedback(id_at(now), metric, 1.0, "user", None, now=now)


@pytest.mark.parametrize("metric", ["quality", "politeness", "quality_of_sources", "latency", "q"])
def test_another_metric_is_taken(metric: str) -> None:
    now = datetime.now(UTC)
    check_feedback(id_at(now), metric, 1.0, "user", None, now=now)
