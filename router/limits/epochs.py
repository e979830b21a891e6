"""Epochs: the time between two losses of the store's data.

Redis names its epoch. Where the name is missing, the first process to notice writes a new one: Redis is
new, was emptied, or was started again without its data. A process also counts its calls in Redis. If Redis
knows of fewer calls than it answered, it lost the last ones (an old snapshot, a replica that lagged), and
the process begins a new epoch too. The names of budgets' keys hold the epoch: nothing of another one counts.

A process joins an epoch once its host has reported: the spend of its lake and journals, and what the
reservation logs hold. The host enters the epoch before it reads its logs, and a reservation is valid only if
its host is still in the reservation's epoch once the log has it. So each reservation is in the report or in
the new epoch. In a new epoch, hard budgets grant nothing until every live process had the time to make
contact, and every host that made contact, or was seen by one of them in the last hour, has reported.
"""

from __future__ import annotations

import logging
import secrets
import threading
import weakref
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from router.errors import LimitsUnavailableError
from router.limits import scripts
from router.limits.counters import GRACE_S
from router.limits.hosts import ID_LENGTH, HostInMemory
from router.limits.opening import Report
from router.limits.scripts import KEPT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from router.limits.counters import BudgetKey
    from router.limits.hosts import Host
    from router.stores.redis_connections import RedisConnections

    ReadReport = Callable[[Collection[BudgetKey], float, bool], Report]

Item = TypeVar("Item")
logger = logging.getLogger("router.limits")

CONTACT_S = 1.0
"""Each process makes contact so often. LIMITS_RECOVERY_S must be longer, by the time limits of two calls."""
KNOWN_S = 3600
"""A host that was seen within this time before a loss is waited for, until this time after it was seen."""
OPEN_AT_ONCE = 1000
"""Amounts charged by one script: it bounds how long Redis is kept from others."""
MAX_JOINS = 5
"""Losses of data that one call goes through."""


