"""Requests and answers of OpenAI's responses API in chat's words, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent

from router.catalog.catalog import Catalog
from router.errors import RequestError
from router.request.request import Request
from router.request.responses import ResponsesRequest
from router.serving.assembly import answer_of
from router.serving.recording import cost_of
from router.translate.members import RESPONSES
from router.translate.responses.answers import completion_of, response_of
from router.translate.responses.requests import chat_of
from router.translate.responses.streams import ChunksToEvents, EventsToChunks
from tests.factories import write_catalog

if TYPE_CHECKING:
    from pathlib import Path

EVENTS: dict[str, Any] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(ResponseStreamEvent)[0])
}
ID, CREATED = "resp_1", 1_700_000_000
PDF = "data:application/pdf;base64,AA=="
USER = {"role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "4"}
FUNCTION = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}


def asked(**members: Any) -> dict[str, Any]:
    """A chat request of `members`, less its one message."""
    chat = chat_of({"input": "hello", **members})
    assert chat.native is None, chat.native
    body = chat.body
    assert body.pop("messages") == [USER]
    return body


@pytest.mark.parametrize(
    ("members", "chat"),
    [
        ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ({"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}),
        ({"reasoning": {"effort": None, "context": "auto"}}, {}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": None}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
        ),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"tool_choice": "auto", "parallel_tool_calls": False, "tools": []}, {}),
        (
            {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "add"}},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "add", "parameters": {"type": "object"}, "strict": True},
                    }
                ],
                "tool_choice": {"type": "function", "function": {"name": "add"}},
            },
        ),
        ({"background": False, "include": [], "truncation": "disabled", "conversation": None}, {}),
        (
            {"store": False, "user": "u", "metadata": {"a": "b"}, "top_p": 0.5, "service_tier": "auto"},
            {"store": False, "user": "u", "metadata": {"a": "b"}, "top_p": 0.5, "service_tier": "auto"},
        ),
    ],
)
def test_members_have_their_words_in_chat(members: dict[str, Any], chat: dict[str, Any]) -> None:
    """What both APIs can say is said; what asks for nothing is left out."""
    assert asked(**members) == chat


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([{"type": "message", **USER}], [USER]),
        ([{"role": "developer", "content": "x"}], [{"role": "system", "content": "x"}]),
        (
            [
                {
                    "type": "message",
                    "id": "msg_1",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}],
                },
                {**CALL, "id": "fc_1", "status": "completed"},
                {**CALL, "call_id": "c2"},
                RESULT,
            ],
            [
                {
                    "role": "assistant",
                    "content": "a",
                    "tool_calls": [
                        {"id": name, "type": "function", "function": {"name": "add", "arguments": "{}"}}
                        for name in ("c1", "c2")
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "4"},
            ],
        ),
        (
            [{**RESULT, "output": [{"type": "input_text", "text": "4"}]}],
            [{"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "4"}]}],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
                        {
                            "type": "input_file",
                            "filename": "a.pdf",
                            "file_data": "data:application/pdf;base64,AA==",
                        },
                        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
                    ],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                        {
                            "type": "file",
                            "file": {"filename": "a.pdf", "file_data": PDF},
                        },
                        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
                    ],
                }
            ],
        ),
    ],
)
def test_items_have_their_messages_in_chat(items: list[Any], messages: list[Any]) -> None:
    """Calls join the turn they belong to; ids and states that an answer carried ask for nothing."""
    chat = chat_of({"input": items})
    assert (chat.body["messages"], chat.native, chat.ignored) == (messages, None, frozenset())


@pytest.mark.parametrize(
    ("members", "native", "refers_to", "is_hosted"),
    [
        ({"previous_response_id": "resp_0"}, "`previous_response_id`", "previous_response_id", False),
        ({"conversation": {"id": "conv_1"}}, "`conversation`", "conversation", False),
        ({"prompt": {"id": "pmpt_1"}}, "`prompt`", "prompt", True),
        ({"tools": [{"type": "web_search"}]}, "`tools.0` (`web_search`)", None, True),
        ({"tools": [FUNCTION, {"type": "custom"}]}, "`tools.1` (`custom`)", None, True),
        ({"tools": [{**FUNCTION, "defer_loading": True}]}, "`tools.0.defer_loading`", None, False),
        ({"tool_choice": {"type": "allowed_tools"}}, "`tool_choice`", None, False),
        ({"tool_choice": "required"}, "`tool_choice`", None, False),
        ({"background": True}, "`background`", None, False),
        ({"include": ["x"]}, "`include` (`x`)", None, False),
        ({"top_logprobs": 2}, "`top_logprobs`", None, False),
        ({"max_tool_calls": 2}, "`max_tool_calls`", None, False),
        ({"reasoning": {"mode": "pro"}}, "`reasoning.mode`", None, False),
        ({"text": {"format": {"type": "grammar"}}}, "`text.format` (`grammar`)", None, False),
        ({"stream_options": {"new": 1}}, "`stream_options`", None, False),
        ({"tomorrow": 0}, "`tomorrow`", None, False),
        (
            {"input": [{"type": "item_reference", "id": "m"}]},
            "`input.0` (`item_reference`)",
            "input.0",
            False,
        ),
        ({"input": [{"type": "computer_call"}]}, "`input.0` (`computer_call`)", None, False),
        ({"input": [{**CALL, "namespace": "n"}]}, "`input.0.namespace`", None, False),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "`input.0.content.0.file_id`",
            "input.0.content.0",
            False,
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]}]},
            "`input.0.content.0.file_url`",
            None,
            False,
        ),
    ],
)
def test_what_chat_cannot_say_is_named(
    members: dict[str, Any], native: str, refers_to: str | None, is_hosted: bool
) -> None:
    """Not one of these is dropped: each keeps the request from models that are asked by chat."""
    chat = chat_of({"input": "hello", **members})
    assert (chat.native, chat.refers_to, chat.is_hosted) == (native, refers_to, is_hosted)
    request = ResponsesRequest.parse({"input": "hello", **members})
    demand = request.measure()
    assert demand.apis == {"responses"}
    assert demand.is_open_ended


@pytest.mark.parametrize(
    ("members", "ignored"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        (
            {"input": [USER, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}]},
            "reasoning of earlier turns",
        ),
    ],
)
def test_hints_are_left_out_by_name(members: dict[str, Any], ignored: str) -> None:
    """What says how an answer is made, and not what is asked."""
    chat = chat_of({"input": "hello", **members})
    assert chat.native is None
    assert chat.ignored == {ignored}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"instructions": "x"}, "input"),
        ({"input": 1}, "input"),
        ({"input": ["x"]}, "input.0"),
        ({"input": [{}]}, "input.0.type"),
        ({"input": [{"role": "user"}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input.0.content.0.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input.0.content.0.text"),
        ({"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]}, "input.0.call_id"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools.0.name"),
        ({"input": "x", "reasoning": "high"}, "reasoning"),
        ({"input": "x", "text": "json"}, "text"),
        ({"input": "x", "stream_options": 1}, "stream_options"),
    ],
)
def test_what_is_malformed_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    """Wherever it is sent; `param` says where it stands."""
    with pytest.raises(RequestError) as caught:
        ResponsesRequest.parse(body)
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "output", "call_id", "name", "id", "format"]),
            inner | st.sampled_from(["message", "function", "function_call", "function_call_output", "user"]),
            max_size=4,
        )
    ),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "text",
        "reasoning",
        "include",
        "stream",
        "prompt",
        "new",
    ]
)


@given(st.dictionaries(MEMBERS, JSON, max_size=6))
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    """Nothing that JSON can hold makes another error than RequestError."""
    try:
        request = ResponsesRequest.parse(body)
    except RequestError:
        return
    assert isinstance(request, Request)
    assert request.asked()["model"] == "auto"


def completion(finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """A completion of chat's."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def chunks(whole: dict[str, Any], size: int = 3) -> list[dict[str, Any]]:
    """The completion as chat streams it, in pieces of `size` characters."""
    head = {"id": whole["id"], "object": "chat.completion.chunk", "model": whole["model"]}
    (choice,) = whole["choices"]
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    for name in ("reasoning_content", "content", "refusal"):
        text = choice["message"].get(name) or ""
        deltas += [{name: text[at : at + size]} for at in range(0, len(text), size)]
    for index, call in enumerate(choice["message"].get("tool_calls") or ()):
        function = call["function"]
        started = {"index": index, **call, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [started]})
        pieces = [function["arguments"][at : at + size] for at in range(0, len(function["arguments"]), size)]
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
    told = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    told.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    return [*told, {**head, "choices": [], "usage": whole["usage"]}]


