"""`Engine`: what serving requests takes, whether the answer comes whole or as a stream.

`begin` admits a request and decides; the `Serving` it gives calls providers and records.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any

from router.decision.knowledge import NEW_SESSION, Moment
from router.decision.refresh import Refresher
from router.errors import (
    BudgetExceededError,
    IntelliRouterError,
    JournalError,
    LimitsUnavailableError,
    NoEligibleModelError,
    RateLimitedError,
)
from router.health.breaker import Breaker
from router.health.ejection import BreakerRules
from router.limits.counters import Subjects
from router.providers.registry import Providers
from router.records import new_id
from router.serving.fallback import since_ms
from router.serving.funds import Funds
from router.serving.recording import build_log, refused_record
from router.serving.retries import Retries
from router.serving.serving import Serving
from router.sessions.sessions import Sessions, owned_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from router.config import Settings
    from router.decision.knowledge import Knowledge
    from router.decision.refresh import Source
    from router.decision.state import StateSource
    from router.journal.journal import RecordSink
    from router.limits.limits import Limits
    from router.policies.policy import Policy
    from router.providers.base import Answer
    from router.records import Record, RequestRecord
    from router.request.request import Decision, Request
    from router.scores.board import ScoreSource
    from router.sessions.sessions import Session, SessionStore
    from router.tasks.classifier import TaskClassifier
    from router.tasks.features import FeatureSpace
    from router.telemetry.exporting import Telemetry

logger = logging.getLogger("router")

REFUSALS = (NoEligibleModelError, RateLimitedError, BudgetExceededError, LimitsUnavailableError)
"""Errors of a request that was understood and not served: they are recorded."""
MAX_RESERVATIONS = 10
"""Decisions made for one request while others take what is left of its budget."""
MIN_ESTIMATE = 50
"""Tokens a request is estimated at, from which on the estimate is compared with the provider's count."""


class Engine:
    """The parts of a router that its requests share; safe for many threads and event loops."""

    def __init__(
        self,
        *,
        settings: Settings,
        state: StateSource,
        scores: ScoreSource,
        sink: RecordSink,
        limits: Limits,
        variables: Mapping[str, str],
        features: FeatureSpace | None,
        classifier: Source[TaskClassifier | None] | None,
    ) -> None:
        self.settings = settings
        self.sink = sink
        self.limits = limits
        self.unrecorded = 0
        self.unlogged = 0
        self.sessions: SessionStore = Sessions(
            ttl_s=settings.session_ttl_s, max_sessions=settings.max_sessions
        )
        self.providers = Providers(settings, variables)
        self.breaker = Breaker((), BreakerRules.of(settings))
        self.retries = Retries(settings.max_retries)
        self.telemetry: Telemetry | None = None
        self._features = features
        self._random = random.Random(settings.seed)  # noqa: S311 - sampling, not secrecy
        self.refresher = Refresher(
            state,
            scores,
            classifier,
            variables=variables,
            environment=settings.environment,
            interval_s=settings.scores_refresh_interval_s,
            reload_limits=limits.reload,
            on_state=lambda state: self.breaker.watch(state.catalog.models.values()),
        )

    @property
    def knowledge(self) -> Knowledge:
        """What a decision reads, as it stands now."""
        return self.refresher.knowledge

    def route(self, request: Request) -> Decision:
        """See Router."""
        request_id, timestamp = new_id()
        knowledge, session = self.knowledge, self._session(request)
        funds = None
        if self.limits.is_active:
            admission = self.limits.peek(_subjects(request), at=timestamp)
            funds = Funds(self.limits, admission, request, timestamp)
        return knowledge.decide(
            request,
            self._policy(knowledge, request, session),
            Moment(request_id, timestamp, self._random.random()),
            session=session,
            ejections=self.breaker.view(),
            funds=funds,
        )

    async def begin(self, request: Request) -> Serving:
        """Admit the request and decide; a refusal is recorded and raised."""
        started = time.perf_counter()
        request_id, timestamp = new_id()
        if self.settings.journal_on_error == "refuse":
            self.sink.check_writable()
        knowledge, session = self.knowledge, self._session(request)
        policy = self._policy(knowledge, request, session)
        moment = Moment(request_id, timestamp, self._random.random())
        funds: Funds | None = None
        try:
            if self.limits.is_active:
                funds = await self._admit(request, timestamp)
            decision = await self._decide(knowledge, request, policy, moment, session, funds)
        except IntelliRouterError as error:
            if funds is not None:
                await funds.give_back()
            if not isinstance(error, REFUSALS):
                raise  # what was asked cannot be: nothing was refused
            error.request_id = request_id
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
            if self.telemetry is not None:
                self.telemetry.observe(request, refused, None, knowledge.state.catalog)
            await self.record(request, refused, None)
            raise
        return Serving(self, request, knowledge.state.catalog, decision, funds, started)

    async def record(self, request: Request, record: RequestRecord, answer: Answer | None) -> bool:
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

    def remember(self, request: Request, decision: Decision, model: str, answer: Answer) -> None:
        """Let the request's session stay with the model that answered."""
        if request.session_id is None or request.operation != "chat":
            return  # vectors are no conversation
        changes: dict[str, Any] = {"model": model, "treated_as": decision.treated_as}
        if request.policy is not None:
            changes["policy"] = request.policy
        if request.preferences is not None and not request.preferences.is_limit_only:
            changes["preferences"] = request.preferences
        estimate = request.estimated_input_tokens()
        if answer.usage.tokens_input and estimate >= MIN_ESTIMATE and not request.is_open_ended:
            changes["tokens_per_estimate"] = answer.usage.tokens_input / estimate
        owned = owned_session(request.session_id, request.api_key_id, request.organization_id)
        self.sessions.update(owned, **changes)

    def prompt_features(self, request: Request, request_id: str) -> str | None:
        """What the task classifier learns from, of a sample of the requests that come labelled."""
        if self._features is None or request.task_type is None or request.operation != "chat":
            return None
        from router.tasks.features import is_sampled

        if not is_sampled(request_id, self.settings.task_sample_share):
            return None
        features = self._features.features(request.last_text(), request.parameters)
        return self._features.pack(features) if features else None

    def _session(self, request: Request) -> Session:
        if request.session_id is None:
            return NEW_SESSION
        owned = owned_session(request.session_id, request.api_key_id, request.organization_id)
        return self.sessions.get(owned) or NEW_SESSION

    def _policy(self, knowledge: Knowledge, request: Request, session: Session) -> Policy:
        return knowledge.policy_of(request, session, self.settings.default_policy)

    async def _admit(self, request: Request, timestamp: datetime) -> Funds:
        tokens = request.estimated_input_tokens() + request.max_output_tokens() * request.choices()
        admission = await self.limits.admit(_subjects(request), tokens=tokens, at=timestamp)
        return Funds(self.limits, admission, request, timestamp)

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
                request, policy, moment, session=session, ejections=self.breaker.view(), funds=funds
            )
            model = knowledge.state.catalog.models[decision.model]
            if funds is None or await funds.reserve(decision.request_id, model):
                self.breaker.begin(model.id)
                return decision
            # Others were quicker. The admission knows now what is left, and the next round excludes
            # what does not fit.
            if attempt == MAX_RESERVATIONS - 1:
                raise funds.admission.refusal(funds.worst_case(model))
        raise AssertionError("unreachable: the last round returns or raises")


def _subjects(request: Request) -> Subjects:
    return Subjects(request.api_key_id, request.user_id, request.organization_id, request.session_id)
