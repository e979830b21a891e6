"""`Router`: the main path of a request.

    route ─► call (fallback, total deadline) ─► record ─► reply

`route` reads memory only. `complete` appends the request's record to the journal before it
returns, so a caller who has a response has a record on disk.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.breaker import Breaker
from router.calls import call, since_ms
from router.ejection import BreakerRules
from router.errors import (
    BudgetExceededError,
    JournalError,
    LimitsUnavailableError,
    NoEligibleModelError,
    ProviderError,
    RateLimitedError,
    UnknownPolicyError,
)
from router.feedback import FeedbackSource, check_feedback
from router.funds import Funds
from router.journal import Journal
from router.knowledge import NEW_SESSION, Moment
from router.limits.counters import Subjects
from router.loop import LoopThread
from router.outcome import Outcome, build_log, build_record, refused_record
from router.providers.base import Providers
from router.records import FeedbackRecord, new_id
from router.refresh import Refresher
from router.request import Response
from router.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from router.catalog import Catalog, Model
    from router.classifier import TaskClassifier
    from router.config import Settings
    from router.features import FeatureSpace
    from router.journal import RecordSink
    from router.knowledge import Knowledge
    from router.limits.limits import Limits
    from router.policy import Policy
    from router.preferences import Preferences
    from router.providers.base import Answer
    from router.records import Attempt, Record, RequestRecord
    from router.refresh import Source
    from router.request import Decision, Request
    from router.scores import ScoreBoard, ScoreSource
    from router.sessions import Session
    from router.state import StateSource

logger = logging.getLogger("router")

REFUSALS = (NoEligibleModelError, RateLimitedError, BudgetExceededError, LimitsUnavailableError)
"""Errors of a request that was understood and not served: they are recorded."""
MAX_RESERVATIONS = 10
"""Decisions made for one request while others take what is left of its budget."""
MIN_ESTIMATE = 50
"""Tokens a request is estimated at, from which on the estimate is compared with the provider's count."""


