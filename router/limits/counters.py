"""The interface of a store of counters, and the values that it takes and returns.

Three stores implement `LimitStore`: `memory` for one process, `shared` for those of one machine, `remote`
for those of many. One suite runs them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.limits.periods import Period

Scope = Literal["key", "user", "organization", "session"]
Unit = Literal["requests", "tokens"]
BudgetKey = tuple[str, Scope, "Period"]
"""A budget's id, scope and period. It is another budget when one of them changes."""

SLOTS = 60
"""Parts of a window that are counted and forgotten together."""
GRACE_S = 2 * 86_400
"""A counter is kept this long after its period: a clock set back finds it again."""


class Subjects(NamedTuple):
    """The subjects of a request. None where the request does not name one."""

    key: str | None = None
    user: str | None = None
    organization: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A rate limit as it binds one subject.

    A window is counted in `SLOTS` slots and the running slot. All that is admitted in any window's
    length of time lies in those `SLOTS + 1` slots, so no window ever holds more than the limit.
    The price is that a slot is forgotten up to 1/60 of the window later than it could be.
    """

    key: str
    """The counter's name. It holds a digest of the subject, not its id."""
    unit: Unit
    limit: int
    window_s: int
    label: str
    """For messages: `60 requests per minute of key 'k1'`."""

    @property
    def slot_s(self) -> float:
        """Length of a slot."""
        return self.window_s / SLOTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A budget as it binds one subject in one period."""

    key: str
    """The counter's name. It holds a digest of the subject, not its id."""
    budget_id: str
    scope: Scope
    subject: str
    """For a session, its id with its owner (`router.sessions.owned_session`)."""
    period: Period
    starts_s: int
    ends_s: int
    """When the period ends. A `total` is kept until then."""
    limit: int
    """Pico-dollars."""
    is_hard: bool
    alert: int | None
    """Pico-dollars from which a notice is given. None for no notice."""

    @property
    def budget(self) -> BudgetKey:
        """The budget of the account."""
        return self.budget_id, self.scope, self.period


class Taken(NamedTuple):
    """The answer to `take`."""

    refused_by: int | None
    """Index of the rate that refused. None when every one admitted."""
    wait_s: float | None
    """Seconds until the refusing rate would admit the same amount. None when it never will."""
    remaining: tuple[int, ...]
    """The amount left in each rate, after this request if it was admitted."""
    charged: tuple[int, ...]
    """The amount charged to each account, reservations included. Empty after a refusal."""
    at: float
    """The store's clock: names the slot when the tokens are corrected."""
    is_leased: bool = False
    """The store is away: the charges are its last ones, and the request draws on leases."""
    is_partial: bool = False
    """The store lost its data, and hosts still report: the charges are too low."""


class Reserved(NamedTuple):
    """The answer to `reserve`."""

    refused_by: int | None
    """Index of the account that refused. None when the amount is reserved in every one."""
    charged: tuple[int, ...]
    """The amount charged to each account now."""


class LimitStore(Protocol):
    """Counts usage and charges. Every operation takes full effect or none.

    The methods are coroutines so that one path serves every store. The one in memory never waits.
    LimitsUnavailableError when the counters cannot be reached.
    """

    name: str
    """`memory`, `file` or `redis`, as LIMITS_STORE says it."""
    is_remote: bool
    """Whether its counters survive the end of every process."""

    @property
    def serves_away(self) -> bool:
        """Whether some requests can be counted although `check` fails."""

    async def take(self, rates: Sequence[Rate], accounts: Sequence[Account], tokens: int) -> Taken:
        """Count one request of `tokens` in every rate, or in none. Also return the accounts' charges."""

    async def reserve(self, request_id: str, accounts: Sequence[Account], amount: int, held: int) -> Reserved:
        """Hold `amount` for the request instead of `held`, in every account, or change nothing.

        A hard account refuses more than its limit. An amount no larger than `held` is always granted.
        """

    async def settle(
        self,
        request_id: str,
        accounts: Sequence[Account],
        cost: int | None,
        held: int,
        corrections: Sequence[tuple[Rate, int]],
        at: float,
    ) -> None:
        """Charge `cost` in place of `held` (None: keep it charged), and correct token counts.

        `corrections` are added to the counts in the slot of `at`. A slot that has passed is not changed.
        """

    def holds(self, request_id: str) -> bool:
        """Whether a reservation counts on, once the reservation log has it.

        False where this host reported its spend to a store that lost its data, without this reservation.
        """

    def peek(self, accounts: Sequence[Account]) -> tuple[int, ...] | None:
        """The amount charged to each account, as this process knows it. None when unknown."""

    def check(self) -> None:
        """LimitsUnavailableError if nothing can be counted now. It counts nothing."""

    def watch(self) -> None:
        """Keep this process in touch with the others, from a thread of its own."""

    async def aclose(self) -> None:
        """Release the running event loop's connections."""

    def close(self) -> None:
        """Release the resources of the process. Nothing can be counted afterwards."""
