"""The steps that notice: compute a mart, and raise an alert for each incident that is new.

The alert is on disk before the mart shows the incident. A refresh that is killed in between finds the
incident again, with the same id. An alert names organisations, tasks, models and keys. Of a user's or
session's budget it names only the budget, since alerts leave this machine and outlive an erasure.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.anomalies import alert_log
from pipelines.anomalies.alert_log import Alert
from pipelines.anomalies.budgets import BudgetsResult, compute_budgets
from pipelines.anomalies.metrics import BY_NAME
from pipelines.anomalies.watching import WatchResult, compute_anomalies
from pipelines.anomalies.webhook import DeliveryResult, deliver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.anomalies.incidents import Anomaly
    from pipelines.warehouse.warehouse import Warehouse

logger = logging.getLogger("pipelines.anomalies")

RECENT = timedelta(days=7)
"""An incident that was over for longer raises no alert: the first refresh of a long log finds many."""
SAME = timedelta(days=1)
"""A departure of the same series within this time is the same incident, although late records moved it."""
PEOPLE = ("user", "session")


def notice_budgets(warehouse: Warehouse, *, now: datetime | None = None) -> BudgetsResult:
    """Bring `budget_status` up to date, and raise an alert for each share that is newly reached."""
    moment = now or datetime.now(UTC)

    def raise_alerts(rows: Sequence[Mapping[str, Any]]) -> None:
        has_webhook = warehouse.settings.alert_webhook_url is not None
        alerts = [
            _of_budget(row, moment, to_webhook=has_webhook)
            for row in rows
            if row["alert_reached"] is not None
        ]
        if alerts:
            with alert_log.opened(warehouse.settings) as log:
                log.add(alerts)

    return compute_budgets(warehouse, now=moment, before=raise_alerts)


def notice_anomalies(warehouse: Warehouse, *, now: datetime | None = None) -> WatchResult:
    """Bring `anomalies` up to date, and raise an alert for each incident that is new."""
    moment = now or datetime.now(UTC)

    def raise_alerts(anomalies: Sequence[Anomaly]) -> None:
        fresh = [
            item
            for item in anomalies
            if item.incident_id == item.anomaly_id
            and (item.ended_at is None or item.ended_at > moment - RECENT)
        ]
        if not fresh:
            return
        has_webhook = warehouse.settings.alert_webhook_url is not None
        with alert_log.opened(warehouse.settings) as log:
            known = [alert.facts for alert in log.alerts.values() if alert.kind == "anomaly"]
            log.add(
                _of_anomaly(item, anomalies, moment, to_webhook=has_webhook)
                for item in fresh
                if not _is_known(item, known)
            )

    return compute_anomalies(warehouse, now=moment, before=raise_alerts)


def send_alerts(warehouse: Warehouse, *, now: datetime | None = None) -> DeliveryResult:
    """Deliver the alerts that are due. The refresh goes on if the webhook fails."""
    if not alert_log.folder_of(warehouse.settings).exists():
        return DeliveryResult()
    with alert_log.opened(warehouse.settings) as log:
        result = deliver(warehouse.settings, log, now=now)
    if result.problem is not None:
        logger.warning("alerts wait for their webhook: %s", result.problem)
    return result


def _of_budget(row: Mapping[str, Any], now: datetime, *, to_webhook: bool) -> Alert:
    names = ("organization_id", "api_key_id", "user_id", "session_id")
    subject = [row[name] for name in names]
    start = None if row["period_start"] is None else row["period_start"].isoformat()
    share, spent, limit = row["alert_reached"], row["spent_usd"], row["limit_usd"]
    is_person = row["scope"] in PEOPLE
    whose = (
        f"a {row['scope']}"
        if is_person
        else f"{row['scope']} `{row['organization_id'] or row['api_key_id']}`"
    )
    pace = row["projected_usd"]
    end = row["period_end"]
    text = (
        f"Budget `{row['budget_id']}` of {whose} has reached {share:.0%}:"
        f" ${_amount(spent)} of ${_amount(limit)}"
        + (
            ""
            if pace is None or end is None
            else f". At this pace it is ${_amount(pace)} on {end:%Y-%m-%d %H:%M} UTC"
        )
        + (". `intellirouter budgets` shows whose it is" if is_person else "")
    )
    facts = {
        "budget_id": row["budget_id"],
        "scope": row["scope"],
        "subject": None if is_person else row["organization_id"] or row["api_key_id"],
        "period": row["period"],
        "period_start": start,
        "alert_at": share,
        "spent_usd": f"{spent:f}",
        "limit_usd": f"{limit:f}",
        "projected_usd": None if pace is None else f"{pace:f}",
    }
    parts = ("budget", row["budget_id"], start, *subject, share)
    return Alert(id=_id(parts), at=now, kind="budget", text=text, facts=facts, to_webhook=to_webhook)


def _of_anomaly(item: Anomaly, anomalies: Sequence[Anomaly], now: datetime, *, to_webhook: bool) -> Alert:
    members = [other for other in anomalies if other.incident_id == item.incident_id]
    facts = {
        "incident_id": item.incident_id,
        "environment": item.environment,
        "metric": item.metric,
        "scope": item.scope,
        "subject": item.subject,
        "since": item.since.astimezone(UTC).isoformat(),
        "detected_at": item.detected_at.astimezone(UTC).isoformat(),
        "expected": item.expected,
        "expected_low": item.expected_low,
        "expected_high": item.expected_high,
        "seen": item.seen,
        "contributors": json.loads(item.contributors),
        "series": [_series(other) for other in members],
    }
    also = "" if len(members) < 2 else f". It shows in {len(members)} series"
    text = (
        f"Unusual {item.metric} of {_series(item)} since {item.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC:"
        f" {_figure(item, item.seen)}, expected {_figure(item, item.expected)}"
        f" ({_figure(item, item.expected_low)} to {_figure(item, item.expected_high)}){also}"
    )
    return Alert(
        id=_id(("anomaly", item.incident_id)),
        at=now,
        kind="anomaly",
        text=text,
        facts=facts,
        to_webhook=to_webhook,
    )


def _is_known(item: Anomaly, known: Sequence[Mapping[str, Any]]) -> bool:
    series = (item.environment, item.scope, item.subject, item.metric)
    return any(
        series == tuple(facts.get(name) for name in ("environment", "scope", "subject", "metric"))
        and abs(datetime.fromisoformat(facts["detected_at"]) - item.detected_at) <= SAME
        for facts in known
    )


def _series(item: Anomaly) -> str:
    return "all traffic" if item.subject is None else f"{item.scope} `{item.subject}`"


def _figure(item: Anomaly, value: float) -> str:
    is_share = item.metric in BY_NAME and BY_NAME[item.metric].kind == "share"
    return f"{value:.1%}" if is_share else f"{value:,.4g}"


def _amount(usd: Any) -> str:
    return f"{usd:,.2f}" if usd >= 1 else f"{float(usd):.4g}"


def _id(parts: tuple[Any, ...]) -> str:
    return "al_" + hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
