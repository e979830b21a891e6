"""From what happened to the record of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from router.bodies import MAX_DETAILS_LENGTH, kept, kept_details
from router.errors import ProviderError
from router.prices import cost
from router.records import Attempt, BodyMode, Candidate, RequestLog, RequestRecord, Tag

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from router.catalog import Catalog
    from router.config import Settings
    from router.errors import NoEligibleModelError
    from router.policy import Policy
    from router.providers.base import Answer
    from router.request import Decision, Request

DECISION_FIELDS = (
    "model_selected",
    "model_decided",
    "provider",
    "policy_id",
    "policy_version",
    "config_hash",
    "snapshot_id",
    "strategy",
    "propensity",
    "is_exploration",
    "reason",
)
"""What the audit trail repeats of the record; the candidates stay in the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the calls of one request ended: an answer or a failure, never both."""

    answer: Answer | None
    failure: BaseException | None
    attempts: tuple[Attempt, ...]
    latency_ms: float


def build_record(
    request: Request, decision: Decision, outcome: Outcome, *, settings: Settings, catalog: Catalog
) -> RequestRecord:
    """The record of a request that was routed."""
    answer, failure = outcome.answer, outcome.failure
    last = outcome.attempts[-1] if outcome.attempts else None
    served = last.model if last else decision.model
    paid, price_id = _cost(answer, served, decision.timestamp, catalog)
    attempts = list(outcome.attempts)
    if answer is not None:
        attempts[-1] = replace(attempts[-1], cost_usd=paid)
    waited_ms = sum(attempt.latency_ms or 0.0 for attempt in attempts)
    usage = answer.usage if answer else None
    baseline = catalog.models[settings.baseline_model] if settings.baseline_model else None
    return RequestRecord(
        **_identity(request, settings),
        id=decision.request_id,
        timestamp=decision.timestamp,
        task_type=decision.task_type,
        task_type_source=decision.task_type_source,
        model_requested=request.model,
        model_selected=served,
        model_decided=decision.model,
        provider=catalog.models[served].provider,
        policy_id=decision.policy_id,
        policy_version=decision.policy_version,
        config_hash=decision.config_hash,
        snapshot_id=decision.snapshot_id,
        snapshot_age_s=decision.snapshot_age_s,
        strategy=decision.strategy,
        propensity=decision.propensity,
        is_exploration=decision.is_exploration,
        reason=decision.reason,
        candidates=list(decision.candidates),
        tokens_input=usage.tokens_input if usage else None,
        tokens_output=usage.tokens_output if usage else None,
        tokens_cached_input=usage.tokens_cached_input if usage else None,
        tokens_cache_write=usage.tokens_cache_write if usage else None,
        tokens_reasoning=usage.tokens_reasoning if usage else None,
        usage_source="provider" if usage and usage.tokens_input is not None else "unknown",
        cost_usd=paid,
        price_id=price_id,
        provider_cost_usd=answer.provider_cost_usd if answer else None,
        baseline_model=baseline.id if baseline else None,
        baseline_cost_usd=cost(usage, baseline.price_at(decision.timestamp)) if usage and baseline else None,
        success=answer is not None,
        status_code=last.status_code if last else None,
        error_type=_error_type(failure),
        error_details=kept_details(failure, settings.request_log_body_mode),
        finish_reason=answer.finish_reason if answer else None,
        latency_ms=outcome.latency_ms,
        overhead_ms=max(outcome.latency_ms - waited_ms, 0.0),
        attempts=attempts,
    )


def unrouted_record(
    request: Request,
    error: NoEligibleModelError,
    *,
    timestamp: datetime,
    settings: Settings,
    policy: Policy,
    config_hash: str,
    latency_ms: float,
) -> RequestRecord:
    """The record of a request that no model could have."""
    return RequestRecord(
        **_identity(request, settings),
        id=error.request_id,
        timestamp=timestamp,
        task_type=error.task_type,
        task_type_source="default" if request.task_type is None else "caller",
        model_requested=request.model,
        policy_id=policy.id,
        policy_version=policy.version,
        config_hash=config_hash,
        strategy="pinned" if request.model in error.exclusions else policy.strategy,
        reason="every candidate is excluded",
        candidates=[
            Candidate(model=model, is_eligible=False, exclusion=reason)
            for model, reason in error.exclusions.items()
        ],
        success=False,
        error_type=error.code,
        error_details=str(error)[:MAX_DETAILS_LENGTH],
        latency_ms=latency_ms,
    )


def build_log(
    request: Request, record: RequestRecord, answer: Answer | None, *, body_mode: BodyMode
) -> RequestLog:
    """The audit trail's entry of a recorded request."""
    body = {**request.parameters, "model": request.model, "messages": request.messages}
    decision = {name: getattr(record, name) for name in DECISION_FIELDS}
    return RequestLog(
        request_id=record.id,
        timestamp=record.timestamp,
        organization_id=record.organization_id,
        user_id=record.user_id,
        body_mode=body_mode,
        request_data=kept(body, body_mode),
        response_data=kept(answer.body if answer else None, body_mode),
        routing_decision=orjson.dumps(decision).decode(),
        error_details=record.error_details,
        ip_address=request.ip_address,
        user_agent=request.user_agent,
    )


def _identity(request: Request, settings: Settings) -> dict[str, Any]:
    return {
        "environment": request.environment or settings.environment,
        "organization_id": request.organization_id,
        "user_id": request.user_id,
        "session_id": request.session_id,
        "tags": [Tag(key=key, value=value) for key, value in request.tags.items()],
    }


def _cost(
    answer: Answer | None, served: str, at: datetime, catalog: Catalog
) -> tuple[Decimal | None, str | None]:
    """(cost, price id) of an answer; a failed request has no known cost, so None and not 0."""
    if answer is None:
        return None, None
    model = catalog.models[served]
    if model.cost_source == "provider":
        return answer.provider_cost_usd, "provider" if answer.provider_cost_usd is not None else None
    price = model.price_at(at)
    paid = cost(answer.usage, price)
    return paid, price.price_id if price is not None and paid is not None else None


def _error_type(failure: BaseException | None) -> str | None:
    if failure is None:
        return None
    if isinstance(failure, ProviderError):
        return failure.error_type
    return "cancelled" if isinstance(failure, asyncio.CancelledError) else type(failure).__name__
