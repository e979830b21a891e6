"""Calling providers: down the candidates until one answers, inside one deadline.

A model that fails may be asked again before the next one is: `router.retries` says when.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from router.errors import ProviderError
from router.records import Attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from router.catalog.catalog import Model
    from router.serving.retries import RequestRetries

logger = logging.getLogger("router")

SHARE_OF_TIME = 0.5
"""Of the time left: a model has so much of it while another can still be asked. Of 120 s the first has
60, the second 30, and the third the rest."""


class Replied(Protocol):
    """What a call gives: a whole answer, or a stream whose first content is here."""

    @property
    def status_code(self) -> int:
        """Of the provider's HTTP answer."""


T = TypeVar("T", bound=Replied)


async def call(
    models: Sequence[Model],
    ask: Callable[[Model], Awaitable[T]],
    *,
    timeout_s: float,
    attempt_timeout_s: float | None,
    attempts: list[Attempt],
    retries: RequestRetries,
    may_try: Callable[[Model], Awaitable[bool]],
    on_attempt: Callable[[Attempt, ProviderError | None], None],
) -> T:
    """The first usable answer that `ask` gets down `models`; each try is put on `attempts`.

    A try may take what its model says, else `attempt_timeout_s`, else SHARE_OF_TIME of what is left.
    `may_try` is asked before each try but the first; `on_attempt` hears how each try ended.
    ProviderError when no model is left, or when trying another would not help; its type is
    `timeout` when `timeout_s` is over, and `attempt_timeout` when only a try's own time is.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    failure: ProviderError | None = None
    for model in models:
        if attempts and not await may_try(model):
            continue
        if failure is not None:
            logger.warning(
                "falling back from `%s` at `%s`: %s", failure.model, failure.provider, failure.facts
            )
        retries.begin(model.provider)
        while True:
            ends_at = _end_of_try(
                model, attempt_timeout_s, now=clock(), deadline=deadline, is_last=model is models[-1]
            )
            is_cut_short = ends_at < deadline
            answer, failure = await _try(model, ask, attempts, ends_at, is_cut_short, on_attempt)
            if answer is not None:
                return answer
            assert failure is not None  # noqa: S101 - no answer means a failure
            if not failure.is_retryable or clock() >= deadline:
                raise failure
            may_repeat = await retries.may_repeat(failure, left_s=deadline - clock())
            if not may_repeat or not await may_try(model):
                break
    assert failure is not None  # noqa: S101 - one model is always tried
    raise failure


def _end_of_try(
    model: Model, attempt_timeout_s: float | None, *, now: float, deadline: float, is_last: bool
) -> float:
    """Until when a model may be waited for."""
    allowed_s = attempt_timeout_s if model.attempt_timeout_s is None else model.attempt_timeout_s
    if allowed_s is not None:
        return min(now + allowed_s, deadline)
    return deadline if is_last else now + SHARE_OF_TIME * (deadline - now)


async def _try(
    model: Model,
    ask: Callable[[Model], Awaitable[T]],
    attempts: list[Attempt],
    ends_at: float,
    is_cut_short: bool,
    on_attempt: Callable[[Attempt, ProviderError | None], None],
) -> tuple[T | None, ProviderError | None]:
    """One call: its answer or its failure."""
    started = time.perf_counter()
    answer: T | None = None
    failure: ProviderError | None = None
    try:
        async with asyncio.timeout_at(ends_at):
            answer = await ask(model)
    except TimeoutError:
        failure = _silence(model, since_ms(started), is_cut_short=is_cut_short)
    except ProviderError as error:
        failure = error
    except asyncio.CancelledError:
        cancelled = Attempt(
            model=model.id, provider=model.provider, error_type="cancelled", latency_ms=since_ms(started)
        )
        attempts.append(cancelled)
        on_attempt(cancelled, None)
        raise
    attempt = Attempt(
        model=model.id,
        provider=model.provider,
        status_code=answer.status_code if answer else failure.status_code if failure else None,
        error_type=failure.error_type if failure else None,
        latency_ms=since_ms(started),
    )
    attempts.append(attempt)
    on_attempt(attempt, failure)
    return answer, failure


def _silence(model: Model, waited_ms: float, *, is_cut_short: bool) -> ProviderError:
    """The failure of a model that did not answer in the time of its try, or of the request."""
    limit = (
        "ATTEMPT_TIMEOUT_S, or `attempt_timeout_s` in catalog.yaml" if is_cut_short else "REQUEST_TIMEOUT_S"
    )
    return ProviderError(
        f"no answer of model `{model.id}` at provider `{model.provider}` within {waited_ms / 1000:.3g} s;"
        f" ask again, or raise {limit}",
        provider=model.provider,
        model=model.id,
        error_type="attempt_timeout" if is_cut_short else "timeout",
        is_retryable=True,
    )


def since_ms(started: float) -> float:
    """Milliseconds since a reading of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000.0
