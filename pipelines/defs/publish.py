"""The files that leave the pipelines."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.defs import configurations, facts
from pipelines.defs.common import CURRENT, KINDS, POOL, Workspace
from pipelines.evaluation import savings_mart
from pipelines.reconciliation import store
from pipelines.rollups.tables import HOURLY
from pipelines.scores.publishing import publish_scores
from pipelines.tasks import classifier
from pipelines.warehouse import compliance, factors, publishing, registry, usage


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "published_scores",
            deps=["task_model_scores"],
            group_name="publish",
            kinds={"json"},
            freshness_policy=CURRENT,
            description="`scores/current.json`, which the router swaps in whole.",
        ),
        dg.AssetSpec(
            "model_performance_history",
            deps=["task_model_scores"],
            group_name="publish",
            kinds=KINDS,
            description="The key figures of every published snapshot.",
        ),
    ],
    pool=POOL,
)
def published_scores(workspace: Workspace) -> Iterator[dg.MaterializeResult[None] | dg.AssetObservation]:
    """Publish the scores, unless nothing new is known."""
    published = publish_scores(workspace)
    snapshot = published.snapshot
    shown: dict[str, str | bool | int] = {"is_new": published.is_new}
    if snapshot is None:
        shown["note"] = "there are no scores yet: nothing was published"
    else:
        shown |= {
            "snapshot_id": snapshot.snapshot_id,
            "as_of": snapshot.as_of.isoformat(),
            "rows": len(snapshot.rows),
        }
    yield dg.MaterializeResult(asset_key="published_scores", metadata=shown)
    yield dg.MaterializeResult(
        asset_key="model_performance_history",
        metadata={**shown, **facts.table_facts(workspace, "model_performance_history")},
    )
    yield dg.AssetObservation(
        "next_decisions", metadata=facts.loop_facts(workspace, facts.newest_request(workspace))
    )


@dg.asset(
    deps=["usage_quarter_hourly", "propensity_hourly", "documents"],
    group_name="marts",
    kinds=KINDS,
    pool=POOL,
)
def savings(workspace: Workspace) -> dg.MaterializeResult[None]:
    """The saving of the router against BASELINE_MODEL, with intervals."""
    note = savings_mart.compute_savings(workspace)
    shown = facts.table_facts(workspace, "savings") | facts.savings_facts(workspace)
    return dg.MaterializeResult(metadata=shown if note is None else {**shown, "note": note})


@dg.asset(
    deps=["request_analytics", "usage_by_org_daily", "savings"],
    group_name="publish",
    kinds={"json"},
    pool=POOL,
)
def published_usage(workspace: Workspace) -> dg.MaterializeResult[None]:
    """`usage/`: each organisation's use by day, model, task and user, for `GET /v1/usage`."""
    return dg.MaterializeResult(metadata={"organizations_changed": usage.publish_usage(workspace)})


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "models",
            deps=["task_model_scores", "request_analytics", "documents", "price_book"],
            group_name="registry",
            kinds=KINDS,
            description="The catalog with today's prices and the quality measured so far.",
        ),
        dg.AssetSpec(
            "model_prices",
            deps=["request_analytics", "documents", "price_book"],
            group_name="registry",
            kinds=KINDS,
            description="Every dated price: a change adds a row.",
        ),
    ],
    pool=POOL,
)
def model_registry(workspace: Workspace) -> Iterator[dg.MaterializeResult[None]]:
    """Read the catalog, without a change to the tables when it is missing or broken."""
    result = registry.load_model_registry(workspace)
    shown: dict[str, str | int] = {}
    if result.models is not None:
        shown["models"] = result.models
    if result.problem is not None:
        shown["note"] = result.problem
    for table in ("models", "model_prices"):
        yield dg.MaterializeResult(asset_key=table, metadata={**shown, **facts.table_facts(workspace, table)})


