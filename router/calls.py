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

    from router.catalog import Model
    from router.retries import RequestRetries

logger = logging.getLogger("router")


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
    attempts: list[Attempt],
    retries: RequestRetries,
    may_try: Callable[[Model], Awaitable[bool]],
    on_attempt: Callable[[Attempt, ProviderError | None], None],
) -> T:
    """The first usable answer that `ask` gets down `models`; each try is put on `attempts`.

    `may_try` is asked before each try but the first; `on_attempt` hears how each try ended.
    ProviderError when no model is left, or when trying another would not help; its type is
    `timeout` when `timeout_s` is over.
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
            answer, failure = await _try(model, ask, attempts, deadline, timeout_s, on_attempt)
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


async def _try(
    model: Model,
    ask: Callable[[Model], Awaitable[T]],
    attempts: list[Attempt],
    deadline: float,
    timeout_s: float,
    on_attempt: Callable[[Attempt, ProviderError | None], None],
) -> tuple[T | None, ProviderError | None]:
    """One call: its answer or its failure."""
    started = time.perf_counter()
    answer: T | None = None
    failure: ProviderError | None = None
    try:
        async with asyncio.timeout_at(deadline):
            answer = await ask(model)
    except TimeoutError:
        failure = ProviderError(
            f"no answer within {timeout_s:g} s (REQUEST_TIMEOUT_S);"
            f" last tried `{model.id}` at provider `{model.provider}`",
            provider=model.provider,
            model=model.id,
            error_type="timeout",
            is_retryable=True,
        )
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


def since_ms(started: float) -> float:
    """Milliseconds since a reading of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000.0
