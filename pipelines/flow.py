"""The flow in one place: from sealed segments to the files that the router and people read.

REFRESH lists its steps in order. Each step is a plain function that takes the locked warehouse and
returns its result. The assets in `defs/` run the same functions, each with its own metadata and
checks, so the `refresh` job is this list. Retention and erasure change the lake. They catch up before
they read it and after they changed it, so that the tables follow.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.anomalies.alerts import notice_anomalies, notice_budgets, send_alerts
from pipelines.billing.closing import close
from pipelines.billing.records import load_bills
from pipelines.configurations.history import load_configurations
from pipelines.erasure import erasure, tombstones
from pipelines.errors import ErasureError
from pipelines.evaluation.savings_mart import compute_savings
from pipelines.experiments.registry import load_experiment_registry
from pipelines.experiments.results import compute_results
from pipelines.reconciliation.store import load_reconciliations
from pipelines.reports.pages.publishing import withdraw
from pipelines.retention import admission, retention
from pipelines.rollups.archived_rollups import take_in
from pipelines.rollups.rollups import build_daily_marts, fold_stale_hours, mark_stale
from pipelines.rollups.security import build_security_events_daily
from pipelines.scores.publishing import publish_scores
from pipelines.scores.scoring import score
from pipelines.tasks.classifier import refresh_classifier
from pipelines.warehouse.compliance import load_compliance
from pipelines.warehouse.factors import load_decision_factors
from pipelines.warehouse.loading import load_all
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.registry import load_model_registry
from pipelines.warehouse.usage import publish_usage
from pipelines.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from pipelines.billing.closed import Closing
    from pipelines.erasure.certificates import Certificate
    from pipelines.erasure.erasure import Erasing
    from pipelines.retention.admission import Admission
    from pipelines.retention.retention import RetentionResult
    from router.config import Settings

    Step = Callable[[Warehouse], Any]


ERASURE_ROUNDS = 4
"""Most rounds of an erasure while a running router seals the person's requests."""


def honour_erasures(warehouse: Warehouse) -> list[Certificate]:
    """Erase rows of erased persons that were loaded since, and finish erasures that were stopped."""
    late = (erasure.resume(warehouse, item) for item in tombstones.standing(warehouse.settings))
    return [_carry_out(warehouse, erasing) for erasing in late if erasing is not None]


TO_SCORES: tuple[Step, ...] = (
    fold_stale_hours,  # rows -> hourly rollups
    build_daily_marts,  # rollups -> daily marts
    load_bills,  # billing_usage, closed bills -> billing_records, billing_restatements
    build_security_events_daily,  # security_events -> its mart
    notice_budgets,  # rollups, request_analytics, limits.yaml -> budget_status, alerts/alerts.jsonl
    compute_savings,  # request_analytics, feedback -> savings
    publish_usage,  # request_analytics, savings -> usage/, which the router reads
    load_experiment_registry,  # experiments.yaml -> routing_experiments
    compute_results,  # rollups -> experiment_results
    score,  # rollups, catalog.yaml -> task_model_scores, score_changes, model_versions
    publish_scores,  # scores -> scores/current.json, which the router reads
)
LOAD: tuple[Step, ...] = (
    take_in,  # archived rollups of another folder -> hourly rollups; their days are closed
    load_all,  # lake -> request_analytics, feedback, request_logs, security_events
)
REFRESH: tuple[Step, ...] = (
    *LOAD,
    honour_erasures,
    *TO_SCORES,
    load_model_registry,  # catalog.yaml -> models, model_prices
    notice_anomalies,  # rollups, request_analytics, models -> anomalies, alerts/alerts.jsonl
    send_alerts,  # alerts/alerts.jsonl -> the webhook
    load_configurations,  # the history of the documents -> config_versions, routing_configs, organizations
    load_decision_factors,  # history of policies.yaml -> decision_factors
    load_reconciliations,  # lake/reconciliations -> reconciliations, reconciliation_differences
    load_compliance,  # the trail of changes -> compliance_logs
    refresh_classifier,  # labelled prompts -> scores/classifier.bin
    publish_warehouse,  # the build database -> the copy that people query
)


