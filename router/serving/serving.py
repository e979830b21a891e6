"""`Serving`: one request that was decided, through its calls to its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from router.errors import ProviderError
from router.serving.fallback import call, since_ms
from router.serving.recording import Outcome, build_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from router.catalog.catalog import Catalog, Model
    from router.providers.base import Answer, Provider
    from router.records import Attempt, RequestRecord
    from router.request.request import Body, Decision, Request
    from router.serving.admission import Engine
    from router.serving.fallback import Replied
    from router.serving.funds import Funds

    T = TypeVar("T", bound=Replied)


class Serving:
    """One request under way; belongs to that request alone. Every one must be brought to its `finish`."""

    def __init__(
        self,
        engine: Engine,
        request: Request,
        catalog: Catalog,
        decision: Decision,
        funds: Funds | None,
        started: float,
    ) -> None:
        """`started` is the reading of `time.perf_counter` at which the request arrived."""
        self.request = request
        self.catalog = catalog
        self.decision = decision
        self.started = started
        self.attempts: list[Attempt] = []
        self._retries = engine.retries.begin()
        self._engine = engine
        self._funds = funds
        self._starts_ms: list[float] = []
        """Of each attempt, after the request's arrival; kept for the telemetry alone."""

    @property
    def timeout_s(self) -> float:
        """The total time for the request."""
        return self._engine.settings.request_timeout_s

    @property
    def waited_ms(self) -> float:
        """Spent waiting for providers, and between a failure and the next try."""
        return self._retries.waited_ms + sum(item.latency_ms or 0.0 for item in self.attempts)

    @property
    def limit_headers(self) -> Mapping[str, str]:
        """`x-ratelimit-*`."""
        return self._funds.admission.headers() if self._funds else {}

    async def call(
        self,
        ask: Callable[[Provider, Model, Body], Awaitable[T]],
        *,
        on_attempt: Callable[[Attempt, ProviderError | None], None],
    ) -> T:
        """What `ask` gets of the first candidate that answers; each try is put on `attempts`."""
        engine, decision = self._engine, self.decision
        providers = engine.providers.of(self.catalog)
        body = self.request.body()

        async def may_try(model: Model) -> bool:
            is_repeated = model.id == self.attempts[-1].model
            if is_repeated and model.id in engine.breaker.view().models:
                return False
            if self._funds is not None and not await self._funds.reserve(decision.request_id, model):
                return False
            return engine.breaker.begin(model.id)

        def told(attempt: Attempt, failure: ProviderError | None) -> None:
            self._starts_ms.append(since_ms(self.started) - (attempt.latency_ms or 0.0))
            on_attempt(attempt, failure)

        names = (decision.model, *decision.fallbacks)[: engine.settings.max_attempts]
        return await call(
            [self.catalog.models[name] for name in names],
            lambda model: ask(providers[model.provider], model, body),
            timeout_s=self.timeout_s,
            attempt_timeout_s=engine.settings.attempt_timeout_s,
            attempts=self.attempts,
            retries=self._retries,
            may_try=may_try,
            on_attempt=on_attempt if engine.telemetry is None else told,
        )

    def note(self, attempt: Attempt, failure: ProviderError | None) -> None:
        """Tell the breaker and the budgets how an attempt ended."""
        self._engine.breaker.record(
            attempt.model,
            success=attempt.error_type is None,
            # A key of several says nothing of the model: the next one is tried at once.
            error_type=None if failure and failure.has_other_key else attempt.error_type,
            latency_ms=attempt.latency_ms,
            retry_after_s=failure.retry_after_s if failure else None,
        )
        if self._funds is not None:
            self._funds.note(self.catalog.models[attempt.model], failure)

    async def finish(
        self, answer: Answer | None, failure: BaseException | None, *, ttft_ms: float | None = None
    ) -> RequestRecord:
        """Record the request and settle its budgets; call it once.

        JournalError when the record is not on disk and JOURNAL_ON_ERROR is `refuse`.
        """
        engine, request = self._engine, self.request
        outcome = Outcome(
            answer=answer,
            failure=failure,
            attempts=tuple(self.attempts),
            latency_ms=since_ms(self.started),
            waited_ms=self.waited_ms,
            ttft_ms=ttft_ms,
            admission=self._funds.admission if self._funds else None,
        )
        record = build_record(
            request,
            self.decision,
            outcome,
            settings=engine.settings,
            catalog=self.catalog,
            prompt_features=engine.prompt_features(request, self.decision.request_id),
        )
        if engine.telemetry is not None:
            engine.telemetry.observe(request, record, answer, self.catalog, self._starts_ms)
        is_recorded = False
        try:
            is_recorded = await engine.record(request, record, answer)
        finally:
            if self._funds is not None:
                await self._funds.settle(record, failure=failure, is_recorded=is_recorded)
        if isinstance(failure, ProviderError):
            failure.request_id = self.decision.request_id
            failure.attempts = tuple(self.attempts)
        elif failure is None and answer is not None:
            engine.remember(request, self.decision, self.attempts[-1].model, answer)
        return record
