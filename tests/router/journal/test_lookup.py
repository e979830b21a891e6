"""A request's record is found wherever it lies, as it was written; sessions come back as they were kept."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from router.journal.journal import Journal
from router.journal.lookup import find_record
from router.records import Attempt, Candidate, RequestRecord, Tag, new_id
from router.request.preferences import Preferences
from router.sessions.sessions import Session
from router.sessions.shared import SharedSessions
from tests.factories import request_record

if TYPE_CHECKING:
    from pathlib import Path


def test_a_record_is_found_in_the_journal_and_in_the_lake(tmp_path: Path) -> None:
    """The same before and after it is sealed, among others of its hour."""
    record = request_record(
        user_id="ada",
        tags=[Tag(key="team", value="search")],
        cost_usd=Decimal("0.000110000000"),
        candidates=[Candidate(model="small", is_eligible=True, quality=0.5, probability=1.0)],
        attempts=[
            Attempt(model="small", provider="fake", status_code=200, latency_ms=1.5, cost_usd=Decimal(1))
        ],
        draw=0.25,
    )
    others = [request_record(reason=f'"id":"{record.id}"') for _ in range(3)]
    journal = Journal(tmp_path, seal_interval_s=3600, max_bytes=1 << 20)
    journal.append(others[0], record, *others[1:])
    in_journal = find_record(tmp_path, record.id)
    journal.close()
    in_lake = find_record(tmp_path, record.id)
    for found in (in_journal, in_lake):
        assert found is not None
        for item in fields(RequestRecord):
            if item.name != "attempts":
                assert getattr(found, item.name) == getattr(record, item.name), item.name
        (attempt,) = found.attempts
        assert replace(attempt, cost_usd=Decimal(str(attempt.cost_usd))) == record.attempts[0]
    assert find_record(tmp_path, new_id()[0]) is None
    assert find_record(tmp_path, "nonsense") is None


def test_a_session_is_the_same_in_another_process(tmp_path: Path) -> None:
    """Model, policy, treatment and every wish, with their types."""
    wished = Preferences(
        order=("a", "b"),
        only=frozenset({"a", "b"}),
        ignore=frozenset({"c"}),
        sort="price",
        max_prompt_usd_per_mtok=Decimal("1.5"),
        max_completion_usd_per_mtok=Decimal(2),
        allow_fallbacks=False,
        data_policy=frozenset({"no_training"}),
        regions=frozenset({"eu"}),
        min_quality=0.5,
        max_cost_usd=Decimal("0.01"),
        max_latency_ms=100.0,
        deterministic=True,
        allowed_models=frozenset({"m"}),
    )
    here, there = (SharedSessions(tmp_path / "s.db", ttl_s=60, max_sessions=9) for _ in range(2))
    here.update("s", model="small", treated_as=("e", "v"), tokens_per_estimate=1.25)
    there.update("s", policy="quality", preferences=wished)
    expected = Session(
        model="small", policy="quality", preferences=wished, treated_as=("e", "v"), tokens_per_estimate=1.25
    )
    assert here.get("s") == there.get("s") == expected
    assert here.get("t") is None
    here.close()
    there.close()
