"""Streams of OpenAI's and Anthropic's, each as the other's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from router.errors import RequestError
from router.translate.anthropic.answers import completion_of, message_of
from router.translate.anthropic.streams import ChunksToEvents, EventsToChunks, to_sse

CREATED = 1_700_000_000
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def start(**usage: int) -> dict[str, Any]:
    """The first event of a message."""
    return {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 25, "output_tokens": 1, **usage},
        },
    }


def end(stop_reason: str, **usage: int) -> list[dict[str, Any]]:
    """The last events of a message."""
    return [
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": 15, **usage},
        },
        {"type": "message_stop"},
    ]


def events_of(content: list[dict[str, Any]], stop_reason: str) -> list[dict[str, Any]]:
    """How Anthropic streams a message of `content`: in pieces of three characters."""
    events = [start(cache_read_input_tokens=5), {"type": "ping"}]
    for index, block in enumerate(content):
        forms: dict[str, tuple[str, str, dict[str, Any]]] = {
            "text": ("text", "text_delta", {"text": ""}),
            "thinking": ("thinking", "thinking_delta", {"thinking": "", "signature": ""}),
            "tool_use": ("partial_json", "input_json_delta", {"input": {}}),
        }
        member, kind, empty = forms[block["type"]]
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, **empty}})
        whole = orjson.dumps(block["input"]).decode() if block["type"] == "tool_use" else block[member]
        deltas = [{"type": kind, member: whole[at : at + 3]} for at in range(0, len(whole), 3)]
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    return [*events, *end(stop_reason)]


def to_chunks(events: list[dict[str, Any]], *, keep_native: bool = False) -> list[dict[str, Any]]:
    """The whole of a stream as chunks."""
    translator = EventsToChunks(created=CREATED, keep_native=keep_native)
    chunks = [chunk for event in events for chunk in translator.feed(event)]
    assert translator.is_finished
    return chunks


def to_events(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The whole of a stream as events."""
    translator = ChunksToEvents()
    return [event for chunk in chunks for event in translator.feed(chunk)] + translator.finish()


def completion_in(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """What an OpenAI client makes of a stream."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    finish_reason, usage = None, None
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            finish_reason = choice["finish_reason"] or finish_reason
            for name in ("content", "reasoning_content"):
                if piece := choice["delta"].get(name):
                    message[name] = (message.get(name) or "") + piece
            for call in choice["delta"].get("tool_calls", []):
                calls = message.setdefault("tool_calls", [])
                if call["index"] == len(calls):
                    calls.append({**call, "function": {**call["function"], "arguments": ""}})
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": chunks[0]["id"], "model": chunks[0]["model"], "choices": [choice], "usage": usage}


def message_in(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What an Anthropic client makes of a stream."""
    message: dict[str, Any] = {}
    pieces: dict[int, str] = {}
    open_block: int | None = None
    for event in (event for event in events if event["type"] != "ping"):
        EVENT.validate_python(event)
        kind = event["type"]
        if kind == "message_start":
            message = orjson.loads(orjson.dumps(event["message"]))
        elif kind == "content_block_start":
            assert open_block is None, "blocks are written one after the other"
            open_block = event["index"]
            assert open_block == len(message["content"])
            message["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            assert event["index"] == open_block
            block, delta = message["content"][event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                pieces[event["index"]] = pieces.get(event["index"], "") + delta["partial_json"]
            elif delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
            else:
                block[block["type"]] += delta[block["type"]]
        elif kind == "content_block_stop":
            assert event["index"] == open_block
            if open_block in pieces:
                message["content"][open_block]["input"] = orjson.loads(pieces[open_block])
            open_block = None
        elif kind == "message_delta":
            assert open_block is None
            message.update(event["delta"])
            message["usage"] = {**message["usage"], **event["usage"]}
    return message


@pytest.mark.smoke
def test_the_documented_stream() -> None:
    """Anthropic's example of a tool call, as an OpenAI client reads it."""
    content: list[dict[str, Any]] = [
        {"type": "text", "text": "Okay, let's check the weather for San Francisco, CA:"},
        {
            "type": "tool_use",
            "id": "toolu_01",
            "name": "get_weather",
            "input": {"location": "San Francisco, CA"},
        },
    ]
    chunks = to_chunks(events_of(content, "tool_use"))
    made = completion_in(chunks)
    said = made["choices"][0]
    assert said["message"]["content"] == content[0]["text"]
    assert said["message"]["tool_calls"][0]["function"] == {
        "name": "get_weather",
        "arguments": '{"location":"San Francisco, CA"}',
    }
    assert (said["finish_reason"], made["id"], made["model"]) == ("tool_calls", "msg_1", "claude")
    assert chunks[-1]["choices"] == []
    assert made["usage"] == {
        "prompt_tokens": 30,
        "completion_tokens": 15,
        "total_tokens": 45,
        "prompt_tokens_details": {"cached_tokens": 5},
    }


def test_json_mode_streams_as_text() -> None:
    """The tool that stands for JSON mode is not seen as a call."""
    tool = {"type": "tool_use", "id": "t", "name": "respond_with_json", "input": {"sum": 4}}
    said = completion_in(to_chunks(events_of([tool], "tool_use")))["choices"][0]
    assert (said["message"]["content"], said["finish_reason"]) == ('{"sum":4}', "stop")
    assert "tool_calls" not in said["message"]


def test_an_error_event_becomes_an_error_chunk() -> None:
    """An overload in the middle of a stream is an error that the reader can tell from an answer."""
    translator = EventsToChunks(created=CREATED)
    translator.feed(start())
    (chunk,) = translator.feed(
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    )
    assert chunk["error"]["type"] == "overloaded_error"
    assert chunk["error"]["message"] == "Overloaded"
    assert not translator.is_finished


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk of an OpenAI server."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": "gpt",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        **members,
    }


def test_usage_after_the_finish_reason_is_told() -> None:
    """OpenAI's usage comes in a chunk of its own; Anthropic's message ends with it."""
    usage = {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 10}}
    events = to_events(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            {**chunk({}), "choices": [], "usage": usage},
        ]
    )
    message = message_in(events)
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"] == {"input_tokens": 20, "output_tokens": 7, "cache_read_input_tokens": 10}
    assert events[-1] == {"type": "message_stop"}


