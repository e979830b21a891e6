"""The marts as people ask for them, from the published warehouse, and the alerts from their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.anomalies import alert_log
from pipelines.reports.reports import Answer, opened, require_organization
from pipelines.warehouse import sqlfiles

if TYPE_CHECKING:
    from datetime import datetime

    from pipelines.anomalies.alert_log import Alert, Delivery
    from router.config import Settings


def budgets(settings: Settings, organization: str | None = None) -> Answer:
    """The budgets, those closest to their limit first. QueryError for an unknown organisation."""
    with opened(settings) as connection:
        if organization is not None:
            require_organization(connection, organization)
        found = connection.sql(
            sqlfiles.load("marts/budget_status").text, params={"organization": organization}
        )
        return Answer(table=found.to_arrow_table())


def anomalies(settings: Settings, *, since: datetime, is_open: bool = False) -> Answer:
    """The departures since a moment, the newest first."""
    with opened(settings) as connection:
        found = connection.sql(
            sqlfiles.load("marts/anomalies").text, params={"since": since, "open": is_open}
        )
        return Answer(table=found.to_arrow_table())


def alerts(settings: Settings) -> Answer:
    """A row for each alert, the newest first, with the state of its delivery."""
    import pyarrow as pa

    log = alert_log.read(settings)
    rows = []
    for alert in reversed(list(log.alerts.values())):
        last = log.deliveries.get(alert.id)
        rows.append(
            {
                "at": alert.at,
                "kind": alert.kind,
                "text": alert.text,
                "delivery": _delivery(alert, last),
                "tries": 0 if last is None else last.tries,
                "problem": None if last is None else last.problem,
                "id": alert.id,
            }
        )
    kinds = {"at": pa.timestamp("us", tz="UTC"), "tries": pa.int64()}
    names = ("at", "kind", "text", "delivery", "tries", "problem", "id")
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    return Answer(table=pa.Table.from_pylist(rows, schema=schema))


def _delivery(alert: Alert, last: Delivery | None) -> str:
    if last is not None:
        return "delivered" if last.is_delivered else "dead letter" if last.is_dead else "waiting"
    return "waiting" if alert.to_webhook else "file only"
