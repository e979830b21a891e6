"""From what happened to the record of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from router.catalog.prices import cost
from router.errors import NoEligibleModelError, ProviderError
from router.limits.periods import to_usd
from router.records import Attempt, BodyMode, Candidate, RequestLog, RequestRecord, Tag
from router.request.request import AUTO
from router.serving.bodies import MAX_DETAILS_LENGTH, kept, kept_details
from router.tasks.tasks import classify
from router.translate.usage import UNPRICED

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from router.catalog.catalog import Catalog
    from router.config import Settings
    from router.decision.state import State
    from router.errors import BudgetExceededError, LimitsUnavailableError, RateLimitedError
    from router.limits.admission import Admission
    from router.policies.policy import Policy
    from router.providers.base import Answer
    from router.request.request import Decision, Request

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
    """How the calls of one request ended: an answer or a failure; of a stream that was cut, both."""

    answer: Answer | None
    failure: BaseException | None
    attempts: tuple[Attempt, ...]
    latency_ms: float
    waited_ms: float = 0.0
    """Of it for providers, and between a failure and the next try."""
    ttft_ms: float | None = None
    """From arrival to the first content of a stream; None where none came, or all at once."""
    admission: Admission | None = None
    """What limits and budgets said; None when none is set."""


def build_record(
    request: Request,
    decision: Decision,
    outcome: Outcome,
    *,
    settings: Settings,
    catalog: Catalog,
    prompt_features: str | None = None,
) -> RequestRecord:
    """The record of a request that was routed."""
    answer, failure = outcome.answer, outcome.failure
    last = outcome.attempts[-1] if outcome.attempts else None
    served = last.model if last else decision.model
    paid, price_id = cost_of(answer, served, decision.timestamp, catalog)
    attempts = list(outcome.attempts)
    if answer is not None:
        attempts[-1] = replace(attempts[-1], cost_usd=paid)
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
        reason=_with_notices(decision.reason, outcome.admission),
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
        baseline_cost_usd=cost(usage, baseline, decision.timestamp) if usage else None,
        success=failure is None,
        status_code=last.status_code if last else None,
        error_type=_error_type(failure),
        error_details=kept_details(failure, settings.request_log_body_mode),
        finish_reason=answer.finish_reason if answer else None,
        latency_ms=outcome.latency_ms,
        ttft_ms=outcome.ttft_ms,
        overhead_ms=max(outcome.latency_ms - outcome.waited_ms, 0.0),
        attempts=attempts,
        experiment_id=decision.experiment_id,
        variant=decision.variant,
        task_type_confidence=decision.task_type_confidence,
        draw=decision.draw,
        tokens_input_estimated=decision.tokens_input_estimated,
        budget_reserved_usd=_reserved_usd(outcome.admission),
        shadow_policy_id=decision.shadow_policy_id,
        shadow_model=decision.shadow_model,
        prompt_features=prompt_features,
    )


def refused_record(
    request: Request,
    error: NoEligibleModelError | RateLimitedError | BudgetExceededError | LimitsUnavailableError,
    *,
    request_id: str,
    timestamp: datetime,
    settings: Settings,
    policy: Policy,
    state: State,
    latency_ms: float,
) -> RequestRecord:
    """The record of a request that was understood and not served."""
    exclusions = error.exclusions if isinstance(error, NoEligibleModelError) else {}
    task_type, task_type_source, _ = classify(request, state.catalog.tasks)
    is_pinned = request.model != AUTO and request.model not in state.catalog.vectors
    return RequestRecord(
        **_identity(request, settings),
        id=request_id,
        timestamp=timestamp,
        task_type=task_type,
        task_type_source=task_type_source,
        model_requested=request.model,
        policy_id=policy.id,
        policy_version=policy.version,
        config_hash=state.config_hash,
        strategy="pinned" if is_pinned else policy.strategy,
        reason="every candidate is excluded" if exclusions else "refused before a model was chosen",
        candidates=[
            Candidate(model=model, is_eligible=False, exclusion=reason)
            for model, reason in exclusions.items()
        ],
        success=False,
        error_type=error.code,
        error_details=str(error)[:MAX_DETAILS_LENGTH],
        latency_ms=latency_ms,
    )


def _with_notices(reason: str, admission: Admission | None) -> str:
    return "; ".join((reason, *admission.notices)) if admission else reason


def _reserved_usd(admission: Admission | None) -> Decimal | None:
    return None if admission is None or admission.amount is None else to_usd(admission.amount)


def build_log(
    request: Request, record: RequestRecord, answer: Answer | None, *, body_mode: BodyMode
) -> RequestLog:
    """The audit trail's entry of a recorded request."""
    decision = {name: getattr(record, name) for name in DECISION_FIELDS}
    return RequestLog(
        request_id=record.id,
        timestamp=record.timestamp,
        organization_id=record.organization_id,
        user_id=record.user_id,
        body_mode=body_mode,
        request_data=kept(request.asked(), body_mode),
        response_data=kept(answer.body if answer else None, body_mode),
        routing_decision=orjson.dumps(decision).decode(),
        error_details=record.error_details,
        ip_address=request.ip_address,
        user_agent=request.user_agent,
    )


def _identity(request: Request, settings: Settings) -> dict[str, Any]:
    return {
        "environment": request.environment or settings.environment,
        "operation": request.operation,
        "organization_id": request.organization_id,
        "user_id": request.user_id,
        "api_key_id": request.api_key_id,
        "session_id": request.session_id,
        "is_streaming": request.is_streaming,
        "tags": [Tag(key=key, value=value) for key, value in request.tags.items()],
    }


def cost_of(
    answer: Answer | None, served: str, at: datetime, catalog: Catalog
) -> tuple[Decimal | None, str | None]:
    """(cost, price id) of an answer; a failed request has no known cost, so None and not 0.

    Nor has one that used what is charged beside the tokens.
    """
    if answer is None:
        return None, None
    model = catalog.models[served]
    usage = answer.body.get("usage")
    if isinstance(usage, dict) and usage.get(UNPRICED):
        return None, None
    if model.cost_source == "provider":
        return answer.provider_cost_usd, "provider" if answer.provider_cost_usd is not None else None
    price = model.price_at(at)
    paid = cost(answer.usage, price, at)
    return paid, price.price_id if price is not None and paid is not None else None


def _error_type(failure: BaseException | None) -> str | None:
    if failure is None:
        return None
    if isinstance(failure, ProviderError):
        return failure.error_type
    return "cancelled" if isinstance(failure, asyncio.CancelledError) else type(failure).__name__
