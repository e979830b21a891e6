"""`Router`: the main path of a request.

    route ─► call (fallback, total deadline) ─► record ─► reply

`route` reads memory only. `complete` appends the request's record to the journal before it
returns, so a caller who has a response has a record on disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.decide import choose
from router.eligibility import exclusions_of, standing_exclusions
from router.errors import (
    IntelliRouterError,
    JournalError,
    NoEligibleModelError,
    ProviderError,
    UnknownModelError,
    UnknownPolicyError,
)
from router.feedback import FeedbackSource, check_feedback
from router.journal import Journal
from router.loop import LoopThread
from router.outcome import Outcome, build_log, build_record, unrouted_record
from router.records import Attempt, FeedbackRecord, new_id
from router.request import AUTO, Decision, Request, Response
from router.sessions import Sessions
from router.tasks import classify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    from router.catalog import Catalog
    from router.config import Settings
    from router.journal import RecordSink
    from router.policy import Policy
    from router.providers.base import Answer, Provider
    from router.records import Record, RequestRecord
    from router.scores import ScoreBoard, ScoreSource

    T = TypeVar("T")

logger = logging.getLogger("router")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knowledge:
    """Everything a decision reads, swapped whole at a refresh."""

    catalog: Catalog
    policies: Mapping[str, Policy]
    board: ScoreBoard
    config_hash: str
    standing: Mapping[str, str]
    """Models that no request can have now, with the reason."""


class Router:
    """Routes chat completions; one instance serves many threads and event loops."""

    def __init__(
        self,
        *,
        settings: Settings,
        catalog: Catalog,
        policies: Mapping[str, Policy],
        providers: Mapping[str, Provider],
        environment: Mapping[str, str],
        sink: RecordSink,
        scores: ScoreSource,
    ) -> None:
        """Use `Router.open`; this is for tests and for embedding with seams of your own."""
        from router.scores import ScoreBoard

        _require(settings.default_policy, policies, UnknownPolicyError)
        if settings.baseline_model is not None:
            _require(settings.baseline_model, catalog.models, UnknownModelError)
        self.settings = settings
        self.sink = sink
        self.refresh_error: IntelliRouterError | OSError | None = None
        """Why the last background refresh kept the old scores; None when it did not."""
        self.unrecorded = 0
        """Requests served though their record is not safe (JOURNAL_ON_ERROR=serve); reports may lack them."""
        self.unlogged = 0
        """Requests served whose record is written and whose audit log is not."""
        self._providers = providers
        self._scores = scores
        self._seen_version: object = None
        self._sessions = Sessions(ttl_s=settings.session_ttl_s, max_sessions=settings.max_sessions)
        self._random = random.Random(settings.seed)  # noqa: S311 - sampling, not secrecy
        self._knowledge = _Knowledge(
            catalog=catalog,
            policies=policies,
            board=ScoreBoard(None, catalog),
            config_hash=_config_hash(catalog, policies),
            standing=standing_exclusions(catalog, environment),
        )
        self.opened_at = datetime.now(UTC)
        self._refresh_lock = threading.Lock()  # one refresh at a time: the thread's, or a caller's
        self._closing = threading.Event()
        self._private_loop: LoopThread | None = None
        self._private_loop_lock = threading.Lock()  # guards the creation of _private_loop
        self._refresh_quietly()
        self._refresher = threading.Thread(target=self._refresh_forever, name="score-refresh", daemon=True)
        self._refresher.start()

    @classmethod
    def open(cls, settings: Settings | None = None, **overrides: Any) -> Router:
        """A router on the data folder that the environment (and `.env`) names.

        `overrides` are field names of Settings, such as `home="…"`. ConfigError when settings,
        catalog or policies are not usable.
        """
        from router.catalog import Catalog
        from router.config import Settings, read_environment
        from router.policy import load_policies
        from router.providers.base import build
        from router.scores import ScoreFile

        environment = read_environment()
        settings = settings or Settings.load(environment, **overrides)
        catalog = Catalog.load(settings.catalog_file)
        policies = load_policies(settings.policies_file)
        providers = {
            name: build(
                name,
                entry,
                environment=environment,
                max_connections=settings.max_connections,
                max_response_bytes=settings.max_response_bytes,
            )
            for name, entry in catalog.providers.items()
        }
        journal = Journal(
            settings.home,
            seal_interval_s=settings.journal_seal_interval_s,
            max_bytes=settings.journal_max_bytes,
            sync=settings.journal_sync,
        )
        try:
            return cls(
                settings=settings,
                catalog=catalog,
                policies=policies,
                providers=providers,
                environment=environment,
                sink=journal,
                scores=ScoreFile(settings.scores_file),
            )
        except BaseException:
            journal.close()
            raise

    @property
    def catalog(self) -> Catalog:
        """The models requests may be routed to."""
        return self._knowledge.catalog

    @property
    def board(self) -> ScoreBoard:
        """The scores in use."""
        return self._knowledge.board

    def route(self, request: Request) -> Decision:
        """Choose a model for `request`; reads memory only.

        RequestError for an unknown model, task or policy; NoEligibleModelError when every
        candidate is excluded.
        """
        return self._route(request, *new_id())

    async def complete(self, request: Request) -> Response:
        """Route, call (falling back down the candidates), record, and return the answer.

        RequestError when the request cannot be served, ProviderError when every try failed,
        JournalError when the record could not be written: then no answer is handed out.
        """
        started = time.perf_counter()
        request_id, timestamp = new_id()
        if self.settings.journal_on_error == "refuse":
            self.sink.check_writable()
        try:
            decision = self._route(request, request_id, timestamp)
        except NoEligibleModelError as error:
            unrouted = unrouted_record(
                request,
                error,
                timestamp=timestamp,
                settings=self.settings,
                policy=self._policy(request),
                config_hash=self._knowledge.config_hash,
                latency_ms=_since_ms(started),
            )
            await self._record(request, unrouted, None)
            raise
        attempts: list[Attempt] = []
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = await self._call(request, decision, attempts)
        except BaseException as error:  # a cancelled request is recorded like any other
            failure = error
        outcome = Outcome(
            answer=answer, failure=failure, attempts=tuple(attempts), latency_ms=_since_ms(started)
        )
        record = build_record(request, decision, outcome, settings=self.settings, catalog=self.catalog)
        await self._record(request, record, answer)
        if failure is not None:
            if isinstance(failure, ProviderError):
                failure.request_id = request_id
                failure.attempts = tuple(attempts)
            raise failure
        assert answer is not None  # noqa: S101 - no failure means an answer
        if request.session_id is not None:
            self._sessions.put(request.session_id, attempts[-1].model)
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

    def refresh(self) -> bool:
        """Read the published scores if they changed; whether they did.

        ScoresError when the file is unusable: the router keeps the scores it has.
        """
        from router.scores import ScoreBoard

        with self._refresh_lock:
            version = self._scores.version()
            if version == self._seen_version:
                return False
            snapshot = self._scores.load()
            knowledge = self._knowledge
            board = ScoreBoard(snapshot, knowledge.catalog)
            board.warm(knowledge.policies)
            self._knowledge = replace(knowledge, board=board)
            self._seen_version = version
            return True

    def health(self) -> dict[str, Any]:
        """What a person or a load balancer asks first; serving goes on in every state.

        `status` is `ok`, or `degraded` with the reason in `scores.error` or `journal.error`.
        """
        snapshot = self.board.snapshot
        journal_error = self.sink.error
        excluded = self._knowledge.standing
        now = datetime.now(UTC)
        return {
            "status": "ok" if self.refresh_error is None and journal_error is None else "degraded",
            "scores": {
                "snapshot_id": snapshot.snapshot_id if snapshot else None,
                "as_of": snapshot.as_of.isoformat() if snapshot else None,
                "age_s": (now - snapshot.published_at).total_seconds() if snapshot else None,
                "error": None if self.refresh_error is None else str(self.refresh_error),
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
        }

    def close(self) -> None:
        """Seal the journal and stop; safe to call twice."""
        self._closing.set()
        self._refresher.join()
        if self._private_loop is not None:
            self._private_loop.run(self.aclose_connections())
            self._private_loop.stop()
            self._private_loop = None
        self.sink.close()

    async def aclose_connections(self) -> None:
        """Close the provider connections of the running event loop."""
        for provider in self._providers.values():
            await provider.aclose()

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

    def _route(self, request: Request, request_id: str, timestamp: datetime) -> Decision:
        knowledge = self._knowledge
        policy = self._policy(request)
        task_type, task_type_source = classify(
            request.task_type, request.parameters, request.last_text(), knowledge.catalog.tasks
        )
        pinned = None if request.model == AUTO else request.model
        if pinned is not None:
            _require(pinned, knowledge.catalog.models, UnknownModelError)
        exclusions = exclusions_of(request, policy, knowledge.catalog, knowledge.standing)
        choice = choose(
            knowledge.board.table(policy, task_type),
            exclusions,
            policy=policy,
            random=self._random.random(),
            pinned=pinned,
            sticky=self._sessions.get(request.session_id) if request.session_id else None,
        )
        if choice is None:
            raise NoEligibleModelError(
                task_type,
                exclusions if pinned is None else {pinned: exclusions[pinned]},
                request_id=request_id,
            )
        snapshot = knowledge.board.snapshot
        return Decision(
            request_id=request_id,
            timestamp=timestamp,
            model=choice.model,
            provider=knowledge.catalog.models[choice.model].provider,
            fallbacks=choice.fallbacks,
            propensity=choice.propensity,
            strategy=choice.strategy,
            is_exploration=choice.is_exploration,
            reason=choice.reason,
            candidates=choice.candidates,
            task_type=task_type,
            task_type_source=task_type_source,
            policy_id=policy.id,
            policy_version=policy.version,
            config_hash=knowledge.config_hash,
            snapshot_id=snapshot.snapshot_id if snapshot else None,
            snapshot_age_s=(timestamp - snapshot.published_at).total_seconds() if snapshot else None,
        )

    def _policy(self, request: Request) -> Policy:
        name = request.policy or self.settings.default_policy
        return _require(name, self._knowledge.policies, UnknownPolicyError)

    async def _call(self, request: Request, decision: Decision, attempts: list[Attempt]) -> Answer:
        """The first usable answer down the candidates; each try is put on `attempts`."""
        body = {**request.parameters, "messages": request.messages}
        models = (decision.model, *decision.fallbacks)[: self.settings.max_attempts]
        deadline = asyncio.get_running_loop().time() + self.settings.request_timeout_s
        for position, name in enumerate(models):
            model = self.catalog.models[name]
            attempt = Attempt(model=name, provider=model.provider)
            started = time.perf_counter()
            try:
                async with asyncio.timeout_at(deadline):
                    answer = await self._providers[model.provider].complete(model, body)
            except TimeoutError as error:
                attempts.append(replace(attempt, error_type="timeout", latency_ms=_since_ms(started)))
                raise ProviderError(
                    f"no answer within {self.settings.request_timeout_s:g} s (REQUEST_TIMEOUT_S);"
                    f" last tried `{name}` at provider `{model.provider}`",
                    provider=model.provider,
                    model=name,
                    error_type="timeout",
                    is_retryable=True,
                ) from error
            except ProviderError as error:
                attempts.append(
                    replace(
                        attempt,
                        status_code=error.status_code,
                        error_type=error.error_type,
                        latency_ms=_since_ms(started),
                    )
                )
                if not error.is_retryable or position == len(models) - 1:
                    raise
                logger.warning("falling back from `%s` at `%s`: %s", name, model.provider, error.facts)
            except asyncio.CancelledError:
                attempts.append(replace(attempt, error_type="cancelled", latency_ms=_since_ms(started)))
                raise
            else:
                attempts.append(
                    replace(attempt, status_code=answer.status_code, latency_ms=_since_ms(started))
                )
                return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _record(self, request: Request, record: RequestRecord, answer: Answer | None) -> None:
        """Put the request on disk; where that fails, do what JOURNAL_ON_ERROR says."""
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

    def _refresh_forever(self) -> None:
        while not self._closing.wait(self.settings.scores_refresh_interval_s):
            self._refresh_quietly()

    def _refresh_quietly(self) -> None:
        # Serving never waits for analytics: an unusable score file is reported and the router goes
        # on with what it has. `refresh_error` shows in /health.
        try:
            self.refresh()
        except (IntelliRouterError, OSError) as error:
            if str(error) != str(self.refresh_error):
                logger.error("scores not refreshed: %s", error)
            self.refresh_error = error
        else:
            self.refresh_error = None

    def _own_loop(self) -> LoopThread:
        with self._private_loop_lock:
            if self._private_loop is None:
                self._private_loop = LoopThread()
            return self._private_loop


def _require(name: str, known: Mapping[str, T], error: type[UnknownModelError | UnknownPolicyError]) -> T:
    try:
        return known[name]
    except KeyError:
        raise error(name, known) from None


def _config_hash(catalog: Catalog, policies: Mapping[str, Policy]) -> str:
    """Names the configuration a decision was made under."""
    digest = hashlib.sha256(catalog.digest.encode())
    for name in sorted(policies):
        digest.update(repr(sorted((key, repr(value)) for key, value in policies[name])).encode())
    return digest.hexdigest()[:16]


def _since_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000.0
