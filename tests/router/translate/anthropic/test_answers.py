"""Answers of OpenAI's and Anthropic's, each as the other's."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from router.errors import RequestError
from router.translate.anthropic.answers import completion_of, message_of

CREATED = 1_700_000_000


def completion(message: dict[str, Any], finish_reason: str | None = "stop", **members: Any) -> dict[str, Any]:
    """A chat completion of an OpenAI server."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": CREATED,
        "model": "gpt",
        "choices": [
            {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
        ],
        **members,
    }


@pytest.mark.smoke
def test_a_completion_as_a_message() -> None:
    """Text, tool calls, stop reason and usage; cached tokens stand beside the input, as Anthropic counts."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    said = {"content": "I call.", "tool_calls": [call], "reasoning_content": "hm"}
    message = message_of(completion(said, "tool_calls", usage=usage))
    assert message == {
        "id": "chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "gpt",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "I call."},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 40,
            "output_tokens": 20,
            "cache_read_input_tokens": 60,
            "output_tokens_details": {"thinking_tokens": 5},
        },
    }
    Message.model_validate(message)


@pytest.mark.parametrize(
    ("finish_reason", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "end_turn"),
        ("", "end_turn"),
        ("content_filter", "refusal"),
        (None, "end_turn"),
    ],
)
def test_why_it_stopped(finish_reason: str | None, stop_reason: str | None) -> None:
    """Each of OpenAI's words has one of Anthropic's; an answer without a call does not ask for its result."""
    assert message_of(completion({"content": "x"}, finish_reason))["stop_reason"] == stop_reason


def test_a_refusal_is_text_and_a_stop_reason() -> None:
    """Anthropic says a refusal in both places."""
    message = message_of(completion({"content": None, "refusal": "I will not."}))
    assert message["content"] == [{"type": "text", "text": "I will not."}]
    assert message["stop_reason"] == "refusal"


@pytest.mark.smoke
def test_unknown_usage_stays_unknown() -> None:
    """A server that tells no usage did not use 0 tokens."""
    assert message_of(completion({"content": "x"}))["usage"] == {"input_tokens": None, "output_tokens": None}


def test_arguments_that_are_no_json_are_an_error() -> None:
    """Anthropic's shape has no place for them, and a client would run the tool with something else."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    with pytest.raises(RequestError, match=r"tool_calls\.0\.function\.arguments"):
        message_of(completion({"content": None, "tool_calls": [call]}))


words = st.text(min_size=1, max_size=12)
counts = st.integers(0, 10**6)
texts = st.builds(lambda text: {"type": "text", "text": text}, words)
blocks = st.one_of(
    texts,
    st.builds(
        lambda call_id, given: {"type": "tool_use", "id": call_id, "name": "f", "input": given},
        words, st.dictionaries(words, st.integers(-9, 9) | words, max_size=2),
    ),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, words),
    st.just({"type": "redacted_thinking", "data": "x"}),
    st.just({"type": "text", "text": "cited", "citations": [{"type": "char_location", "document_index": 0}]}),
    st.just({"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "q"}}),
    st.just({"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}}),
)  # fmt: skip
messages = st.fixed_dictionaries(
    {
        "id": words,
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": words,
        "content": st.lists(blocks, max_size=4),
        "stop_reason": st.sampled_from(
            [
                "end_turn",
                "max_tokens",
                "stop_sequence",
                "tool_use",
                "pause_turn",
                "refusal",
                "model_context_window_exceeded",
            ]
        ),
        "stop_sequence": st.none() | words,
        "usage": st.fixed_dictionaries(
            {"input_tokens": counts, "output_tokens": counts},
            optional={
                "cache_read_input_tokens": counts,
                "cache_creation_input_tokens": counts,
                "cache_creation": st.just({"ephemeral_1h_input_tokens": 0}),
                "service_tier": st.just("standard"),
                "output_tokens_details": st.just({"thinking_tokens": 0}),
            },
        ),
    },
    optional={"container": st.just({"id": "c"}), "anything_new": counts},
)


@given(messages)
def test_what_anthropic_answers_survives_openais_shape(message: dict[str, Any]) -> None:
    """Anthropic → OpenAI → Anthropic is the identity, and the completion is OpenAI's by its own types."""
    made = completion_of(message, created=CREATED)
    assert message_of(made) == message
    ChatCompletion.model_validate(made)


@given(st.lists(texts, max_size=1), counts, counts)
def test_a_plain_answer_carries_nothing_beside(content: list[Any], given_: int, answered: int) -> None:
    """What OpenAI's shape says is not said twice."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": given_, "output_tokens": answered},
    }
    made = completion_of(message, created=CREATED)
    assert "anthropic" not in made
    assert "anthropic" not in made["choices"][0]["message"]