TEXT = st.text(min_size=1, max_size=8)
COMPLETIONS = st.builds(
    completion,
    finish_reason=st.sampled_from(["stop", "length", "content_filter", "tool_calls"]),
    content=st.none() | TEXT,
    refusal=st.none() | TEXT,
    reasoning_content=st.none() | TEXT,
    tool_calls=st.lists(
        st.builds(
            lambda name, arguments: {
                "id": f"call_{name}",
                "type": "function",
                "function": {"name": name, "arguments": arguments or "{}"},
            },
            TEXT,
            st.text(max_size=8),
        ),
        max_size=3,
        unique_by=lambda call: call["id"],
    ),
)


@given(COMPLETIONS, st.integers(1, 5))
def test_a_stream_says_what_the_whole_says(whole: dict[str, Any], size: int) -> None:
    """The last event's response is that of the completion; every event and the response are the API's."""
    expected = response_of(whole, {"model": "auto"}, response_id=ID, created=CREATED)
    Response.model_validate(expected)
    translator = ChunksToEvents({"model": "auto"}, response_id=ID, created=CREATED)
    events = [event for chunk in chunks(whole, size) for event in translator.feed(chunk)]
    events += translator.finish()
    assert translator.finish() == []
    for event in events:
        EVENTS[event["type"]].model_validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"] == expected
    status = {"length": "incomplete", "content_filter": "incomplete"}.get(
        whole["choices"][0]["finish_reason"]
    )
    assert events[-1]["type"] == f"response.{status or 'completed'}"
    back = ChunksToEvents({}, response_id="other", created=0)
    reader = EventsToChunks()
    passed = [event for item in events for event in back.feed(reader.feed(item), item)]
    assert passed == events
    assert reader.is_finished


