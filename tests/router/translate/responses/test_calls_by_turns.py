"""Calls whose pieces come by turns are written one after the other, because clients read them so."""

from __future__ import annotations

from typing import Any

import pytest

from router.translate.responses.streams import ChunksToEvents


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    """A chunk with a piece of a call."""
    piece = {"index": index, **more, "function": {"arguments": arguments, **more.pop("function", {})}}
    return {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}]}


def events_of(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream, from the first item on."""
    made = ChunksToEvents({}, response_id="resp_1", created=1)
    events = [event for chunk in chunks for event in made.feed(chunk)]
    return [*events, *made.finish()]


ROME, OSLO = ({"id": name, "function": {"name": "get_weather"}} for name in ("a", "b"))
BY_TURNS = (
    call(0, "", **ROME),
    call(1, "", **OSLO),
    call(0, '{"city":'),
    call(1, '{"city":'),
    call(0, '"Rome"}'),
    call(1, '"Oslo"}'),
)


IN_ONE_CHUNK = (
    {
        "id": "c",
        "choices": [{"index": 0, "delta": {"tool_calls": [
            piece["choices"][0]["delta"]["tool_calls"][0] for piece in BY_TURNS
        ]}}],
    },
)  # fmt: skip


@pytest.mark.parametrize("chunks", [BY_TURNS, IN_ONE_CHUNK], ids=["chunk by chunk", "in one chunk"])
def test_the_pieces_of_a_call_follow_one_another(chunks: tuple[dict[str, Any], ...]) -> None:
    """The second item begins when the arguments of the first are whole."""
    kinds = ("response.output_item.added", "response.function_call_arguments.delta")
    events = [event for event in events_of(*chunks) if event["type"] in kinds]
    places = [event["output_index"] for event in events]
    assert places == sorted(places)
    texts = {
        place: "".join(e["delta"] for e in events if e["output_index"] == place and "delta" in e)
        for place in (0, 1)
    }
    assert texts == {0: '{"city":"Rome"}', 1: '{"city":"Oslo"}'}


def test_a_call_that_waits_for_one_without_arguments_comes_at_the_end() -> None:
    """No piece says that a call without arguments is over."""
    response = events_of(call(0, "", **ROME), call(1, "{}", **OSLO))[-1]["response"]
    assert [(item["call_id"], item["arguments"]) for item in response["output"]] == [("a", "{}"), ("b", "{}")]