class Router:
    """Routes chat completions; one instance serves many threads and event loops."""

    def __init__(
        self,
        *,
        settings: Settings,
        state: StateSource,
        scores: ScoreSource,
        sink: RecordSink,
        limits: Limits,
        variables: Mapping[str, str],
        features: FeatureSpace | None = None,
        classifier: Source[TaskClassifier | None] | None = None,
    ) -> None:
        """Use `Router.open`; this is for tests and for embedding with seams of your own."""
        self.settings = settings
        self.sink = sink
        self._limits = limits
        self._features = features
        self.unrecorded = 0
        """Requests served though their record is not safe (JOURNAL_ON_ERROR=serve); reports may lack them."""
        self.unlogged = 0
        """Requests served whose record is written and whose audit log is not."""
        self._sessions = Sessions(ttl_s=settings.session_ttl_s, max_sessions=settings.max_sessions)
        self._random = random.Random(settings.seed)  # noqa: S311 - sampling, not secrecy
        self._providers = Providers(settings, variables)
        self._breaker = Breaker((), BreakerRules.of(settings))
        self._refresher = Refresher(
            state,
            scores,
            classifier,
            variables=variables,
            environment=settings.environment,
            interval_s=settings.scores_refresh_interval_s,
            reload_limits=limits.reload,
            on_state=lambda state: self._breaker.watch(state.catalog.models.values()),
        )
        self.opened_at = datetime.now(UTC)
        self._private_loop: LoopThread | None = None
        self._private_loop_lock = threading.Lock()  # guards the creation of _private_loop

    @classmethod
    def open(cls, settings: Settings | None = None, **overrides: Any) -> Router:
        """A router on the data folder that the environment (and `.env`) names.

        `overrides` are field names of Settings, such as `home="…"`. ConfigError when settings,
        catalog or policies are not usable.
        """
        from router.classifier import ClassifierSource
        from router.config import Settings, read_environment
        from router.limits.limits import Limits
        from router.scores import ScoreFile
        from router.state import StateFiles

        variables = read_environment()
        settings = settings or Settings.load(variables, **overrides)
        journal = Journal(
            settings.home,
            seal_interval_s=settings.journal_seal_interval_s,
            max_bytes=settings.journal_max_bytes,
            sync=settings.journal_sync,
        )
        try:
            features = _feature_space(settings)
            return cls(
                settings=settings,
                state=StateFiles(settings),
                scores=ScoreFile(settings.scores_file),
                sink=journal,
                limits=Limits.open(settings),
                variables=variables,
                features=features,
                classifier=None if features is None else ClassifierSource(settings.classifier_file, features),
            )
        except BaseException:
            journal.close()
            raise

    @property
    def catalog(self) -> Catalog:
        """The models requests may be routed to."""
        return self._knowledge.state.catalog

    @property
    def board(self) -> ScoreBoard:
        """The scores in use."""
        return self._knowledge.board

    def route(self, request: Request) -> Decision:
        """Choose a model for `request`; reads memory only.

        RequestError for an unknown model, task or policy; NoEligibleModelError when every
        candidate is excluded.
        """
        request_id, timestamp = new_id()
        knowledge, session, limits = self._knowledge, self._session(request), self._limits
        funds = None
        if limits.is_active:
            admission = limits.peek(_subjects(request), at=timestamp)
            funds = Funds(limits, admission, request, timestamp)
        return knowledge.decide(
            request,
            self._policy(knowledge, request, session),
            Moment(request_id, timestamp, self._random.random()),
            session=session,
            ejections=self._breaker.view(),
            funds=funds,
        )

    async def complete(self, request: Request) -> Response:
        """Route, call (falling back down the candidates), record, and return the answer.

        RequestError when the request cannot be served, ProviderError when every try failed,
        JournalError when the record could not be written: then no answer is handed out.
        """
        started = time.perf_counter()
        request_id, timestamp = new_id()
        if self.settings.journal_on_error == "refuse":
            self.sink.check_writable()
        knowledge, session = self._knowledge, self._session(request)
        policy = self._policy(knowledge, request, session)
        moment = Moment(request_id, timestamp, self._random.random())
        funds: Funds | None = None
        try:
            if self._limits.is_active:
                funds = await self._admit(request, timestamp)
            decision = await self._decide(knowledge, request, policy, moment, session, funds)
        except REFUSALS as error:
            error.request_id = request_id
            if funds is not None:
                await funds.give_back()
            refused = refused_record(
                request,
                error,
                request_id=request_id,
                timestamp=timestamp,
                settings=self.settings,
                policy=policy,
                state=knowledge.state,
                latency_ms=since_ms(started),
            )
            await self._record(request, refused, None)
            raise
        attempts: list[Attempt] = []
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = await self._call(knowledge, request, decision, attempts, funds)
        except BaseException as error:  # a cancelled request is recorded like any other
            failure = error
        outcome = Outcome(
            answer=answer,
            failure=failure,
            attempts=tuple(attempts),
            latency_ms=since_ms(started),
            admission=funds.admission if funds else None,
        )
        record = build_record(
            request,
            decision,
            outcome,
            settings=self.settings,
            catalog=knowledge.state.catalog,
            prompt_features=self._prompt_features(request, request_id),
        )
        is_recorded = False
        try:
            is_recorded = await self._record(request, record, answer)
        finally:
            if funds is not None:
                await funds.settle(record, failure=failure, is_recorded=is_recorded)
        if failure is not None:
            if isinstance(failure, ProviderError):
                failure.request_id = request_id
                failure.attempts = tuple(attempts)
            raise failure
        assert answer is not None  # noqa: S101 - no failure means an answer
        self._remember(request, decision, attempts[-1].model, answer)
        return Response(
            request_id=request_id,
            model=attempts[-1].model,
            provider=attempts[-1].provider,
            body=answer.body,
            raw=answer.raw,
            decision=decision,
            usage=answer.usage,
            cost_usd=record.cost_usd,
            latency_ms=record.latency_ms,
            overhead_ms=record.overhead_ms or 0.0,
            attempts=len(attempts),
            limit_headers=funds.admission.headers() if funds else {},
        )

    def complete_sync(self, request: Request) -> Response:
        """`complete` for callers without an event loop; may be called from any thread but a loop's."""
        return self._own_loop().run(self.complete(request))

    def feedback(
        self,
        request_id: str,
        metric: str = "quality",
        value: float = 1.0,
        *,
        source: FeedbackSource = "user",
        comment: str | None = None,
    ) -> str:
        """Judge an answer from 0 (worst) to 1 (best); returns the feedback's id.

        `quality` is the metric that scores models, others are stored beside it. A later judgement
        of the same request and metric replaces an earlier one. RequestError for a value outside
        0..1 or an id that no response of this router carried.
        """
        feedback_id, created_at = new_id()
        check_feedback(request_id, metric, value, source, comment, now=created_at)
        self.sink.append(
            FeedbackRecord(
                feedback_id=feedback_id,
                request_id=request_id.lower(),
                metric=metric,
                value=float(value),
                source=source,
                comment=comment,
                created_at=created_at,
            )
        )
        return feedback_id

    def open_session(
        self, session_id: str, *, policy: str | None = None, preferences: Preferences | None = None
    ) -> None:
        """Give a session a policy and preferences of its own; requests may still name others."""
        if policy is not None and policy not in self._knowledge.state.policies.by_id:
            raise UnknownPolicyError(policy, self._knowledge.state.policies.by_id)
        self._sessions.update(session_id, policy=policy, preferences=preferences)

    def refresh(self) -> bool:
        """Read the configuration and the published scores if they changed; whether they did.

        ConfigError or ScoresError when one of them is unusable: the router keeps the one it has,
        and takes the other.
        """
        return self._refresher.refresh()

    def health(self) -> dict[str, Any]:
        """What a person or a load balancer asks first; serving goes on in every state.

        `status` is `ok`, or `degraded` with the reason in an `error`.
        """
        snapshot = self.board.snapshot
        journal_error = self.sink.error
        excluded = self._knowledge.standing
        now = datetime.now(UTC)
        errors = {name: str(error) for name, error in self._refresher.errors.items()}
        return {
            "status": "degraded" if errors or journal_error is not None else "ok",
            "configuration": {
                "config_hash": self._knowledge.state.config_hash,
                "error": errors.get("configuration"),
            },
            "scores": {
                "snapshot_id": snapshot.snapshot_id if snapshot else None,
                "as_of": snapshot.as_of.isoformat() if snapshot else None,
                "age_s": (now - snapshot.published_at).total_seconds() if snapshot else None,
                "error": errors.get("scores"),
            },
            "journal": {
                "backlog_bytes": self.sink.backlog_bytes(),
                "unrecorded": self.unrecorded,
                "unlogged": self.unlogged,
                "error": None if journal_error is None else str(journal_error),
            },
            "models": {
                "eligible": len(self.catalog.models) - len(excluded),
                "excluded": dict(excluded),
            },
            "breakers": self._breaker.snapshot(),
            "limits": self._limits.health(),
        }

    def close(self) -> None:
        """Seal the journal and stop; safe to call twice."""
        self._refresher.close()
        if self._private_loop is not None:
            self._private_loop.run(self.aclose_connections())
            self._private_loop.stop()
            self._private_loop = None
        self._limits.close()
        self.sink.close()

    async def aclose_connections(self) -> None:
        """Close the provider connections of the running event loop."""
        await self._providers.aclose()
        await self._limits.aclose_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose_connections()
        await asyncio.to_thread(self.close)

    @property
    def _knowledge(self) -> Knowledge:
        return self._refresher.knowledge

    def _session(self, request: Request) -> Session:
        return (self._sessions.get(request.session_id) if request.session_id else None) or NEW_SESSION

    def _policy(self, knowledge: Knowledge, request: Request, session: Session) -> Policy:
        return knowledge.policy_of(request, session, self.settings.default_policy)

    async def _admit(self, request: Request, timestamp: datetime) -> Funds:
        tokens = request.estimated_input_tokens() + request.max_output_tokens() * request.choices()
        admission = await self._limits.admit(_subjects(request), tokens=tokens, at=timestamp)
        return Funds(self._limits, admission, request, timestamp)

    async def _decide(
        self,
        knowledge: Knowledge,
        request: Request,
        policy: Policy,
        moment: Moment,
        session: Session,
        funds: Funds | None,
    ) -> Decision:
        """The decision, with its model's worst case reserved."""
        for attempt in range(MAX_RESERVATIONS):
            decision = knowledge.decide(
                request, policy, moment, session=session, ejections=self._breaker.view(), funds=funds
            )
            model = knowledge.state.catalog.models[decision.model]
            if funds is None or await funds.reserve(decision.request_id, model):
                self._breaker.begin(model.id)
                return decision
            # Others were quicker. The admission knows now what is left, and the next round excludes
            # what does not fit.
            if attempt == MAX_RESERVATIONS - 1:
                raise funds.admission.refusal(funds.worst_case(model))
        raise AssertionError("unreachable: the last round returns or raises")

    async def _call(
        self,
        knowledge: Knowledge,
        request: Request,
        decision: Decision,
        attempts: list[Attempt],
        funds: Funds | None,
    ) -> Answer:
        """The first usable answer down the candidates; each try is put on `attempts`."""
        catalog = knowledge.state.catalog

        async def may_fall_back_to(model: Model) -> bool:
            if funds is not None and not await funds.reserve(decision.request_id, model):
                return False
            return self._breaker.begin(model.id)

        def on_attempt(attempt: Attempt, failure: ProviderError | None) -> None:
            self._breaker.record(
                attempt.model,
                success=attempt.error_type is None,
                error_type=attempt.error_type,
                latency_ms=attempt.latency_ms,
                retry_after_s=failure.retry_after_s if failure else None,
            )
            if funds is not None:
                funds.note(catalog.models[attempt.model], failure)

        names = (decision.model, *decision.fallbacks)[: self.settings.max_attempts]
        return await call(
            [catalog.models[name] for name in names],
            {**request.parameters, "messages": request.messages},
            self._providers.of(catalog),
            timeout_s=self.settings.request_timeout_s,
            attempts=attempts,
            may_fall_back_to=may_fall_back_to,
            on_attempt=on_attempt,
        )

    def _prompt_features(self, request: Request, request_id: str) -> str | None:
        """What the task classifier learns from, of a sample of the requests that come labelled."""
        if self._features is None or request.task_type is None:
            return None
        from router.features import is_sampled

        if not is_sampled(request_id, self.settings.task_sample_share):
            return None
        features = self._features.features(request.last_text(), request.parameters)
        return self._features.pack(features) if features else None

    def _remember(self, request: Request, decision: Decision, model: str, answer: Answer) -> None:
        if request.session_id is None:
            return
        changes: dict[str, Any] = {"model": model, "treated_as": decision.treated_as}
        if request.policy is not None:
            changes["policy"] = request.policy
        if request.preferences is not None:
            changes["preferences"] = request.preferences
        estimate = request.estimated_input_tokens()
        if answer.usage.tokens_input and estimate >= MIN_ESTIMATE:
            changes["tokens_per_estimate"] = answer.usage.tokens_input / estimate
        self._sessions.update(request.session_id, **changes)

    async def _record(self, request: Request, record: RequestRecord, answer: Answer | None) -> bool:
        """Put the request on disk; where that fails, do what JOURNAL_ON_ERROR says. Whether it is there."""
        entries: list[Record] = [record]
        if self.settings.request_logging:
            entries.append(build_log(request, record, answer, body_mode=self.settings.request_log_body_mode))
        try:
            await self.sink.append_async(*entries)
        except JournalError as error:
            if self.settings.journal_on_error == "refuse":
                raise
            if error.written:  # the record is the first of the entries
                self.unlogged += 1
            else:
                self.unrecorded += 1
            lost = "an audit log" if error.written else "a record"
            logger.error("request `%s` is served without %s: %s", record.id, lost, error)
            return error.written > 0
        return True

    def _own_loop(self) -> LoopThread:
        with self._private_loop_lock:
            if self._private_loop is None:
                self._private_loop = LoopThread()
            return self._private_loop


def _subjects(request: Request) -> Subjects:
    return Subjects(request.api_key_id, request.user_id, request.organization_id, request.session_id)


def _feature_space(settings: Settings) -> FeatureSpace | None:
    """Prompt features, where they are sampled or a classifier reads them."""
    from router.features import FeatureSpace, load_key

    if settings.task_sample_share == 0 and not settings.classifier_file.exists():
        return None
    return FeatureSpace(load_key(settings.features_key_file))
