"""From a decision to its record: a fact travels by its name."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import router
from router import Request
from router.records import RequestRecord
from router.request.decision import Choice, Decision
from tests.recording import only_request

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = [{"role": "user", "content": "2 + 2?"}]
RENAMED = {"request_id": "id", "model": "model_decided"}
UNRECORDED = {"fallbacks"}
"""A decision's order of fallback is not recorded: the attempts are."""


def test_every_fact_of_a_decision_is_a_column() -> None:
    """A fact that has no column of its name, and is not renamed above, would be lost."""
    columns = {item.name for item in fields(RequestRecord)}
    facts = {RENAMED.get(item.name, item.name) for item in fields(Decision)} - UNRECORDED
    assert facts - columns == set()


def test_a_decision_states_every_fact(open_router: Callable[..., Any]) -> None:
    """A decision is made without its constructor, for speed: it holds its fields, and nothing else."""
    router, _ = open_router("small", "large")
    decision = router.route(Request(messages=MESSAGES))
    assert vars(decision).keys() == {item.name for item in fields(Decision)}
    assert decision == Decision(**vars(decision))


def test_the_record_repeats_the_decision(open_router: Callable[..., Any]) -> None:
    """Each fact of the decision that served is in the record, unchanged."""
    router, records = open_router("small", "large")
    decision = router.complete_sync(Request(messages=MESSAGES, task_type="math")).decision
    record = only_request(records)
    for item in fields(Decision):
        if item.name in UNRECORDED:
            continue
        stated, kept = getattr(decision, item.name), getattr(record, RENAMED.get(item.name, item.name))
        assert (list(stated) if isinstance(stated, tuple) else stated) == kept, item.name


@pytest.mark.parametrize("fact", ["tokens_input_estimated", "snapshot_age_s"])
def test_a_fact_of_a_decision_is_stated_in_three_files_of_the_router(fact: str) -> None:
    """The contract, the decision and the place that computes it: no file copies it from one to another.

    Files that read the fact for a person (`explanations`) are not part of its way to the record.
    """
    home = Path(router.__file__).parent
    assigns = re.compile(rf"\b{fact}(: [\w. |]+)?( =|=|$)", re.MULTILINE)
    found = {str(path.relative_to(home)) for path in home.rglob("*.py") if assigns.search(path.read_text())}
    assert found == {"records.py", "request/decision.py", "decision/knowledge.py"}


def test_a_choice_is_the_beginning_of_its_decision() -> None:
    """The choice's facts are declared once: a decision has them by inheritance."""
    inherited = [item.name for item in fields(Choice)]
    assert [item.name for item in fields(Decision)][: len(inherited)] == inherited
    assert not {item.name for item in fields(Choice)} & set(Decision.__annotations__)
