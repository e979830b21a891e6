"""Random histories of routers that lease parts of a budget: `python -m tests.router.limits.lease_histories`.

Routers lose the store and their answers, are killed and started again, and have clocks of their own. The
store runs the protocol of the scripts on Redis: `Server` is their meaning in Python. A call to it may fail
before it had its effect, after it, or have its effect later.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from router.errors import LimitsUnavailableError
from router.limits.counters import Account, Reserved, Taken
from router.limits.leases import LeasedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

LIMIT = 10**12
EVENTS = 150
PARTS = (20, 200, 1000)
"""The least number of requests that a budget lasts for, one of them in each history."""


def account(name: str, *, is_hard: bool = True) -> Account:
    """A budget of 10^12 pico-dollars."""
    return Account(
        key=f"{name}:0:x",
        budget_id=name,
        scope="organization",
        subject="acme",
        period="day",
        starts_s=86_400,
        ends_s=2 * 86_400,
        limit=LIMIT,
        is_hard=is_hard,
        alert=None,
    )


@dataclass
class Server:
    """The scripts RESERVE and SETTLE."""

    charged: dict[str, int] = field(default_factory=dict)
    held: dict[str, int | None] = field(default_factory=dict)
    """Amounts by request. None: settled."""

    def reserve(self, request_id: str, accounts: Sequence[Account], amount: int) -> Reserved:
        held = self.held.get(request_id) or 0
        more, refused = amount - held, None
        for index, item in enumerate(accounts):
            if more > 0 and item.is_hard and self.charged.get(item.key, 0) + more > item.limit:
                refused = index
                break
        if refused is None:
            self.held[request_id] = amount
            for item in accounts:
                self.charged[item.key] = self.charged.get(item.key, 0) + more
        return Reserved(refused, tuple(self.charged.get(item.key, 0) for item in accounts))

    def settle(self, request_id: str, accounts: Sequence[Account], cost: int | None) -> None:
        if request_id in self.held and self.held[request_id] is None:
            return
        held = self.held.get(request_id) or 0
        self.held[request_id] = None
        for item in accounts if cost is not None else ():
            self.charged[item.key] = self.charged.get(item.key, 0) + cost - held  # type: ignore[operator]


class FaultyConnection:
    """A router's way to a server: a call may fail in every way that a network can."""

    name, is_remote, serves_away = "redis", True, False
    UNHEARD: tuple[type[Exception], ...] = ()
    """Refusals of the server that do not reach the router if the answer is lost."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.is_cut = False
        self.fault = 0.0
        self._late: list[Callable[[], Any]] = []
        self._seen: dict[str, int] = {}

    def _call(self, work: Callable[[], Any]) -> Any:
        while self._late and self._draw.random() < 0.3:
            with contextlib.suppress(*self.UNHEARD):
                self._late.pop(self._draw.randrange(len(self._late)))()
        if self.is_cut:
            raise LimitsUnavailableError("cut")
        if self._draw.random() < self.fault:
            kind = self._draw.randrange(3)
            with contextlib.suppress(*self.UNHEARD):
                if kind == 1:
                    work()
                elif kind == 2:
                    self._late.append(work)
            raise LimitsUnavailableError("no answer")
        return work()

    def peek(self, accounts: Sequence[Account]) -> tuple[int, ...] | None:
        if any(item.key not in self._seen for item in accounts):
            return None
        return tuple(self._seen[item.key] for item in accounts)

    @property
    def has_met(self) -> bool:
        """Whether the server ever answered."""
        return bool(self._seen)

    def watch(self) -> None:
        pass

    def check(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _see(self, accounts: Sequence[Account], charged: Sequence[int]) -> None:
        self._seen.update(zip((item.key for item in accounts), charged, strict=True))


class Connection(FaultyConnection):
    """The LimitStore of one router, on a server that keeps its data."""

    epoch = "only"

    def __init__(self, server: Server, draw: random.Random) -> None:
        super().__init__(draw)
        self._server = server

    async def take(self, _rates: Any, accounts: Sequence[Account], _tokens: int) -> Taken:
        charged = self._call(lambda: tuple(self._server.charged.get(item.key, 0) for item in accounts))
        self._see(accounts, charged)
        return Taken(None, None, (), charged, 0.0)

    async def reserve(
        self, request_id: str, accounts: Sequence[Account], amount: int, _held: int
    ) -> Reserved:
        answer: Reserved = self._call(lambda: self._server.reserve(request_id, accounts, amount))
        self._see(accounts, answer.charged)
        return answer

    async def settle(self, request_id: str, accounts: Sequence[Account], cost: int | None, *_: Any) -> None:
        self._call(lambda: self._server.settle(request_id, accounts, cost))

    def holds(self, _request_id: str) -> bool:
        return True

    def epoch_of(self, _request_id: str) -> str:
        return self.epoch


@dataclass
class Outcome:
    """The figures of one history."""

    ratio: float = 0.0
    """The most that was ever spent or in flight, over the budget."""
    affordable: int = 0
    """Requests that met a store that was away and that the budget had room for."""
    served: int = 0
    """Those among them that were served."""
    begun_away: int = 0
    """More of them, at routers that never reached the store since their start."""
    parts: int = 0
    """The least number of requests that the budget lasts for."""


def finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class Router:
    """One process: it may be cut off, killed and started again. Its clock is its own."""

    def __init__(self, server: Server, draw: random.Random) -> None:
        self._server, self._draw = server, draw
        self.start()

    def start(self) -> None:
        """Begin with nothing known, as after `kill -9`."""
        self.connection = Connection(self._server, self._draw)
        self.now = self._draw.uniform(-1e9, 1e9)
        self.store = LeasedStore(self.connection, clock=lambda: self.now)
        self.in_flight: dict[str, tuple[int, int]] = {}


def play(seed: int) -> Outcome:
    """One history. Each request costs at most its worst case."""
    draw, server, outcome = random.Random(seed), Server(), Outcome()
    accounts = [account("hard"), *([account("soft", is_hard=False)] if seed % 3 == 0 else [])]
    hosts = [Router(server, draw) for _ in range(draw.randint(1, 4))]
    outcome.parts = draw.choice(PARTS)
    worst_most = LIMIT // outcome.parts
    fault = draw.choice([0.0, 0.02, 0.2])
    spent = number = 0  # what providers billed, and those in flight at their worst case
    for _ in range(EVENTS):
        host = draw.choice(hosts)
        host.now += draw.choice([0.1, 0.5, 3.0, 3.0, 90.0 if draw.random() < 0.05 else 1.0])
        event = draw.random()
        if event < 0.03:
            for one in hosts if draw.random() < 0.5 else [host]:
                one.connection.is_cut = True
        elif event < 0.08:
            for one in hosts:
                one.connection.is_cut = False
                one.connection.fault = fault
        elif event < 0.09:
            host.start()  # requests in flight are billed at their worst case
        elif event < 0.1:
            host.now += draw.uniform(-500, 500)
        elif event < 0.45 and host.in_flight:
            name = draw.choice(list(host.in_flight))
            amount, total = host.in_flight.pop(name)
            cost = draw.choice([0, amount, draw.randint(0, amount)])
            is_known = draw.random() < 0.9
            spent -= total - (cost if is_known else total)
            with contextlib.suppress(LimitsUnavailableError):  # then its worst case stays charged
                finish(host.store.settle(name, accounts, cost if is_known else None, total, (), 0.0))
        else:
            number += 1
            name, amount = f"r{seed}-{number}", draw.randint(1, worst_most)
            is_away, fits = host.connection.is_cut, spent + amount <= LIMIT
            is_served = _serve(host, name, accounts, amount)
            if is_served:
                spent += amount
                host.in_flight[name] = amount, amount
                if draw.random() < 0.1:  # a fallback reserves more
                    more = draw.randint(1, worst_most)
                    if _serve(host, name, accounts, amount + more, held=amount):
                        spent += more
                        host.in_flight[name] = amount + more, amount + more
            if is_away and fits and not host.connection.has_met:
                outcome.begun_away += 1
            elif is_away and fits:
                outcome.affordable += 1
                outcome.served += is_served
        outcome.ratio = max(outcome.ratio, spent / LIMIT)
    return outcome


def _serve(host: Router, name: str, accounts: list[Account], amount: int, *, held: int = 0) -> bool:
    try:
        if not held:
            finish(host.store.take((), accounts, 0))
        return finish(host.store.reserve(name, accounts, amount, held)).refused_by is None
    except LimitsUnavailableError:
        return False


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    """Print the figures of many histories. Exit with 1 if a budget was passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    ratio, begun_away, affordable, served = 0.0, 0, Counter[int](), Counter[int]()
    for seed in range(options.first, options.first + options.histories):
        outcome = play(seed)
        if outcome.ratio > 1:
            _say(f"seed {seed}: spent {outcome.ratio:.6f} of the budget")
        ratio = max(ratio, outcome.ratio)
        affordable[outcome.parts] += outcome.affordable
        served[outcome.parts] += outcome.served
        begun_away += outcome.begun_away
    _say(f"{options.histories} histories: spent at most {ratio:.6f} of a budget")
    _say(f"affordable requests while the store was away, without {begun_away} at routers that began then:")
    for parts in PARTS:
        share = served[parts] / affordable[parts] if affordable[parts] else 1.0
        _say(f"  budget for {parts:>4} requests or more: {share:.1%} of {affordable[parts]} served")
    raise SystemExit(ratio > 1)


if __name__ == "__main__":
    main()
