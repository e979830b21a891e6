"""Recording: puts the record of each request on disk.

`Recorder` writes the record of each request and its entry in the audit log. REQUEST_LOG_BODY_MODE
sets how much of the bodies the log keeps:

none      nothing
hash      the SHA-256 of the JSON: proves the content without showing it
redacted  the JSON, with the length in place of every text that a person or a model wrote
full      the JSON, unchanged

An error's message may quote a body, since providers quote prompts. It is kept only under `full`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from router.catalog.prices import cost
from router.errors import JournalError, NoEligibleModelError, ProviderError
from router.limits.periods import to_usd
from router.records import Attempt, BodyMode, Candidate, RequestLog, RequestRecord, Tag
from router.request.arms import asked_of
from router.request.decision import Decision
from router.request.request import AUTO
from router.tasks.features import is_sampled
from router.tasks.tasks import classify

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from router.catalog.catalog import Catalog
    from router.catalog.prices import Usage
    from router.config import Settings
    from router.decision.state import State
    from router.errors import BudgetExceededError, LimitsUnavailableError, RateLimitedError
    from router.journal.journal import RecordSink
    from router.limits.admission import Admission
    from router.policies.policy import Policy
    from router.providers.base import Answer
    from router.records import FeedbackRecord, Record
    from router.request.request import Request
    from router.tasks.features import FeatureSpace
    from router.telemetry.exporting import Telemetry

logger = logging.getLogger("router")

DECIDED = tuple(
    {item.name for item in fields(Decision)}
    & {item.name for item in fields(RequestRecord)} - {"provider", "reason", "candidates"}
)
"""The facts of a decision that its record repeats unchanged, under the same name."""
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
"""The fields of the record that the audit trail repeats. The candidates are only in the record."""
KEPT_TEXTS = frozenset(
    {"finish_reason", "format", "id", "model", "object", "reasoning_effort", "role", "service_tier",
     "system_fingerprint", "tool_choice", "type"}
)  # fmt: skip
"""Members with text of the protocol, not of a person or a model."""
NUMBERS = (int, float)
PLAIN = frozenset({int, float, bool, type(None)})
"""Types of members that reveal no text. Most members of an answer have one of them."""
MAX_KEPT_LENGTH = 64
MAX_DETAILS_LENGTH = 500


class Observer(Protocol):
    """Sees the records of a router."""

    def __call__(self, record: Record, *, is_written: bool) -> None:
        """Called after the journal has written the record, or has failed to."""


class Recorder:
    """Writes records and passes them to telemetry and observers. It is safe for any thread."""

    def __init__(
        self,
        sink: RecordSink,
        settings: Settings,
        *,
        features: FeatureSpace | None,
        telemetry: Telemetry | None,
        observers: Iterable[Observer],
    ) -> None:
        self.sink = sink
        self.telemetry = telemetry
        self.observers = list(observers)
        self.unrecorded = 0
        """Requests that were served without a record (JOURNAL_ON_ERROR=serve)."""
        self.unlogged = 0
        """Requests that were served with a record and without an entry of the audit log."""
        self._settings = settings
        self._features = features

    def check_writable(self) -> None:
        """JournalError if a request could not be recorded and JOURNAL_ON_ERROR is `refuse`."""
        if self._settings.journal_on_error == "refuse":
            self.sink.check_writable()

    async def record(
        self,
        request: Request,
        record: RequestRecord,
        answer: Answer | None,
        catalog: Catalog,
        starts_ms: Sequence[float] = (),
    ) -> bool:
        """Put the record on disk, and return whether it is there. JOURNAL_ON_ERROR decides on failures.

        `starts_ms` are the starts of the attempts, counted from the request's arrival.
        """
        if self.telemetry is not None:
            self.telemetry.observe(request, record, answer, catalog, starts_ms)
        settings = self._settings
        entries: list[Record] = [record]
        if settings.request_logging:
            entries.append(build_log(request, record, answer, body_mode=settings.request_log_body_mode))
        written = 0
        try:
            await self.sink.append_async(*entries)
            written = len(entries)
        except JournalError as error:
            written = error.written  # the record is the first of the entries
            if settings.journal_on_error == "refuse":
                raise
            if written:
                self.unlogged += 1
            else:
                self.unrecorded += 1
            lost = "an audit log" if written else "a record"
            logger.error("request `%s` is served without %s: %s", record.id, lost, error)
        finally:
            for position, entry in enumerate(entries):
                self._show(entry, is_written=position < written)
        return written > 0

    def append(self, record: FeedbackRecord) -> None:
        """Put a judgement on disk; JournalError if that fails."""
        self.sink.append(record)
        self._show(record, is_written=True)

    def prompt_features(self, request: Request, request_id: str) -> str | None:
        """Training input for the task classifier, for a sample of the labelled requests; else None."""
        if self._features is None or request.task_type is None or request.operation != "chat":
            return None
        if not is_sampled(request_id, self._settings.task_sample_share):
            return None
        features = self._features.features(request.last_text(), request.parameters)
        return self._features.pack(features) if features else None

    def close(self) -> None:
        """Seal the journal and export the telemetry. You can call it twice."""
        self.sink.close()
        if self.telemetry is not None:
            self.telemetry.close()

    def _show(self, record: Record, *, is_written: bool) -> None:
        for observer in self.observers:
            observer(record, is_written=is_written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the calls of one request ended: an answer or a failure, or both if a stream was cut."""

    answer: Answer | None
    failure: BaseException | None
    attempts: tuple[Attempt, ...]
    latency_ms: float
    waited_ms: float = 0.0
    """The part of it spent waiting for providers, and between a failure and the next try."""
    ttft_ms: float | None = None
    """From arrival to the first content of a stream; None if none came, or the answer came whole."""
    admission: Admission | None = None
    """The result of limits and budgets; None if none is set."""


