"""The shim reads what the official clients read from the provider themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.providers.reading.texts import Halves, NotJsonError, clean, loads
from tests.replaying import CHATS, DONE, chunk, whole

if TYPE_CHECKING:
    from tests.replaying import World


def halves() -> list[bytes]:
    """The two halves of an emoji in two chunks, as line-written servers send them."""
    head, tail = (orjson.dumps(chunk({"content": mark})) for mark in ("HIGH", "LOW"))
    return [
        b"data: " + head.replace(b"HIGH", rb"a\ud83d") + b"\n\n",
        b"data: " + tail.replace(b"LOW", rb"\ude00b") + b"\n\n",
    ]


@pytest.mark.parametrize("api", CHATS)
def test_half_an_emoji_in_each_chunk(world: World, api: str) -> None:
    """Chat's own clients get the bytes as they came, the others whole characters."""
    seen = world.served([*halves(), chunk({}, "stop"), DONE], api, stream=True)
    assert seen.record.success
    if api == "chat":
        assert rb"a\ud83d".decode() in seen.text
    else:
        assert "a" in seen.text
        assert "\U0001f600b" in seen.text


@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize("number", [b"-Infinity", b"Infinity", b"NaN"])
def test_numbers_that_json_lacks_become_null(world: World, api: str, number: bytes) -> None:
    """Python's servers write them for a log probability. JavaScript's clients could not read them."""
    body = orjson.dumps({**whole({"content": "x"}), "logprob": "N"}).replace(b'"N"', number)
    seen = world.served(body, api)
    assert seen.record.success
    assert number.decode() not in seen.text
    event = b"data: " + orjson.dumps({**chunk({"content": "x"}), "l": "N"}).replace(b'"N"', number) + b"\n\n"
    assert world.served([event, chunk({}, "stop"), DONE], api, stream=True).record.success


@pytest.mark.smoke
@given(st.text(st.characters(categories=["L", "So"])), st.data())
def test_a_text_cut_anywhere_is_the_same_text(text: str, data: st.DataObject) -> None:
    """Even between the halves of a character."""
    units = text.encode("utf-16-le")
    place = 2 * data.draw(st.integers(0, len(units) // 2))
    pieces = [part.decode("utf-16-le", "surrogatepass") for part in (units[:place], units[place:])]
    reader = Halves()
    assert "".join(reader.joined({"a": [piece]})["a"][0] for piece in pieces) == text


def test_a_half_that_stays_alone_is_replaced() -> None:
    """No text of ours holds one, since it could not be written."""
    assert clean(loads(rb'{"a\ud83d": ["\ud83d", "\ude00", "\ud83d\ude00"]}').value) == {
        "a\ufffd": ["\ufffd", "\ufffd", "\U0001f600"]
    }


@pytest.mark.parametrize("raw", [b"", b"{", b"'a'", b"[" * 100_000, b"\xff", b'{"a": \xff}'])
def test_what_no_client_reads_is_not_json(raw: bytes) -> None:
    """And raises nothing but that."""
    with pytest.raises(NotJsonError):
        loads(raw)


UNUSUAL: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "content in parts": (
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
            {"content": [{"type": "text", "text": "it is four"}]},
        ],
        "stop",
        "it is four",
    ),
    "the one call of older servers": (
        [{"function_call": {"name": "get_weather", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
        "function_call",
        "get_weather",
    ),
}


@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_answer_is_not_lost_in_a_stream(world: World, api: str, name: str) -> None:
    """Its client would take an empty answer for a whole one."""
    deltas, reason, text = UNUSUAL[name]
    seen = world.served([*map(chunk, deltas), chunk({}, reason), DONE], api, stream=True)
    assert seen.record.success
    assert text in seen.text


@pytest.mark.parametrize(
    ("api", "said"), [("messages", '"stop_reason":"tool_use"'), ("responses", "function_call")]
)
def test_the_one_call_of_older_servers_is_a_call(world: World, api: str, said: str) -> None:
    """Clients of other APIs know only calls in a list."""
    call = {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    seen = world.served(whole({"content": None, "function_call": call}, "function_call"), api)
    assert said in seen.text
    assert "Rome" in seen.text
