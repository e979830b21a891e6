"""`user_sessions`: conversations from the records of their requests, as long as these are kept."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pipelines import flow
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.helpers import NOW, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable

    Query = Callable[..., list[tuple[Any, ...]]]


def turns(session: str | None, **changes: Any) -> list[Any]:
    """Two requests of a session, a minute apart; the second one fails."""
    first = make_record(NOW, session_id=session, task_type="code", **changes)
    second = make_record(
        NOW + timedelta(minutes=1),
        session_id=session,
        task_type="math",
        policy_id="cheapest",
        model_requested="large",
        model_selected="small",
        success=False,
        tokens_input=None,
        tokens_output=None,
        cost_usd=None,
        **changes,
    )
    return [first, second]


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A session of each of two owners with one id, a session of another person, a request without one."""
    seal_records(
        settings,
        [
            *turns("chat", user_id="ada", api_key_id="key_1"),
            *turns("chat", user_id="bob", api_key_id="key_2", budget_reserved_usd=Decimal("0.25")),
            *turns("other", user_id="bob"),
            *turns(None, user_id="ada"),
        ],
    )
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
    return settings


def test_a_session_is_one_row_with_its_context(filled: Settings, query: Query) -> None:
    """The model that answered last, the last policy and task, and sums over what is known."""
    rows = query(
        "select session_id, user_id, api_key_id, conversation_context, routing_preferences, budget_limits,"
        " last_activity - created_at from user_sessions order by session_id, api_key_id"
    )
    assert [row[:3] for row in rows] == [
        ("chat", "ada", "key_1"),
        ("chat", "bob", "key_2"),
        ("other", "bob", None),
    ]
    assert json.loads(rows[0][3]) == {
        "model": "large",
        "policy": "cheapest",
        "requests": 2,
        "tokens_input": 100,
        "tokens_output": 50,
        "last_task": "math",
    }
    assert json.loads(rows[0][4]) == {"policy": "cheapest", "model": "large"}
    assert rows[0][5] is None
    limits = {name: Decimal(text) for name, text in json.loads(rows[1][5]).items()}
    assert limits == {"reserved_usd": Decimal("0.25"), "spent_usd": Decimal("0.0015")}
    assert rows[0][6] == timedelta(minutes=1)


def test_an_erased_person_has_no_session(filled: Settings, query: Query) -> None:
    """Theirs are gone with their requests, and the others stay."""
    flow.erase(filled, "bob")
    with Warehouse(filled) as warehouse:
        flow.run_refresh(warehouse)
    assert query("select session_id, user_id from user_sessions") == [("chat", "ada")]


def test_a_session_ends_with_its_raw_rows(filled: Settings, query: Query) -> None:
    """Retention of the requests is retention of the session."""
    with Warehouse(filled) as warehouse:
        flow.retain(warehouse, now=NOW + timedelta(days=filled.retention_days + 2))
    with Warehouse(filled) as warehouse:
        flow.run_refresh(warehouse)
    assert query("select count(*) from user_sessions") == [(0,)]