def build_record(
    request: Request,
    decision: Decision,
    outcome: Outcome,
    *,
    settings: Settings,
    catalog: Catalog,
    prompt_features: str | None = None,
) -> RequestRecord:
    """The record of a routed request."""
    answer, failure = outcome.answer, outcome.failure
    last = outcome.attempts[-1] if outcome.attempts else None
    served = last.model if last else decision.model
    paid, price_id = cost_of(answer, request, served, decision.timestamp, catalog)
    attempts = list(outcome.attempts)
    if answer is not None:
        attempts[-1] = replace(attempts[-1], cost_usd=paid)
    usage = answer.usage if answer else None
    baseline = catalog.models[settings.baseline_model] if settings.baseline_model else None
    decided = vars(decision)
    return RequestRecord(
        **_identity(request, settings),
        **{name: decided[name] for name in DECIDED},
        id=decision.request_id,
        model_requested=request.model,
        model_selected=served,
        model_decided=decision.model,
        provider=catalog.models[served].provider,
        reason=_with_notices(decision.reason, outcome.admission, _redirection(answer, served, catalog)),
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
        model_answered=answer.model_answered if answer else None,
        service_tier=answer.service_tier if answer else None,
        provider_request_id=answer.provider_request_id if answer else None,
        provider_region=answer.provider_region if answer else None,
        success=failure is None,
        status_code=last.status_code if last else None,
        error_type=_error_type(failure),
        error_details=kept_details(failure, settings.request_log_body_mode),
        finish_reason=answer.finish_reason if answer else None,
        latency_ms=outcome.latency_ms,
        ttft_ms=outcome.ttft_ms,
        overhead_ms=max(outcome.latency_ms - outcome.waited_ms, 0.0),
        attempts=attempts,
        budget_reserved_usd=_reserved_usd(outcome.admission),
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
    """The record of a valid request that was not served."""
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


def _with_notices(reason: str, admission: Admission | None, redirection: str | None) -> str:
    notices = (*(admission.notices if admission else ()), *((redirection,) if redirection else ()))
    return "; ".join((reason, *notices)) if notices else reason


REDIRECTED = "its provider redirected the request to"
"""The check `models_are_not_redirected` and the report of it look for this."""


def _redirection(answer: Answer | None, served: str, catalog: Catalog) -> str | None:
    """The notice of an answer that another model gave than the one asked for."""
    if answer is None:
        return None
    asked = catalog.models[served]
    if catalog.answered(asked, answer.model_answered) is asked:
        return None
    return f"{REDIRECTED} `{answer.model_answered}`"


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
    answer: Answer | None, request: Request, served: str, at: datetime, catalog: Catalog
) -> tuple[Decimal | None, str | None]:
    """(cost, price id) of an answer, or (None, None) if the cost is unknown: None, not 0.

    It is unknown for a failed request, for an answer of a model that the catalog does not know, and where
    the answer reports a charge that the price does not cover.
    """
    if answer is None:
        return None, None
    model = catalog.models[served]
    if model.cost_source == "provider":
        return answer.provider_cost_usd, "provider" if answer.provider_cost_usd is not None else None
    answered = catalog.answered(model, answer.model_answered)
    price = None if answered is None else answered.price_at(at)
    paid = cost(charged_usage(answer, asked_of(request, model)), price, at)
    return paid, price.price_id if price is not None and paid is not None else None


def charged_usage(answer: Answer, request: Request) -> Usage:
    """The usage, with the charges that only the request shows: a tier or a search that is not answered.

    `request` is the one that the model got.
    """
    usage, unpriced = answer.usage, []
    if answer.service_tier is None and request.asked_tier() is not None:
        unpriced.append("service_tier")
    if usage.web_searches is None and (charge := request.asked_charge()) is not None:
        unpriced.append(charge)
    return usage._replace(unpriced=(*usage.unpriced, *unpriced)) if unpriced else usage


def _error_type(failure: BaseException | None) -> str | None:
    if failure is None:
        return None
    if isinstance(failure, ProviderError):
        return failure.error_type
    return "cancelled" if isinstance(failure, asyncio.CancelledError) else type(failure).__name__


def kept(body: Any, mode: BodyMode) -> str | None:
    """The text that is stored for `body` (None if there is none) under `mode`."""
    if body is None or mode == "none":
        return None
    if mode == "hash":
        content = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return orjson.dumps({"sha256": hashlib.sha256(content).hexdigest()}).decode()
    return orjson.dumps(_redacted(body, "") if mode == "redacted" else body).decode()


def kept_details(failure: BaseException | None, mode: BodyMode) -> str | None:
    """The `error_details` that are stored for a failed call under `mode`."""
    if failure is not None and mode == "full":
        return str(failure)[:MAX_DETAILS_LENGTH] or None
    return failure.facts if isinstance(failure, ProviderError) else None


def _redacted(value: Any, member: str) -> Any:
    if isinstance(value, str):
        is_protocol = member in KEPT_TEXTS and len(value) <= MAX_KEPT_LENGTH
        return value if is_protocol else f"[redacted: {len(value)} characters]"
    if isinstance(value, (list, tuple)):
        # Tokens and vectors also reveal a text.
        if value and type(value[0]) in NUMBERS and all(type(item) in NUMBERS for item in value):
            return f"[redacted: {len(value)} numbers]"
        return [_redacted(item, member) for item in value]
    if hasattr(value, "items"):
        return {name: item if type(item) in PLAIN else _redacted(item, name) for name, item in value.items()}
    return value
