"""`Router`: the main path of a request.

    route ─► call (fallback, total deadline) ─► record ─► reply

`route` reads memory only. `complete` appends the request's record to the journal before it
returns, and `stream` before its iteration ends, so a caller who has a response has a record on disk.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.errors import RequestError, UnknownPolicyError
from router.journal.journal import Journal
from router.records import FeedbackRecord, new_id
from router.request.feedback import FeedbackSource, check_feedback
from router.request.request import Response
from router.serving.admission import Engine
from router.serving.loop import LoopThread
from router.serving.streaming import Stream, SyncStream
from router.sessions.sessions import owned_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from router.catalog.catalog import Catalog, Model
    from router.config import Settings
    from router.decision.refresh import Source
    from router.decision.state import StateSource
    from router.journal.journal import RecordSink
    from router.limits.limits import Limits
    from router.providers.base import Answer, Provider
    from router.request.embeddings import EmbeddingRequest
    from router.request.preferences import Preferences
    from router.request.request import Body, Decision, Request
    from router.scores.board import ScoreBoard, ScoreSource
    from router.sessions.sessions import SessionStore
    from router.tasks.classifier import TaskClassifier
    from router.tasks.features import FeatureSpace
    from router.telemetry.exporting import Telemetry


class Router:
    """Routes chat completions, responses and embeddings; one instance serves many threads and event loops."""

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
        self._engine = Engine(
            settings=settings,
            state=state,
            scores=scores,
            sink=sink,
            limits=limits,
            variables=variables,
            features=features,
            classifier=classifier,
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
        from router.config import Settings, read_environment
        from router.decision.state import StateFiles
        from router.limits.limits import Limits
        from router.scores.board import ScoreFile
        from router.tasks.classifier import ClassifierSource
        from router.telemetry import open_telemetry

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
            router = cls(
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
        try:
            router._engine.telemetry = open_telemetry(variables, environment=settings.environment)
        except BaseException:
            router.close()
            raise
        return router

    @property
    def sink(self) -> RecordSink:
        """Where the records go."""
        return self._engine.sink

    @sink.setter
    def sink(self, sink: RecordSink) -> None:
        self._engine.sink = sink

    @property
    def telemetry(self) -> Telemetry | None:
        """Traces and metrics for a collector; None where the environment names none."""
        return self._engine.telemetry

    @property
    def sessions(self) -> SessionStore:
        """Where sessions are remembered."""
        return self._engine.sessions

    @sessions.setter
    def sessions(self, sessions: SessionStore) -> None:
        self._engine.sessions = sessions

    @property
    def unrecorded(self) -> int:
        """Requests served though their record is not safe (JOURNAL_ON_ERROR=serve); reports may lack them."""
        return self._engine.unrecorded

    @property
    def unlogged(self) -> int:
        """Requests served whose record is written and whose audit log is not."""
        return self._engine.unlogged

    @property
    def catalog(self) -> Catalog:
        """The models requests may be routed to."""
        return self._engine.knowledge.state.catalog

    @property
    def board(self) -> ScoreBoard:
        """The scores in use."""
        return self._engine.knowledge.board

    def route(self, request: Request) -> Decision:
        """Choose a model for `request`; reads memory only.

        RequestError for an unknown model, task or policy; NoEligibleModelError when every
        candidate is excluded.
        """
        return self._engine.route(request)

    async def complete(self, request: Request) -> Response:
        """Route, call (falling back down the candidates), record, and return the answer.

        RequestError when the request cannot be served, ProviderError when every try failed,
        JournalError when the record could not be written: then no answer is handed out.
        """
        if request.is_streaming:
            raise RequestError("`stream` is set: use `Router.stream`, or leave it out", param="stream")
        _check_chat(request)
        return await self._serve(request, _complete)

    async def embed(self, request: EmbeddingRequest) -> Response:
        """`complete` for embeddings: the same way to an answer and its record; errors as of `complete`."""
        return await self._serve(request, _embed)

    async def _serve(
        self, request: Request, ask: Callable[[Provider, Model, Body], Awaitable[Answer]]
    ) -> Response:
        serving = await self._engine.begin(request)
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = await serving.call(ask, on_attempt=serving.note)
        except BaseException as error:  # a cancelled request is recorded like any other
            failure = error
        record = await serving.finish(answer, failure)
        if failure is not None:
            raise failure
        assert answer is not None  # noqa: S101 - no failure means an answer
        return Response(
            request_id=record.id,
            model=serving.attempts[-1].model,
            provider=serving.attempts[-1].provider,
            body=answer.body,
            raw=answer.raw,
            decision=serving.decision,
            usage=answer.usage,
            cost_usd=record.cost_usd,
            latency_ms=record.latency_ms,
            overhead_ms=record.overhead_ms or 0.0,
            attempts=len(serving.attempts),
            limit_headers=serving.limit_headers,
        )

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """Route and call as `complete` does, and hand on the answer piece by piece.

            async with router.stream(request) as stream:
                async for event in stream:
                    print(event.text, end="")

        Entering waits for the first content: until then another candidate may still serve, and the
        errors are those of `complete`. The iteration ends once the record is on disk; it raises
        ProviderError when the answer is cut, JournalError when it cannot be recorded. Leaving early
        closes the call, which is recorded as `cancelled`.
        """
        _check_chat(request)
        stream = await Stream.open(self._engine, request)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def count_tokens(self, request: Request) -> int | None:
        """Input tokens of a request that names its model, as the provider counts them; None: it does not.

        ProviderError when it should and fails. Nothing is recorded.
        """
        model = self.catalog.models[request.model]
        provider = self._engine.providers.of(self.catalog)[model.provider]
        return await provider.count_tokens(model, request.body())

    def complete_sync(self, request: Request) -> Response:
        """`complete` for callers without an event loop; may be called from any thread but a loop's."""
        return self._own_loop().run(self.complete(request))

    def embed_sync(self, request: EmbeddingRequest) -> Response:
        """`embed` for callers without an event loop."""
        return self._own_loop().run(self.embed(request))

    @contextmanager
    def stream_sync(self, request: Request) -> Iterator[SyncStream]:
        """`stream` for callers without an event loop: `with` and `for` without `async`."""
        _check_chat(request)
        loop = self._own_loop()
        stream = loop.run(Stream.open(self._engine, request))
        try:
            yield SyncStream(stream, loop)
        finally:
            loop.run(stream.aclose())

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
        self,
        session_id: str,
        *,
        api_key_id: str | None = None,
        organization_id: str | None = None,
        policy: str | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        """Give a session a policy and preferences of its own; requests may still name others.

        Whose it is must be said as its requests say it: another key's, or another organisation's,
        session of the same id is another one.
        """
        if policy is not None and policy not in self._engine.knowledge.state.policies.by_id:
            raise UnknownPolicyError(policy, self._engine.knowledge.state.policies.by_id)
        owned = owned_session(session_id, api_key_id, organization_id)
        self._engine.sessions.update(owned, policy=policy, preferences=preferences)

    def refresh(self) -> bool:
        """Read the configuration and the published scores if they changed; whether they did.

        ConfigError or ScoresError when one of them is unusable: the router keeps the one it has,
        and takes the other.
        """
        return self._engine.refresher.refresh()

    def health(self) -> dict[str, Any]:
        """What a person or a load balancer asks first; serving goes on in every state.

        `status` is `ok`, or `degraded` with the reason in an `error`.
        """
        snapshot = self.board.snapshot
        journal_error = self.sink.error
        excluded = self._engine.knowledge.standing
        now = datetime.now(UTC)
        errors = {name: str(error) for name, error in self._engine.refresher.errors.items()}
        return {
            "status": "degraded" if errors or journal_error is not None else "ok",
            "configuration": {
                "config_hash": self._engine.knowledge.state.config_hash,
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
            "breakers": self._engine.breaker.snapshot(),
            "limits": self._engine.limits.health(),
        }

    def close(self) -> None:
        """Seal the journal and stop; safe to call twice."""
        self._engine.refresher.close()
        if self._private_loop is not None:
            self._private_loop.run(self.aclose_connections())
            self._private_loop.stop()
            self._private_loop = None
        self._engine.limits.close()
        self.sink.close()
        if self._engine.telemetry is not None:
            self._engine.telemetry.close()

    async def aclose_connections(self) -> None:
        """Close the provider connections of the running event loop."""
        await self._engine.providers.aclose()
        await self._engine.limits.aclose_connections()

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

    def _own_loop(self) -> LoopThread:
        with self._private_loop_lock:
            if self._private_loop is None:
                self._private_loop = LoopThread()
            return self._private_loop


def _check_chat(request: Request) -> None:
    if request.operation != "chat":
        raise RequestError("embeddings are no answer to complete or stream: use `Router.embed`")


async def _complete(provider: Provider, model: Model, body: Body) -> Answer:
    return await provider.complete(model, body)


async def _embed(provider: Provider, model: Model, body: Body) -> Answer:
    return await provider.embed(model, body)


def _feature_space(settings: Settings) -> FeatureSpace | None:
    """Prompt features, where they are sampled or a classifier reads them."""
    from router.tasks.features import FeatureSpace, load_key

    if settings.task_sample_share == 0 and not settings.classifier_file.exists():
        return None
    return FeatureSpace(load_key(settings.features_key_file))
