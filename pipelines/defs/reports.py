"""The pages of `GET /reports`. They have a job of their own, so that no refresh waits for drawings."""

# No `from __future__ import annotations`: Dagster reads the type of `context` when it is decorated.
import base64
from datetime import UTC, datetime

import dagster as dg

from pipelines.reports.pages.building import drawings
from pipelines.reports.pages.publishing import publish_reports
from pipelines.reports.pages.window import Window
from router.config import Settings

CHARTS = (
    "daily-usage",
    "month-by-month",
    "cost-per-task",
    "cost-per-model",
    "cost-per-organization",
    "quality-trend",
)
"""Charts in the metadata. They show no user, since Dagster keeps them when a person is erased."""


@dg.asset(deps=["published_warehouse"], group_name="publish", kinds={"html"})
def published_reports() -> dg.MaterializeResult[None]:
    """`reports/*/*.html`: each organisation's pages of the last 30 days, for `GET /reports`."""
    settings = Settings.load()
    if not settings.reports:
        return dg.MaterializeResult(metadata={"note": "REPORTS is not set: no page is published"})
    result = publish_reports(settings)
    facts: dict[str, dg.MetadataValue] = {
        "organizations_written": dg.MetadataValue.int(result.written),
        "organizations_removed": dg.MetadataValue.int(result.removed),
        "organizations_waiting": dg.MetadataValue.int(result.waiting),
    }
    if result.written:
        window = Window(since=None, until=datetime.now(UTC))
        for name, image in drawings(settings, CHARTS, window):
            encoded = base64.b64encode(image).decode()
            facts[name.replace("-", "_")] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{encoded})")
    return dg.MaterializeResult(metadata=facts)
