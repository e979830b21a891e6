"""`Limits` as the router uses it: refusals, notices, settlement, errors; on both stores."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from router.config import Settings
from router.errors import BudgetExceededError, ConfigError, RateLimitedError
from router.limits.admission import UNLIMITED
from router.limits.book import LimitBook, LimitsFile
from router.limits.counters import Subjects
from router.limits.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from router.limits.counters import LimitStore

    MakeStore = Callable[..., LimitStore]

AT = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
"""Today: Redis drops counters of a day that is long over."""
TOMORROW = AT.replace(hour=0) + timedelta(days=1)
USD = 10**12
ADA = Subjects("k1", "ada", "acme", "s1")


def book(
    limits: list[dict[str, Any]] | None = None, budgets: list[dict[str, Any]] | None = None
) -> LimitBook:
    entries = [
        {"id": f"b{number}", "scope": "user", "subject": "*", "period": "day", "mode": "hard", **entry}
        for number, entry in enumerate(budgets or [])
    ]
    return LimitBook(LimitsFile.model_validate({"limits": limits or [], "budgets": entries}))


def run(limits: Limits, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        try:
            return await work()
        finally:
            await limits.aclose_connections()

    return asyncio.run(main())


def test_without_rules_nothing_is_counted() -> None:
    """Subjects that nothing binds share one admission, and every step says yes."""
    limits = Limits(book=book(), store=None)  # type: ignore[arg-type]

    async def work() -> None:
        admission = await limits.admit(ADA)
        assert admission is UNLIMITED
        assert await limits.reserve(admission, "r", None)
        await limits.settle(admission, None)
        assert (admission.exclusion_of(None), admission.headers(), admission.notices) == (None, {}, ())

    asyncio.run(work())
    assert not limits.is_active


def test_a_rate_limit_refuses_with_its_name_and_headers(make_store: MakeStore) -> None:
    """The error says which limit of whom, when to come again, and carries OpenAI's headers."""
    limits = Limits(
        book=book([{"scope": "key", "subject": "*", "requests": 2, "tokens": 1000, "per": "minute"}]),
        store=make_store(),
    )

    async def work() -> None:
        admission = await limits.admit(ADA, tokens=300)
        assert admission.headers() == {
            "x-ratelimit-limit-requests": "2",
            "x-ratelimit-remaining-requests": "1",
            "x-ratelimit-reset-requests": "61.000s",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "700",
            "x-ratelimit-reset-tokens": "61.000s",
        }
        await limits.admit(ADA)
        with pytest.raises(RateLimitedError) as caught:
            await limits.admit(ADA)
        error = caught.value
        assert (error.http_status, error.code, error.unit, error.limit) == (
            429,
            "rate_limit_exceeded",
            "requests",
            2,
        )
        assert error.remaining == 0
        assert error.retry_after_s is not None
        assert 0 < error.retry_after_s <= 61
        assert error.is_retryable
        assert error.headers["x-ratelimit-remaining-requests"] == "0"
        assert "2 requests per minute of key `k1`" in str(error)
        assert await limits.admit(Subjects("k2")) is not None
        with pytest.raises(RateLimitedError, match="ask for fewer tokens"):
            await limits.admit(Subjects("k3"), tokens=1001)

    run(limits, work)


def test_settling_gives_unused_tokens_back(make_store: MakeStore) -> None:
    """The estimate is replaced by the real usage; without one it stays."""
    limits = Limits(
        book=book([{"scope": "user", "subject": "ada", "tokens": 100, "per": "day"}]), store=make_store()
    )

    async def work() -> None:
        first = await limits.admit(ADA, tokens=90)
        await limits.settle(first, None, tokens=20)
        second = await limits.admit(ADA, tokens=80)
        await limits.settle(second, None)
        with pytest.raises(RateLimitedError):
            await limits.admit(ADA, tokens=1)
        await limits.release(second)
        await limits.admit(ADA, tokens=80)

    run(limits, work)


def test_models_that_do_not_fit_are_excluded_before_the_choice(make_store: MakeStore) -> None:
    """The tightest hard budget decides; no price is no fit; nothing costs nothing."""
    limits = Limits(book=book(budgets=[{"usd": 2}, {"usd": 1, "scope": "organization"}]), store=make_store())

    async def work() -> None:
        admission = await limits.admit(ADA, at=AT)
        assert admission.headroom == USD
        assert admission.exclusion_of(USD) is None
        assert admission.exclusion_of(USD + 1) == "it may cost $1.000000000001, and budget `b1` has $1 left"
        assert admission.exclusion_of(None) == "its price is not known, and budget `b1` is hard"
        assert admission.exclusion_of(0) is None
        assert not await limits.reserve(admission, "none", None)
        assert admission.refusal(None, now=AT).budget_id == "b1"

    run(limits, work)