class Epochs:
    """The epoch of a process on Redis. It is safe to use from several threads."""

    def __init__(
        self,
        connections: RedisConnections,
        *,
        prefix: str,
        host: Host | None,
        report: ReadReport,
        budgets: Callable[[], set[BudgetKey]],
        recovery_s: float,
        clock: Callable[[], float] | None,
    ) -> None:
        self.id = ""
        """The epoch that this process counts in. Empty before it joined one."""
        self.host: Host = HostInMemory() if host is None else host
        self._connections = connections
        self._prefix = prefix
        self._report = report
        self._budgets = budgets
        self._recovery_s = recovery_s
        self._clock = clock
        self._process = secrets.token_hex(ID_LENGTH // 2)
        self._answered: dict[str, int] = {}
        self._opened: set[BudgetKey] = set()
        self._lock = threading.Lock()  # one join at a time in this process
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def covers(self, budgets: Iterable[BudgetKey]) -> bool:
        """Whether this process joined an epoch, and its host has reported its spend of these budgets."""
        return bool(self.id) and self._opened.issuperset(budgets)

    def keys(self, epoch: str) -> list[str]:
        """The first keys of each script."""
        return [f"{self._prefix}epoch", f"{self._prefix}{epoch}:calls:{self._process}"]

    def arguments(self, epoch: str) -> list[str | int]:
        """The first arguments of each script."""
        return [epoch, self._answered.get(epoch, 0)]

    def clock(self) -> str:
        """The clock in microseconds. Empty: that of Redis."""
        return "" if self._clock is None else f"{self._clock() * 1e6:.0f}"

    def completing(self, epoch: str) -> tuple[list[str], list[str | int]]:
        """Further keys and arguments of the script COMPLETE."""
        keys = [f"{self._prefix}epoch:born", self.name(epoch, "waiting")]
        return keys, [self.clock(), f"{self._recovery_s * 1e6:.0f}"]

    def name(self, epoch: str, name: str) -> str:
        """A key of one epoch."""
        return f"{self._prefix}{epoch}:{name}"

    def note(self, epoch: str, calls: int) -> None:
        """Note that Redis answered so many calls."""
        if calls > self._answered.get(epoch, 0):
            self._answered[epoch] = calls

    def join(self, budgets: Collection[BudgetKey], *, over: str | None = None, lost: bool = False) -> None:
        """Join the epoch of Redis, and have the host report these budgets, unless another thread has.

        `over` is an epoch that has ended. `lost`: this process noticed because Redis lost its calls.
        The connections' failures, and LimitsUnavailableError where epochs end faster than they are joined.
        """
        with self._lock:
            if self.id != over and self.covers(budgets):
                return
            with self._connections.client_of_thread() as client:
                ended = over if over and lost else ""
                for _ in range(MAX_JOINS):
                    epoch = self._begin(client, ended)
                    found = self._try_join(client, epoch, self._budgets() | set(budgets))
                    if found is None:
                        return
                    ended = found
        raise LimitsUnavailableError("Redis loses its data again and again. See its log")

    def look(self) -> None:
        """Make contact, so that others know of this host, and join a new epoch where there is one."""
        with self._connections.client_of_thread(is_short=True) as client:
            epoch = self.id
            answer = self._contact(client, epoch, self._opened) if epoch else [b"epoch"]
            if answer[0] == b"contact" and not answer[6]:
                answer = self._eval(client, scripts.COMPLETE, epoch, *self.completing(epoch))
        if answer[0] in (b"epoch", b"lost"):
            self.join((), over=epoch, lost=answer[0] == b"lost")

    def watch(self) -> None:
        """Look every `CONTACT_S` seconds, from a thread."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=_watch, args=(weakref.ref(self), self._ended), name="limits-epochs", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def _begin(self, client: Any, ended: str) -> str:
        arguments = [
            secrets.token_hex(ID_LENGTH // 2),
            ended,
            self.clock(),
            KEPT_S,
        ]
        names = [f"{self._prefix}epoch", f"{self._prefix}epoch:born"]
        found: bytes = client.eval(scripts.BEGIN, 2, *names, *arguments)
        return found.decode().rstrip("?")

    def _try_join(self, client: Any, epoch: str, budgets: set[BudgetKey]) -> str | None:
        """None once joined. Else the epoch that is over: empty where another one has begun already."""
        answer = self._contact(client, epoch, budgets)
        if answer[0] == b"contact" and not self._is_reported(answer):
            with self.host.reporting():
                answer = self._contact(client, epoch, budgets)  # another process may have reported
                if answer[0] == b"contact" and not self._is_reported(answer):
                    answer = self._report_to(client, epoch, answer)
                elif answer[0] == b"contact" and self.host.epoch() != epoch:
                    return self._return_to(epoch)
        elif answer[0] == b"contact" and self.host.epoch() != epoch:
            with self.host.reporting():
                return self._return_to(epoch)
        if answer[0] in (b"epoch", b"lost"):
            return epoch if answer[0] == b"lost" else ""
        if self.id not in ("", epoch):
            logger.warning("Redis lost limits and budgets, and this host has reported its spend again")
        self._opened, self.id = budgets | (self._opened if self.id == epoch else set()), epoch
        self._answered = {epoch: self._answered.get(epoch, 0)}
        return None

    def _return_to(self, epoch: str) -> str:
        """Redis is back in an epoch that this host has left, and lacks the spend in between."""
        logger.error("Redis went back to an earlier state of limits and budgets: every host reports again")
        return epoch

    def _is_reported(self, answer: Sequence[Any]) -> bool:
        return bool(answer[2]) and not answer[3]

    def _contact(self, client: Any, epoch: str, budgets: Collection[BudgetKey]) -> Any:
        hosts = self.host.known()
        names = sorted(map(_name_of, budgets))
        known = [part for name, seen in hosts.items() if name != self.host.id for part in (name, seen)]
        answer = self._eval(
            client,
            scripts.CONTACT,
            epoch,
            [
                f"{self._prefix}epoch:born",
                *(self.name(epoch, name) for name in ("waiting", "reported", "hosts")),
            ],
            [self.clock(), self.host.id, KNOWN_S * 1_000_000, KEPT_S, len(names), *names, *known],
        )
        if answer[0] == b"contact":
            found = answer[4]
            seen = {found[at].decode(): int(found[at + 1]) for at in range(0, len(found), 2)}
            # A new epoch knows few hosts yet: the others stay known until they are seen again, or forgotten.
            newest = max(seen.values(), default=0)
            kept = {name: at for name, at in hosts.items() if at + KNOWN_S * 1_000_000 > newest}
            self.host.remember({**kept, **seen})
        return answer

    def _report_to(self, client: Any, epoch: str, contact: Any) -> Any:
        """Charge this host's spend and reservations. Called by one process of the host."""
        _, _, is_known, unopened, _, born_us, _ = contact
        budgets = [_budget_of(name.decode()) for name in unopened]
        if is_known and self.host.epoch() != epoch:
            return [b"lost", 0]
        is_copy = not is_known and self.host.has_reported(epoch) and self.host.epoch() == epoch
        if not is_copy:
            if not is_known:
                self.host.enter(epoch)  # before the logs are read: see the module
            try:
                report = self._report(budgets, int(born_us) / 1e6, not is_known)
            except OSError as error:
                raise LimitsUnavailableError(
                    f"the spend in the data folder cannot be read, and Redis lacks it:"
                    f" {error.strerror or error}. Check the folder's permissions and disk"
                ) from error
            answer = self._charge(client, epoch, report)
            if answer[0] != b"opened":
                return answer
        answer = self._eval(
            client,
            scripts.REPORTED,
            epoch,
            [self.name(epoch, name) for name in ("waiting", "reported", f"amounts:{self.host.id}")],
            [self.host.id, KEPT_S, *(name.decode() for name in unopened)],
        )
        if answer[0] == b"reported":
            self.host.note_report(epoch)
        return answer

    def _charge(self, client: Any, epoch: str, report: Report) -> Any:
        answer: Any = [b"opened", 0]
        # Requests first: where a try is cut, the next one may charge one twice, and misses none.
        for requests in _batched(sorted(report.in_flight.items())):
            keys, arguments = [], list[str | int]()
            for name, (amount, accounts) in requests:
                keys += [
                    self.name(epoch, f"r:{name}"),
                    *(self.name(epoch, f"b:{key}") for key, _ in accounts),
                ]
                arguments += [amount, len(accounts), *(expiry_of(ends_s) for _, ends_s in accounts)]
            answer = self._eval(client, scripts.OPEN_REQUESTS, epoch, keys, arguments)
            if answer[0] != b"opened":
                return answer
        for origin, total in ((self.host.id, report.amounts), (report.lake, report.shared)):
            for amounts in _batched(sorted(total.items())):
                keys = [self.name(epoch, f"amounts:{origin}")]
                arguments = [KEPT_S]
                for key, (pico, ends_s) in amounts:
                    keys.append(self.name(epoch, f"b:{key}"))
                    arguments += [pico, expiry_of(ends_s)]
                answer = self._eval(client, scripts.OPEN_ACCOUNTS, epoch, keys, arguments)
                if answer[0] != b"opened":
                    return answer
        return answer

    def _eval(
        self, client: Any, script: str, epoch: str, keys: Sequence[str], arguments: Sequence[str | int]
    ) -> Any:
        keys = [*self.keys(epoch), *keys]
        answer = client.eval(script, len(keys), *keys, *self.arguments(epoch), *arguments)
        self.note(epoch, answer[1])
        return answer


def expiry_of(ends_s: int) -> int:
    """When an account is forgotten."""
    return ends_s + GRACE_S


def _batched(items: Sequence[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, OPEN_AT_ONCE)):
        yield batch


def _name_of(budget: BudgetKey) -> str:
    return ":".join(budget)


def _budget_of(name: str) -> BudgetKey:
    budget_id, scope, period = name.rsplit(":", 2)
    return budget_id, scope, period  # type: ignore[return-value]


def _watch(reference: weakref.ref[Epochs], ended: threading.Event) -> None:
    while not ended.is_set():
        epochs = reference()
        if epochs is None:
            return
        try:
            epochs.look()
        except LimitsUnavailableError as error:
            logger.error("limits: %s", error)
        except epochs._connections.failures:
            pass  # requests say so
        except Exception:
            logger.exception("limits: the epoch of Redis cannot be looked up")
        del epochs
        ended.wait(CONTACT_S)
