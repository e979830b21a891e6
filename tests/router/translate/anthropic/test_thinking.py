"""A reasoning effort, for models of both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router.translate.anthropic.requests_in import chat_request
from router.translate.anthropic.requests_out import messages_request
from router.translate.anthropic.thinking import NEWEST, thinking_of

if TYPE_CHECKING:
    from router.catalog.entries import Thinking

MESSAGES = [{"role": "user", "content": "2 + 2?"}]
FORCED = {"type": "function", "function": {"name": "add"}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "4"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "x"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-3-5-sonnet-20241022", "none"),
        ("claude-3-opus-20240229", "none"),
        ("claude-3-7-sonnet-20250219", "budget"),
        ("claude-sonnet-4-20250514", "budget"),
        ("claude-opus-4-1-20250805", "budget"),
        ("claude-haiku-4-5", "budget"),
        ("anthropic/claude-opus-4.5", "budget"),
        ("claude-opus-4-6", "adaptive"),
        ("claude-sonnet-4-6-20260217", "adaptive"),
        ("claude-sonnet-5", "adaptive"),
        ("claude-mythos-preview", "adaptive"),
        ("my-deployment", "adaptive"),
    ],
)
def test_a_name_says_how_its_model_thinks(name: str, expected: str) -> None:
    """Adaptive thinking came with 4.6, thinking with 3.7; a name without a version is a new model's."""
    assert thinking_of(name) == expected


def asked(kind: Thinking, **body: Any) -> dict[str, Any]:
    """What of Anthropic's request says how to think."""
    request = messages_request(
        {"messages": MESSAGES, "max_tokens": 100_000, **body}, takes=NEWEST._replace(thinking=kind)
    )
    return {name: request[name] for name in ("thinking", "output_config") if name in request}


@pytest.mark.parametrize(
    ("effort", "budget_tokens"),
    [("minimal", 4096), ("low", 4096), ("medium", 16384), ("high", 32768), ("max", 32768)],
)
def test_an_effort_is_a_budget_for_older_models(effort: str, budget_tokens: int) -> None:
    """They refuse `adaptive` and `effort`; the schema of the answer stays in `output_config`."""
    budget = {"thinking": {"type": "enabled", "budget_tokens": budget_tokens}}
    assert asked("budget", reasoning_effort=effort) == budget
    assert asked("none", reasoning_effort=effort) == {}
    assert asked("adaptive", reasoning_effort=effort)["thinking"] == {"type": "adaptive"}
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    config = {"format": {"type": "json_schema", "schema": {"type": "object", "title": "a"}}}
    both = {"reasoning_effort": effort, "response_format": schema}
    assert asked("budget", **both) == {**budget, "output_config": config}
    assert asked("none", **both) == {"output_config": config}


@pytest.mark.parametrize(
    ("max_tokens", "budget_tokens"),
    [(200_000, 32768), (20_000, 10_000), (2048, 1024), (2047, None), (50, None)],
)
def test_a_budget_leaves_room_for_the_answer(max_tokens: int, budget_tokens: int | None) -> None:
    """Half of `max_tokens` at most, which holds both; below the 1,024 that Anthropic asks for, none."""
    found = asked("budget", reasoning_effort="high", max_tokens=max_tokens).get("thinking")
    assert found == (budget_tokens and {"type": "enabled", "budget_tokens": budget_tokens})


def test_no_effort_is_no_thinking() -> None:
    """`none` is said to models that could think, and goes without saying for others."""
    assert asked("budget", reasoning_effort="none") == {"thinking": {"type": "disabled"}}
    assert asked("none", reasoning_effort="none") == {}
    for kind in ("adaptive", "budget", "none"):
        assert asked(kind) == {}


@pytest.mark.parametrize(
    ("body", "thinks"),
    [
        ({"temperature": 1}, True),
        ({"temperature": 0.5}, False),
        ({"top_k": 5}, False),
        ({"tools": TOOLS}, True),
        ({"tools": TOOLS, "tool_choice": "required"}, False),
        ({"tools": TOOLS, "tool_choice": FORCED}, False),
        ({"messages": [*MESSAGES, {"role": "assistant", "tool_calls": [CALL]}, RESULT]}, False),
        (
            {
                "messages": [
                    *MESSAGES,
                    {"role": "assistant", "tool_calls": [CALL]},
                    RESULT,
                    {"role": "assistant", "content": "4"},
                    *MESSAGES,
                ]
            },
            True,
        ),
    ],
)
def test_a_budget_goes_only_with_what_anthropic_takes_beside_it(body: dict[str, Any], thinks: bool) -> None:
    """An effort is a hint: it yields to what is asked for, and where the history lacks thoughts."""
    assert ("thinking" in asked("budget", reasoning_effort="high", **body)) == thinks


def test_calls_that_were_thought_of_are_answered_thinking() -> None:
    """A turn of tool calls that brings its signed thoughts goes on with them."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}
    turn = chat_request(
        {
            "messages": [
                {"role": "user", "content": "2 + 2?"},
                {"role": "assistant", "content": [THOUGHT, call]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "4"}],
                },
            ]
        }
    )
    found = asked("budget", reasoning_effort="low", messages=turn["messages"])
    assert found == {"thinking": {"type": "enabled", "budget_tokens": 4096}}


@pytest.mark.parametrize(
    "native",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"thinking": {"type": "adaptive"}},
        {"anthropic": {"thinking": {"type": "adaptive"}}},
        {"anthropic": {"output_config": {"effort": "max"}}},
    ],
)
def test_anthropics_own_words_stay(native: dict[str, Any]) -> None:
    """What a client says in Anthropic's members reaches every model as it was said."""
    body = {"reasoning_effort": "low", **native}
    assert asked("budget", **body) == asked("none", **body) == asked("adaptive", **body)


def test_a_clients_budget_survives_another_kind_of_model() -> None:
    """What Anthropic's client asks adaptively of an older model becomes the budget of the same effort."""
    chat = chat_request(
        {
            "messages": MESSAGES,
            "max_tokens": 100_000,
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "medium"},
        }
    )
    request = messages_request(chat, takes=NEWEST._replace(thinking="budget"))
    assert request["thinking"] == {"type": "enabled", "budget_tokens": 16384}
    again = chat_request({**request, "model": "m"})
    assert again["reasoning_effort"] == "medium"
