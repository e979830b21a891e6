"""limits.yaml: what it may say, and whom it binds."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from router.errors import ConfigError
from router.limits.book import MAX_CACHED, LimitBook, LimitsFile
from router.limits.counters import Subjects
from router.limits.periods import DAY_S, dollars, first_day, period_of, to_pico, to_usd

if TYPE_CHECKING:
    from pathlib import Path

    from router.limits.periods import Period

USER_BUDGET = "{id: u, scope: user, subject: '*', usd: 1, period: day, mode: hard}"


def load(home: Path, text: str) -> LimitBook:
    path = home / "limits.yaml"
    path.write_text(text)
    return LimitBook.load(path)


@pytest.mark.smoke
def test_no_file_is_no_limit(home: Path) -> None:
    """A missing or empty file binds nobody."""
    assert LimitBook.load(home / "limits.yaml").rules(Subjects("k", "u", "o", "s")) is None
    assert load(home, "").is_empty


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("limits: [{scope: key, subject: k, per: minute}]", "key `k` names neither requests nor tokens"),
        ("limits: [{scope: session, subject: k, requests: 1, per: minute}]", "got `session`"),
        ("limits: [{scope: key, subject: k, requests: -1, per: minute}]", "got `-1`"),
        ("limits: [{scope: key, subject: k, requests: 1, per: week}]", "got `week`"),
        ("limits: [{scope: key, subject: '', requests: 1, per: day}]", "limits.0.subject"),
        (
            "limits: [&one {scope: key, subject: k, requests: 1, per: day}, *one]",
            "two limits count requests of key `k` per day",
        ),
        ("budgets: [{id: b, scope: user, subject: u, usd: -0.01, period: day, mode: hard}]", "got `-0.01`"),
        (
            "budgets: [{id: b, scope: user, subject: u, usd: 1, period: total, mode: hard}]",
            "`total` is for sessions",
        ),
        ("budgets: [{id: b, scope: user, subject: u, usd: 1, period: day, mode: firm}]", "got `firm`"),
        (
            "budgets: [{id: b, scope: user, subject: u, usd: 1, period: day, mode: hard, alert_at: 80}]",
            "got `80`",
        ),
        (
            f"budgets: [{USER_BUDGET}, {{id: u, scope: key, subject: k, usd: 2, period: day, mode: soft}}]",
            "two budgets share the id `u`",
        ),
        (
            f"budgets: [{USER_BUDGET}, {USER_BUDGET.replace('id: u', 'id: v')}]",
            "two budgets hold user `*` for a day",
        ),
        ("budget: []", "budget"),
    ],
)
def test_an_unusable_file_is_refused_with_its_reason(home: Path, text: str, complaint: str) -> None:
    """Values out of range, words that are not known, duplicates and contradictions are ConfigErrors."""
    with pytest.raises(ConfigError) as caught:
        load(home, text)
    assert complaint in str(caught.value)


@pytest.mark.smoke
def test_a_named_subject_replaces_the_star_for_that_length_of_time(home: Path) -> None:
    """The day's budget is the person's own, the month's is everybody's."""
    book = load(
        home,
        f"""
budgets:
  - {USER_BUDGET}
  - {{id: month, scope: user, subject: '*', usd: 20, period: month, mode: soft}}
  - {{id: ada, scope: user, subject: ada, usd: 5, period: day, mode: hard}}
limits:
  - {{scope: key, subject: '*', requests: 10, tokens: 100, per: minute}}
  - {{scope: key, subject: k, requests: 99, per: minute}}
""",
    )
    ada, bob = book.rules(Subjects("k", "ada")), book.rules(Subjects("x", "bob"))
    assert ada is not None
    assert bob is not None
    assert [item.budget_id for item in ada.accounts(0)] == ["ada", "month"]
    assert [item.budget_id for item in bob.accounts(0)] == ["u", "month"]
    assert [(rate.unit, rate.limit) for rate in ada.rates] == [("requests", 99), ("tokens", 100)]
    assert [(rate.unit, rate.limit) for rate in bob.rates] == [("requests", 10), ("tokens", 100)]


def test_each_subject_of_a_star_has_counters_of_its_own(home: Path) -> None:
    """Two users never share an account, and no key holds a user's id."""
    book = load(home, f"budgets: [{USER_BUDGET}]")
    keys = set()
    for user in ("ada-lovelace", "charles-babbage"):
        rules = book.rules(Subjects(user=user))
        assert rules is not None
        keys.add(rules.accounts(0)[0].key)
        assert user not in rules.accounts(0)[0].key
    assert len(keys) == 2


def test_a_session_is_an_account_of_its_owner() -> None:
    """One id of two keys: two accounts under one entry, `*` or named by the client's own id."""
    entries = [
        {"id": name, "scope": "session", "subject": subject, "usd": 1, "period": "total", "mode": "hard"}
        for name, subject in (("each", "*"), ("named", "s1"))
    ]
    book = LimitBook(LimitsFile.model_validate({"budgets": entries}))
    found = {}
    for session in ("s1", "s2"):
        for key in ("k1", "k2", None):
            rules = book.rules(Subjects(key=key, organization="acme", session=session))
            assert rules is not None
            (account,) = rules.accounts(0)
            found[account.key] = account.budget_id
    assert list(found.values()) == ["named"] * 3 + ["each"] * 3


def test_sessions_without_a_budget_do_not_fill_the_cache(home: Path) -> None:
    """Rules of a user are compiled once, whatever the session; the cache is bounded."""
    book = load(home, f"budgets: [{USER_BUDGET}]")
    assert book.rules(Subjects(user="u", session="s1")) is book.rules(Subjects(user="u", session="s2"))
    for number in range(MAX_CACHED + 10):
        book.rules(Subjects(user=f"u{number}"))
    assert len(book._cache) <= MAX_CACHED


@pytest.mark.parametrize(
    ("period", "day", "first", "following"),
    [
        ("day", date(2026, 12, 31), date(2026, 12, 31), date(2027, 1, 1)),
        ("week", date(2027, 1, 3), date(2026, 12, 28), date(2027, 1, 4)),
        ("week", date(2026, 12, 28), date(2026, 12, 28), date(2027, 1, 4)),
        ("month", date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1)),
        ("month", date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
    ],
)
def test_periods_are_those_of_the_utc_calendar(
    period: Period, day: date, first: date, following: date
) -> None:
    """Days, ISO weeks and months, over ends of years and leap days."""

    def seconds(value: date) -> int:
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())

    number = seconds(day) // DAY_S
    assert period_of(period, number) == (seconds(first), seconds(following))
    assert first_day(period, number) == seconds(first) // DAY_S


def test_dollars_become_whole_numbers_and_never_less() -> None:
    """Twelve decimals are exact; what is smaller is rounded up."""
    assert to_pico(Decimal("9000000.000000000001")) == 9_000_000 * 10**12 + 1
    assert to_pico(Decimal("0.0000000000001")) == 1
    assert to_usd(1_500_000_000_000) == Decimal("1.5")
    assert [dollars(0), dollars(10**13), dollars(1_230_000_000)] == ["$0", "$10", "$0.00123"]
