"""`Serving`: takes one request from its decision through its calls to its record."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from router.errors import REFUSALS, ProviderError
from router.records import Attempt
from router.request.arms import armed
from router.serving.fallback import end_of_try, silence, since_ms
from router.serving.recording import Outcome, build_record
from router.sessions.sessions import owned_session, save_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from router.catalog.catalog import Catalog, Model
    from router.providers.base import Answer, Provider
    from router.records import RequestRecord
    from router.request.decision import Decision
    from router.request.demand import Demand
    from router.request.request import Body, Request
    from router.serving.funds import Funds
    from router.serving.parts import Parts

logger = logging.getLogger("router")

MIN_ESTIMATE = 50
"""Smallest estimate of input tokens that is compared with the provider's count."""


class Replied(Protocol):
    """The result of a call: a whole answer, or a stream after its first content came."""

    @property
    def status_code(self) -> int:
        """Status of the provider's HTTP answer."""


T = TypeVar("T", bound=Replied)


class Serving:
    """One request in progress. Do not share it between requests. You must call `finish` on each one."""

    def __init__(
        self,
        parts: Parts,
        request: Request,
        demand: Demand,
        catalog: Catalog,
        decision: Decision,
        funds: Funds | None,
        started: float,
        *,
        passes_filters: bool = True,
    ) -> None:
        """`started` is the reading of `time.perf_counter` at which the request arrived.

        `passes_filters`: whether another model may be asked after a content filter refused.
        """
        self.request = request
        self.catalog = catalog
        self.decision = decision
        self.started = started
        self._demand = demand
        self.attempts: list[Attempt] = []
        self._parts = parts
        self._funds = funds
        self._passes_filters = passes_filters
        self._retries = parts.retries.begin()
        self._starts_ms: list[float] = []
        """Starts of the attempts, counted from the request's arrival, for the telemetry."""

    @property
    def timeout_s(self) -> float:
        """The total time for the request."""
        return self._parts.settings.request_timeout_s

    @property
    def waited_ms(self) -> float:
        """Time spent waiting for providers, and between a failure and the next try."""
        return self._retries.waited_ms + sum(item.latency_ms or 0.0 for item in self.attempts)

    @property
    def limit_headers(self) -> Mapping[str, str]:
        """The `x-ratelimit-*` headers."""
        return self._funds.admission.headers() if self._funds else {}

    async def call(self, ask: Callable[[Provider, Model, Body], Awaitable[T]]) -> T:
        """The result of `ask` for the first candidate that answers. Each try is added to `attempts`.

        ProviderError when no candidate is left. Its type is `timeout` when the request's time is over, and
        `attempt_timeout` when only a try's own time is. A model may refuse a request that the next one
        serves. Only if the last one refuses it too, the error is the first refusal.
        """
        settings, decision = self._parts.settings, self.decision
        names = (decision.model, *decision.fallbacks)[: settings.max_attempts]
        body = self.request.body()
        policy = self._parts.refresher.knowledge.state.policies.by_id.get(decision.policy_id)
        is_dropping = policy is not None and policy.drop_params
        clock = asyncio.get_running_loop().time
        deadline = clock() + settings.request_timeout_s
        failure: ProviderError | None = None
        refusal: ProviderError | None = None
        for name in names:
            model = self.catalog.models[name]
            if is_dropping and not model.drop_params:
                model = replace(model, drop_params=True)
            if self.attempts and not await self._may_try(model):
                continue
            if failure is not None:
                logger.warning(
                    "falling back from `%s` at `%s`: %s", failure.model, failure.provider, failure.facts
                )
            self._retries.begin(model.provider)
            while True:
                ends_at = end_of_try(
                    model,
                    settings.attempt_timeout_s,
                    now=clock(),
                    deadline=deadline,
                    is_last=name == names[-1],
                )
                try:
                    return await self._try(ask, model, body, ends_at, is_cut_short=ends_at < deadline)
                except ProviderError as error:
                    failure = error
                if failure.error_type in REFUSALS:
                    refusal = refusal or failure
                if clock() >= deadline or not self._may_go_on(failure):
                    raise failure
                may_repeat = await self._retries.may_repeat(failure, left_s=deadline - clock())
                if not may_repeat or not await self._may_try(model):
                    break
        assert failure is not None  # noqa: S101 - one model is always tried
        raise refusal if refusal is not None and failure.error_type in REFUSALS else failure

    def _may_go_on(self, failure: ProviderError) -> bool:
        """Whether another model may be asked after the failure."""
        return failure.error_type != "content_filter" or self._passes_filters

    async def _try(
        self,
        ask: Callable[[Provider, Model, Body], Awaitable[T]],
        model: Model,
        body: Body,
        ends_at: float,
        *,
        is_cut_short: bool,
    ) -> T:
        """Make one call. A failure is noted here, an answer in `finish`, since a stream may still be cut."""
        provider = self._parts.providers.of(self.catalog)[model.provider]
        started = time.perf_counter()
        try:
            async with asyncio.timeout_at(ends_at):
                answer = await ask(provider, model, armed(body, model))
        except TimeoutError:
            failure = silence(model, since_ms(started), is_cut_short=is_cut_short)
        except ProviderError as error:
            failure = error
        except asyncio.CancelledError:
            self._note(self._attempt(model, started, error_type="cancelled"), None)
            raise
        else:
            self._attempt(model, started, status_code=answer.status_code)
            return answer
        attempt = self._attempt(
            model, started, status_code=failure.status_code, error_type=failure.error_type
        )
        self._note(attempt, failure)
        raise failure

    def _attempt(
        self, model: Model, started: float, *, status_code: int | None = None, error_type: str | None = None
    ) -> Attempt:
        attempt = Attempt(
            model=model.id,
            provider=model.provider,
            status_code=status_code,
            error_type=error_type,
            latency_ms=since_ms(started),
        )
        self.attempts.append(attempt)
        self._starts_ms.append(1000.0 * (started - self.started))
        return attempt

    async def _may_try(self, model: Model) -> bool:
        """Whether health and budgets allow another call to the model."""
        breaker = self._parts.breaker
        is_repeated = model.id == self.attempts[-1].model
        if is_repeated and model.id in breaker.view().models:
            return False
        if self._funds is not None and not await self._funds.reserve(self.decision.request_id, model):
            return False
        return breaker.begin(model.id)

    def _note(self, attempt: Attempt, failure: ProviderError | None) -> None:
        """Report the end of an attempt to the breaker and the budgets."""
        self._parts.breaker.record(
            attempt.model,
            success=attempt.error_type is None,
            # If one key of several is refused, that is not the model's fault: the next key is tried at once.
            error_type=None if failure and failure.has_other_key else attempt.error_type,
            latency_ms=attempt.latency_ms,
            retry_after_s=failure.retry_after_s if failure else None,
        )
        if self._funds is not None:
            self._funds.note(self.catalog.models[attempt.model], failure)

    async def finish(
        self, answer: Answer | None, failure: BaseException | None, *, ttft_ms: float | None = None
    ) -> RequestRecord:
        """Record the request and settle its budgets. Call it once.

        JournalError if the record is not on disk and JOURNAL_ON_ERROR is `refuse`.
        """
        parts, request, funds = self._parts, self.request, self._funds
        provider_failure = failure if isinstance(failure, ProviderError) else None
        if answer is not None:
            self._note(self.attempts[-1], provider_failure)
        outcome = Outcome(
            answer=answer,
            failure=failure,
            attempts=tuple(self.attempts),
            latency_ms=since_ms(self.started),
            waited_ms=self.waited_ms,
            ttft_ms=ttft_ms,
            admission=funds.admission if funds else None,
        )
        record = build_record(
            request,
            self.decision,
            outcome,
            settings=parts.settings,
            catalog=self.catalog,
            prompt_features=parts.recorder.prompt_features(request, self.decision.request_id),
        )
        is_recorded = False
        try:
            is_recorded = await parts.recorder.record(request, record, answer, self.catalog, self._starts_ms)
        finally:
            if funds is not None:
                await funds.settle(record, failure=failure, is_recorded=is_recorded)
        if provider_failure is not None:
            provider_failure.request_id = self.decision.request_id
            provider_failure.attempts = outcome.attempts
        elif failure is None and answer is not None:
            await self._remember(answer)
        return record

    async def _remember(self, answer: Answer) -> None:
        """Let the request's session stay with the model that answered."""
        request = self.request
        if request.session_id is None or request.operation != "chat":
            return  # vectors are not a conversation
        changes: dict[str, Any] = {
            "model": self.attempts[-1].model,
            "treated_as": self.decision.treated_as,
        }
        if request.policy is not None:
            changes["policy"] = request.policy
        if request.preferences is not None and not request.preferences.is_limit_only:
            changes["preferences"] = request.preferences
        estimate = self._demand.tokens_estimated
        if answer.usage.tokens_input and estimate >= MIN_ESTIMATE and not self._demand.is_open_ended:
            changes["tokens_per_estimate"] = answer.usage.tokens_input / estimate
        owned = owned_session(request.session_id, request.api_key_id, request.organization_id)
        await save_session(self._parts.sessions, owned, changes)
