"""`limits.yaml`: how much each subject may use and spend.

    limits:
      - {scope: key, subject: "*", requests: 60, tokens: 100000, per: minute}
    budgets:
      - {id: each-user, scope: user, subject: "*", usd: 5, period: day, mode: hard}
      - {id: acme, scope: organization, subject: acme, usd: 900, period: month, mode: soft, alert_at: 0.8}

`*` applies to each subject of the scope separately. An entry that names a subject replaces `*` for that
subject, scope and length of time. A request that names no user is not limited by entries for users. A
session belongs to its key and organisation: sessions with the same id and other owners are counted apart.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from router.catalog.entries import Name
from router.documents import Entry, parse_yaml
from router.files import read_document
from router.limits.counters import Account, Rate, Scope, Subjects, Unit
from router.limits.periods import Period, period_of, to_pico
from router.sessions.sessions import owned_session, session_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ANY = "*"
MAX_CACHED = 65_536
"""Combinations of subjects with compiled rules in the cache. Beyond it the cache is emptied."""
_WINDOW_S = {"minute": 60, "hour": 3600, "day": 86_400}

Subject = Annotated[str, Field(min_length=1, max_length=255)]
Share = Annotated[float, Field(gt=0, le=1)]


def _listed(value: Any) -> Any:
    """One share is a list of one."""
    return value if value is None or isinstance(value, list | tuple) else (value,)


class LimitEntry(Entry):
    """How much a subject may use in any minute, hour or day."""

    scope: Literal["key", "user", "organization"]
    """The kind of the subject."""
    subject: Subject
    """A key's id, a user or an organisation; `*`: each one, counted separately."""
    requests: Annotated[int, Field(ge=0, le=10**12)] | None = None
    """Most requests in the time; 0: none."""
    tokens: Annotated[int, Field(ge=0, le=10**12)] | None = None
    """Most input and output tokens in the time."""
    per: Literal["minute", "hour", "day"]
    """The time, which slides."""

    @model_validator(mode="after")
    def _says_something(self) -> LimitEntry:
        if self.requests is None and self.tokens is None:
            raise ValueError(f"the limit of {self.scope} `{self.subject}` names neither requests nor tokens")
        return self


class BudgetEntry(Entry):
    """How much a subject may spend in a period of the UTC calendar."""

    id: Name
    """Its name in errors, records and reports."""
    scope: Scope
    """The kind of the subject."""
    subject: Subject
    """A key's id, a user, an organisation or a session; `*`: each one, counted separately."""
    usd: Annotated[Decimal, Field(ge=0, le=9_000_000, decimal_places=12)]
    """0 admits only requests that cost nothing. The upper bound is Redis's limit in pico-dollars."""
    period: Period
    """How long the amount has to last, in the UTC calendar. `total` is for sessions."""
    mode: Literal["hard", "soft"]
    """`hard` refuses a request that does not fit. `soft` notes it in the record and goes on."""
    alert_at: (
        Annotated[
            tuple[Share, ...],
            Field(min_length=1, max_length=10),
            BeforeValidator(_listed, json_schema_input_type=Share | tuple[Share, ...]),
        ]
        | None
    ) = None
    """Shares of the budget, or one, at which there is an alert. Records carry a notice from the least on."""

    @model_validator(mode="after")
    def _has_an_end(self) -> BudgetEntry:
        if self.period == "total" and self.scope != "session":
            raise ValueError(f"budget `{self.id}`: `total` is for sessions, since a {self.scope} never ends")
        return self


class LimitsFile(Entry):
    """The whole of `limits.yaml`."""

    limits: tuple[LimitEntry, ...] = ()
    """Limits of rates. All that match a request hold."""
    budgets: tuple[BudgetEntry, ...] = ()
    """Limits of money. All that match a request hold."""

    @model_validator(mode="after")
    def _no_two_alike(self) -> LimitsFile:
        _unique("budgets share the id `{}`", (entry.id for entry in self.budgets))
        _unique(
            "budgets hold {}; keep one of them",
            (f"{entry.scope} `{entry.subject}` for a {entry.period}" for entry in self.budgets),
        )
        _unique(
            "limits count {}; keep one of them",
            (
                f"{unit} of {entry.scope} `{entry.subject}` per {entry.per}"
                for entry in self.limits
                for unit in get_args(Unit)
                if getattr(entry, unit) is not None
            ),
        )
        return self


class Rules:
    """Everything that binds one combination of subjects."""

    __slots__ = ("_accounts", "_budgets", "rates")

    def __init__(self, rates: tuple[Rate, ...], budgets: tuple[tuple[BudgetEntry, str], ...]) -> None:
        self.rates = rates
        self._budgets = budgets
        self._accounts: tuple[int, tuple[Account, ...]] = (-1, ())

    def accounts(self, day: int) -> tuple[Account, ...]:
        """The budgets' accounts on a day (since 1970, UTC)."""
        known_day, accounts = self._accounts
        if known_day != day:
            accounts = tuple(account_of(entry, subject, day) for entry, subject in self._budgets)
            self._accounts = (day, accounts)
        return accounts


