"""What every LimitStore promises: those in memory, in a file and on Redis run the same suite."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.errors import LimitsUnavailableError
from router.limits.book import LimitBook, LimitsFile
from router.limits.counters import SLOTS, Account, LimitStore, Rate, Subjects
from router.limits.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.router.limits.conftest import Clock

    MakeStore = Callable[..., LimitStore]

DAY = 20_000


def rate(limit: int, window_s: int = 60, unit: Any = "requests", key: str = "r") -> Rate:
    return Rate(
        key=f"{key}{unit}{window_s}", unit=unit, limit=limit, window_s=window_s, label=f"{limit} {unit}"
    )


def account(limit: int, *, is_hard: bool = True, key: str = "b:1728000000:x") -> Account:
    return Account(
        key=key,
        budget_id=key.partition(":")[0],
        scope="user",
        subject="u",
        period="day",
        starts_s=DAY * 86_400,
        ends_s=4_000_000_000,
        limit=limit,
        is_hard=is_hard,
        alert=None,
    )


def run(store: LimitStore, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        try:
            return await work()
        finally:
            await store.aclose()

    return asyncio.run(main())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(0, 6),
    window_s=st.sampled_from([60, 3600]),
    unit=st.sampled_from(["requests", "tokens"]),
    calls=st.lists(st.tuples(st.floats(0, 0.7), st.integers(0, 4)), max_size=40),
)
def test_no_window_ever_holds_more_than_the_limit(
    make_store: MakeStore, clock: Clock, limit: int, window_s: int, unit: str, calls: list[tuple[float, int]]
) -> None:
    """Whatever the arrivals: what is admitted in any window's length of time is within the limit."""
    store = make_store()
    admitted: deque[tuple[float, int]] = deque()

    async def work() -> None:
        for share, tokens in calls:
            clock.now += share * window_s
            taken = await store.take([rate(limit, window_s, unit)], [], tokens)
            amount = 1 if unit == "requests" else tokens
            while admitted and admitted[0][0] <= clock.now - window_s:
                admitted.popleft()
            if taken.refused_by is None:
                admitted.append((clock.now, amount))
            assert sum(item for _, item in admitted) <= limit

    run(store, work)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 200)), max_size=40))
def test_a_clock_set_back_admits_no_more(
    make_store: MakeStore, clock: Clock, calls: list[tuple[float, float]]
) -> None:
    """In real time, no window holds more than the limit although the clock goes back again and again."""
    store, real, admitted = make_store(), 0.0, deque[float]()

    async def work() -> None:
        nonlocal real
        for share, back_s in calls:
            real += share * 60
            clock.now += share * 60 - back_s
            if (await store.take([rate(3)], [], 0)).refused_by is None:
                admitted.append(real)
            while admitted and admitted[0] <= real - 60:
                admitted.popleft()
            assert len(admitted) <= 3

    run(store, work)


@pytest.mark.parametrize("jump_s", [-1e8, -3600.0, 0.0])
def test_a_clock_set_back_blocks_for_a_window_at_most(
    make_store: MakeStore, clock: Clock, jump_s: float
) -> None:
    """After the jump the limit is whole again one window (and a slot) later."""
    store = make_store()

    async def work() -> None:
        await store.take([rate(1)], [], 0)
        clock.now += jump_s
        assert (await store.take([rate(1)], [], 0)).refused_by == 0
        clock.now += 60 + 60 / SLOTS
        assert (await store.take([rate(1)], [], 0)).refused_by is None

    run(store, work)


def test_a_refusal_says_when_the_same_request_is_admitted(make_store: MakeStore, clock: Clock) -> None:
    """Waiting for `wait_s` is enough, a little less is not."""
    store = make_store()
    tokens = [rate(100, unit="tokens")]

    async def work() -> None:
        await store.take(tokens, [], 60)
        clock.now += 20
        await store.take(tokens, [], 30)
        refused = await store.take(tokens, [], 50)
        assert refused.wait_s is not None
        assert refused.remaining == (10,)
        clock.now += refused.wait_s - 0.01
        assert (await store.take(tokens, [], 50)).refused_by == 0
        clock.now += 0.02
        assert (await store.take(tokens, [], 50)).refused_by is None

    run(store, work)


def test_more_than_the_limit_itself_never_waits(make_store: MakeStore) -> None:
    """A request larger than the limit is refused without a time to come again."""
    store = make_store()
    refused = run(store, lambda: store.take([rate(100, unit="tokens")], [], 101))
    assert (refused.refused_by, refused.wait_s) == (0, None)


def test_one_refusing_rate_leaves_the_others_uncounted(make_store: MakeStore) -> None:
    """All or nothing: a refused request uses up none of the limits that would have admitted it."""
    store = make_store()
    rates = [rate(2), rate(10, unit="tokens")]

    async def work() -> None:
        assert (await store.take(rates, [], 20)).refused_by == 1
        assert (await store.take(rates, [], 1)).remaining == (1, 9)

    run(store, work)


def test_real_tokens_replace_the_estimate(make_store: MakeStore, clock: Clock) -> None:
    """Fewer tokens give room back, more take it, and a slot that has passed is left alone."""
    store = make_store()
    tokens = rate(100, unit="tokens")

    async def work() -> None:
        taken = await store.take([tokens], [], 80)
        await store.settle("", [], None, 0, [(tokens, -50)], taken.at)
        assert (await store.take([tokens], [], 0)).remaining == (70,)
        await store.settle("", [], None, 0, [(tokens, 90)], taken.at)
        assert (await store.take([tokens], [], 1)).refused_by == 0
        clock.now += 62
        await store.settle("", [], None, 0, [(tokens, 90)], taken.at)
        assert (await store.take([tokens], [], 0)).remaining == (100,)

    run(store, work)