@dg.asset(deps=["config_versions"], group_name="registry", kinds=KINDS, pool=POOL)
def decision_factors(workspace: Workspace) -> dg.MaterializeResult[None]:
    """The weights of each configuration in the history."""
    result = factors.load_decision_factors(workspace)
    shown: dict[str, str | int] = {"note": result.problem} if result.problem else {"added": result.added}
    return dg.MaterializeResult(metadata={**shown, **facts.table_facts(workspace, "decision_factors")})


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "reconciliations",
            deps=["lake"],
            group_name="registry",
            kinds=KINDS,
            description="Bills of providers that were compared with the recorded requests.",
        ),
        dg.AssetSpec(
            "reconciliation_differences",
            deps=["lake"],
            group_name="registry",
            kinds=KINDS,
            description="The parts of each of them, by cause.",
        ),
    ],
    pool=POOL,
)
def reconciliations(workspace: Workspace) -> Iterator[dg.MaterializeResult[None]]:
    """Load the kept results of `intellirouter reconcile` from the lake."""
    result = store.load_reconciliations(workspace)
    shown: dict[str, str | int] = {"bills": result.bills}
    if result.problem is not None:
        shown["note"] = result.problem
    for table in ("reconciliations", "reconciliation_differences"):
        yield dg.MaterializeResult(asset_key=table, metadata={**shown, **facts.table_facts(workspace, table)})


@dg.asset(deps=["config_versions"], group_name="registry", kinds=KINDS, pool=POOL)
def compliance_logs(workspace: Workspace) -> dg.MaterializeResult[None]:
    """The changes of keys, documents and prices, and erasures: actor, time, and the state before."""
    result = compliance.load_compliance(workspace)
    shown: dict[str, str | int] = {"note": result.problem} if result.problem else {"events": result.events}
    return dg.MaterializeResult(metadata={**shown, **facts.table_facts(workspace, "compliance_logs")})


@dg.asset(deps=["request_analytics", "honoured_erasures"], group_name="publish", kinds={"numpy"}, pool=POOL)
def task_classifier(workspace: Workspace) -> dg.MaterializeResult[None]:
    """Learns tasks from labelled prompts: `scores/classifier.bin`, while it beats rules and default."""
    result = classifier.refresh_classifier(workspace)
    shown: dict[str, str | bool | int | float] = {
        "samples_available": result.samples_available,
        "is_trained": result.is_trained,
        "note": result.note,
    }
    if result.published is not None:
        shown |= {
            "classifier_id": result.published.classifier_id,
            "tasks": len(result.published.tasks),
            "accuracy": result.published.accuracy,
            "accuracy_baseline": result.published.accuracy_baseline,
            "calibration_error": result.published.calibration_error,
        }
    return dg.MaterializeResult(metadata=shown)


@dg.asset(
    deps=[
        "request_analytics",
        "feedback",
        "request_logs",
        "security_events",
        "security_events_daily",
        "honoured_erasures",
        "models",
        "model_prices",
        *configurations.DESCRIPTIONS,
        "compliance_logs",
        "reconciliations",
        "reconciliation_differences",
        "decision_factors",
        *HOURLY,
        "usage_hourly",
        "task_model_scores",
        "score_changes",
        "model_versions",
        "task_cost_daily",
        "usage_by_org_daily",
        "budget_status",
        "anomalies",
        "savings",
        "billing_records",
        "billing_restatements",
        "model_performance_history",
        "routing_experiments",
        "experiment_results",
        "experiment_phases",
        "task_classifier",
    ],
    group_name="publish",
    kinds=KINDS,
    freshness_policy=CURRENT,
    pool=POOL,
)
def published_warehouse(workspace: Workspace) -> dg.MaterializeResult[None]:
    """The database people query: a finished copy that no refresh ever locks."""
    size = publishing.publish_warehouse(workspace)
    path = str(workspace.settings.warehouse_file)
    shown: dict[str, str | int] = {"path": path}
    shown |= {"note": "nothing changed, the standing file stays"} if size is None else {"bytes": size}
    return dg.MaterializeResult(metadata=shown)
