"""Random histories of a store that loses its data: `python -m tests.router.limits.loss_histories`.

Hosts with folders of their own run routers that lease parts of one budget. The store is emptied, routers lose
it and its answers, are killed and started again. The store runs the protocol of the scripts on Redis, and
`Connection` that of `router.limits.epochs`. A call may fail before it had its effect, after it, or have its
effect later, in another epoch too.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from router.errors import LimitsUnavailableError
from router.limits.counters import Reserved, Taken
from router.limits.leases import LeasedStore
from tests.router.limits.lease_histories import LIMIT, PARTS, FaultyConnection, account, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.limits.counters import Account

EVENTS = 300
RECOVERY = 20
"""Events in which each router that reaches the store makes contact."""


class OverError(Exception):
    """The caller's epoch is over."""


@dataclass
class Folder:
    """A host's data folder: records, the log of reservations, and its memory of epochs."""

    name: str
    epoch: str = ""
    known: set[str] = field(default_factory=set)
    records: dict[str, int | None] = field(default_factory=dict)
    log: dict[str, int] = field(default_factory=dict)

    def report(self) -> tuple[dict[str, int], int]:
        """The requests in flight, and the spend of the others."""
        in_flight = {name: held for name, held in self.log.items() if self.records.get(name) is None}
        return in_flight, sum(cost or 0 for cost in self.records.values())


@dataclass
class Epoch:
    """Everything in the store."""

    name: str
    born: int
    charged: Counter[str] = field(default_factory=Counter)
    held: dict[str, int | None] = field(default_factory=dict)
    """Amounts by request. None: settled."""
    hosts: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)
    amounts: Counter[str] = field(default_factory=Counter)
    is_whole: bool = False


@dataclass
class Server:
    """The scripts."""

    now: int = 0
    epochs: int = 0
    data: Epoch | None = None

    def begin(self) -> str:
        if self.data is None:
            self.epochs += 1
            self.data = Epoch(f"epoch-{self.epochs}", self.now)
        return self.data.name

    def at(self, epoch: str) -> Epoch:
        if self.data is None or self.data.name != epoch:
            raise OverError
        return self.data

    def contact(self, epoch: str, host: str, known: set[str]) -> tuple[bool, set[str]]:
        data = self.at(epoch)
        if not data.is_whole:
            data.waiting |= ({host} | known) - data.reported
        data.hosts.add(host)
        return host in data.reported, set(data.hosts)

    def open_requests(self, epoch: str, requests: dict[str, int], keys: list[str]) -> None:
        data = self.at(epoch)
        for name, amount in requests.items():
            if name not in data.held:
                data.held[name] = amount
                for key in keys:
                    data.charged[key] += amount

    def open_accounts(self, epoch: str, host: str, amount: int, keys: list[str]) -> None:
        data = self.at(epoch)
        more = max(amount - data.amounts[host], 0)
        data.amounts[host] += more
        for key in keys:
            data.charged[key] += more

    def reports(self, epoch: str, host: str) -> None:
        data = self.at(epoch)
        data.reported.add(host)
        data.waiting.discard(host)

    def charged(self, epoch: str, accounts: Sequence[Account]) -> tuple[int, ...]:
        data = self.at(epoch)
        return tuple(data.charged[item.key] for item in accounts)

    def reserve(self, epoch: str, request_id: str, accounts: Sequence[Account], amount: int) -> Any:
        data = self.at(epoch)
        held = data.held.get(request_id) or 0
        more, refused = amount - held, None
        if more > 0 and not data.is_whole and any(item.is_hard for item in accounts):
            if data.waiting or self.now < data.born + RECOVERY:
                return None
            data.is_whole = True
        for index, item in enumerate(accounts):
            if more > 0 and item.is_hard and data.charged[item.key] + more > item.limit:
                refused = index
                break
        if refused is None:
            data.held[request_id] = amount
            for item in accounts:
                data.charged[item.key] += more
        return Reserved(refused, tuple(data.charged[item.key] for item in accounts))

    def settle(
        self, epoch: str, request_id: str, accounts: Sequence[Account], cost: int | None, *, adds: bool
    ) -> None:
        data = self.at(epoch)
        is_known = request_id in data.held
        held = data.held.get(request_id)
        if is_known and held is None:
            return
        data.held[request_id] = None
        if cost is None or not (is_known or adds):
            return
        for item in accounts:
            data.charged[item.key] += cost - (held or 0)


