"""Leases: a process spends its part of a budget while the shared store is away, and never more."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from router.errors import LimitsUnavailableError
from router.limits import remote
from router.limits.counters import Rate
from router.limits.leases import IDLE_S, LARGEST_PART, LeasedStore
from router.readiness.faults import limits_fault
from tests.router.limits.lease_histories import LIMIT, PARTS, Router, Server, account, finish, play
from tests.router.limits.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from router.limits.counters import Account, Reserved

BUDGET = account("hard")
COST = LIMIT // 1000


class Calm:
    """Draws nothing at random: no fault, and clocks that start at 0."""

    def random(self) -> float:
        """Above every probability."""
        return 1.0

    def uniform(self, _low: float, _high: float) -> float:
        """The middle."""
        return 0.0


@pytest.fixture
def server() -> Server:
    """A store that nobody has used."""
    return Server()


def router(server: Server) -> Router:
    """A router of the server."""
    return Router(server, Calm())  # type: ignore[arg-type]


def serve(host: Router, name: str, amount: int = COST, *, cost: int | None = COST // 2) -> bool:
    """One request through all three steps. Whether it was served."""
    finish(host.store.take((), [BUDGET], 0))
    if finish(host.store.reserve(name, [BUDGET], amount, 0)).refused_by is not None:
        return False
    finish(host.store.settle(name, [BUDGET], cost, amount, (), 0.0))
    return True


def test_no_history_passes_a_budget() -> None:
    """Partitions, lost and late answers, kills and odd clocks. The module plays more from a shell."""
    outcomes = [play(seed) for seed in range(60)]
    assert max(outcome.ratio for outcome in outcomes) <= 1
    large = [outcome for outcome in outcomes if outcome.parts == PARTS[-1]]
    assert sum(item.served for item in large) > 0.8 * sum(item.affordable for item in large)


def test_a_router_spends_its_lease_while_the_store_is_away(server: Server) -> None:
    """Within the lease every request is served, beyond it none; the store then learns the cost."""
    host = router(server)
    assert serve(host, "first")
    lease = server.charged[BUDGET.key] - COST // 2
    assert COST <= lease <= LIMIT // LARGEST_PART
    host.connection.is_cut = True
    served = 0
    with contextlib.suppress(LimitsUnavailableError):
        while serve(host, f"away-{served}", cost=COST):
            served += 1
    assert served == lease // COST
    assert not host.store.serves_away
    host.connection.is_cut = False
    assert serve(host, "last", cost=COST)
    finish(host.store.take((), [BUDGET], 0))  # settles the lease that was drawn on
    host.store.close()
    assert server.charged[BUDGET.key] == COST // 2 + (served + 1) * COST


@pytest.mark.parametrize("is_worn", [False, True])
def test_a_lease_covers_a_burst(server: Server, monkeypatch: pytest.MonkeyPatch, is_worn: bool) -> None:
    """Requests that arrive while its size changes count too: a new lease, or one that was drawn on."""
    host = router(server)
    if is_worn:
        assert serve(host, "first")
        host.connection.is_cut = True
        assert serve(host, "drawn")
        host.connection.is_cut = False
    reserve = host.connection.reserve

    async def reserve_later(*arguments: Any) -> Reserved:
        await asyncio.sleep(0)
        return await reserve(*arguments)

    monkeypatch.setattr(host.connection, "reserve", reserve_later)

    async def burst() -> None:
        await asyncio.gather(*(host.store.reserve(f"r{index}", [BUDGET], COST, 0) for index in range(40)))

    asyncio.run(burst())
    monkeypatch.undo()
    host.connection.is_cut = True
    for index in range(40):
        assert serve(host, f"away-{index}")


def test_a_router_without_a_lease_needs_the_store(server: Server) -> None:
    """It knows nothing of what others spent: LIMITS_ON_ERROR decides."""
    host = router(server)
    host.connection.is_cut = True
    with pytest.raises(LimitsUnavailableError):
        serve(host, "first")


def test_rate_limits_need_the_store(server: Server) -> None:
    """A lease is of money."""
    host = router(server)
    assert serve(host, "first")
    host.connection.is_cut = True
    rate = Rate(key="l", unit="requests", limit=9, window_s=60, label="9 requests")
    with pytest.raises(LimitsUnavailableError):
        finish(host.store.take([rate], [BUDGET], 0))


def test_a_lease_keeps_nothing_from_its_own_router(server: Server) -> None:
    """The last dollar is spent as if there were no lease."""
    host = router(server)
    assert serve(host, "most", LIMIT // 10, cost=0)
    assert server.charged[BUDGET.key] > 0
    assert finish(host.store.take((), [BUDGET], 0)).charged == (0,)
    assert serve(host, "all", LIMIT, cost=LIMIT)
    assert not serve(host, "more", 1)
    assert server.charged[BUDGET.key] == LIMIT


def test_a_lease_that_was_drawn_on_makes_room_for_a_request(server: Server) -> None:
    """The part of it that was not spent is the budget's as soon as a request needs it."""
    host = router(server)
    assert serve(host, "most", LIMIT // 10, cost=0)
    host.connection.is_cut = True
    assert serve(host, "away", COST, cost=COST)
    host.connection.is_cut = False
    assert serve(host, "all", LIMIT - COST, cost=LIMIT - COST)
    assert server.charged[BUDGET.key] == LIMIT


def test_the_lease_of_a_killed_router_stays_charged(server: Server) -> None:
    """The store cannot know how much of it was spent."""
    host = router(server)
    assert serve(host, "first")
    before = server.charged[BUDGET.key]
    host.start()
    assert serve(host, "second")
    assert server.charged[BUDGET.key] > before


def fail_leases(
    host: Router, monkeypatch: pytest.MonkeyPatch, *, late: list[Callable[[], object]] | None = None
) -> None:
    """Changes of leases have their effect and no answer, or, with `late`, neither until that is called."""
    reserve = host.connection.reserve

    async def reserve_badly(name: str, accounts: Sequence[Account], amount: int, held: int) -> Reserved:
        if not name.startswith("lease-"):
            return await reserve(name, accounts, amount, held)
        if late is None:
            await reserve(name, accounts, amount, held)
        else:
            late.append(lambda: finish(reserve(name, accounts, amount, held)))
        raise LimitsUnavailableError("no answer")

    monkeypatch.setattr(host.connection, "reserve", reserve_badly)


def test_a_lease_that_shrank_without_an_answer_is_not_spent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may have given the rest to others."""
    host = router(server)
    assert serve(host, "most", LIMIT // 10, cost=0)
    fail_leases(host, monkeypatch)
    with pytest.raises(LimitsUnavailableError):
        serve(host, "all", LIMIT)  # it gives the lease up, for room
    host.connection.is_cut = True
    with pytest.raises(LimitsUnavailableError):
        serve(host, "away")


def test_a_change_of_a_lease_may_reach_the_store_late(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has charged as much as the router may spend, in whatever order it hears."""
    host, late = router(server), list[Callable[[], object]]()
    assert serve(host, "most", LIMIT // 10, cost=0)
    fail_leases(host, monkeypatch, late=late)
    with pytest.raises(LimitsUnavailableError):
        serve(host, "all", LIMIT)
    monkeypatch.undo()
    assert serve(host, "next", LIMIT // 10, cost=0)
    assert late
    for work in late:
        work()
    before = server.charged[BUDGET.key]
    host.connection.is_cut = True
    spent = 0
    with contextlib.suppress(LimitsUnavailableError):
        while serve(host, f"away-{spent}", COST, cost=COST):
            spent += COST
    assert COST <= spent <= before


def test_leases_are_given_back_when_idle_and_at_the_end(server: Server) -> None:
    """The check of readiness does it where no request comes."""
    idle, ending = router(server), router(server)
    assert serve(idle, "one")
    assert serve(ending, "two")
    idle.now += IDLE_S + 1
    idle.store.check()
    ending.store.close()
    assert server.charged[BUDGET.key] == COST


def test_a_lease_keeps_a_router_ready() -> None:
    """A load balancer that takes every router out would make the leases useless."""
    assert limits_fault("Redis is away", on_error="refuse").is_blocking
    assert not limits_fault("Redis is away", on_error="refuse", serves_away=True).is_blocking


@pytest.fixture
def lasting_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server that may be stopped, and knows everything when it starts again."""
    reason = RedisServer.missing()
    if reason is not None:
        pytest.skip(reason)
    with RedisServer(tmp_path, keeps=True) as server:
        yield server


def test_two_routers_serve_while_redis_stops_again_and_again(
    lasting_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No affordable request fails, and the whole budget is spent in the end, but no more."""
    monkeypatch.setattr(remote, "PROBE_INTERVAL_S", 0.0)
    stores = [LeasedStore(remote.RedisStore(lasting_server.url)) for _ in range(2)]
    budget = dataclasses.replace(BUDGET, ends_s=int(time.time()) + 3600)
    cost, worst, names = 2 * COST, 4 * COST, itertools.count()
    spent = 0

    async def one(store: LeasedStore) -> bool:
        nonlocal spent
        name = f"r{next(names)}"
        await store.take((), [budget], 0)
        if (await store.reserve(name, [budget], worst, 0)).refused_by is not None:
            return False
        spent += cost
        await store.settle(name, [budget], cost, worst, (), 0.0)
        return True

    async def served(count: int) -> bool:
        return all(await asyncio.gather(*(one(store) for store in stores for _ in range(count))))

    async def main() -> None:
        for _ in range(3):
            assert await served(20)
            lasting_server.stop()
            assert await served(10)
            lasting_server.start()
        while any([await one(store) for store in stores]):
            pass
        for store in stores:
            await store.aclose()

    asyncio.run(main())
    assert LIMIT - 2 * worst < spent <= LIMIT
