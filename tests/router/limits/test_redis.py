"""Limits and budgets on Redis: outages, opening from the records, sending twice, expiry."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from router.config import Settings
from router.errors import ConfigError, LimitsUnavailableError
from router.limits import remote
from router.limits.counters import Subjects
from router.limits.limits import Limits
from tests.pipelines.helpers import make_record, seal_records
from tests.router.limits.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

USD = 10**12
ADA = Subjects("k1", "ada", "acme", "s1")


def run(limits: Limits, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        try:
            return await work()
        finally:
            await limits.aclose_connections()

    return asyncio.run(main())


@pytest.fixture
def mortal_server(tmp_path: Path) -> Any:
    """A redis-server that the test may stop."""
    reason = RedisServer.missing()
    if reason is not None:
        pytest.skip(reason)
    with RedisServer(tmp_path) as server:
        yield server


def test_without_redis_requests_are_refused_and_recovery_is_by_itself(
    home: Path, mortal_server: RedisServer
) -> None:
    """`refuse`: 503 with a time to come again; settling never fails the caller's answer."""
    (home / "limits.yaml").write_text(
        "budgets: [{id: b, scope: user, subject: '*', usd: 1, period: day, mode: hard}]"
    )
    limits = Limits.open(Settings.load({}, home=home, redis_url=mortal_server.url, limits_recovery_s=0))

    async def work() -> None:
        admission = await limits.admit(ADA)
        assert await limits.reserve(admission, "one", USD // 2)
        mortal_server.stop()
        await limits.settle(admission, USD // 4)
        assert limits.unsettled == 1
        for _ in range(2):
            with pytest.raises(LimitsUnavailableError, match="Redis does not count") as caught:
                await limits.admit(ADA)
            assert (caught.value.http_status, caught.value.retry_after_s) == (503, 1.0)
        assert limits.health()["error"] is not None
        mortal_server.start()
        await asyncio.sleep(0.6)
        # It has no record, so its host reports its worst case.
        assert (await limits.admit(ADA)).headroom == USD // 2

    run(limits, work)


def test_one_request_waits_for_a_redis_that_hangs_and_no_more(
    home: Path, mortal_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread looks whether it answers again. Requests meanwhile do without it at once."""
    (home / "limits.yaml").write_text(
        "budgets: [{id: b, scope: user, subject: '*', usd: 1, period: day, mode: hard}]"
    )
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(remote, "PROBE_INTERVAL_S", 0.0)
    limits = Limits.open(Settings.load({}, home=home, redis_url=mortal_server.url, limits_recovery_s=0))
    calls = []
    call = remote.RedisStore._call

    async def counted(store: remote.RedisStore, *arguments: Any) -> Any:
        calls.append(arguments[0])
        return await call(store, *arguments)

    async def work() -> None:
        await limits.admit(ADA)
        monkeypatch.setattr(remote.RedisStore, "_call", counted)
        mortal_server.pause()
        for _ in range(10):
            with pytest.raises(LimitsUnavailableError, match="Redis does not count"):
                await limits.admit(ADA)
        assert len(calls) == 1
        mortal_server.resume()
        for _ in range(100):
            with contextlib.suppress(LimitsUnavailableError):
                await limits.admit(ADA)
                break
            await asyncio.sleep(0.1)
        assert len(calls) > 1

    run(limits, work)


def test_without_redis_requests_may_be_served_unchecked(home: Path, mortal_server: RedisServer) -> None:
    """`serve`: every step says yes, it is counted, and the record's reason says so."""
    (home / "limits.yaml").write_text(
        "limits: [{scope: user, subject: '*', requests: 1, per: day}]\n"
        "budgets: [{id: b, scope: user, subject: '*', usd: 1, period: day, mode: hard}]"
    )
    limits = Limits.open(
        Settings.load(
            {}, home=home, redis_url=mortal_server.url, limits_recovery_s=0, limits_on_error="serve"
        )
    )

    async def work() -> None:
        before = await limits.admit(ADA)
        mortal_server.stop()
        assert await limits.reserve(before, "one", 5 * USD)
        assert before.notices == ("limits were not checked",)
        admission = await limits.admit(ADA)
        assert admission.notices == ("limits were not checked",)
        assert await limits.reserve(admission, "two", 5 * USD)
        assert limits.unchecked == 2
        mortal_server.start()
        await asyncio.sleep(0.6)
        await limits.admit(Subjects(user="bob"))
        await limits.settle(admission, USD // 4)
        assert (await limits.admit(ADA)).headroom == 3 * USD // 4

    run(limits, work)


def test_without_redis_requests_are_served_within_leases(home: Path, mortal_server: RedisServer) -> None:
    """The record says so, readiness knows, and balances of all routers together are unknown."""
    (home / "limits.yaml").write_text(
        "budgets: [{id: b, scope: user, subject: '*', usd: 1, period: day, mode: hard}]"
    )
    limits = Limits.open(Settings.load({}, home=home, redis_url=mortal_server.url, limits_recovery_s=0))

    async def work() -> None:
        for name in ("before", "away"):
            admission = await limits.admit(ADA)
            assert await limits.reserve(admission, name, USD // 100)
            await limits.settle(admission, USD // 100)
            mortal_server.stop()
        assert admission.notices == ("budgets were counted in leases, while their store was away",)
        assert limits.serves_away
        assert limits.unsettled == 0
        with pytest.raises(LimitsUnavailableError, match="does not answer"):
            await limits.balances(ADA)
        with pytest.raises(LimitsUnavailableError, match="Redis does not count"):
            await limits.reserve(await limits.admit(ADA), "large", USD // 2)
        with pytest.raises(LimitsUnavailableError, match="Redis does not count"):
            await limits.admit(Subjects(user="bob"))

    run(limits, work)


def test_a_redis_url_is_checked_and_not_shown(home: Path) -> None:
    """A password in the URL reaches no message."""
    pytest.importorskip("redis", reason="the package `redis` is not installed")
    with pytest.raises(ConfigError) as caught:
        Limits.open(Settings.load({}, home=home, redis_url="http://:hunter2@localhost"))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Settings.load({}, redis_url="redis://:hunter2@localhost"))


def test_redis_opens_budgets_from_the_records_once(home: Path, mortal_server: RedisServer) -> None:
    """At the first use, and again after Redis lost its data; other processes then see the same."""
    settings = Settings.load({}, home=home, redis_url=mortal_server.url, limits_recovery_s=0)
    (home / "limits.yaml").write_text(
        "budgets:\n"
        "  - {id: day, scope: user, subject: '*', usd: 10, period: day, mode: hard}\n"
        "  - {id: total, scope: session, subject: '*', usd: 9, period: total, mode: hard}\n"
    )
    ada = {"user_id": "ada", "api_key_id": "k1", "organization_id": "acme", "session_id": "s1"}
    at = datetime.now(UTC)  # in this day: Redis drops the counters of one that is over
    seal_records(settings, [make_record(at, **ada, cost_usd=Decimal(2))])
    seal_records(settings, [make_record(at, user_id="bob", cost_usd=Decimal(3))])
    first, second = Limits.open(settings), Limits.open(settings)

    async def work() -> None:
        admission = await first.admit(ADA, at=at)
        assert admission.headroom == 7 * USD
        assert await first.reserve(admission, "one", 5 * USD)
        assert (await second.admit(ADA, at=at)).headroom == 2 * USD
        assert (await second.admit(Subjects(user="bob"), at=at)).headroom == 7 * USD
        assert (await second.admit(Subjects(user="new"), at=at)).headroom == 10 * USD
        mortal_server.stop()
        mortal_server.start()
        # What is in flight is reported at its worst case, and settled at its cost.
        assert (await second.admit(ADA, at=at)).headroom == 2 * USD
        await first.settle(admission, USD)
        assert (await second.admit(ADA, at=at)).headroom == 6 * USD
        await second.aclose_connections()

    run(first, work)


def test_asking_redis_twice_counts_once(home: Path, mortal_server: RedisServer) -> None:
    """A reservation or settlement that is sent again after a broken connection changes nothing."""
    (home / "limits.yaml").write_text(
        "budgets: [{id: b, scope: user, subject: '*', usd: 1, period: day, mode: hard}]"
    )
    limits = Limits.open(Settings.load({}, home=home, redis_url=mortal_server.url, limits_recovery_s=0))

    at = datetime.now(UTC)

    async def work() -> None:
        admission = await limits.admit(ADA, at=at)
        for _ in range(2):
            reserved = await limits.store.reserve("one", admission.accounts, USD // 2, 0)
            assert reserved.charged == (USD // 2,)
        for _ in range(2):
            await limits.store.settle("one", admission.accounts, USD // 4, USD // 2, [], 0.0)
        assert (await limits.admit(ADA, at=at)).headroom == 3 * USD // 4

    run(limits, work)


def test_counters_in_redis_end_by_themselves(home: Path, mortal_server: RedisServer) -> None:
    """Every key has an expiry, and none holds a subject's id."""
    import redis

    (home / "limits.yaml").write_text(
        "limits: [{scope: user, subject: '*', requests: 9, tokens: 9, per: hour}]\n"
        "budgets: [{id: b, scope: user, subject: '*', usd: 1, period: day, mode: hard}]"
    )
    limits = Limits.open(Settings.load({}, home=home, redis_url=mortal_server.url, limits_recovery_s=0))

    async def work() -> None:
        admission = await limits.admit(ADA, tokens=3)
        await limits.reserve(admission, "one", USD // 2)
        await limits.admit(ADA, tokens=3)
        await limits.settle(admission, USD // 4, tokens=2)

    run(limits, work)
    with redis.Redis.from_url(mortal_server.url) as client:
        keys = [key.decode() for key in client.scan_iter()]
        assert len(keys) == 9
        assert all(client.ttl(key) > 0 for key in keys)
    assert not any("ada" in key for key in keys)