class Connection(FaultyConnection):
    """A process's way to the server, and its epoch: an EpochStore."""

    UNHEARD = (OverError,)

    def __init__(self, server: Server, folder: Folder, draw: random.Random, keys: list[str]) -> None:
        super().__init__(draw)
        self._server, self._folder, self._keys = server, folder, keys
        self._joined = ""
        self._reserved_in: dict[str, str] = {}

    def look(self) -> None:
        """Make contact, and join the epoch of the server."""
        for _ in range(3):
            epoch = self._call(self._server.begin)
            with contextlib.suppress(OverError):
                self._try_join(epoch)
                return

    def _try_join(self, epoch: str) -> None:
        server, folder = self._server, self._folder
        known = set(folder.known)
        is_reported, hosts = self._call(lambda: server.contact(epoch, folder.name, known))
        folder.known |= hosts
        if not is_reported:
            folder.epoch = epoch
            in_flight, amount = folder.report()
            self._call(lambda: server.open_requests(epoch, in_flight, self._keys))
            self._call(lambda: server.open_accounts(epoch, folder.name, amount, self._keys))
            self._call(lambda: server.reports(epoch, folder.name))
        if self._joined != epoch:
            self._seen.clear()
        self._joined = epoch

    def _run(self, work: Callable[[str], Any]) -> tuple[str, Any]:
        for _ in range(3):
            if not self._joined:
                self.look()
            epoch = self._joined
            try:
                return epoch, self._call(partial(work, epoch))
            except OverError:
                self.look()
        raise LimitsUnavailableError("lost again and again")

    async def take(self, _rates: Any, accounts: Sequence[Account], _tokens: int) -> Taken:
        _, charged = self._run(lambda epoch: self._server.charged(epoch, accounts))
        self._see(accounts, charged)
        return Taken(None, None, (), charged, 0.0)

    async def reserve(
        self, request_id: str, accounts: Sequence[Account], amount: int, _held: int
    ) -> Reserved:
        epoch, answer = self._run(lambda epoch: self._server.reserve(epoch, request_id, accounts, amount))
        if answer is None:
            raise LimitsUnavailableError("hosts report")
        reserved: Reserved = answer
        if reserved.refused_by is None:
            self._reserved_in[request_id] = epoch
        self._see(accounts, reserved.charged)
        return reserved

    async def settle(
        self, request_id: str, accounts: Sequence[Account], cost: int | None, held: int, *_: Any
    ) -> None:
        reserved_in = self._reserved_in.pop(request_id, None)
        self._run(
            lambda epoch: self._server.settle(
                epoch, request_id, accounts, cost, adds=not held or reserved_in == epoch
            )
        )

    @property
    def epoch(self) -> str:
        return self._joined if self._folder.epoch == self._joined else ""

    def epoch_of(self, request_id: str) -> str:
        return self._reserved_in.get(request_id, "")

    def holds(self, request_id: str) -> bool:
        return self._reserved_in.get(request_id, self._folder.epoch) == self._folder.epoch


class Router:
    """One process of a host."""

    def __init__(self, server: Server, folder: Folder, draw: random.Random, accounts: list[Account]) -> None:
        self._server, self.folder, self._draw, self._accounts = server, folder, draw, accounts
        self.start()

    def start(self) -> None:
        """Begin with nothing known, as after `kill -9`."""
        self.connection = Connection(
            self._server, self.folder, self._draw, [item.key for item in self._accounts]
        )
        self.now = self._draw.uniform(-1e9, 1e9)
        self.store = LeasedStore(self.connection, clock=lambda: self.now)
        self.in_flight: dict[str, tuple[int, int]] = {}

    def serve(self, name: str, amount: int, *, held: int = 0) -> bool:
        """Reserve, and write the log as `Limits` does."""
        try:
            if not held:
                finish(self.store.take((), self._accounts, 0))
            if finish(self.store.reserve(name, self._accounts, amount, held)).refused_by is not None:
                return False
            self.folder.log[name] = amount
            if self.store.holds(name):
                return True
            self.folder.log[name] = held
            if not held:
                self.folder.records[name] = 0
            finish(self.store.settle(name, self._accounts, held, amount, (), 0.0))
        except LimitsUnavailableError:
            pass
        return False

    def settle(self, name: str, amount: int, cost: int | None) -> None:
        """The record first, then the store."""
        self.folder.records[name] = cost
        with contextlib.suppress(LimitsUnavailableError):  # then its worst case stays charged
            finish(self.store.settle(name, self._accounts, cost, amount, (), 0.0))


