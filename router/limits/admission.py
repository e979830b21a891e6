"""`Admission`: takes one request through the limits and reports the result to the caller."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from router.errors import BudgetExceededError, RateLimitedError
from router.limits.periods import dollars
from router.request.demand import Missing
from router.sessions.sessions import session_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.limits.counters import Account, Rate, Taken

_SECONDS = "{:.3f}s"


class Admission:
    """Takes one request through the limits. Each request has its own."""

    __slots__ = (
        "accounts",
        "amount",
        "charged",
        "headroom",
        "notices",
        "rates",
        "refused_by",
        "request_id",
        "taken",
        "tightest",
        "tokens",
    )

    def __init__(
        self, rates: tuple[Rate, ...] = (), accounts: tuple[Account, ...] = (), tokens: int = 0
    ) -> None:
        self.rates = rates
        self.accounts = accounts
        self.tokens = tokens
        self.taken: Taken | None = None
        self.charged: tuple[int, ...] = ()
        self.headroom: int | None = None
        """Pico-dollars left in the tightest hard budget. None without a hard budget."""
        self.tightest: Account | None = None
        self.request_id: str | None = None
        self.amount: int | None = None
        """Pico-dollars reserved. None before `reserve`."""
        self.refused_by: Account | None = None
        self.notices: tuple[str, ...] = ()
        """For the record's `reason`: soft budgets passed, limits that could not be checked."""

    def see(self, charged: tuple[int, ...]) -> None:
        """Note the amounts that the accounts are charged now."""
        self.charged = charged
        self.headroom = self.tightest = None
        for account, amount in zip(self.accounts, charged, strict=True):
            if account.is_hard and (self.headroom is None or account.limit - amount < self.headroom):
                self.headroom, self.tightest = account.limit - amount, account

    def exclusion_of(self, worst_case: int | Missing) -> str | None:
        """Why a model with this worst case (pico-dollars) is excluded. None when it fits."""
        if self.headroom is None or self.tightest is None or worst_case == 0:
            return None
        if isinstance(worst_case, Missing):
            budget = self.tightest.budget_id
            return f"its {worst_case.what}, and budget `{budget}` is hard: {worst_case.advice}"
        if worst_case <= self.headroom:
            return None
        left = dollars(max(self.headroom, 0))
        return f"it may cost {dollars(worst_case)}, and budget `{self.tightest.budget_id}` has {left} left"

    def refusal(self, worst_case: int | Missing, *, now: datetime | None = None) -> BudgetExceededError:
        """The error of a request that no hard budget has room for."""
        account = self.refused_by or self.tightest
        assert account is not None  # noqa: S101 - only hard budgets refuse
        now = now or datetime.now(UTC)
        left = max(account.limit - self.charged[self.accounts.index(account)], 0)
        subject = session_id_of(account.subject) if account.scope == "session" else account.subject
        is_total = account.period == "total"
        end = None if is_total else datetime.fromtimestamp(account.ends_s, UTC)
        span = "in total" if is_total else f"per {account.period}"
        budget = (
            f"budget `{account.budget_id}` of {account.scope} `{subject}` has {dollars(left)} left of"
            f" {dollars(account.limit)} {span}"
        )
        if isinstance(worst_case, Missing):
            end = None  # waiting does not help
            message = (
                f"{budget} and is hard, and the most that the request can cost is not known: the model's"
                f" {worst_case.what}; {worst_case.advice}"
            )
        else:
            wait = "" if end is None else f"wait until {end:%Y-%m-%d %H:%M} UTC, "
            message = (
                f"{budget}, the request needs up to {dollars(worst_case)}; {wait}allow a cheaper model or"
                " fewer output tokens, or raise the budget in limits.yaml"
            )
        return BudgetExceededError(
            message,
            budget_id=account.budget_id,
            period_end=end,
            retry_after_s=None if end is None else max((end - now).total_seconds(), 0.0),
        )

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*` of the tightest limit on requests and on tokens, as OpenAI's servers send them.

        `reset` is when the limit is whole again if nothing more comes.
        """
        if self.taken is None:
            return {}
        headers = {}
        for unit in ("requests", "tokens"):
            found = [
                item for item in zip(self.taken.remaining, self.rates, strict=True) if item[1].unit == unit
            ]
            if found:
                remaining, rate = min(found, key=lambda item: (item[0], -item[1].window_s))
                headers[f"x-ratelimit-limit-{unit}"] = str(rate.limit)
                headers[f"x-ratelimit-remaining-{unit}"] = str(remaining)
                headers[f"x-ratelimit-reset-{unit}"] = _SECONDS.format(rate.window_s + rate.slot_s)
        return headers


UNLIMITED = Admission()
"""The admission of every request that no limit and no budget binds."""


def rate_limited(admission: Admission, taken: Taken) -> RateLimitedError:
    """The error of a request that a rate limit refused."""
    assert taken.refused_by is not None  # noqa: S101 - the caller looked
    rate = admission.rates[taken.refused_by]
    error = RateLimitedError(
        rate.label,
        unit=rate.unit,
        limit=rate.limit,
        remaining=taken.remaining[taken.refused_by],
        retry_after_s=taken.wait_s,
    )
    error.headers = admission.headers()
    return error


def passed_of(accounts: tuple[Account, ...], charged: tuple[int, ...]) -> Iterator[tuple[Account, int, bool]]:
    """(account, amount charged, whether its limit is passed) of the budgets that are passed or nearly so."""
    for account, spent in zip(accounts, charged, strict=True):
        is_passed = not account.is_hard and spent > account.limit
        if is_passed or (account.alert is not None and spent >= account.alert):
            yield account, spent, is_passed


def notices_of(
    accounts: tuple[Account, ...], charged: tuple[int, ...], amount: int | Missing
) -> tuple[str, ...]:
    """The parts of a record's reason about budgets that are passed or nearly so."""
    notices = []
    for account, spent, is_passed in passed_of(accounts, charged):
        if is_passed:
            notices.append(
                f"soft budget `{account.budget_id}` is passed: {dollars(spent)} of {dollars(account.limit)}"
            )
        else:
            share = 100 * spent // account.limit if account.limit else 100
            notices.append(f"budget `{account.budget_id}` is {share}% used")
    if isinstance(amount, Missing):
        notices.append(f"the {amount.what}, so budgets do not count it")
    return tuple(notices)
