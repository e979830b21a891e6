"""The use of a session: exact, with the last reply in it, from journals and segments alike."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.lake.compaction import compact
from router.journal.journal import Journal
from router.sessions.usage import SessionUsage
from tests.pipelines.helpers import make_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.records import RequestRecord

HOURS = 48


def of(session_id: str, *, hours: float = 0, **facts: Any) -> RequestRecord:
    """A request of a session that came `hours` ago."""
    facts = {"organization_id": None, **facts}
    return make_record(datetime.now(UTC) - timedelta(hours=hours), session_id=session_id, **facts)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal that seals only when it is asked to."""
    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 26)
    yield journal
    journal.close()


@pytest.fixture
def usage(tmp_path: Path) -> Iterator[SessionUsage]:
    """The reader of the same folder."""
    usage = SessionUsage(tmp_path, hours=HOURS)
    yield usage
    usage.close()


def test_the_last_record_counts_at_once(journal: Journal, usage: SessionUsage) -> None:
    """A session is unknown before its first record, and has each one as soon as it is in the journal."""
    assert usage.read("s", None, None) is None
    for number in range(1, 4):
        journal.append(of("s", cost_usd=Decimal("0.1")))
        found = usage.read("s", None, None)
        assert found is not None
        assert (found["requests"], found["cost_usd"]) == (number, Decimal("0.1") * number)


def test_unknown_quantities_are_counted_apart(journal: Journal, usage: SessionUsage) -> None:
    """A sum covers the requests that report the quantity, and is None if none does."""
    known: dict[str, Any] = {
        "tokens_input": 100,
        "tokens_output": 10,
        "cost_usd": Decimal("0.5"),
        "tokens_reasoning": None,
    }
    journal.append(
        of("s", **known, tokens_cached_input=25, model_selected="a"),
        of("s", **known, tokens_cached_input=None, model_selected="b"),
        of("s", **{**known, "cost_usd": None, "tokens_input": None}, tokens_cached_input=7, success=False),
    )
    before = usage.read("s", None, None)
    journal.seal_now()
    after = usage.read("s", None, None)
    assert before == after
    assert after is not None
    assert (after["requests"], after["successes"], after["requests_without_cost"]) == (3, 2, 1)
    assert (after["tokens_input"], after["requests_with_tokens"], after["tokens_reasoning"]) == (200, 2, None)
    assert after["cached_share"] == 0.25
    assert after["cost_usd"] == Decimal(1)
    shares = {item["model"]: item["cached_share"] for item in after["models"]}
    assert (shares["a"], shares["b"]) == (0.25, None)
    assert sum(item["requests"] for item in after["models"]) == 3


def test_each_record_counts_once_wherever_it_lies(
    tmp_path: Path, journal: Journal, usage: SessionUsage
) -> None:
    """A seeded sequence of records, sealings, compactions and restarts gives the sums of the records."""
    draws = random.Random(20261127)
    wanted: dict[str, list[Decimal]] = {"one": [], "two": []}
    for _ in range(30):
        action = draws.choice(["append", "append", "seal", "compact", "restart", "read"])
        if action == "append":
            name, cost = draws.choice(["one", "two"]), Decimal(draws.randrange(1, 10**9)).scaleb(-12)
            journal.append(of(name, hours=draws.choice([0, 3, 30]), cost_usd=cost))
            wanted[name].append(cost)
        elif action == "seal":
            journal.seal_now()
        elif action == "compact":
            compact(tmp_path / "lake", now=datetime.now(UTC) + timedelta(hours=2))
        elif action == "restart":
            usage.close()
        for name, costs in wanted.items():
            found = usage.read(name, None, None)
            seen = (0, Decimal(0)) if found is None else (found["requests"], found["cost_usd"])
            assert seen == (len(costs), sum(costs, Decimal(0)))


def test_a_session_is_its_owners(journal: Journal, usage: SessionUsage) -> None:
    """The same id under another key or organisation is another session."""
    owners = [(key, organization) for key in (None, "k1", "k2") for organization in (None, "acme", "globex")]
    for number, (key, organization) in enumerate(owners, start=1):
        record = of("s", api_key_id=key, organization_id=organization)
        for _ in range(number):
            journal.append(replace(record))
        if number % 2:
            journal.seal_now()
    for number, owner in enumerate(owners, start=1):
        found = usage.read("s", *owner)
        assert found is not None
        assert found["requests"] == number
    assert usage.read("s", "k3", "acme") is None


def test_records_before_the_window_do_not_count(journal: Journal, usage: SessionUsage) -> None:
    """The answer names the moment from which it counts."""
    journal.append(of("s", hours=HOURS + 2), of("s", hours=HOURS - 1), of("old", hours=HOURS + 2))
    journal.seal_now()
    found = usage.read("s", None, None)
    assert found is not None
    assert found["requests"] == 1
    assert found["counted_since"] <= found["first_at"] <= found["last_at"]
    assert usage.read("old", None, None) is None


@pytest.mark.parametrize("what", ["parquet", "json"])
def test_a_damaged_segment_is_said(tmp_path: Path, journal: Journal, usage: SessionUsage, what: str) -> None:
    """The other records count, and `is_complete` is false."""
    for _ in range(2):
        journal.append(of("s"))
        journal.seal_now()
    segment = min((tmp_path / "lake").rglob(f"*/hour=*/*.{what}"))
    segment.write_bytes(b"damaged")
    found = usage.read("s", None, None)
    assert found is not None
    assert (found["requests"], found["is_complete"]) == (1, False)


@pytest.mark.parametrize("session_id", ["a/b", 'quo"te', "ünïcode", "x" * 255, "a\\b", "%"])
def test_any_id_is_found(journal: Journal, usage: SessionUsage, session_id: str) -> None:
    """Clients make up ids: characters that JSON escapes are found too."""
    journal.append(of(session_id))
    assert usage.read(session_id, None, None) is not None