def test_a_hard_budget_refuses_and_says_until_when(make_store: MakeStore) -> None:
    """Reserved, settled, refused, released: each step in the amounts the next one sees."""
    limits = Limits(book=book(budgets=[{"usd": 1}]), store=make_store())

    async def work() -> BudgetExceededError:
        first = await limits.admit(ADA, at=AT)
        assert await limits.reserve(first, "one", 7 * USD // 10)
        second = await limits.admit(ADA, at=AT)
        assert second.headroom == 3 * USD // 10
        assert not await limits.reserve(second, "two", 4 * USD // 10)
        error = second.refusal(4 * USD // 10, now=AT)
        await limits.settle(first, USD // 10)
        assert await limits.reserve(second, "two", 9 * USD // 10)
        await limits.release(second)
        assert (await limits.admit(ADA, at=AT)).headroom == 9 * USD // 10
        return error

    error = run(limits, work)
    assert (error.http_status, error.code, error.openai_type) == (
        429,
        "budget_exceeded",
        "insufficient_quota",
    )
    assert error.period_end == TOMORROW
    assert error.retry_after_s == 12 * 3600
    assert str(error) == (
        "budget `b0` of user `ada` has $0.3 left of $1 per day, the request needs up to $0.4;"
        f" wait until {TOMORROW:%Y-%m-%d} 00:00 UTC, allow a cheaper model or fewer output tokens,"
        " or raise the budget in limits.yaml"
    )


def test_a_fallback_reserves_what_earlier_attempts_may_have_cost(make_store: MakeStore) -> None:
    """A raise that does not fit leaves the first reservation; what is unrecorded is charged too."""
    limits = Limits(book=book(budgets=[{"usd": 1}]), store=make_store())

    async def work() -> None:
        admission = await limits.admit(ADA, at=AT)
        assert await limits.reserve(admission, "one", 4 * USD // 10)
        assert not await limits.reserve(admission, "one", 4 * USD // 10 + 7 * USD // 10)
        assert await limits.reserve(admission, "one", 4 * USD // 10 + 5 * USD // 10)
        await limits.settle(admission, USD // 10, unrecorded=4 * USD // 10)
        assert (await limits.admit(ADA, at=AT)).headroom == USD // 2

    run(limits, work)


def test_an_unknown_cost_stays_charged(make_store: MakeStore) -> None:
    """A cut stream has not cost nothing."""
    limits = Limits(book=book(budgets=[{"usd": 1}]), store=make_store())

    async def work() -> None:
        admission = await limits.admit(ADA, at=AT)
        await limits.reserve(admission, "one", 6 * USD // 10)
        await limits.settle(admission, None)
        assert (await limits.admit(ADA, at=AT)).headroom == 4 * USD // 10

    run(limits, work)


def test_a_budget_of_nothing_admits_only_what_is_free(make_store: MakeStore) -> None:
    """0 is a budget."""
    limits = Limits(book=book(budgets=[{"usd": 0}]), store=make_store())

    async def work() -> None:
        admission = await limits.admit(ADA, at=AT)
        assert not await limits.reserve(admission, "one", 1)
        assert await limits.reserve(admission, "one", 0)

    run(limits, work)


def test_soft_budgets_and_alerts_are_said_in_the_reason(make_store: MakeStore) -> None:
    """Nothing is refused; the notice names the budget and the amounts."""
    budgets = [
        {"usd": 1, "mode": "soft"},
        {"usd": 10, "scope": "organization", "alert_at": 0.2},
        {"usd": 1, "scope": "key", "mode": "soft", "alert_at": 0.5},
    ]
    limits = Limits(book=book(budgets=budgets), store=make_store())

    async def work() -> None:
        first = await limits.admit(ADA, at=AT)
        assert await limits.reserve(first, "one", 6 * USD // 10)
        assert first.notices == ("budget `b2` is 60% used",)
        second = await limits.admit(Subjects(user="ada", organization="acme"), at=AT)
        assert await limits.reserve(second, "two", 15 * USD // 10)
        assert second.notices == ("soft budget `b0` is passed: $2.1 of $1", "budget `b1` is 21% used")

    run(limits, work)


def test_an_unknown_price_under_soft_budgets_is_admitted_and_said(make_store: MakeStore) -> None:
    """Soft never refuses, and the record says that the budget does not see the cost."""
    limits = Limits(book=book(budgets=[{"usd": 1, "mode": "soft"}]), store=make_store())

    async def work() -> None:
        admission = await limits.admit(ADA, at=AT)
        assert admission.exclusion_of(None) is None
        assert await limits.reserve(admission, "one", None)
        assert admission.notices == ("the price is not known, so budgets do not count it",)

    run(limits, work)


def test_each_period_has_an_account_of_its_own(make_store: MakeStore) -> None:
    """A new day is a new budget; a request that arrived yesterday is settled in yesterday's."""
    limits = Limits(book=book(budgets=[{"usd": 1}]), store=make_store())

    async def work() -> None:
        late = await limits.admit(ADA, at=AT)
        await limits.reserve(late, "late", USD)
        fresh = await limits.admit(ADA, at=TOMORROW)
        assert fresh.headroom == USD
        await limits.settle(late, USD // 4)
        assert (await limits.admit(ADA, at=TOMORROW)).headroom == USD
        assert (await limits.admit(ADA, at=AT)).headroom == 3 * USD // 4

    run(limits, work)


def test_a_decision_without_a_call_sees_the_budgets(make_store: MakeStore) -> None:
    """`peek` counts nothing and knows what is charged."""
    limits = Limits(book=book(budgets=[{"usd": 1}]), store=make_store())

    async def work() -> None:
        admission = await limits.admit(ADA, at=AT)
        await limits.reserve(admission, "one", USD // 2)

    run(limits, work)
    assert limits.peek(ADA, at=AT).headroom == USD // 2
    assert limits.peek(Subjects(), at=AT) is UNLIMITED


def test_a_changed_file_binds_at_once_and_a_broken_one_changes_nothing(home: Path) -> None:
    """`reload` swaps the whole book; what was charged stays charged."""
    file = home / "limits.yaml"
    text = "budgets: [{{id: b, scope: user, subject: '*', usd: {usd}, period: day, mode: hard}}]"
    file.write_text(text.format(usd=1))
    limits = Limits.open(Settings.load({}, home=home))

    async def headroom(spend: int) -> int | None:
        admission = await limits.admit(ADA, at=AT)
        assert await limits.reserve(admission, f"r{spend}", spend)
        return admission.headroom

    assert asyncio.run(headroom(USD // 4)) == 3 * USD // 4
    assert not limits.reload()
    file.write_text(text.format(usd=20))
    assert limits.reload()
    assert asyncio.run(headroom(USD // 2)) == 20 * USD - 3 * USD // 4
    file.write_text("budgets: [nonsense]")
    with pytest.raises(ConfigError):
        limits.reload()
    assert asyncio.run(headroom(0)) == 20 * USD - 3 * USD // 4
    limits.close()


def test_absurd_amounts_are_refused_and_break_nothing(make_store: MakeStore) -> None:
    """A caller's `max_tokens` of -10^9 gives nothing back, one of 10^30 does not reach the counters."""
    limits = Limits(
        book=book(
            [{"scope": "key", "subject": "*", "tokens": 10, "per": "hour"}],
            [{"usd": 1}, {"usd": 1, "scope": "key", "mode": "soft"}],
        ),
        store=make_store(),
    )

    async def work() -> None:
        await limits.admit(ADA, tokens=-(10**9))
        with pytest.raises(RateLimitedError):
            await limits.admit(ADA, tokens=10**30)
        admission = await limits.admit(ADA, at=AT)
        assert not await limits.reserve(admission, "huge", 10**30)
        assert await limits.reserve(admission, "negative", -(10**30))
        soft = await limits.admit(Subjects("k1"), at=AT)
        assert await limits.reserve(soft, "soft", 10**30)
        assert (await limits.admit(ADA, at=AT, tokens=10)).headroom == USD

    run(limits, work)


def test_a_budget_longer_than_the_records_are_kept_is_refused(home: Path) -> None:
    """A month's spending cannot come back from a week of records: both settings are named."""
    (home / "limits.yaml").write_text(
        "budgets: [{id: b, scope: user, subject: '*', usd: 1, period: month, mode: soft}]"
    )
    with pytest.raises(ConfigError, match="budget `b` counts a month, and ANALYTICS_RETENTION_DAYS is `7`"):
        Limits.open(Settings(home=home, retention_days=7))
