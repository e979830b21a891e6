"""Routers that share Redis learn of each other's ejections, and eject nothing on hearsay."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from router.errors import ConfigError
from router.health.breaker import Breaker, BreakerRules
from router.health.news import HealthNews
from router.request.preferences import Preferences
from router.request.request import Request
from router.router import Router
from tests.factories import write_catalog
from tests.router.health.test_breaker import FOUR, SHARED, Clock, fail
from tests.router.limits.servers import RedisServer

OpenRouter = Callable[..., "Member"]


class Member:
    """A router's breaker with its news. Nothing is exchanged until the test says so."""

    def __init__(self, url: str, prefix: str, models: Any, **rules: Any) -> None:
        self.clock = Clock()
        self.breaker = Breaker(models, BreakerRules(jitter=0.0, **rules), clock=self.clock)
        self.news = HealthNews(url, self.breaker, prefix=prefix)

    def out(self) -> dict[str, str]:
        """The models that are left out, and why."""
        return dict(self.breaker.view().models)


@pytest.fixture
def join(redis_server: RedisServer) -> Iterator[OpenRouter]:
    """Opens routers that share one Redis."""
    members: list[Member] = []
    prefix = f"{{test-{secrets.token_hex(4)}}}:"

    def open_one(models: Any = FOUR, *, url: str = redis_server.url, **rules: Any) -> Member:
        members.append(Member(url, prefix, models, **rules))
        return members[-1]

    yield open_one
    for member in members:
        member.news.close()


def pass_on(*members: Member) -> None:
    """Each tells and hears, twice: the order does not count."""
    for member in members * 2:
        member.news.exchange()


@pytest.mark.smoke
def test_one_failure_confirms_what_another_router_ejected(join: OpenRouter) -> None:
    """The second router leaves the model out after one failure, and not after five."""
    first, second = join(), join()
    fail(first.breaker, "a")
    pass_on(first, second)
    assert second.breaker.snapshot()["ejected_elsewhere"] == {"model `a`": first.out()["a"]}
    fail(second.breaker, "a", times=1)
    assert second.out() == {"a": "it is ejected after `server_error` here and its ejection by another router"}
    fail(second.breaker, "b", times=4)
    assert set(second.out()) == {"a"}


def test_what_another_router_says_ejects_nothing(join: OpenRouter) -> None:
    """Its own network may be at fault."""
    first, second = join(), join()
    fail(first.breaker, "a")
    pass_on(first, second)
    assert second.out() == {}


def test_a_model_that_just_answered_here_needs_as_many_failures_as_ever(join: OpenRouter) -> None:
    """A single failure among answers does not show an outage."""
    first, second = join(), join()
    fail(first.breaker, "a")
    pass_on(first, second)
    second.breaker.record("a", success=True)
    second.clock.now += 5
    fail(second.breaker, "a", times=1)
    assert second.out() == {}
    second.clock.now += 6
    fail(second.breaker, "a", times=1)
    assert set(second.out()) == {"a"}


def test_a_provider_is_confirmed_by_one_failure_of_one_of_its_models(join: OpenRouter) -> None:
    """The models of the provider that have not failed here are left out too."""
    first, second = join(SHARED, max_ejected_share=0.8), join(SHARED, max_ejected_share=0.8)
    fail(first.breaker, "a", times=4)
    fail(first.breaker, "b", times=4)
    pass_on(first, second)
    fail(second.breaker, "b", times=1)
    assert set(second.out()) == {"a", "b"}


def test_a_router_that_got_an_answer_takes_its_news_back(join: OpenRouter) -> None:
    """The model is restored elsewhere as if nothing had been said."""
    first, second = join(), join()
    fail(first.breaker, "a")
    pass_on(first, second)
    first.clock.now += 31
    assert first.breaker.begin("a")
    first.breaker.record("a", success=True)
    pass_on(first, second)
    assert second.breaker.snapshot()["ejected_elsewhere"] == {}
    fail(second.breaker, "a", times=1)
    assert second.out() == {}


def test_news_of_a_router_that_is_gone_ends_with_the_ejection(join: OpenRouter) -> None:
    """Redis drops it, so that no process must."""
    first, second = join(base_ejection_s=0.3), join()
    fail(first.breaker, "a")
    pass_on(first, second)
    assert second.breaker.snapshot()["ejected_elsewhere"]
    deadline = time.monotonic() + 10
    while second.breaker.snapshot()["ejected_elsewhere"] and time.monotonic() < deadline:
        second.news.exchange()
        time.sleep(0.05)
    assert second.breaker.snapshot()["ejected_elsewhere"] == {}


def test_without_redis_there_is_no_news(join: OpenRouter, redis_server: RedisServer) -> None:
    """The breaker works as on one machine, and earlier news is forgotten."""
    first, second, alone = join(), join(), join(url="redis://127.0.0.1:9/0")
    fail(first.breaker, "a")
    pass_on(first, second, alone)
    assert alone.breaker.snapshot()["ejected_elsewhere"] == {}
    away = HealthNews("redis://127.0.0.1:9/0", second.breaker)
    away.exchange()
    away.close()
    assert second.breaker.snapshot()["ejected_elsewhere"] == {}
    fail(second.breaker, "a", times=4)
    assert second.out() == {}


@pytest.mark.parametrize("text", [b"\xff", b"[]", b'{"from": 1}', b'{"from": "x", "reason": 3}', b"null"])
def test_what_cannot_be_read_is_no_news(join: OpenRouter, redis_server: RedisServer, text: bytes) -> None:
    """Another release may write other values."""
    member = join()
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"{member.news._prefix}model `a`", text, ex=60)
    member.news.exchange()
    assert member.breaker.snapshot()["ejected_elsewhere"] == {}


def test_a_url_that_is_none_is_refused(join: OpenRouter) -> None:
    """By name, without its text."""
    with pytest.raises(ConfigError, match="REDIS_URL is not a"):
        join(url="http://:hunter2@host")


@pytest.mark.usefixtures("redis_server")
def test_an_outage_costs_the_second_router_one_request(tmp_path: Path, fake_url: str) -> None:
    """Two routers with folders of their own: the first finds out with five calls, the second with one."""
    request = Request(
        messages=[{"role": "user", "content": "hello"}], preferences=Preferences(order=("down",))
    )
    (tmp_path / "redis").mkdir()
    for name in ("one", "two"):
        write_catalog(tmp_path / name, ("down", "small"), base_url=fake_url)
    with (
        RedisServer(tmp_path / "redis") as server,  # other tests must not hear of this outage
        Router.open(home=tmp_path / "one", redis_url=server.url, max_retries=0) as first,
        Router.open(home=tmp_path / "two", redis_url=server.url, max_retries=0) as second,
    ):
        for _ in range(5):
            first.complete_sync(request)
        deadline = time.monotonic() + 20
        while not second.health()["breakers"]["ejected_elsewhere"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not second.health()["breakers"]["ejected"]
        second.complete_sync(request)
        assert set(second.health()["breakers"]["ejected"]) == {"down"}
