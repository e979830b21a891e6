"""Bodies that are JSON and nothing else: an answer or a RequestError, never a crash."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from router.errors import RequestError
from router.translate.anthropic.answers import completion_of, message_of
from router.translate.anthropic.portable import portable
from router.translate.anthropic.requests_in import chat_request
from router.translate.anthropic.requests_out import messages_request
from router.translate.anthropic.streams import ChunksToEvents, EventsToChunks
from router.translate.members import LeftOut

MEMBERS = [
    "anthropic",
    "arguments",
    "betas",
    "cache_control",
    "choices",
    "content",
    "content_block",
    "data",
    "delta",
    "document",
    "effort",
    "error",
    "file",
    "file_data",
    "finish_reason",
    "format",
    "function",
    "id",
    "image",
    "image_url",
    "index",
    "input",
    "json_schema",
    "max_tokens",
    "media_type",
    "message",
    "messages",
    "metadata",
    "model",
    "name",
    "output_config",
    "parallel_tool_calls",
    "parameters",
    "partial_json",
    "reasoning_content",
    "reasoning_effort",
    "refusal",
    "response_format",
    "role",
    "schema",
    "service_tier",
    "signature",
    "source",
    "stop",
    "stop_reason",
    "stream",
    "system",
    "temperature",
    "text",
    "thinking",
    "tool_call_id",
    "tool_calls",
    "tool_choice",
    "tool_use_id",
    "tools",
    "type",
    "url",
    "usage",
    "user",
    "user_id",
]
WORDS = [
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "function",
    "image_url",
    "file",
    "anthropic",
    "user",
    "assistant",
    "system",
    "tool",
    "url",
    "base64",
    "json_schema",
    "json_object",
    "auto",
    "none",
    "enabled",
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "error",
    "text_delta",
    "input_json_delta",
    "end_turn",
    "{}",
    '{"a":1}',
    "application/pdf",
]
scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
members = st.sampled_from(MEMBERS)
values: Any = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner, max_size=5),
    max_leaves=25,
)
typed = st.builds(
    lambda kind, rest: {**rest, "type": kind}, st.sampled_from(WORDS), st.dictionaries(members, values)
)
turn = st.builds(
    lambda role, content, rest: {**rest, "role": role, "content": content},
    st.sampled_from(["user", "assistant", "tool", "system", "developer"]),
    values | st.lists(typed, max_size=3),
    st.just({}) | st.dictionaries(members, values, max_size=2),
)
bodies = st.builds(
    lambda rest, messages: {**rest, "messages": messages},
    st.dictionaries(members, values, max_size=3),
    values | st.lists(turn, max_size=3),
)


@given(bodies)
def test_requests(body: dict[str, Any]) -> None:
    """Whatever a client sends, each translation of it is JSON or a refusal."""
    with suppress(RequestError):
        orjson.dumps(messages_request(body))
    with suppress(RequestError):
        orjson.dumps(portable(body, LeftOut()))
    with suppress(RequestError):
        made = chat_request(body)
        with suppress(RequestError):
            orjson.dumps(messages_request(made))
        with suppress(RequestError):
            orjson.dumps(portable(made, LeftOut()))


@given(st.dictionaries(members, values, max_size=4), st.lists(typed, max_size=3), turn)
def test_answers(rest: dict[str, Any], content: list[Any], message: dict[str, Any]) -> None:
    """Whatever a provider answers."""
    with suppress(RequestError):
        orjson.dumps(completion_of({**rest, "content": content}, created=0))
    with suppress(RequestError):
        orjson.dumps(message_of({**rest, "choices": [{**rest, "message": message}]}))


@given(st.lists(typed | st.dictionaries(members, values, max_size=4), max_size=5))
def test_streams(stream: list[dict[str, Any]]) -> None:
    """Whatever a provider streams."""
    to_chunks, to_events = EventsToChunks(created=0), ChunksToEvents()
    with suppress(RequestError):
        for event in stream:
            orjson.dumps(to_chunks.feed(event))
    with suppress(RequestError):
        for chunk in stream:
            orjson.dumps(to_events.feed(chunk))
        orjson.dumps(to_events.finish())
