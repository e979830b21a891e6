"""Settled spend of the current periods, from the lake and the journals: every record exactly once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pipelines.flow import erase
from router.config import Settings
from router.journal.journal import encode
from router.limits.periods import period_of
from router.limits.spend import find_costs, read_spend
from router.sessions.sessions import owned_session
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from pathlib import Path

    from router.limits.counters import Scope
    from router.limits.periods import Period
    from router.records import RequestRecord

NOW = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)  # a Wednesday
USD = 10**12
USER: list[tuple[Scope, Period]] = [("user", "day"), ("user", "week"), ("user", "month")]


def record(at: datetime = NOW, cost: str | None = "1", **changes: object) -> RequestRecord:
    return make_record(at, cost_usd=None if cost is None else Decimal(cost), **changes)


def unsealed(home: Path, records: list[RequestRecord], name: str = "w-1.jsonl", torn: bytes = b"") -> None:
    folder = home / "journal" / "request_analytics"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(map(encode, records)) + torn)


def spent(home: Path, scope: Scope, period: Period, subject: str) -> int:
    """Pico-dollars of the current period."""
    spend = read_spend(home, [(scope, period)], now_s=NOW.timestamp())
    start = period_of(period, int(NOW.timestamp() // 86_400))[0]
    return spend.amounts.get((scope, period, start, subject), 0)


@pytest.mark.smoke
def test_each_period_counts_its_own_days(home: Path) -> None:
    """Today in all three, Monday in week and month, the 1st in the month, October in none."""
    settings = Settings.load({}, home=home)
    for at, cost in ((NOW, "1"), (NOW - timedelta(days=2), "10"), (datetime(2026, 11, 1, tzinfo=UTC), "100")):
        seal_records(settings, [record(at, cost)])
    seal_records(settings, [record(datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC), "1000")])
    assert [spent(home, "user", period, "u1") // USD for period in ("day", "week", "month")] == [1, 11, 111]


def test_each_scope_counts_its_own_subjects(home: Path) -> None:
    """A record counts for its user, organisation, key and session; a missing one for nobody."""
    rows = [
        record(cost="1", user_id="ada", organization_id="acme", session_id="s1"),
        record(cost="2", user_id="bob", organization_id="acme", api_key_id="k1"),
        record(cost="4", user_id=None, organization_id=None),
    ]
    seal_records(Settings.load({}, home=home), rows[:2])
    unsealed(home, rows[2:])
    found = [
        spent(home, "user", "day", "ada"),
        spent(home, "organization", "month", "acme"),
        spent(home, "key", "day", "k1"),
        spent(home, "session", "total", owned_session("s1", None, "acme")),
    ]
    assert [pico // USD for pico in found] == [1, 3, 2, 1]


def test_a_session_is_counted_with_its_owner(home: Path) -> None:
    """The id that two keys, two organisations and nobody use names five sessions; each goes on by itself."""
    owners = [("k1", "acme"), ("k2", "acme"), ("k1", "umbra"), ("k1", None), (None, None)]
    rows = [
        record(cost=str(10**place), session_id="s", api_key_id=key, organization_id=organization)
        for place, (key, organization) in enumerate(owners)
    ]
    seal_records(Settings.load({}, home=home), [*rows, record(cost="70", api_key_id="k2", session_id=None)])
    unsealed(home, [record(cost="1", session_id="s", api_key_id="k2", organization_id="acme")])
    found = [spent(home, "session", "total", owned_session("s", *owner)) // USD for owner in owners]
    assert found == [1, 11, 100, 1000, 10000]


def test_a_record_that_a_journal_still_holds_counts_once(home: Path) -> None:
    """Between sealing and removing the journal a record lies in both; torn lines lie in none."""
    both = [record(cost="1"), record(NOW - timedelta(hours=3), "2")]
    seal_records(Settings.load({}, home=home), [*both, record(cost="4")])
    unsealed(home, [*both, record(cost="8")], torn=b'{"id":"0198')
    unsealed(home, [record(cost="16")], name="w-2.bad", torn=b"no json\n")
    assert spent(home, "user", "day", "u1") == 31 * USD


def test_an_unknown_cost_adds_nothing(home: Path) -> None:
    """NULL is not a cost; the reservation log says what it is charged as."""
    seal_records(Settings.load({}, home=home), [record(cost=None), record(cost="0.000000000001")])
    unsealed(home, [record(cost=None)])
    assert spent(home, "user", "day", "u1") == 1


def test_replaced_segments_are_not_counted_beside_what_replaced_them(home: Path) -> None:
    """A compaction that was stopped half-way leaves its sources in place."""
    from pipelines.lake import compaction
    from pipelines.lake.reading import scan

    settings = Settings.load({}, home=home)
    for _ in range(4):
        seal_records(settings, [record()])
    kept = home / "kept"
    shutil.copytree(home / "lake", kept)
    compaction.compact(settings.lake, now=NOW + timedelta(days=2))
    assert len(scan(settings.lake, "request_analytics").segments) == 1
    shutil.copytree(kept, home / "lake", dirs_exist_ok=True)
    assert len(list(settings.lake.glob("request_analytics/*/*/*.parquet"))) == 5
    assert spent(home, "user", "day", "u1") == 4 * USD


def test_erasing_a_person_gives_no_organisation_its_budget_back(home: Path) -> None:
    """Their money stays charged to the organisation; the person's own account is gone with them."""
    settings = Settings.load({}, home=home)
    before = datetime(2026, 11, 2, 9, tzinfo=UTC)
    rows = [("ada-4711", "3"), ("eve-0815", "5"), ("bob-1234", "1")]
    seal_records(settings, [record(before, cost, user_id=user) for user, cost in rows])
    erase(settings, "ada-4711")
    erase(settings, "bob-1234")
    users = [spent(home, "user", "month", user) // USD for user, _ in rows]
    assert users == [0, 5, 0]
    assert spent(home, "organization", "month", "acme") == 9 * USD


def test_a_damaged_segment_hurts_only_itself_and_is_named(home: Path) -> None:
    """The others count; what is missing is said."""
    settings = Settings.load({}, home=home)
    seal_records(settings, [record()])
    (broken,) = seal_records(settings, [record()])
    (settings.lake / broken.path).write_bytes(b"PAR1 no more")
    spend = read_spend(home, USER, now_s=NOW.timestamp())
    assert spend.unreadable == [f"{broken.name}.parquet"]
    assert spent(home, "user", "day", "u1") == USD


def test_nothing_is_read_without_budgets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No budget, no look at the lake."""
    monkeypatch.setattr("router.limits.spend._read_journals", lambda _: pytest.fail("read the journals"))
    assert read_spend(home, []).amounts == {}


def test_costs_are_found_by_id_in_lake_and_journal(home: Path) -> None:
    """Known, not known, and no record at all are three different answers."""
    sealed, open_ended, unknown, absent = record(), record(cost="2"), record(cost=None), record()
    seal_records(Settings.load({}, home=home), [sealed, unknown, replace(record(), user_id="other")])
    unsealed(home, [open_ended])
    ids = {item.id for item in (sealed, open_ended, unknown, absent)}
    assert find_costs(home, ids) == {sealed.id: USD, open_ended.id: 2 * USD, unknown.id: None}
