"""Server-sent events, and the answer that they make up."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.providers.http.sse import MAX_EVENT_BYTES, EventSplitter, StreamEvent, without_usage
from router.serving.assembly import Assembly

EVENTS: list[tuple[bytes, bytes | None]] = [
    (b'data: {"a": 1}', b'{"a": 1}'),
    (b": keep-alive", None),
    (b"event: chunk\ndata: one\ndata:two", b"one\ntwo"),
    (b"data: [DONE]", b"[DONE]"),
]


@given(
    cuts=st.lists(st.integers(0, 80), max_size=8),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    blank_lines=st.integers(1, 3),
)
def test_events_do_not_depend_on_how_they_arrive(cuts: list[int], line_end: bytes, blank_lines: int) -> None:
    """Any portions, any of the three line ends, any number of blank lines: the same events."""
    end = line_end * (1 + blank_lines)
    content = b"".join(raw.replace(b"\n", line_end) + end for raw, _ in EVENTS)
    splitter, places = EventSplitter(), sorted({0, len(content), *(min(cut, len(content)) for cut in cuts)})
    got = [event for start, stop in pairwise(places) for event in splitter.feed(content[start:stop])]
    assert [*got, *splitter.feed(b"\n\n")] == EVENTS


@given(cut=st.integers(0, 6))
def test_a_mark_of_byte_order_is_no_part_of_the_first_event(cut: int) -> None:
    """Some servers begin a stream with one, which the standard says to skip."""
    content, splitter = b"\xef\xbb\xbfdata: one\n\n", EventSplitter()
    assert [*splitter.feed(content[:cut]), *splitter.feed(content[cut:])] == [(b"data: one", b"one")]


@pytest.mark.smoke
def test_an_event_without_end_is_refused() -> None:
    """What a provider sends without a blank line is held up to a bound."""
    splitter = EventSplitter()
    assert splitter.feed(b"x" * MAX_EVENT_BYTES) == []
    with pytest.raises(ValueError, match=str(MAX_EVENT_BYTES)):
        splitter.feed(b"x")


def test_a_field_without_data_is_no_event() -> None:
    """After the standard, an event without data is not dispatched."""
    assert EventSplitter().feed(b"event: ping\n\nid: 7\n\n") == []


def chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """A chunk of one choice."""
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


@pytest.mark.smoke
def test_several_choices_are_assembled_side_by_side() -> None:
    """An answer is finished when each of its choices is."""
    assembly = Assembly()
    for piece in (chunk(1, {"content": "b"}), chunk(0, {"content": "a"}), chunk(0, {}, "stop")):
        assembly.add(piece)
    seen = [assembly.is_finished]
    assembly.add(chunk(1, {"content": "B"}, "length"))
    assert [*seen, assembly.is_finished] == [False, True]
    choices = assembly.answer(is_whole=True).body["choices"]
    assert [(item["message"]["content"], item["finish_reason"]) for item in choices] == [
        ("a", "stop"), ("bB", "length"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("delta", "is_content"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None, "tool_calls": []}, False),
        ({"content": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"refusal": "no"}, True),
        ({"tool_calls": [{"index": 0, "id": "t"}]}, True),
    ],
)
def test_content_is_more_than_a_role(delta: dict[str, Any], is_content: bool) -> None:
    """From the first content on no other model can serve the request."""
    assembly = Assembly()
    assembly.add(chunk(0, delta))
    assert assembly.has_content == is_content


def test_a_running_count_of_a_cut_answer_is_not_its_count() -> None:
    """Providers that count along give a total only at the end."""
    assembly = Assembly()
    running = {"prompt_tokens": 5, "completion_tokens": 1}
    assembly.add({**chunk(0, {"content": "a"}), "usage": running})
    assert assembly.answer(is_whole=False).usage.tokens_output is None
    assert assembly.answer(is_whole=True).usage.tokens_output == 1
    assembly.add({**chunk(0, {}, "stop"), "usage": {**running, "completion_tokens": 2}})
    assert assembly.answer(is_whole=False).usage.tokens_output == 2


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"choices": None},
        {"choices": [None, 1, {"delta": "x"}, {"index": "y", "delta": {"content": 5}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": ["x", {"index": None}, {"index": "1"}]}}]},
        {"usage": [], "choices": {}},
    ],
)
def test_strange_chunks_do_no_harm(strange: dict[str, Any]) -> None:
    """What a provider sends in place of what it should is passed over."""
    assembly = Assembly()
    assembly.add(chunk(0, {"content": "a"}))
    assembly.add(strange)
    assembly.add(chunk(0, {"content": "b"}, "stop"))
    assert assembly.text.startswith("a")
    assert assembly.is_finished


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"id":"a","choices":[],"usage":null}', b'{"id":"a","choices":[]}'),
        (b'{"id": "a", "usage" : null, "choices": []}', b'{"id": "a", "choices": []}'),
        (b'{"usage":null,"id":"a"}', b'{"id":"a"}'),
        (b'{"id":",\\"usage\\":null","usage":null}', b'{"id":",\\"usage\\":null"}'),
        (b'{"id":"a","x":{"y":1,"usage":null},"usage":null}', b'{"id":"a","x":{"y":1,"usage":null}}'),
        (b'{"id":"usage","usage":null}', b'{"id":"usage"}'),
    ],
)
def test_a_null_usage_is_cut_out(content: bytes, expected: bytes) -> None:
    """The member alone goes, wherever it stands and whatever the text says; nested ones are not its own."""
    event = without_usage(StreamEvent(b"data: " + content + b"\n\n", orjson.loads(content)))
    assert event.raw == b"data: " + expected + b"\n\n"
    assert event.data == orjson.loads(expected)


def test_an_event_over_several_lines_loses_its_usage_too() -> None:
    """Whatever else stands in the event's bytes, the data is what was said without the member."""
    raw = b'event: x\ndata: {"usage":null,\ndata: "id": "a"}\n\n'
    assert without_usage(StreamEvent(raw, {"usage": None, "id": "a"})).data == {"id": "a"}
