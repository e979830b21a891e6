"""A real Redis of the tests' own, and every store behind one name."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pytest

from router.limits.memory import MemoryStore
from router.limits.opening import Report
from router.limits.shared import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from router.limits.counters import BudgetKey, LimitStore
    from tests.router.limits.servers import RedisServer

    MakeStore = Callable[..., LimitStore]


class Clock:
    """A clock that stays where it is put: at 08:00 UTC of tomorrow, since Redis expires keys by its own."""

    def __init__(self) -> None:
        self.now = (time.time() // 86_400 + 1) * 86_400 + 8 * 3600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The stores' clock."""
    return Clock()


@pytest.fixture(params=["memory", "file", "redis"])
def make_store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[MakeStore]:
    """Makes a store whose accounts open with what `charges` says of their keys."""
    if request.param == "memory":

        def make(charges: dict[str, int] | None = None) -> LimitStore:
            return MemoryStore(lambda account: (charges or {}).get(account.key, 0), clock=clock)

        yield make
        return
    if request.param == "file":
        made: list[FileStore] = []

        def make_shared(charges: dict[str, int] | None = None) -> LimitStore:
            made.append(
                FileStore(
                    tmp_path / secrets.token_hex(4),
                    lambda account: (charges or {}).get(account.key, 0),
                    clock=clock,
                )
            )
            return made[-1]

        yield make_shared
        for store in made:
            store.close()
        return
    server: RedisServer = request.getfixturevalue("redis_server")

    def make_remote(charges: dict[str, int] | None = None) -> LimitStore:
        from router.limits.remote import RedisStore

        def report(_: Collection[BudgetKey], _born_s: float, _is_whole: bool) -> Report:
            return Report({key: (amount, 4_000_000_000) for key, amount in (charges or {}).items()})

        return RedisStore(server.url, report, clock=clock, prefix=f"{{test-{secrets.token_hex(4)}}}:")

    yield make_remote


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty data folder."""
    path = tmp_path / "data"
    path.mkdir()
    return path