@given(COMPLETIONS)
def test_a_response_as_a_completion_says_the_same(whole: dict[str, Any]) -> None:
    """What the record and the text are taken from is what chat would have said."""
    response = response_of(whole, {}, response_id=ID, created=CREATED)
    again = completion_of(response)
    said, before = again["choices"][0]["message"], whole["choices"][0]["message"]
    for name in ("content", "refusal", "reasoning_content", "tool_calls"):
        assert (said.get(name) or None) == (before.get(name) or None)
    assert (again["usage"]["prompt_tokens"], again["usage"]["completion_tokens"]) == (10, 5)
    assert again[RESPONSES] is response


def test_calls_whose_pieces_come_by_turns() -> None:
    """Chat may write several calls at once; each keeps its own arguments."""
    translator = ChunksToEvents({}, response_id=ID, created=CREATED)
    events = []
    for index, piece in ((0, "{"), (1, "["), (0, "}"), (1, "]")):
        call = {"index": index, "id": f"c{index}", "function": {"name": "f", "arguments": piece}}
        events += translator.feed({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    output = translator.finish()[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("c0", "{}"), ("c1", "[]")]


def test_an_unknown_usage_is_null() -> None:
    """And not a count of 0."""
    whole = completion(content="x")
    del whole["usage"]
    assert response_of(whole, {}, response_id=ID, created=CREATED)["usage"] is None


def test_what_is_charged_beside_tokens_is_told_with_the_usage() -> None:
    """So that the cost of an answer that searched the web is not taken for that of its tokens."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    response = {
        "status": "completed",
        "output": [search, {"type": "shell_call"}],
        "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
    }
    usage = completion_of(response)["usage"]
    assert (usage["unpriced"], usage["server_tool_use"]) == (["shell_call"], {"web_search_requests": 1})
    chunk = EventsToChunks().feed({"type": "response.completed", "response": response})
    assert chunk["usage"] == usage
    begun = EventsToChunks().feed({"type": "response.output_item.added", "output_index": 0, "item": search})
    assert begun["choices"][0]["delta"]  # the answer has begun: no other model is asked now


def test_a_cost_that_tokens_alone_do_not_tell_is_unknown(tmp_path: Path) -> None:
    """The price of the tokens is known, that of a search is not: NULL, and not too little."""
    prices = [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]
    catalog = Catalog.load(write_catalog(tmp_path, [{"id": "m", "prices": prices}]))
    usage: dict[str, Any] = {"input_tokens": 10, "output_tokens": 5}
    costs = []
    for output in ([], [{"type": "web_search_call"}]):
        answer = answer_of(completion_of({"status": "completed", "output": output, "usage": usage}))
        assert (answer.usage.tokens_input, answer.usage.tokens_output) == (10, 5)
        asked = Request(messages=[{"role": "user", "content": "Hi"}])
        costs.append(cost_of(answer, asked, "m", datetime(2026, 2, 1, tzinfo=UTC), catalog)[0])
    assert costs == [Decimal("0.00006"), None]
