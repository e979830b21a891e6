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
from functools import partial
from typing import TYPE_CHECKING, Any

from router.errors import ClosedError, ConfigError, RequestError, UnknownPolicyError
from router.providers.base import unreadable
from router.readiness.faults import status_of
from router.readiness.watch import Watch
from router.records import FeedbackRecord, new_id
from router.request.arms import armed
from router.request.feedback import FeedbackSource, check_feedback
from router.request.request import Request, Response
from router.serving.admission import admit, route
from router.serving.loop import LoopThread
from router.serving.parts import open_parts
from router.serving.streaming import Stream, SyncStream
from router.sessions.sessions import owned_session
from router.settings.command_errors import as_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self, Unpack

    from router.catalog.catalog import Catalog, Model
    from router.config import Settings
    from router.journal.journal import RecordSink
    from router.limits.balances import Balance
    from router.limits.counters import Subjects
    from router.providers.base import Answer, Provider
    from router.readiness.faults import Fault
    from router.request.decision import Decision
    from router.request.embeddings import EmbeddingRequest
    from router.request.preferences import Preferences
    from router.request.request import Body
    from router.scores.board import ScoreBoard
    from router.serving.parts import Parts
    from router.serving.recording import Observer
    from router.sessions.sessions import SessionStore
    from router.settings.overrides import Overrides
    from router.telemetry.exporting import Telemetry


