"""When a failed call is repeated, when another model is asked, and how many repeats a provider gets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.errors import ProviderError
from router.serving.fallback import BudgetRules, Retries, RetryBudget, wait_before_retry_s


def failure(error_type: str = "server_error", status_code: int | None = 500, **facts: Any) -> ProviderError:
    return ProviderError(
        "failed",
        provider="p",
        model="m",
        error_type=error_type,
        status_code=status_code,
        is_retryable=True,
        **facts,
    )


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_passes_by_itself_is_repeated(status: int) -> None:
    """After a quarter of a second at most the first time, half the second, and never two in step."""
    for retries, most_s in ((0, 0.25), (1, 0.5), (2, 1.0), (3, 2.0), (9, 2.0)):
        waits = [wait_before_retry_s(failure("x", status), retries=retries, draw=draw) for draw in (0, 0.999)]
        assert waits == [pytest.approx(most_s / 2), pytest.approx(most_s, rel=0.01)]


@pytest.mark.parametrize(
    ("error_type", "status"),
    [
        ("authentication", 401),
        ("bad_request", 404),
        ("bad_response", None),
        ("timeout", None),
        ("bad_response", 302),
    ],
)
def test_what_stays_as_it_is_is_asked_of_another_model(error_type: str, status: int | None) -> None:
    """A refused key, a missing model, a body that is none, a deadline that has passed."""
    assert wait_before_retry_s(failure(error_type, status), retries=0, draw=0.5) is None


@pytest.mark.smoke
def test_the_providers_own_word_stands_above_the_status() -> None:
    """`x-should-retry`: what would pass is not repeated, what would stay is; Retry-After holds still."""
    for should_retry, status, retry_after_s, expected in (
        (False, 503, None, None),
        (False, 429, 0.5, None),
        (True, 400, None, pytest.approx(0.1875)),
        (True, 503, 1.0, pytest.approx(1.05)),
        (True, 503, 30.0, None),
    ):
        failed = failure("x", status, retry_after_s=retry_after_s)
        failed.should_retry = should_retry
        assert wait_before_retry_s(failed, retries=0, draw=0.5) == expected


@pytest.mark.parametrize(
    ("asked_s", "least_s", "most_s"),
    [(0.0, 0.125, 0.25), (1.0, 1.0, 1.1), (2.0, 2.0, 2.2), (2.1, None, None)],
)
def test_a_provider_s_retry_after_is_the_least(
    asked_s: float, least_s: float | None, most_s: float | None
) -> None:
    """It is waited for in full and a little more; above two seconds another model answers sooner."""
    waits = [
        wait_before_retry_s(failure("rate_limited", 429, retry_after_s=asked_s), retries=0, draw=draw)
        for draw in (0.0, 0.999)
    ]
    assert waits == [least_s and pytest.approx(least_s), most_s and pytest.approx(most_s, rel=0.01)]


@pytest.mark.smoke
def test_repeats_end_with_the_setting_and_with_the_deadline() -> None:
    """MAX_RETRIES counts for each model anew; a wait that the deadline would cut is not begun."""

    async def run() -> list[bool]:
        retries = Retries(1).begin()
        retries.begin("p")
        said = [await retries.may_repeat(failure(), left_s=9) for _ in range(2)]
        retries.begin("p")
        said.append(await retries.may_repeat(failure(), left_s=9))
        retries.begin("p")
        said.append(await retries.may_repeat(failure(), left_s=0.1))
        assert 250.0 <= retries.waited_ms <= 500.0
        return said

    assert asyncio.run(run()) == [True, False, True, False]


def test_another_key_is_tried_at_once_and_not_for_ever() -> None:
    """It is no retry and takes nothing from the budget; a request changes keys eight times at most."""

    async def run() -> int:
        shared = Retries(0, rules=BudgetRules(most=0.0))
        retries = shared.begin()
        retries.begin("p")
        failed = failure("authentication", 401)
        failed.has_other_key = True
        changes = 0
        while await retries.may_repeat(failed, left_s=9):
            changes += 1
        assert retries.waited_ms == 0.0
        return changes

    assert asyncio.run(run()) == 8


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_provider_that_is_down_gets_a_fifth_more_requests_at_most() -> None:
    """Of 1,000 requests that all fail, 200 are repeated, beside what was saved up and a trickle."""
    clock = Clock()
    budget = RetryBudget(clock=clock)
    repeated = 0
    for _ in range(1000):
        clock.now += 0.01
        budget.earn()
        repeated += budget.spend()
    rules = BudgetRules()
    expected = rules.most + 1000 * rules.share + 10 * rules.floor_per_s
    assert repeated == pytest.approx(expected, abs=2)


def test_a_quiet_provider_may_be_retried() -> None:
    """One a second, however few the requests; and no more than twenty are saved up."""
    clock = Clock()
    budget = RetryBudget(clock=clock)
    assert sum(budget.spend() for _ in range(100)) == 20
    clock.now = 3.0
    assert sum(budget.spend() for _ in range(100)) == 3
    clock.now = 10_000.0
    assert sum(budget.spend() for _ in range(100)) == 20


def test_providers_have_budgets_of_their_own() -> None:
    """One that is down takes nothing from the others."""

    async def run() -> list[bool]:
        retries = Retries(9, rules=BudgetRules(most=1.0)).begin()
        others = ProviderError("x", provider="q", model="m", error_type="connection", is_retryable=True)
        return [await retries.may_repeat(error, left_s=9) for error in (failure(), failure(), others)]

    assert asyncio.run(run()) == [True, False, True]