@dataclass
class Outcome:
    """The figures of one history."""

    ratio: float = 0.0
    """The most that was ever spent or in flight, over the budget."""
    losses: int = 0
    affordable: Counter[str] = field(default_factory=Counter)
    """Requests that the budget had room for and that reached the store, by whether hosts still reported."""
    served: Counter[str] = field(default_factory=Counter)


def play(seed: int) -> Outcome:
    """One history. Each request costs at most its worst case."""
    draw, server, outcome = random.Random(seed), Server(), Outcome()
    accounts = [account("hard"), *([account("soft", is_hard=False)] if seed % 3 == 0 else [])]
    folders = [Folder(f"host-{number}") for number in range(draw.randint(1, 3))]
    routers = [
        Router(server, folder, draw, accounts) for folder in folders for _ in range(draw.randint(1, 2))
    ]
    worst_most = LIMIT // draw.choice(PARTS)
    fault = draw.choice([0.0, 0.02, 0.2])
    spent = number = 0  # what providers billed, and those in flight at their worst case
    for server.now in range(EVENTS):
        for router in routers:
            # Every router that is not cut off makes contact well within the time to report.
            if server.now % (RECOVERY // 4) == 0:
                was, router.connection.fault = router.connection.fault, 0.0
                with contextlib.suppress(LimitsUnavailableError):
                    router.connection.look()
                router.connection.fault = was
        router = draw.choice(routers)
        router.now += draw.choice([0.1, 0.5, 3.0, 3.0, 90.0 if draw.random() < 0.05 else 1.0])
        event = draw.random()
        if event < 0.015:
            server.data = None
            outcome.losses += 1
        elif event < 0.03:
            for one in routers if draw.random() < 0.5 else [router]:
                one.connection.is_cut = True
        elif event < 0.08:
            for one in routers:
                one.connection.is_cut = False
                one.connection.fault = fault
        elif event < 0.09:
            router.start()  # requests in flight are billed at their worst case
        elif event < 0.45 and router.in_flight:
            name = draw.choice(list(router.in_flight))
            amount, total = router.in_flight.pop(name)
            cost = draw.choice([0, amount, draw.randint(0, amount)])
            is_known = draw.random() < 0.9
            spent -= total - (cost if is_known else total)
            router.settle(name, total, cost if is_known else None)
        else:
            number += 1
            name, amount = f"r{seed}-{number}", draw.randint(1, worst_most)
            is_whole = server.data is not None and server.data.is_whole
            fits = spent + amount <= LIMIT and not router.connection.is_cut
            is_served = router.serve(name, amount)
            if is_served:
                spent += amount
                router.in_flight[name] = amount, amount
                if draw.random() < 0.1:  # a fallback reserves more
                    more = draw.randint(1, worst_most)
                    if router.serve(name, amount + more, held=amount):
                        spent += more
                        router.in_flight[name] = amount + more, amount + more
            if fits:
                kind = "whole" if is_whole else "reporting"
                outcome.affordable[kind] += 1
                outcome.served[kind] += is_served
        outcome.ratio = max(outcome.ratio, spent / LIMIT)
    return outcome


def main() -> None:
    """Print the figures of many histories. Exit with 1 if a budget was passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    ratio, losses, affordable, served = 0.0, 0, Counter[str](), Counter[str]()
    for seed in range(options.first, options.first + options.histories):
        outcome = play(seed)
        if outcome.ratio > 1:
            sys.stdout.write(f"seed {seed}: spent {outcome.ratio:.6f} of the budget\n")
        ratio = max(ratio, outcome.ratio)
        losses += outcome.losses
        affordable += outcome.affordable
        served += outcome.served
    sys.stdout.write(f"{options.histories} histories with {losses} losses of all data:")
    sys.stdout.write(f" spent at most {ratio:.6f} of a budget\n")
    for kind, text in (("reporting", "while hosts reported"), ("whole", "once every host had reported")):
        share = served[kind] / affordable[kind] if affordable[kind] else 1.0
        sys.stdout.write(f"affordable requests {text}: {share:.1%} of {affordable[kind]} served\n")
    raise SystemExit(ratio > 1)


if __name__ == "__main__":
    main()
