"""Limits and budgets over HTTP, a hundred requests at once on four workers of which some are killed."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from router.providers.fake import FakeProvider
from tests.crash.reporting import is_long, show
from tests.factories import write_catalog
from tests.servers import Served, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.router.limits.servers import RedisServer

pytestmark = pytest.mark.slow
AT_ONCE = 100
WORKERS = 4
ROUNDS = 20 if is_long() else 3
WORST_USD = 0.001001
"""100 output tokens at $10 for a million, and a little for the input."""
BUDGET = 10
"""Worst cases that fit a budget."""
RATE = 50
LIMITS = f"""
limits:
  - {{scope: organization, subject: "*", requests: {RATE}, per: minute}}
budgets:
  - {{id: each, scope: user, subject: "*", usd: {BUDGET * WORST_USD:.6f}, period: month, mode: hard}}
"""
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "0.01", "output_usd_per_mtok": "10"}]}
SCRIPT: dict[str, Any] = {
    "models": {
        # Costs all that was reserved, or a quarter of it.
        "dear": {"answer": "x", "latency_ms": 300, "tokens_input": 5, "tokens_output": 100},
        "cheap": {"answer": "x", "latency_ms": 300, "tokens_input": 5, "tokens_output": 25},
    }
}


@dataclass(slots=True)
class Round:
    """What a hundred clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Connections that ended without an answer: their worker was killed."""
    refusals: list[httpx.Response] = field(default_factory=list)


@pytest.fixture(params=["file", "redis"])
def store(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a store that the workers share."""
    if request.param == "file":
        return {}
    server: RedisServer = request.getfixturevalue("redis_server")
    return {"REDIS_URL": server.url, "LIMITS_RECOVERY_S": "0"}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider(SCRIPT)
    with fake:
        yield fake


@pytest.fixture
def served(tmp_path: Path, provider: FakeProvider, store: dict[str, str]) -> Iterator[Served]:
    """Four workers with the limits."""
    home = tmp_path / "home"
    write_catalog(home, [{"id": name, **PRICED} for name in SCRIPT["models"]], base_url=provider.base_url)
    (home / "limits.yaml").write_text(LIMITS)
    with Served(home, workers=WORKERS, MAX_RETRIES="0", **store) as server:
        yield server


async def rush(served: Served, model: str, *, victim: int | None, seed: int = 0, **who: str) -> Round:
    """A hundred requests at once, each on a connection of its own; a worker is killed in the middle."""
    seen, rng = Round(), random.Random(seed)
    body = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}
    headers = {}
    if "organization" in who:
        headers["openai-organization"] = who["organization"]
    if "user" in who:
        body["user"] = who["user"]

    async def one(client: httpx.AsyncClient) -> None:
        # Over half a second: some answers are settled while others are asked for.
        await asyncio.sleep(rng.random() / 2)
        try:
            answer = await client.post(f"{served.url}/v1/chat/completions", json=body, headers=headers)
        except httpx.TransportError:
            seen.broken += 1
            return
        seen.statuses[answer.status_code] += 1
        if answer.status_code != 200:
            seen.refusals.append(answer)

    async def kill() -> None:
        if victim is not None:
            await asyncio.sleep(0.2 + rng.random() / 2)
            os.kill(victim, signal.SIGKILL)

    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=30, trust_env=False, limits=limits) as client:
        await asyncio.gather(kill(), *(one(client) for _ in range(AT_ONCE)))
    return seen


def calls(provider: FakeProvider) -> int:
    """How often the provider was called: everything that was admitted, but what was killed before."""
    return sum(provider.seen()["calls"].values())


@pytest.mark.parametrize("kills", [False, True])
def test_a_budget_for_ten_admits_ten_of_a_hundred(
    served: Served, provider: FakeProvider, store: dict[str, str], *, kills: bool
) -> None:
    """The worst case of what four workers admit is never above the budget; the others get a 429."""
    for number in range(ROUNDS):
        before = calls(provider)
        victim = random.Random(number).choice(served.workers()) if kills else None
        seen = asyncio.run(rush(served, "dear", victim=victim, user=secrets.token_hex(4)))
        admitted = calls(provider) - before
        show(
            f"{'redis' if store else 'file'}, {AT_ONCE} at once, a budget for {BUDGET}: {admitted} admitted,"
            f" {dict(sorted(seen.statuses.items()))}, {seen.broken} broken by a kill"
        )
        assert 0 < admitted <= BUDGET
        assert set(seen.statuses) <= {200, 429}
        assert seen.statuses[200] <= BUDGET
        if not kills:
            assert (seen.statuses[200], seen.statuses[429]) == (BUDGET, AT_ONCE - BUDGET)
        for refusal in seen.refusals:
            error = refusal.json()["error"]
            assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
            assert int(refusal.headers["retry-after"]) > 0
            assert refusal.headers["x-request-id"]
        until(lambda: len(served.workers()) == WORKERS)


def test_what_costs_less_than_reserved_makes_room(served: Served, provider: FakeProvider) -> None:
    """Four times as many fit when they cost a quarter, through kills, and never more."""
    for _ in range(ROUNDS):
        before, user = calls(provider), secrets.token_hex(4)
        for turn in range(40):
            victim = served.workers()[0] if turn == 1 else None
            seen = asyncio.run(rush(served, "cheap", victim=victim, user=user, seed=turn))
            until(lambda: len(served.workers()) == WORKERS)
            if not seen.statuses[200]:
                break
        admitted = calls(provider) - before
        show(f"{admitted} calls of $0.00025 on a budget of ${BUDGET * WORST_USD:.5f}")
        # What was in flight at the kill stays charged at its worst case.
        assert BUDGET < admitted <= 4 * BUDGET
        assert not seen.statuses[200]


@pytest.mark.parametrize("kills", [False, True])
def test_requests_per_minute_are_counted_over_all_workers(
    served: Served, provider: FakeProvider, store: dict[str, str], *, kills: bool
) -> None:
    """Of a hundred within a second fifty pass, exactly, and the others are told when to come again."""
    before = calls(provider)
    victim = served.workers()[0] if kills else None
    seen = asyncio.run(rush(served, "dear", victim=victim, organization=secrets.token_hex(4)))
    admitted = calls(provider) - before
    show(
        f"{'redis' if store else 'file'}, {AT_ONCE} at once, {RATE} a minute: {admitted} admitted,"
        f" {dict(sorted(seen.statuses.items()))}, {seen.broken} broken by a kill"
    )
    assert RATE // 2 < admitted <= RATE
    assert set(seen.statuses) <= {200, 429}
    if not kills:
        assert (seen.statuses[200], seen.statuses[429]) == (RATE, AT_ONCE - RATE)
    for refusal in seen.refusals:
        assert refusal.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(refusal.headers["retry-after"]) <= 61
        assert refusal.headers["x-ratelimit-limit-requests"] == str(RATE)
        assert refusal.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("store", [{"LIMITS_STORE": "memory"}], ids=["memory"])
def test_the_rush_sees_budgets_that_are_not_shared(
    served: Served, provider: FakeProvider, store: dict[str, str]
) -> None:
    """The control: workers that count each for itself pass the budget."""
    asyncio.run(rush(served, "dear", victim=None, user="ada"))
    show(f"each worker its own: {calls(provider)} admitted on a budget for {BUDGET}")
    assert calls(provider) > BUDGET
