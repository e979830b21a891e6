"""Explanations reproduce the choice from the stored record alone."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from router import Request, Router
from router.decision.explanations import explain
from router.journal.journal import encode
from router.records import RequestRecord
from router.request.preferences import Preferences
from router.serving.recording import Outcome, build_record
from router.sessions.sessions import Sessions
from tests.factories import request_record, write_catalog

MODELS = [
    {"id": f"m{index}", "quality_scores": {"*": 0.3 + index / 20}, "context_window": 1000 << index % 3}
    for index in range(8)
]


def stored(router: Router, request: Request) -> dict[str, Any]:
    """The record of a decision, as it lies in the journal."""
    outcome = Outcome(answer=None, failure=TimeoutError(), attempts=(), latency_ms=1.0)
    record = build_record(
        request, router.route(request), outcome, settings=router.settings, catalog=router.catalog
    )
    return json.loads(encode(record))  # type: ignore[no-any-return]


def test_a_thousand_decisions_are_reproduced(tmp_path: Path) -> None:
    """Whatever policy, session, preferences or name decided: the record picks the same model again."""
    write_catalog(tmp_path, MODELS)
    source = random.Random(1)
    wishes = [
        None,
        Preferences(order=("m3", "m1")),
        Preferences(sort="price"),
        Preferences(deterministic=True),
    ]
    strategies = set()
    sessions = Sessions(ttl_s=60.0, max_sessions=10)
    sessions.update("sticky", model="m2")
    with Router.open(home=tmp_path, seed=1, sessions=sessions) as router:
        for _ in range(1000):
            request = Request(
                messages=[{"role": "user", "content": "x" * source.randrange(8000)}],
                model=source.choice(["auto", "auto", "auto", "m7"]) if source.random() < 0.5 else "auto",
                policy=source.choice(["balanced", "cheapest", "quality"]),
                session_id=source.choice([None, None, "sticky"]),
                preferences=source.choice([None, *wishes, Preferences(ignore=frozenset({"m7"}))]),
            )
            try:
                row = stored(router, request)
            except Exception as error:
                assert "no eligible" in str(error)  # noqa: PT017 - a pinned model may be too small
                continue
            strategies.add(row["strategy"])
            explanation = explain(row)
            assert explanation.reproduced == row["model_decided"] == explanation.model
    assert strategies == {"thompson", "greedy", "sticky", "pinned", "preferred"}


@pytest.mark.smoke
def test_a_changed_record_is_not_reproduced() -> None:
    """Where the stored choice does not follow from the stored candidates, it shows."""
    record = request_record(model_decided="other", draw=0.2)
    assert explain(record).reproduced == "small"
    assert explain(record).model == "other"


@pytest.mark.smoke
def test_each_exclusion_is_named(tmp_path: Path) -> None:
    """What could not be chosen stands with its reason."""
    write_catalog(
        tmp_path, [*MODELS, {"id": "off", "availability_status": "unavailable", "quality_scores": {"*": 1}}]
    )
    with Router.open(home=tmp_path, seed=1) as router:
        explanation = explain(router.route(Request(messages=[{"role": "user", "content": "hi"}])))
    assert explanation.excluded == {"off": "its availability_status is `unavailable`"}
    assert "`off` has the highest utility: had it not been excluded" in explanation.what_if
    assert "excluded\n  off: its availability_status" in explanation.text()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strategy": "pinned"}, "`model: auto` would have left the choice to the policy"),
        ({"strategy": "sticky"}, "a new session would have left the choice to the policy"),
    ],
)
def test_what_fixed_the_choice_is_what_would_have_changed_it(changes: dict[str, Any], sentence: str) -> None:
    """A choice that chance had no part in names what took its place."""
    assert explain(request_record(model_decided="small", **changes)).what_if == (sentence,)


def test_a_record_and_its_row_have_one_explanation() -> None:
    """The record object and the mapping a query returns explain alike."""
    record = request_record(model_decided="small", draw=0.1)
    row = asdict(record)
    assert isinstance(record, RequestRecord)
    assert explain(record) == explain(row)
