"""Several machines on one PostgreSQL and one Redis: they agree, and each serves without either."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.machines import Machines, names, seconds_until
from tests.postgres import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
POLICY = b"policies: [{id: support, version: 1, cost_weight: 1.0}]\n"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two of them."""
    if reason := Machines.missing():
        pytest.skip(reason)
    with Machines(tmp_path_factory.mktemp("machines")) as started:
        yield started


def has(machines: Machines, number: int, client: httpx.Client, config_hash: str) -> bool:
    """Whether a machine decides by that configuration."""
    found: str = machines.health(number, client)["configuration"]["config_hash"]
    return found == config_hash


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A caller."""
    with httpx.Client(timeout=30) as opened:
        yield opened


def test_a_key_holds_everywhere_soon_after_its_change(machines: Machines, client: httpx.Client) -> None:
    """Made on one machine, it opens the other; revoked there, the first one refuses it."""
    key_id, token = machines.make_key("ci", on=0)
    seconds_until(lambda: machines.ask(1, client, token=token).status_code == 200)
    machines.revoke(key_id, on=1)
    seconds_until(lambda: machines.ask(0, client, token=token).status_code == 401)


def test_a_version_is_in_force_everywhere_soon_after_its_change(
    machines: Machines, client: httpx.Client
) -> None:
    """Both machines have the hash of the applied version."""
    applied = machines.apply({"policies.yaml": POLICY}, on=1)
    for number in (0, 1):
        seconds_until(partial(has, machines, number, client, applied))


def test_sessions_stay_over_machines_and_kills(machines: Machines) -> None:
    """Each session keeps its model on the other machine, and after `kill -9` of both servers."""
    sessions = names(200)
    before = machines.answers(sessions, 0)
    assert len(set(before)) > 1
    assert machines.answers(sessions, 1) == before
    machines.kill_and_restart()
    assert machines.answers(sessions, 0) == before
    assert machines.answers(sessions, 1) == before


def test_no_request_fails_while_postgresql_is_stopped(machines: Machines, client: httpx.Client) -> None:
    """Under load, from the stop through the absence to the return; health says so meanwhile."""

    def stop_and_start() -> None:
        time.sleep(1)
        machines.postgres.stop()
        seconds_until(lambda: machines.health(0, client)["configuration"]["error"] is not None)
        time.sleep(5)
        machines.postgres.start()
        seconds_until(lambda: machines.health(0, client)["configuration"]["error"] is None)

    requests, failures = machines.load(stop_and_start)
    assert requests > 100
    assert failures == []
    for server in machines.served:
        assert PASSWORD not in server.log.read_text()


def test_no_request_fails_while_redis_is_stopped(machines: Machines) -> None:
    """Each machine goes on with the sessions it knows, and they agree again when Redis is back, empty."""
    sessions = names(100)
    before = machines.answers(sessions, 0)
    assert machines.answers(sessions, 1) == before

    def stop_and_start() -> None:
        time.sleep(1)
        machines.redis.stop()
        time.sleep(3)
        assert machines.answers(sessions, 0) == before
        assert machines.answers(sessions, 1) == before
        machines.redis.start()
        time.sleep(2)

    requests, failures = machines.load(stop_and_start)
    assert requests > 100
    assert failures == []
    assert machines.answers(sessions, 0) == before
    assert machines.answers(sessions, 1) == before