def run_refresh(warehouse: Warehouse) -> None:
    """Run the whole refresh without Dagster around it."""
    for step in REFRESH:
        step(warehouse)


def catch_up(warehouse: Warehouse) -> None:
    """Bring tables, rollups and scores up to the present content of the lake."""
    for step in (*LOAD, *TO_SCORES):
        step(warehouse)


def retain(
    warehouse: Warehouse, *, now: datetime, dry_run: bool = False, force: bool = False
) -> RetentionResult:
    """Drop records past their period as of `now`. A dry run lists them and changes nothing.

    RetentionError if `now` is far beyond the newest record, unless `force` is set.
    """
    if not dry_run:
        catch_up(warehouse)  # a partition may expire before its first refresh
        admit(warehouse)  # the next step removes the segments
    expiring = retention.plan_retention(warehouse, now=now, is_dry_run=dry_run)
    if not dry_run:
        if not force:
            retention.check_moment(warehouse, expiring)
        retention.remove_expired(warehouse, expiring)
        catch_up(warehouse)
        retention.tidy(warehouse, expiring)
    return expiring.result


def recompute(warehouse: Warehouse, start: datetime, end: datetime) -> int:
    """Compute the hours from `start` to `end` again from their records, and publish. Returns their number.

    Hours whose records have expired keep their rollups.
    """
    for step in LOAD:
        step(warehouse)
    marked = mark_stale(warehouse, start, end)
    for step in TO_SCORES:
        step(warehouse)
    publish_warehouse(warehouse)
    return marked


def admit(warehouse: Warehouse, *, dry_run: bool = False, force: bool = False) -> Admission:
    """Count the segments that came after retention had closed their day. Catch up before.

    `force` also admits segments of days that an earlier release archived, without a list of segments.
    """
    admitted = admission.plan(warehouse, force=force)
    if not dry_run and admitted.segments:
        admission.carry_out(warehouse, admitted)
        catch_up(warehouse)
    return admitted


def erase(settings: Settings, user: str, *, organization: str | None = None) -> Certificate:
    """Erase a person, in one organisation or in all. LegalHoldError when a hold names them.

    ErasureError if the disk or the database failed on the way: a later run goes on where it stopped.
    """
    try:
        with Warehouse(settings) as warehouse:
            erasure.seal_leftovers(settings)
            catch_up(warehouse)
            return _carry_out(warehouse, erasure.begin(warehouse, user, organization, now=datetime.now(UTC)))
    except (OSError, duckdb.Error) as error:
        raise ErasureError(
            f"the erasure stopped: {error}. Remove the cause (a full disk, permissions), then erase again:"
            " it goes on where it stopped, and no record of others is lost"
        ) from error


def close_month(
    settings: Settings,
    month: str,
    *,
    organization: str | None = None,
    zone: ZoneInfo | None = None,
    now: datetime | None = None,
) -> Closing:
    """Close a month's bills on what the lake holds now, and publish them. BillError if they cannot be."""
    with Warehouse(settings) as warehouse:
        for step in (load_all, honour_erasures, *TO_SCORES):
            step(warehouse)
        moment = now or datetime.now(UTC)
        closing = close(warehouse, month, now=moment, organization=organization, zone=zone)
        for step in (load_bills, load_compliance, publish_warehouse):
            step(warehouse)
    return closing


def _carry_out(warehouse: Warehouse, erasing: Erasing) -> Certificate:
    for _ in range(ERASURE_ROUNDS):
        erasure.remove_person(warehouse, erasing)
        withdraw(warehouse.settings)  # pages show users; the next run of the job `reports` draws them again
        catch_up(warehouse)
        if not erasure.is_left(warehouse, erasing):
            break
    return erasure.certify(warehouse, erasing)