def test_reservations_never_add_up_to_more_than_a_hard_budget(make_store: MakeStore) -> None:
    """Of 100 at once on a budget for 10, 10 are granted."""
    store = make_store()

    async def work() -> list[bool]:
        answers = await asyncio.gather(
            *(store.reserve(f"r{number}", [account(1000)], 100, 0) for number in range(100))
        )
        return [answer.refused_by is None for answer in answers]

    assert sum(run(store, work)) == 10


def test_a_refusal_leaves_every_account_as_it_was(make_store: MakeStore) -> None:
    """All or nothing over several budgets; a refused raise keeps what was held."""
    store = make_store()
    wide, narrow = account(1000, key="wide:1:x"), account(100, key="narrow:1:x")

    async def work() -> None:
        assert (await store.reserve("one", [wide, narrow], 80, 0)).charged == (80, 80)
        assert (await store.reserve("two", [wide, narrow], 30, 0)).refused_by == 1
        assert (await store.reserve("one", [wide, narrow], 101, 80)).refused_by == 1
        assert (await store.take([], [wide, narrow], 0)).charged == (80, 80)
        assert (await store.reserve("one", [wide, narrow], 100, 80)).charged == (100, 100)
        await store.settle("one", [wide, narrow], 30, 100, [], 0.0)
        assert (await store.take([], [wide, narrow], 0)).charged == (30, 30)

    run(store, work)


def test_a_soft_budget_counts_and_never_refuses(make_store: MakeStore) -> None:
    """Soft accounts are charged above their limit."""
    store = make_store()
    soft = account(10, is_hard=False)
    reserved = run(store, lambda: store.reserve("one", [soft], 25, 0))
    assert (reserved.refused_by, reserved.charged) == (None, (25,))


def test_nothing_costs_nothing_even_when_the_budget_is_passed(make_store: MakeStore) -> None:
    """A free request fits a budget of 0, and one that the real costs have passed."""
    store = make_store()

    async def work() -> None:
        assert (await store.reserve("one", [account(0)], 0, 0)).refused_by is None
        assert (await store.reserve("two", [account(0)], 1, 0)).refused_by == 0
        await store.settle("one", [account(0)], 7, 0, [], 0.0)
        assert (await store.reserve("three", [account(0)], 0, 0)).refused_by is None

    run(store, work)


def test_a_cost_that_is_not_known_leaves_the_worst_case_charged(make_store: MakeStore) -> None:
    """Unknown is not 0."""
    store = make_store()

    async def work() -> None:
        await store.reserve("one", [account(100)], 40, 0)
        await store.settle("one", [account(100)], None, 40, [], 0.0)
        assert (await store.take([], [account(100)], 0)).charged == (40,)

    run(store, work)


def test_amounts_are_exact_beyond_a_doubles_digits(make_store: MakeStore) -> None:
    """A pico-dollar decides, on budgets of millions of dollars."""
    store = make_store()
    limit = 9_000_000 * 10**12 - 1

    async def work() -> None:
        assert (await store.reserve("one", [account(limit)], limit - 1, 0)).refused_by is None
        assert (await store.reserve("two", [account(limit)], 2, 0)).refused_by == 0
        assert (await store.reserve("three", [account(limit)], 1, 0)).charged == (limit,)

    run(store, work)


def test_an_account_opens_with_what_was_charged_before(make_store: MakeStore) -> None:
    """The first use in a period finds the spend of the records, once."""
    opened = account(100)
    store = make_store({f"b:{opened.starts_s}:x": 70})
    opened = account(100, key=f"b:{opened.starts_s}:x")

    async def work() -> None:
        assert (await store.take([], [opened], 0)).charged == (70,)
        assert (await store.reserve("one", [opened], 31, 0)).refused_by == 0
        assert (await store.reserve("two", [opened], 30, 0)).charged == (100,)

    run(store, work)


def test_peek_tells_what_is_charged_without_asking(make_store: MakeStore) -> None:
    """After a reservation the process itself knows."""
    store = make_store()
    run(store, lambda: store.reserve("one", [account(100)], 40, 0))
    assert store.peek([account(100)]) == (40,)


def test_memory_keeps_a_bounded_number_of_counters(clock: Clock) -> None:
    """Windows that are over make room; when there is none a new subject is refused, not let through."""
    store = MemoryStore(clock=clock, max_counters=50)
    store._sweep_at = 50

    async def fill(first: int) -> None:
        for number in range(first, first + 50):
            await store.take([rate(1, key=f"k{number}")], [], 0)

    run(store, lambda: fill(0))
    clock.now += 62
    run(store, lambda: fill(50))
    with pytest.raises(LimitsUnavailableError, match="no more than 50 subjects"):
        run(store, lambda: store.take([rate(1, key="one more")], [], 0))


def test_accounts_outlive_a_calendar_that_jumps() -> None:
    """A clock set a year forward and back finds the same account as charged as it was."""
    book = LimitBook(
        LimitsFile.model_validate(
            {
                "budgets": [
                    {"id": "b", "scope": "user", "subject": "*", "usd": 1, "period": "day", "mode": "hard"}
                ]
            }
        )
    )
    rules = book.rules(Subjects(user="u"))
    assert rules is not None
    store = MemoryStore()
    store._sweep_at = 0  # sweeps with every new counter

    async def work() -> tuple[int, ...]:
        await store.reserve("one", rules.accounts(DAY), 40, 0)
        await store.reserve("two", rules.accounts(DAY + 365), 5, 0)
        return (await store.reserve("three", rules.accounts(DAY), 1, 0)).charged

    assert run(store, work) == (41,)
