"""Fallback: decides whether a failed model is called again, and how long each model may take.

A temporary failure (408, 409, 429, 5xx, 529, a broken connection) is retried on the same model, up to
MAX_RETRIES times, after a short wait with jitter or after the provider's Retry-After. The provider's
advice (`x-should-retry`) overrides the status. The next candidate is called at once if the wait is too
long, if the deadline comes first, if the breaker has ejected the model, or if the provider's retry
budget is spent. `Serving.call` walks down the candidates.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.catalog.catalog import Model

SHARE_OF_TIME = 0.5
"""The share of the time left that a model gets while another can still be called. Of 120 s the first
gets 60, the second 30, and the third the rest."""
BASE_WAIT_S = 0.25
"""Wait before the first retry. It doubles for each further one, and 50% to 100% of it is waited."""
MAX_WAIT_S = 2.0
"""If a provider asks for a longer wait, another model answers sooner."""
MAX_KEY_CHANGES = 8
"""At most, in one request."""
RETRIED_STATUSES = frozenset({408, 409, 429})
"""Statuses that are retried, in addition to all from 500 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRules:
    """Limits the retries of a provider's requests, so that retries do not keep it down (Finagle's rules)."""

    share: float = 0.2
    """Retries that each first try allows."""
    floor_per_s: float = 1.0
    """Retries allowed in each second, without regard to the number of requests."""
    most: float = 20.0
    """Largest allowance that is kept. A provider starts with it."""


class RetryBudget:
    """The retry allowance of one provider. It is safe for any thread."""

    def __init__(
        self, rules: BudgetRules | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rules = rules or BudgetRules()
        self._clock = clock
        self._allowance = self._rules.most
        self._at = clock()
        self._lock = threading.Lock()  # guards _allowance and _at

    def earn(self) -> None:
        """Count a first try."""
        with self._lock:
            self._refill(self._rules.share)

    def spend(self) -> bool:
        """Take one retry from the allowance; False if it is spent."""
        with self._lock:
            self._refill(0.0)
            if self._allowance < 1.0:
                return False
            self._allowance -= 1.0
            return True

    def _refill(self, earned: float) -> None:
        now = self._clock()
        earned += (now - self._at) * self._rules.floor_per_s
        self._allowance = min(self._allowance + earned, self._rules.most)
        self._at = now


class Retries:
    """Retry state that all requests of a router share: one retry budget for each provider."""

    def __init__(self, max_retries: int, *, rules: BudgetRules | None = None) -> None:
        self.max_retries = max_retries
        self._rules = rules
        self._budgets: dict[str, RetryBudget] = {}

    def begin(self) -> RequestRetries:
        """The retries of one request."""
        return RequestRetries(self)

    def budget(self, provider: str) -> RetryBudget:
        """The provider's retry budget."""
        budget = self._budgets.get(provider)
        return budget or self._budgets.setdefault(provider, RetryBudget(self._rules))


class RequestRetries:
    """The retries of one request. Do not share it between requests."""

    def __init__(self, shared: Retries) -> None:
        self.waited_ms = 0.0
        """Time between tries. It counts as the provider's time, not as overhead of the router."""
        self._shared = shared
        self._retries = 0
        self._key_changes = 0

    def begin(self, provider: str) -> None:
        """Note the first try of a model of the provider."""
        self._retries = 0
        self._shared.budget(provider).earn()

    async def may_repeat(self, failure: ProviderError, *, left_s: float) -> bool:
        """Return whether to call the failed model again, after the wait that this needs.

        `left_s` seconds are left until the deadline. Another key of the provider is tried at once. It
        counts neither as a retry nor against the budget, since each key rests after its refusal.
        """
        if failure.has_other_key and self._key_changes < MAX_KEY_CHANGES:
            self._key_changes += 1
            return True
        if self._retries >= self._shared.max_retries:
            return False
        wait_s = wait_before_retry_s(failure, retries=self._retries, draw=random.random())  # noqa: S311 - jitter
        if wait_s is None or wait_s >= left_s or not self._shared.budget(failure.provider).spend():
            return False
        await asyncio.sleep(wait_s)
        self.waited_ms += 1000.0 * wait_s
        self._retries += 1
        return True


def wait_before_retry_s(failure: ProviderError, *, retries: int, draw: float) -> float | None:
    """How long to wait before the same model is called again; None: call another model.

    `draw` in [0, 1) spreads simultaneous retries. The wait is at least the provider's Retry-After.
    """
    status = failure.status_code
    is_passing = failure.should_retry
    if is_passing is None:
        is_passing = failure.error_type == "connection" if status is None else _passes(status)
    if not is_passing or (failure.retry_after_s or 0.0) > MAX_WAIT_S:
        return None
    backoff_s = min(BASE_WAIT_S * 2.0**retries, MAX_WAIT_S) * (0.5 + 0.5 * draw)
    if failure.retry_after_s is None:
        return backoff_s
    return max(backoff_s, failure.retry_after_s * (1.0 + 0.1 * draw))


def _passes(status: int) -> bool:
    return status in RETRIED_STATUSES or status >= 500


def end_of_try(
    model: Model, attempt_timeout_s: float | None, *, now: float, deadline: float, is_last: bool
) -> float:
    """The moment at which a try must end.

    A try may take its model's own timeout, else `attempt_timeout_s`, else SHARE_OF_TIME of the time left.
    """
    allowed_s = attempt_timeout_s if model.attempt_timeout_s is None else model.attempt_timeout_s
    if allowed_s is not None:
        return min(now + allowed_s, deadline)
    return deadline if is_last else now + SHARE_OF_TIME * (deadline - now)


def silence(model: Model, waited_ms: float, *, is_cut_short: bool) -> ProviderError:
    """The failure of a model that did not answer within the time of its try or of the request."""
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