class LimitBook:
    """An immutable view of `limits.yaml`. A look-up costs one dictionary access."""

    def __init__(self, file: LimitsFile | None = None) -> None:
        file = file or LimitsFile()
        self.budgets = file.budgets
        self.limits = file.limits
        self.is_empty = not (file.limits or file.budgets)
        self._has_sessions = any(entry.scope == "session" for entry in file.budgets)
        self._cache: dict[tuple[str | None, ...], Rules | None] = {}

    @classmethod
    def load(cls, path: Path) -> LimitBook:
        """Read and check `limits.yaml`, which may be missing. ConfigError names the fault and its place."""
        try:
            content = read_document(path)
        except FileNotFoundError:
            return cls()
        return cls(parse_yaml(content, LimitsFile, path))

    def rules(self, subjects: Subjects) -> Rules | None:
        """The rules that bind these subjects. None when there are none."""
        # There are many sessions: without a budget of theirs they must not fill the cache.
        key = subjects if self._has_sessions else (*subjects[:3], None)
        try:
            return self._cache[key]
        except KeyError:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            rules = self._cache[key] = self._compile(Subjects(*key))
            return rules

    def _compile(self, subjects: Subjects) -> Rules | None:
        rates: list[Rate] = []
        budgets: list[tuple[BudgetEntry, str]] = []
        for scope, subject in zip(get_args(Scope), subjects, strict=True):
            if subject is None:
                continue
            if scope == "session":
                subject = owned_session(subject, subjects.key, subjects.organization)
            digest = digest_of(scope, subject)
            rates += [
                _rate(unit, entry, limit, subject, digest)
                for (unit, _), (entry, limit) in self._limits_of(scope, subject).items()
            ]
            budgets += [(entry, subject) for entry in self.budgets_of(scope, subject)]
        return Rules(tuple(rates), tuple(budgets)) if rates or budgets else None

    def _limits_of(self, scope: Scope, subject: str) -> dict[tuple[Unit, str], tuple[LimitEntry, int]]:
        found: dict[tuple[Unit, str], tuple[LimitEntry, int]] = {}
        for wanted in (ANY, subject):  # the subject's own entry is found last, and stays
            for entry in self.limits:
                if (entry.scope, entry.subject) != (scope, wanted):
                    continue
                if entry.requests is not None:
                    found["requests", entry.per] = entry, entry.requests
                if entry.tokens is not None:
                    found["tokens", entry.per] = entry, entry.tokens
        return found

    def named_accounts(self, day: int) -> list[Account]:
        """The accounts on a day of the organisations and keys that entries name: none is of a person."""
        return [
            account_of(entry, entry.subject, day)
            for entry in self.budgets
            if entry.scope in ("organization", "key") and entry.subject != ANY
        ]

    def budgets_of(self, scope: Scope, subject: str) -> list[BudgetEntry]:
        """The budgets that bind a subject. A session's budget is labelled with the client's own id."""
        found: dict[Period, BudgetEntry] = {}
        for wanted in (ANY, session_id_of(subject) if scope == "session" else subject):
            found |= {
                entry.period: entry
                for entry in self.budgets
                if (entry.scope, entry.subject) == (scope, wanted)
            }
        return list(found.values())


def account_of(entry: BudgetEntry, subject: str, day: int) -> Account:
    """A budget's account of a subject on a day (since 1970, UTC)."""
    starts_s, ends_s = period_of(entry.period, day)
    limit = to_pico(entry.usd)
    return Account(
        key=f"{entry.id}:{starts_s}:{digest_of(entry.scope, subject)}",
        budget_id=entry.id,
        scope=entry.scope,
        subject=subject,
        period=entry.period,
        starts_s=starts_s,
        ends_s=ends_s,
        limit=limit,
        is_hard=entry.mode == "hard",
        alert=None if entry.alert_at is None else int(limit * Decimal(str(min(entry.alert_at)))),
    )


def digest_of(scope: str, subject: str) -> str:
    """A digest that replaces the subject wherever counters are kept: only the records hold its id."""
    return hashlib.sha256(f"{scope}:{subject}".encode()).hexdigest()[:32]


def _rate(unit: Unit, entry: LimitEntry, limit: int, subject: str, digest: str) -> Rate:
    return Rate(
        key=f"{unit}:{entry.per}:{digest}",
        unit=unit,
        limit=limit,
        window_s=_WINDOW_S[entry.per],
        label=f"{limit} {unit} per {entry.per} of {entry.scope} `{subject}`",
    )


def _unique(message: str, values: Iterable[str]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"two {message.format(twice[0])}")