@pytest.mark.parametrize(
    "last",
    [[], [{"error": {"message": "boom", "type": "server_error"}}]],
)
def test_a_stream_that_breaks_ends_with_an_error(last: list[dict[str, Any]]) -> None:
    """A client never takes half an answer for a whole one: there is an error and no `message_stop`."""
    events = to_events(
        [chunk({"content": "Hel"}), *last, chunk({"content": "lost"})] if last else [chunk({})]
    )
    assert events[-1]["type"] == "error"
    assert all(event["type"] != "message_stop" for event in events)


def test_a_stream_that_goes_back_to_a_call_that_was_over_is_malformed() -> None:
    """Its events have left, so that no client could put the piece where it belongs."""
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"index": 1, "id": "b", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
    ]
    with pytest.raises(RequestError, match="go back to a call that was over"):
        to_events([chunk({"tool_calls": [piece]}) for piece in pieces])


def test_a_failure_is_told_once() -> None:
    """After its error a stream says nothing."""
    translator = ChunksToEvents()
    assert translator.fail("overloaded_error", "x")[0]["error"] == {
        "type": "overloaded_error",
        "message": "x",
    }
    assert translator.fail("api_error", "y") == []
    assert translator.feed(chunk({"content": "z"})) == []
    assert translator.finish() == []


def test_an_event_on_the_wire() -> None:
    """The name stands before the data, as clients that read by name expect."""
    assert to_sse({"type": "ping"}) == b'event: ping\ndata: {"type":"ping"}\n\n'


words = st.text(min_size=1, max_size=12)
texts = st.builds(lambda text: {"type": "text", "text": text}, words)
tool_uses = st.builds(
    lambda call_id, given: {"type": "tool_use", "id": call_id, "name": "f", "input": given},
    words, st.dictionaries(words, st.integers(0, 99) | words, max_size=2),
)  # fmt: skip
thoughts = st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": ""}, words)
signed = st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, words)
stops = st.sampled_from(["end_turn", "max_tokens", "tool_use"])


@given(st.lists(texts | tool_uses | signed, max_size=4), stops)
def test_a_native_stream_is_restored_exactly(content: list[dict[str, Any]], stop_reason: str) -> None:
    """With `keep_native`, Anthropic → OpenAI → Anthropic is the identity but for pings."""
    events = events_of(content, stop_reason)
    kept = [event for event in events if event["type"] != "ping"]
    assert to_events(to_chunks(events, keep_native=True)) == kept


@given(
    st.lists(thoughts, max_size=1),
    st.lists(texts, max_size=1),
    st.lists(tool_uses, max_size=3, unique_by=lambda call: call["id"]),
    st.sampled_from(["end_turn", "max_tokens"]),
)
def test_a_stream_says_what_the_whole_answer_says(
    thinking: list[Any], said: list[Any], calls: list[Any], stop_reason: str
) -> None:
    """Both ways, the pieces add up to what the translation of the whole message is."""
    content = [*thinking, *said, *calls]
    stop_reason = "tool_use" if calls and stop_reason == "end_turn" else stop_reason
    events = events_of(content, stop_reason)
    message = message_in(events)
    assert message["content"] == content
    chunks = to_chunks(events)
    whole = completion_of(message, created=CREATED)
    streamed = completion_in(chunks)
    assert message_of(streamed)["content"] == content
    assert (streamed["usage"], streamed["choices"][0]["finish_reason"]) == (
        whole["usage"],
        whole["choices"][0]["finish_reason"],
    )
    again = message_in(to_events(chunks))
    assert again == message_of({**whole, "choices": streamed["choices"]})
