"""A LimitStore on Redis: limits and budgets that many routers share.

The reservations of a killed process stay charged. Where Redis has no charges yet, or lost them, each host
reports its own first (see `epochs`). Redis must not evict keys (`maxmemory-policy noeviction`). `leases`
serves while it is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import threading
import time
from typing import TYPE_CHECKING, Any

from router.errors import LimitsUnavailableError
from router.limits import scripts
from router.limits.counters import Account, Rate, Reserved, Taken
from router.limits.epochs import MAX_JOINS, Epochs, expiry_of
from router.limits.opening import Report
from router.stores.redis_connections import PREFIX, RedisConnections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.limits.counters import BudgetKey
    from router.limits.epochs import ReadReport
    from router.limits.hosts import Host

TIMEOUT_S = 1.0
"""Time limit for connecting and for one operation."""
PROBE_INTERVAL_S = 0.5
"""Time between tries while Redis does not answer. Requests in between fail at once. If Redis is silent, a
thread tries: a request would wait for its time limit."""
CHECK_S = 60
"""Lifetime of the key that a check of the server writes."""
POOL_TIMEOUT_S = 5.0
"""The longest that a request waits for a connection."""


class RedisStore:
    """A LimitStore for the processes of many machines."""

    name = "redis"
    is_remote = True
    serves_away = False

    def __init__(
        self,
        url: str,
        report: ReadReport = lambda _budgets, _born_s, _is_whole: Report(),
        *,
        host: Host | None = None,
        budgets: Callable[[], set[BudgetKey]] = set,
        recovery_s: float = 0.0,
        clock: Callable[[], float] | None = None,
        prefix: str = PREFIX,
    ) -> None:
        """`report` reads what this host spent and holds, and `budgets` names all that there are.

        `host` None: this process is a host of its own. `clock` replaces Redis's in tests.
        """
        self._connections = RedisConnections(
            url, timeout_s=TIMEOUT_S, pool_timeout_s=POOL_TIMEOUT_S, thread_timeout_s=10 * TIMEOUT_S
        )
        self._epochs = Epochs(
            self._connections,
            prefix=prefix,
            host=host,
            report=report,
            budgets=budgets,
            recovery_s=recovery_s,
            clock=clock,
        )
        self._prefix = prefix
        self._digests = {
            script: hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 - EVALSHA's, not ours
            for script in (scripts.TAKE, scripts.RESERVE, scripts.SETTLE, scripts.COMPLETE)
        }
        self._down: LimitsUnavailableError | None = None
        self._probed_at = 0.0
        self._is_silent = False
        self._probe: threading.Thread | None = None
        self._last_seen: dict[str, int] = {}
        self._reserved_in: dict[str, str] = {}
        """The epoch of each reservation that is not settled."""

    async def take(self, rates: Sequence[Rate], accounts: Sequence[Account], tokens: int) -> Taken:
        """See LimitStore."""
        arguments: list[str | int] = [self._epochs.clock()]
        for rate in rates:
            arguments += [rate.limit, rate.window_s * 1_000_000, 1 if rate.unit == "requests" else tokens]
        _, answer = await self._run(
            scripts.TAKE,
            lambda epoch: [*self._rates(rates), *self._accounts(epoch, accounts)],
            lambda _: arguments,
            accounts,
        )
        if answer[0] == b"refused":
            _, _, index, wait_us, left = answer
            return Taken(index, None if wait_us < 0 else wait_us / 1e6, tuple(left), (), 0.0)
        _, _, now, left, charged, is_partial = answer
        return Taken(
            None,
            None,
            tuple(left),
            self._see(accounts, charged),
            float(now),
            is_partial=bool(is_partial),
        )

    async def reserve(
        self,
        request_id: str,
        accounts: Sequence[Account],
        amount: int,
        held: int,  # noqa: ARG002 - Redis knows it
    ) -> Reserved:
        """See LimitStore. Redis knows the amount held, so a repeated call reserves once."""
        arguments: list[str | int] = [amount]
        for account in accounts:
            arguments += [account.limit if account.is_hard else "", expiry_of(account.ends_s)]
        for _ in range(MAX_JOINS):
            epoch, answer = await self._run(
                scripts.RESERVE,
                lambda epoch: [self._reservation(epoch, request_id), *self._accounts(epoch, accounts)],
                lambda _: arguments,
                accounts,
            )
            if answer[0] != b"partial":
                break
            error = await self._wait(epoch)
            if error is not None:
                raise error
        else:
            raise _forgetful()
        _, _, refused_by, charged = answer
        if refused_by < 0:
            self._reserved_in[request_id] = epoch
        return Reserved(None if refused_by < 0 else refused_by, self._see(accounts, charged))

    async def settle(
        self,
        request_id: str,
        accounts: Sequence[Account],
        cost: int | None,
        held: int,
        corrections: Sequence[tuple[Rate, int]],
        at: float,
    ) -> None:
        """See LimitStore. A repeated call charges once."""
        # The record of a request that was never reserved is in a report only if this call led to it.
        charged_in = self._reserved_in.pop(request_id, None) if held else self._epochs.id
        rest: list[str | int] = [f"{at:.0f}"]
        for rate, correction in corrections:
            rest += [rate.window_s * 1_000_000, correction]
        await self._run(
            scripts.SETTLE,
            lambda epoch: [
                self._reservation(epoch, request_id),
                *self._accounts(epoch, accounts),
                *self._rates([rate for rate, _ in corrections]),
            ],
            lambda epoch: ["" if cost is None else cost, int(charged_in == epoch), *rest],
            accounts,
        )

    def holds(self, request_id: str) -> bool:
        """See LimitStore."""
        epoch = self._epochs.host.epoch()
        return self._reserved_in.get(request_id, epoch) == epoch

    def epoch_of(self, request_id: str) -> str:
        """The epoch of a reservation that is not settled. Empty without one."""
        return self._reserved_in.get(request_id, "")

    @property
    def epoch(self) -> str:
        """The epoch in which the accounts of this process count. Empty where its host has left it."""
        epoch = self._epochs.id
        return epoch if self._epochs.host.epoch() == epoch else ""

    def peek(self, accounts: Sequence[Account]) -> tuple[int, ...] | None:
        """See LimitStore. Redis's last answer, or None where it has none about one of the accounts."""
        seen = [self._last_seen.get(account.key) for account in accounts]
        known = tuple(charged for charged in seen if charged is not None)
        return known if len(known) == len(seen) else None

    def check(self) -> None:
        """See LimitStore. It writes, because a server that only reads cannot count."""
        try:
            with self._connections.client_of_thread() as client:
                client.set(f"{self._prefix}health", 1, ex=CHECK_S)
        except self._connections.failures as error:
            raise self._fail(error) from error
        self._down = None

    def watch(self) -> None:
        """See LimitStore."""
        self._epochs.watch()

    async def aclose(self) -> None:
        """See LimitStore."""
        await self._connections.aclose()

    def close(self) -> None:
        """See LimitStore."""
        self._epochs.close()

    def _see(self, accounts: Sequence[Account], charged: Sequence[bytes]) -> tuple[int, ...]:
        amounts = tuple(map(int, charged))
        if len(self._last_seen) > 100_000:
            self._last_seen.clear()
        self._last_seen.update(zip((account.key for account in accounts), amounts, strict=True))
        return amounts

    async def _run(
        self,
        script: str,
        keys: Callable[[str], list[str]],
        arguments: Callable[[str], list[str | int]],
        accounts: Sequence[Account],
    ) -> tuple[str, Any]:
        """Run a script in the epoch of Redis, and return both. `keys` and `arguments` may depend on it."""
        if self._down is not None and not self._may_try():
            raise self._down
        epochs, budgets = self._epochs, [account.budget for account in accounts]
        try:
            if not epochs.covers(budgets):
                await asyncio.to_thread(epochs.join, budgets)
            for _ in range(MAX_JOINS):
                epoch = epochs.id
                answer = await self._call(
                    script,
                    [*epochs.keys(epoch), *keys(epoch)],
                    [*epochs.arguments(epoch), *arguments(epoch)],
                )
                epochs.note(epoch, answer[1])
                if answer[0] not in (b"epoch", b"lost"):
                    self._down = None
                    return epoch, answer
                self._last_seen.clear()
                await asyncio.to_thread(epochs.join, budgets, over=epoch, lost=answer[0] == b"lost")
        except self._connections.failures as error:
            raise self._fail(error) from error
        raise _forgetful()

    def _may_try(self) -> bool:
        """Whether a request may try Redis again, which did not answer."""
        if time.monotonic() - self._probed_at < PROBE_INTERVAL_S:
            return False
        if not self._is_silent:
            return True
        if self._probe is None or not self._probe.is_alive():
            self._probe = threading.Thread(target=self._try_again, name="limits-probe", daemon=True)
            self._probe.start()
        return False

    def _try_again(self) -> None:
        with contextlib.suppress(*self._connections.failures):
            with self._connections.client_of_thread(is_short=True) as client:
                client.ping()
            self._down = None
        self._probed_at = time.monotonic()

    async def _wait(self, epoch: str) -> LimitsUnavailableError | None:
        """The error of a request that has to wait for reports. None once every host has reported."""
        keys, arguments = self._epochs.completing(epoch)
        try:
            answer = await self._call(
                scripts.COMPLETE,
                [*self._epochs.keys(epoch), *keys],
                [*self._epochs.arguments(epoch), *arguments],
            )
        except self._connections.failures as error:
            raise self._fail(error) from error
        return _still_reporting(*answer[2:]) if answer[0] == b"partial" else None

    async def _call(self, script: str, keys: list[str], arguments: list[str | int]) -> Any:
        client = self._connections.client()
        try:
            return await client.evalsha(self._digests[script], len(keys), *keys, *arguments)
        except self._connections.unknown_script:
            return await client.eval(script, len(keys), *keys, *arguments)

    def _fail(self, error: Exception) -> LimitsUnavailableError:
        # The kind of error and not its text, which may quote the URL.
        failure = LimitsUnavailableError(
            f"Redis does not count limits and budgets ({type(error).__name__}): check that REDIS_URL's server"
            " runs. Serving resumes by itself"
        )
        if not isinstance(error, self._connections.refusals):  # else it answers, to others too
            self._down, self._probed_at = failure, time.monotonic()
            self._is_silent = isinstance(error, self._connections.silences)
        return failure

    def _rates(self, rates: Sequence[Rate]) -> list[str]:
        return [f"{self._prefix}l:{rate.key}" for rate in rates]

    def _accounts(self, epoch: str, accounts: Sequence[Account]) -> list[str]:
        return [self._epochs.name(epoch, f"b:{account.key}") for account in accounts]

    def _reservation(self, epoch: str, request_id: str) -> str:
        return self._epochs.name(epoch, f"r:{request_id}")


def _forgetful() -> LimitsUnavailableError:
    return LimitsUnavailableError("Redis forgets budgets as soon as they are reported. See its log")


def _still_reporting(wait_us: int, hosts: int) -> LimitsUnavailableError:
    seconds = math.ceil(wait_us / 1e6)
    missing = [f"{hosts} host{'s have' if hosts > 1 else ' has'} yet to report"] if hosts else []
    missing += [f"others may within {seconds} s"] if seconds else []
    return LimitsUnavailableError(
        f"Redis is new or lost its data, and hard budgets wait until every host has reported its spend:"
        f" {', and '.join(missing)}. Try again",
        retry_after_s=float(max(seconds, 1)),
    )