class Router:
    """Routes chat completions, responses and embeddings; one instance serves many threads and event loops."""

    def __init__(self, parts: Parts) -> None:
        """Use `Router.open`, or pass your own parts here."""
        self.settings = parts.settings
        self.opened_at = datetime.now(UTC)
        self._parts = parts
        self._watch = Watch(parts)
        self._before_close: list[Callable[[], None]] = []
        self._is_closed = False
        self._private_loop: LoopThread | None = None
        self._private_loop_lock = threading.Lock()  # guards the creation of _private_loop

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        *,
        sessions: SessionStore | None = None,
        observers: Iterable[Observer] = (),
        is_server: bool = False,
        **overrides: Unpack[Overrides],
    ) -> Router:
        """A router on the data folder that the environment (and `.env`) names.

        `sessions` replaces the session memory of this process. `observers` see each record once it is on
        disk. `is_server` marks the spans of requests as a server's. `overrides` are field names of
        Settings, such as `home="…"`. ConfigError when settings, catalog or policies are not usable.
        """
        from router.config import Settings, read_environment

        if settings is not None and not isinstance(settings, Settings):
            raise ConfigError(
                f"`Router.open` takes Settings, got `{type(settings).__name__}`: name a data folder as"
                " `home=…`"
            )
        variables = read_environment()
        settings = settings or Settings.load(variables, **overrides)
        try:
            parts = open_parts(
                settings, variables, sessions=sessions, observers=observers, is_server=is_server
            )
        except OSError as error:
            line = as_line(error)
            if line is None:
                raise
            raise ConfigError(line) from error
        return cls(parts)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self.catalog.models)} models"
        return f"<Router of `{self.settings.home}`: {state}>"

    def observe(self, observer: Observer) -> None:
        """Let the observer see each record from now on, once it is on disk."""
        self._parts.recorder.observers.append(observer)

    def before_close(self, finish: Callable[[], None]) -> None:
        """Call this before the journal is sealed for the last time."""
        self._before_close.append(finish)

    @property
    def sink(self) -> RecordSink:
        """The sink that the records go to."""
        return self._parts.recorder.sink

    @property
    def telemetry(self) -> Telemetry | None:
        """Traces and metrics for a collector; None where the environment names none."""
        return self._parts.recorder.telemetry

    @property
    def catalog(self) -> Catalog:
        """The models that requests may be routed to."""
        return self._parts.refresher.knowledge.state.catalog

    @property
    def board(self) -> ScoreBoard:
        """The scores in use."""
        return self._parts.refresher.knowledge.board

    def route(self, request: Request) -> Decision:
        """Choose a model for `request`; reads memory only.

        RequestError for an unknown model, task or policy; NoEligibleModelError when every
        candidate is excluded.
        """
        self._check(request)
        return route(self._parts, request)

    async def complete(self, request: Request) -> Response:
        """Route, call (falling back down the candidates), record, and return the answer.

        RequestError when the request cannot be served, ProviderError when every try failed,
        JournalError when the record could not be written (the answer is then withheld).
        """
        self._check(request)
        if request.is_streaming:
            raise RequestError("`stream` is set: use `Router.stream`, or leave it out", param="stream")
        _check_chat(request)
        return await self._serve(request, _complete)

    async def embed(self, request: EmbeddingRequest) -> Response:
        """`complete` for embeddings: it records and raises the same way."""
        self._check(request)
        return await self._serve(request, _embed)

    async def _serve(
        self, request: Request, ask: Callable[[Provider, Model, Body], Awaitable[Answer]]
    ) -> Response:
        serving = await admit(self._parts, request)
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = await serving.call(partial(_accepted, request, ask))
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
            ignored=answer.ignored,
        )

    @asynccontextmanager
    async def stream(
        self, request: Request, *, on_comment: Callable[[bytes], Awaitable[None]] | None = None
    ) -> AsyncIterator[Stream]:
        """Route and call as `complete` does, and pass on the answer piece by piece.

            async with router.stream(request) as stream:
                async for event in stream:
                    print(event.text, end="")

        Entering waits for the first content: until then another candidate may still serve, and the
        errors are those of `complete`. The iteration ends once the record is on disk. It raises
        ProviderError when the answer is cut, JournalError when it cannot be recorded. Leaving early
        closes the call, which is recorded as `cancelled`. Where no other model can be asked, `on_comment`
        gets the provider's comments of the time before.
        """
        self._check(request)
        _check_chat(request)
        stream = await Stream.open(self._parts, request, on_comment=on_comment)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def count_tokens(self, request: Request) -> int | None:
        """Input tokens of a request that names its model, by the provider's count; None if it has no count.

        ProviderError when the provider fails to count. Nothing is recorded.
        """
        model = self.catalog.models[request.model]
        provider = self._parts.providers.of(self.catalog)[model.provider]
        return await provider.count_tokens(model, armed(request.body(), model))

    def complete_sync(self, request: Request) -> Response:
        """`complete` for callers without an event loop: any thread may call it that does not run one."""
        self._check(request)
        return self._own_loop().run(self.complete(request))

    def embed_sync(self, request: EmbeddingRequest) -> Response:
        """`embed` for callers without an event loop."""
        self._check(request)
        return self._own_loop().run(self.embed(request))

    @contextmanager
    def stream_sync(self, request: Request) -> Iterator[SyncStream]:
        """`stream` for callers without an event loop: `with` and `for` without `async`."""
        self._check(request)
        _check_chat(request)
        loop = self._own_loop()
        stream = loop.run(Stream.open(self._parts, request))
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

        `quality` is the metric that scores models. Other metrics are stored too. A later judgement
        of the same request and metric replaces an earlier one. RequestError for a value outside
        0..1 or an id that no response of this router carried.
        """
        self._check_open()
        feedback_id, created_at = new_id()
        check_feedback(request_id, metric, value, source, comment, now=created_at)
        self._parts.recorder.append(
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

        Pass the same `api_key_id` and `organization_id` as the session's requests do. The same id under
        another key or organisation is a different session.
        """
        policies = self._parts.refresher.knowledge.state.policies.by_id
        if policy is not None and policy not in policies:
            raise UnknownPolicyError(policy, policies)
        owned = owned_session(session_id, api_key_id, organization_id)
        self._parts.sessions.update(owned, policy=policy, preferences=preferences)

    async def budgets(self, subjects: Subjects) -> list[Balance]:
        """The budgets that bind these subjects, as they are now."""
        return await self._parts.limits.balances(subjects)

    def refresh(self) -> bool:
        """Read the configuration and the published scores if they changed. Return whether they did.

        ConfigError or ScoresError when one of them is unusable. The router then keeps its old one,
        and takes the other.
        """
        return self._parts.refresher.refresh()

    def health(self) -> dict[str, Any]:
        """The state of the router, for people and load balancers. Serving goes on in every state.

        `status` is `ok`, or `degraded` with the reasons in `faults`. `ready` is whether a request can
        succeed now.
        """
        parts, knowledge = self._parts, self._parts.refresher.knowledge
        snapshot, recorder = knowledge.board.snapshot, parts.recorder
        journal_error = recorder.sink.error
        now = datetime.now(UTC)
        errors = {name: str(error) for name, error in parts.refresher.errors.items()}
        return {
            **status_of(self.faults()),
            "configuration": {
                "config_hash": knowledge.state.config_hash,
                "error": errors.get("configuration"),
            },
            "scores": {
                "snapshot_id": snapshot.snapshot_id if snapshot else None,
                "as_of": snapshot.as_of.isoformat() if snapshot else None,
                "age_s": (now - snapshot.published_at).total_seconds() if snapshot else None,
                "error": errors.get("scores"),
            },
            "journal": {
                "backlog_bytes": recorder.sink.backlog_bytes(),
                "unrecorded": recorder.unrecorded,
                "unlogged": recorder.unlogged,
                "error": None if journal_error is None else str(journal_error),
            },
            "exploration": {"usd_today": knowledge.budgets.spent_usd(now)},
            "models": {
                "eligible": len(knowledge.state.catalog.models) - len(knowledge.standing),
                "excluded": dict(knowledge.standing),
            },
            "breakers": parts.breaker.snapshot(),
            "limits": parts.limits.health(),
        }

    def faults(self, *, is_fresh: bool = False) -> tuple[Fault, ...]:
        """The reasons why requests fail or are served in a lesser way; empty when all is well.

        Disk, Redis and published files are looked at in the background, or now with `is_fresh`.
        """
        return self._watch.look() if is_fresh else self._watch.faults()

    def close(self) -> None:
        """Seal the journal and stop; safe to call twice. Every later call raises ClosedError."""
        self._is_closed = True
        while self._before_close:
            self._before_close.pop()()
        self._watch.close()
        if self._private_loop is not None:
            self._private_loop.run(self.aclose_connections())
            self._private_loop.stop()
            self._private_loop = None
        self._parts.close()

    async def aclose_connections(self) -> None:
        """Close the provider connections of the running event loop."""
        await self._parts.aclose_connections()

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

    def _check(self, request: object) -> None:
        """ClosedError after `close`, RequestError for an argument that is no request."""
        self._check_open()
        if not isinstance(request, Request):
            raise RequestError(
                f"a `Request` is needed, got `{type(request).__name__}`: write"
                ' `Request(messages=[{"role": "user", "content": "…"}])`'
            )

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError

    def _own_loop(self) -> LoopThread:
        with self._private_loop_lock:
            if self._private_loop is None:
                self._private_loop = LoopThread()
            return self._private_loop


def _check_chat(request: Request) -> None:
    if request.operation != "chat":
        raise RequestError("`complete` and `stream` do not take embeddings: use `Router.embed`")


async def _accepted(
    request: Request,
    ask: Callable[[Provider, Model, Body], Awaitable[Answer]],
    provider: Provider,
    model: Model,
    body: Body,
) -> Answer:
    """The answer, if the caller's API can express it. Otherwise the next candidate is asked."""
    answer = await ask(provider, model, body)
    try:
        request.accept(answer.body)
    except RequestError as error:
        raise unreadable(error, model) from error
    return answer


async def _complete(provider: Provider, model: Model, body: Body) -> Answer:
    return await provider.complete(model, body)


async def _embed(provider: Provider, model: Model, body: Body) -> Answer:
    return await provider.embed(model, body)
