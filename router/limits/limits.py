"""`Limits`: the router asks it before a call, and reports the cost after it.

    admission = await limits.admit(subjects, tokens=…)        RateLimitedError
    admission.exclusion_of(worst_case)                        per model, before one is chosen
    await limits.reserve(admission, request_id, worst_case)   again before a fallback
    await limits.settle(admission, cost, …)                   once the record is written

The worst case is reserved before the call and settled after it. Admitted requests therefore never add
up to more than a hard budget, however many come at once. A cost that is unknown after the call (no
price, a cut stream, a timeout) is not 0: the reserved amount stays charged.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from router.errors import ConfigError, LimitsUnavailableError
from router.limits.admission import UNLIMITED, Admission, notices_of, passed_of, rate_limited
from router.limits.balances import Balance
from router.limits.book import LimitBook
from router.limits.counters import Subjects
from router.limits.memory import MemoryStore
from router.limits.opening import Opening
from router.limits.periods import DAY_S, LONGEST_DAYS, dollars, to_usd
from router.limits.reservations import ReservationLog
from router.limits.source import FileOfLimits
from router.request.demand import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import Literal

    from router.config import Settings
    from router.errors import BudgetExceededError
    from router.limits.counters import Account, LimitStore, Rate
    from router.limits.source import LimitsSource

logger = logging.getLogger("router.limits")

MAX_AMOUNT = 10**18
"""A million dollars. A larger worst case fits no hard budget, and soft ones count this much."""


NAMED_SCOPES = frozenset({"organization", "key"})
"""Scopes whose subjects the log may name."""
MAX_LOGGED = 10_000
"""Events of budgets that are remembered, so that each is logged once."""


class Limits:
    """Holds a router to `limits.yaml`. One instance serves many threads and event loops."""

    def __init__(
        self,
        *,
        book: LimitBook,
        store: LimitStore,
        log: ReservationLog | None = None,
        opening: Opening | None = None,
        source: LimitsSource | None = None,
        version: object = None,
        on_error: Literal["refuse", "serve"] = "refuse",
    ) -> None:
        """Use `Limits.open`. This is for tests and for stores of your own."""
        self.book = book
        self.store = store
        self.unchecked = 0
        """Requests served although limits could not be checked (LIMITS_ON_ERROR=serve)."""
        self.unsettled = 0
        """Requests whose worst case stays charged because their cost could not be reported to the store."""
        self.error: Exception | None = None
        """The reason why limits could not be checked last. None when they could."""
        self._log = log
        self._held: dict[str, int] = {}
        """Pico-dollars that this process's requests in flight hold, by account."""
        self._held_lock = threading.Lock()
        self._logged: set[str] = set()
        """The events of budgets that the log has already."""
        self._opening = opening
        self._source = source
        self._version = version
        self.on_error = on_error

    @classmethod
    def open(cls, settings: Settings, source: LimitsSource | None = None) -> Limits:
        """Read `limits.yaml`, and the earlier charges to its budgets. ConfigError when unusable.

        `source` None: the file of the data folder.
        Without budgets neither lake nor journal is read.
        """
        source = source or FileOfLimits(settings.limits_file)
        version = source.version()  # before the load: a change in between is seen at the next reload
        book = source.load()
        check_retention(book, settings)
        opening = Opening(settings.home, book, lake_url=settings.lake_url)
        log: ReservationLog | None = None
        store: LimitStore
        if settings.limits_store_in_use == "redis":
            store, log = _remote(settings, opening)
        elif settings.limits_store_in_use == "file":
            store, log = _shared(settings.home / "budgets", opening)
        else:
            opening.read()
            log = ReservationLog(settings.home / "budgets") if _has_hard(book) else None
            if log is not None:
                opening.adopt(log)
            store = MemoryStore(opening)
        return cls(
            book=book,
            store=store,
            log=log,
            opening=opening,
            source=source,
            version=version,
            on_error=settings.limits_on_error,
        )

    @property
    def is_active(self) -> bool:
        """Whether anything is limited at all."""
        return not self.book.is_empty

    @property
    def serves_away(self) -> bool:
        """Whether budgets have leases, and no rate limit needs the store, while the store is away."""
        return self.store.serves_away and not self.book.limits

    async def admit(self, subjects: Subjects, *, tokens: int = 0, at: datetime | None = None) -> Admission:
        """Count the request in every rate limit, or raise RateLimitedError.

        `tokens` is an estimate of input and the most output. `settle` corrects it. `at` is when the
        request arrived (its record's `timestamp`) and selects the budgets' periods.
        LimitsUnavailableError when nothing can be checked and LIMITS_ON_ERROR is `refuse`.
        """
        rules = self.book.rules(subjects)
        if rules is None:
            return UNLIMITED
        seconds = time.time() if at is None else at.timestamp()
        tokens = max(tokens, 0)  # a caller's figure: a negative one would give room back
        admission = Admission(rules.rates, rules.accounts(int(seconds // DAY_S)), tokens)
        try:
            taken = await self.store.take(admission.rates, admission.accounts, tokens)
        except LimitsUnavailableError as error:
            self._tolerate(error, admission)
            return admission
        admission.taken = taken
        if taken.refused_by is not None:
            raise rate_limited(admission, taken)
        if admission.accounts:
            admission.see(taken.charged)
        if not (taken.is_leased or taken.is_partial):
            self.error = None
        return admission

    async def reserve(self, admission: Admission, request_id: str, amount: int | Missing) -> bool:
        """Hold a worst case in pico-dollars instead of the amount held. False when a hard budget refuses.

        Reserve again for a fallback: the possible bills of earlier attempts, and the worst case of the
        next. A refusal changes nothing. A hard budget refuses an unknown amount, and soft budgets count
        it as nothing. LimitsUnavailableError as `admit`.
        """
        accounts = admission.accounts
        if not accounts:
            return True
        if admission.taken is None:  # limits could not be checked: its cost is charged if possible
            admission.request_id = request_id
            return True
        known = 0 if isinstance(amount, Missing) else max(amount, 0)
        if admission.tightest is not None and (isinstance(amount, Missing) or known > MAX_AMOUNT):
            admission.refused_by = admission.tightest
            return False
        wanted = min(known, MAX_AMOUNT)
        try:
            reserved = await self.store.reserve(request_id, accounts, wanted, admission.amount or 0)
            admission.see(reserved.charged)
            if reserved.refused_by is not None:
                admission.refused_by = accounts[reserved.refused_by]
                return False
            if self._log is not None and wanted and (admission.headroom is not None or self._log.counts_soft):
                await self._note(self._log, admission, request_id, wanted)
        except LimitsUnavailableError as error:
            self._tolerate(error, admission)
            admission.request_id = request_id
            return True
        self._hold(accounts, wanted - (admission.amount or 0))
        admission.request_id, admission.amount = request_id, wanted
        admission.notices = notices_of(accounts, reserved.charged, amount)
        if admission.notices:
            for account, charged, is_passed in passed_of(accounts, reserved.charged):
                self._log_use(account, charged, "is passed" if is_passed else "is nearly used up")
        if admission.taken.is_leased:
            admission.notices += ("budgets were counted in leases, while their store was away",)
        return True

    async def _note(self, log: ReservationLog, admission: Admission, request_id: str, amount: int) -> None:
        """Write a reservation to the log, or take it back. LimitsUnavailableError then."""
        held, accounts = admission.amount or 0, admission.accounts
        try:
            log.reserve(request_id, amount, accounts)
            if self.store.holds(request_id):
                return
            if held:
                log.reserve(request_id, held, accounts)
            else:
                log.settle(request_id, 0, 0)
            reason = "Redis lost its data, and this host reports its spend. Try again"
        except OSError as error:
            reason = (
                f"the reservation cannot be written under budgets/: {error.strerror or error}. Free space or"
                " check the data folder"
            )
        await self.store.settle(request_id, accounts, held, amount, (), 0.0)
        raise LimitsUnavailableError(reason)

    async def settle(
        self,
        admission: Admission,
        cost: int | None,
        *,
        unrecorded: int = 0,
        tokens: int | None = None,
    ) -> None:
        """Charge the request's cost instead of the amount held. Never raises for the store.

        `cost` is the record's `cost_usd` in pico-dollars. None (unknown) leaves the worst case charged.
        `unrecorded` is charged in addition: earlier attempts that may have been billed, or all of it
        when no record could be written. `tokens` are the real ones, None if unknown.
        """
        taken, held = admission.taken, admission.amount or 0
        charge = None if cost is None or admission.request_id is None else cost + unrecorded
        corrections: list[tuple[Rate, int]] = []
        if taken is not None and tokens is not None and tokens != admission.tokens:
            more = tokens - admission.tokens
            corrections = [(rate, more) for rate in admission.rates if rate.unit == "tokens"]
        request_id, accounts = admission.request_id, admission.accounts
        # The log first: a host that reports its spend reads the whole charge, or the reservation.
        self._close(admission, cost, unrecorded)
        # A remote store also learns that a request is over which costs what was held.
        if (charge is not None and charge != held) or corrections or (held and self.store.is_remote):
            try:
                await self.store.settle(
                    request_id or "",
                    accounts if request_id is not None else (),
                    charge,
                    held,
                    corrections,
                    0.0 if taken is None else taken.at,
                )
            except LimitsUnavailableError as error:
                self.unsettled += 1
                self._report(error)

    async def release(self, admission: Admission, *, unrecorded: int = 0) -> None:
        """Settle a request that no provider was paid for: it was refused outright, or never sent."""
        await self.settle(admission, 0, unrecorded=unrecorded, tokens=0)

    def peek(self, subjects: Subjects, *, at: datetime | None = None) -> Admission:
        """An admission that counts nothing, from this process's knowledge: for a decision without a call."""
        rules = self.book.rules(subjects)
        if rules is None:
            return UNLIMITED
        seconds = time.time() if at is None else at.timestamp()
        admission = Admission((), rules.accounts(int(seconds // DAY_S)))
        charged = self.store.peek(admission.accounts) if admission.accounts else ()
        if charged:
            admission.see(charged)
        return admission

    async def balances(self, subjects: Subjects, *, at: datetime | None = None) -> list[Balance]:
        """The budgets that bind these subjects, with their charges now. LimitsUnavailableError as `admit`."""
        rules = self.book.rules(subjects)
        seconds = time.time() if at is None else at.timestamp()
        accounts = () if rules is None else rules.accounts(int(seconds // DAY_S))
        if not accounts:
            return []
        taken = await self.store.take((), accounts, 0)  # counts nothing
        if taken.is_partial:
            raise LimitsUnavailableError(
                "the store of limits lost its data, and hosts still report what they spent. Try again"
            )
        if taken.is_leased:
            raise LimitsUnavailableError(
                "the store of limits does not answer, and only it knows what all routers spent. Try again"
            )
        return [
            Balance(account=account, charged=charged, reserved=min(self._held.get(account.key, 0), charged))
            for account, charged in zip(accounts, taken.charged, strict=True)
        ]

    def _hold(self, accounts: Sequence[Account], more: int) -> None:
        """Note that requests in flight hold `more` on these accounts."""
        with self._held_lock:
            for account in accounts:
                held = self._held.get(account.key, 0) + more
                if held > 0:
                    self._held[account.key] = held
                else:
                    self._held.pop(account.key, None)

    def reload(self) -> bool:
        """Read `limits.yaml` if it changed, and return whether it did. ConfigError keeps the old book."""
        if self._source is None:
            return False
        version = self._source.version()
        if version == self._version:
            return False
        book = self._source.load()
        if self._opening is not None:
            self._opening.use(book)
            if not self.store.is_remote:
                self._opening.read()  # an account that is new to a running store has no reservations
        if self._log is None and not self.store.is_remote and _has_hard(book):
            self._log = ReservationLog(self._source.home / "budgets")
            if self._opening is not None:
                self._opening.adopt(self._log)
        self.book, self._version = book, version
        return True

    def check(self) -> LimitsUnavailableError | None:
        """Ask the store whether it counts, unless nothing is limited. Return the reason if it does not."""
        if not self.is_active:
            self.error = None
            return None
        try:
            self.store.check()
        except LimitsUnavailableError as error:
            self._report(error)
            return error
        self.error = None
        return None

    def health(self) -> dict[str, Any]:
        """For the router's health report."""
        return {
            "limits": len(self.book.limits),
            "budgets": len(self.book.budgets),
            "store": self.store.name,
            "unchecked": self.unchecked,
            "unsettled": self.unsettled,
            "unreadable_segments": [] if self._opening is None else self._opening.unreadable,
            "error": None if self.error is None else str(self.error),
            "charged_usd": self._charged(),
        }

    def _charged(self) -> dict[str, dict[str, float]]:
        """Dollars charged and allowed by budget, where an entry names an organisation or a key.

        A budget that this process knows no charge of is left out: 0 would be a claim.
        """
        found = {}
        for account in self.book.named_accounts(int(time.time() // DAY_S)):
            charged = self.store.peek([account])
            if charged:
                amounts = {"charged": charged[0], "limit": account.limit}
                found[account.budget_id] = {name: float(to_usd(pico)) for name, pico in amounts.items()}
        return found

    def watch(self, writer_id: str) -> None:
        """Stay in touch with the hosts that share the store, also while there are no requests.

        `writer_id` is that of this process's journal.
        """
        if self.store.is_remote and self._opening is not None:
            self._opening.write_as(writer_id)
        self.store.watch()

    async def aclose_connections(self) -> None:
        """Close the store's connections of the running event loop."""
        await self.store.aclose()

    def close(self) -> None:
        """Let go of the reservation log and of the store."""
        if self._log is not None:
            self._log.close()
        self.store.close()

    def _close(self, admission: Admission, cost: int | None, unrecorded: int) -> None:
        if self._log is not None and admission.amount and admission.request_id is not None:
            self._log.settle(admission.request_id, cost, unrecorded)
        if admission.amount:
            self._hold(admission.accounts, -admission.amount)
        admission.request_id = admission.amount = None

    def log_refusal(self, error: BudgetExceededError) -> None:
        """Log the first refusal of a budget in a period."""
        if self._is_news(f"{error.budget_id} {error.period_end}"):
            end = "" if error.period_end is None else f" until {error.period_end:%Y-%m-%d %H:%M} UTC"
            logger.warning("budget `%s` has no room and refuses requests%s", error.budget_id, end)

    def _log_use(self, account: Account, charged: int, how: str) -> None:
        """Log once for each budget, subject and period. People and sessions are not named."""
        is_named = account.scope in NAMED_SCOPES
        if self._is_news(f"{account.key if is_named else account.budget_id} {account.ends_s} {how}"):
            logger.warning(
                "budget `%s` of %s%s %s: %s of %s in the period `%s`",
                account.budget_id,
                account.scope,
                f" `{account.subject}`" if is_named else "",
                how,
                dollars(charged),
                dollars(account.limit),
                account.period,
            )

    def _is_news(self, event: str) -> bool:
        if event in self._logged:
            return False
        if len(self._logged) >= MAX_LOGGED:
            self._logged.clear()
        self._logged.add(event)
        return True

    def _tolerate(self, error: LimitsUnavailableError, admission: Admission) -> None:
        """Apply LIMITS_ON_ERROR: raise, or let the request pass, counted and noted."""
        self._report(error)
        if self.on_error == "refuse":
            raise error
        self.unchecked += 1
        admission.notices = ("limits were not checked",)

    def _report(self, error: LimitsUnavailableError) -> None:
        if str(error) != str(self.error):
            logger.error("limits: %s", error)
        self.error = error


def check_retention(book: LimitBook, settings: Settings) -> None:
    """ConfigError for a budget whose period is longer than the records that a restart reads."""
    for entry in book.budgets:
        needed = LONGEST_DAYS[entry.period]
        if settings.retention_days < needed:
            raise ConfigError(
                f"budget `{entry.id}` counts a {entry.period}, and ANALYTICS_RETENTION_DAYS is"
                f" `{settings.retention_days}`: a restart would forget part of its spend. Keep at least"
                f" {needed} days, or shorten the budget's period in limits.yaml"
            )


def _redis_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise ConfigError("LIMITS_STORE is `redis` and REDIS_URL is not set: set it, or LIMITS_STORE=file")
    return settings.redis_url.get_secret_value()


def _remote(settings: Settings, opening: Opening) -> tuple[LimitStore, ReservationLog]:
    """The store that many hosts share, and this process's reservation log."""
    from router.limits.hosts import HostFolder
    from router.limits.leases import LeasedStore
    from router.limits.remote import RedisStore

    folder = settings.home / "budgets"
    host = HostFolder(folder)
    store = RedisStore(
        _redis_url(settings),
        lambda budgets, born_s, is_whole: opening.report(budgets, born_s=born_s, is_whole=is_whole),
        host=host,
        budgets=opening.budgets,
        recovery_s=settings.limits_recovery_s,
    )
    log = ReservationLog(folder, counts_soft=True, warns=False)
    with host.reporting():  # a report reads the logs one after the other
        opening.adopt(log)
    return LeasedStore(store), log


def _shared(folder: Path, opening: Opening) -> tuple[LimitStore, ReservationLog]:
    """The store that this machine's processes share, and this process's reservation log."""
    from router.limits.shared import FileStore

    logs: list[ReservationLog] = []

    def begin() -> None:
        logs.append(ReservationLog(folder))
        opening.adopt(logs[0])

    store = FileStore(folder, opening, begin=begin, read=lambda: opening.read_shared(folder))
    # The log must be created after the store: a process that begins the store takes every log in the
    # folder for one of a process that counts elsewhere.
    return store, logs[0] if logs else ReservationLog(folder)


def _has_hard(book: LimitBook) -> bool:
    return any(entry.mode == "hard" for entry in book.budgets)
