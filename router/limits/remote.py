"""A LimitStore on Redis: limits and budgets that many routers share.

Charges live only in Redis: the reservations of a killed process stay charged there. A budget's period is
opened from the records once, by the first router that finds no marker: at its first use, or after Redis
lost its data. Redis must not evict keys (`maxmemory-policy noeviction`). `leases` serves while it is away.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

from router.errors import LimitsUnavailableError
from router.limits import scripts
from router.limits.counters import GRACE_S, Account, Rate, Reserved, Taken
from router.stores.redis_connections import PREFIX, RedisConnections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMEOUT_S = 1.0
"""Time limit for connecting and for one operation."""
PROBE_INTERVAL_S = 0.5
"""Time between tries while Redis does not answer. Requests in between fail at once."""
OPEN_AT_ONCE = 1000
"""Accounts opened by one script: it bounds how long Redis is kept from others."""
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
        opening: Callable[[Sequence[Account]], dict[str, int]] = lambda _: {},
        *,
        clock: Callable[[], float] | None = None,
        prefix: str = PREFIX,
    ) -> None:
        """`opening` reads the earlier charges of the accounts' periods. `clock` replaces Redis's in tests."""
        self._connections = RedisConnections(
            url, timeout_s=TIMEOUT_S, pool_timeout_s=POOL_TIMEOUT_S, thread_timeout_s=10 * TIMEOUT_S
        )
        self.opening = opening
        self._clock = clock
        self._prefix = prefix
        self._digests = {
            script: hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 - EVALSHA's, not ours
            for script in (scripts.TAKE, scripts.RESERVE, scripts.SETTLE, scripts.OPEN)
        }
        self._down: LimitsUnavailableError | None = None
        self._probed_at = 0.0
        self._open_lock = threading.Lock()  # one opening at a time in this process
        self._last_seen: dict[str, int] = {}

    async def take(self, rates: Sequence[Rate], accounts: Sequence[Account], tokens: int) -> Taken:
        """See LimitStore."""
        arguments: list[str | int] = [self._now(), len(rates), len(accounts)]
        for rate in rates:
            arguments += [rate.limit, rate.window_s * 1_000_000, 1 if rate.unit == "requests" else tokens]
        keys = [*self._rates(rates), *self._accounts(accounts), *self._markers(accounts)]
        answer = await self._run_opened(scripts.TAKE, keys, arguments, accounts)
        if answer[0] == b"refused":
            _, index, wait_us, left = answer
            return Taken(index, None if wait_us < 0 else wait_us / 1e6, tuple(left), (), 0.0)
        _, now, left, charged = answer
        return Taken(None, None, tuple(left), self._see(accounts, charged), float(now))

    async def reserve(
        self,
        request_id: str,
        accounts: Sequence[Account],
        amount: int,
        held: int,  # noqa: ARG002 - Redis knows it
    ) -> Reserved:
        """See LimitStore. Redis knows the amount held, so a repeated call reserves once."""
        arguments: list[str | int] = [amount, len(accounts)]
        for account in accounts:
            arguments += [account.limit if account.is_hard else "", account.ends_s + GRACE_S]
        keys = [self._reservation(request_id), *self._accounts(accounts), *self._markers(accounts)]
        _, refused_by, charged = await self._run_opened(scripts.RESERVE, keys, arguments, accounts)
        return Reserved(None if refused_by < 0 else refused_by, self._see(accounts, charged))

    async def settle(
        self,
        request_id: str,
        accounts: Sequence[Account],
        cost: int | None,
        held: int,  # noqa: ARG002
        corrections: Sequence[tuple[Rate, int]],
        at: float,
    ) -> None:
        """See LimitStore. A repeated call charges once."""
        arguments: list[str | int] = ["" if cost is None else cost, f"{at:.0f}", len(accounts)]
        for rate, correction in corrections:
            arguments += [rate.window_s * 1_000_000, correction]
        keys = [
            self._reservation(request_id),
            *self._accounts(accounts),
            *self._markers(accounts),
            *self._rates([rate for rate, _ in corrections]),
        ]
        await self._run(scripts.SETTLE, keys, arguments)

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

    async def aclose(self) -> None:
        """See LimitStore."""
        await self._connections.aclose()

    def close(self) -> None:
        """See LimitStore."""

    def _see(self, accounts: Sequence[Account], charged: Sequence[bytes]) -> tuple[int, ...]:
        amounts = tuple(map(int, charged))
        if len(self._last_seen) > 100_000:
            self._last_seen.clear()
        self._last_seen.update(zip((account.key for account in accounts), amounts, strict=True))
        return amounts

    async def _run_opened(
        self, script: str, keys: list[str], arguments: list[str | int], accounts: Sequence[Account]
    ) -> Any:
        answer = await self._run(script, keys, arguments)
        if answer[0] != b"open":
            return answer
        try:
            await asyncio.to_thread(self._open, accounts)
        except self._connections.failures as error:
            raise self._fail(error) from error
        answer = await self._run(script, keys, arguments)
        if answer[0] == b"open":
            raise LimitsUnavailableError("Redis forgets budgets as soon as they are opened. See its log")
        return answer

    def _open(self, accounts: Sequence[Account]) -> None:
        """Charge accounts with their recorded spend, each once and only where nothing is charged yet."""
        with self._open_lock, self._connections.client_of_thread() as client:
            markers = dict(zip(self._markers(accounts), accounts, strict=True))
            missing = {key: account for key, account in markers.items() if not client.exists(key)}
            if not missing:
                return
            charges = sorted(self.opening(list(missing.values())).items())
            for marker, account in missing.items():
                mine = [
                    item for item in charges if item[0].startswith(f"{account.budget_id}:{account.starts_s}:")
                ]
                for first in range(0, len(mine) or 1, OPEN_AT_ONCE):
                    part = mine[first : first + OPEN_AT_ONCE]
                    # The marker comes with the last part: before it, no router counts.
                    is_last = first + OPEN_AT_ONCE >= len(mine)
                    client.eval(
                        scripts.OPEN,
                        len(part) + 1,
                        marker if is_last else f"{marker}:opening",
                        *(self._prefix + "b:" + key for key, _ in part),
                        account.ends_s + GRACE_S,
                        *(pico for _, pico in part),
                    )

    async def _run(self, script: str, keys: list[str], arguments: list[str | int]) -> Any:
        if self._down is not None and time.monotonic() - self._probed_at < PROBE_INTERVAL_S:
            raise self._down
        client = self._connections.client()
        try:
            try:
                answer = await client.evalsha(self._digests[script], len(keys), *keys, *arguments)
            except self._connections.unknown_script:
                answer = await client.eval(script, len(keys), *keys, *arguments)
        except self._connections.failures as error:
            raise self._fail(error) from error
        self._down = None
        return answer

    def _fail(self, error: Exception) -> LimitsUnavailableError:
        # The kind of error and not its text, which may quote the URL.
        failure = LimitsUnavailableError(
            f"Redis does not count limits and budgets ({type(error).__name__}): check that REDIS_URL's server"
            " runs. Serving resumes by itself"
        )
        if not isinstance(error, self._connections.refusals):  # else it answers, to others too
            self._down, self._probed_at = failure, time.monotonic()
        return failure

    def _now(self) -> str:
        return "" if self._clock is None else f"{self._clock() * 1e6:.0f}"

    def _rates(self, rates: Sequence[Rate]) -> list[str]:
        return [f"{self._prefix}l:{rate.key}" for rate in rates]

    def _accounts(self, accounts: Sequence[Account]) -> list[str]:
        return [f"{self._prefix}b:{account.key}" for account in accounts]

    def _markers(self, accounts: Sequence[Account]) -> list[str]:
        return [f"{self._prefix}o:{account.budget_id}:{account.starts_s}" for account in accounts]

    def _reservation(self, request_id: str) -> str:
        return f"{self._prefix}r:{request_id}"
