"""An answer is whole or it is not, and client and record never differ about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.replaying import CHATS, DONE, USAGE, Reply, chunk, whole

if TYPE_CHECKING:
    from tests.replaying import Seen, World

PART = [chunk({"role": "assistant", "content": "par"}), chunk({"content": "tial"})]
END = [chunk({}, "stop"), {**chunk({}), "choices": [], "usage": USAGE}, DONE]

FAILURES: dict[str, list[Any]] = {
    "vLLM's error chunk": [{"object": "error", "message": "CUDA out of memory", "code": 500}, DONE],
    "a named error event": [b'event: error\ndata: {"message":"backend died","code":500}\n\n', DONE],
    "a named error event of text": [b"event: error\ndata: backend died\n\n", DONE],
    "a named event before its data": [b"event:error\nid: 7\ndata: {}\n\n", *END],
    "OpenRouter's error beside choices": [chunk({}, None, error={"code": 502, "message": "died"}), DONE],
    "an error that is a text": [{"error": "died"}, DONE],
    "FastAPI's detail": [{"detail": "died"}, DONE],
    "a status": [{"status": 503}, DONE],
    "MiniMax's base_resp": [{"base_resp": {"status_code": 1013, "status_msg": "died"}}, DONE],
    "a list of errors": [{"errors": [{"message": "died"}]}, DONE],
    "a choice that failed": [chunk({}, "error"), DONE],
    "a choice that failed in capitals": [chunk({}, "ERROR"), *END],
    "an aborted choice": [chunk({}, "abort"), *END],
    "DeepSeek without resources": [chunk({}, "insufficient_system_resource"), *END],
    "Zhipu's network": [chunk({}, "network_error"), *END],
    "an error within a choice": [
        {**chunk({}, "stop"), "choices": [{"index": 0, "delta": {}, "error": {"message": "died"}}]}, *END,
    ],
    "a bare error behind the events": [b'{\n  "error": {"message": "died"}\n}\n', DONE],
    "only DONE": [DONE],
    "nothing": [],
    "an empty finish reason": [chunk({}, ""), DONE],
    "the text null": [chunk({}, "null"), DONE],
    "one choice of two": [{**chunk({"content": "x"}), "choices": [
        {"index": 0, "delta": {}, "finish_reason": "stop"}, {"index": 1, "delta": {"content": "x"}}]}, DONE],
}  # fmt: skip
WHOLES: dict[str, list[Any]] = {
    "all of it": END,
    "without DONE": END[:-1],
    "with blanks behind DONE": [*END[:-1], b"data: [DONE] \n\n"],
    "a finish reason that was empty before": [chunk({"content": ""}, ""), *END],
    "an object that is no part of an answer": [{"sources": []}, *END],
    "an empty object": [{}, *END],
    "an event without data": [b"data:\n\n", *END],
    "a chunk without choices": [{"id": "c", "choices": [], "prompt_filter_results": []}, *END],
}


def agreed(seen: Seen) -> bool:
    """The verdict, on which the client and the record agree."""
    assert seen.record.success == seen.is_whole, seen.text
    assert (seen.record.error_type is None) == seen.record.success
    if not seen.record.success:
        assert "[DONE]" not in seen.text
        assert seen.record.cost_usd is None
        assert "error" in seen.text
    return seen.is_whole


@pytest.mark.smoke
@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize("name", FAILURES)
def test_a_stream_that_failed_or_was_cut_is_no_success(world: World, api: str, name: str) -> None:
    """For no client, and not in the record."""
    assert not agreed(world.served([*PART, *FAILURES[name]], api, stream=True))


MALFORMED: dict[str, list[Any]] = {
    "a delta that is a text": [{**chunk({}), "choices": [{"index": 0, "delta": "x"}]}, *END],
    "a choice that is a text": [{**chunk({}), "choices": ["x"]}, *END],
    "tool calls that are an object": [chunk({"tool_calls": {"index": 0}}), *END],
    "a tool call that is a text": [chunk({"tool_calls": ["x"]}), *END],
    "a function that is a list": [chunk({"tool_calls": [{"index": 0, "function": []}]}), *END],
}


@pytest.mark.parametrize("api", ["messages", "responses"])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_chunk_that_cannot_be_translated_is_the_providers_failure(
    world: World, api: str, name: str
) -> None:
    """It is no fault of the client's, and nobody cancelled the request."""
    seen = world.served([*PART, *MALFORMED[name]], api, stream=True)
    assert not seen.is_whole
    assert "invalid_request" not in seen.text
    assert (seen.record.success, seen.record.error_type) == (False, "bad_response")
    assert seen.record.attempts[-1].error_type == "bad_response"


@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize("name", WHOLES)
def test_a_stream_that_reached_its_end_is_whole(world: World, api: str, name: str) -> None:
    """However its server writes the rest."""
    seen = world.served([*PART, *WHOLES[name]], api, stream=True)
    assert agreed(seen)
    assert seen.record.finish_reason == "stop"


@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize(
    "body",
    [
        whole({"content": ""}, "error", error={"code": 502, "message": "Upstream died"}),
        {**whole({"content": "x"}), "error": {"message": "died"}},
        whole({"content": "x"}, "network_error"),
        {**whole({}), "choices": []},
        {**whole({}), "choices": [None]},
        {"error": "Model is overloaded"},
        {"object": "error", "message": "died"},
        {"detail": "died"},
        {"base_resp": {"status_code": 1004, "status_msg": "died"}, "choices": None},
        {},
    ],
)
def test_a_whole_answer_that_failed_is_no_success(world: World, api: str, body: dict[str, Any]) -> None:
    """Even under status 200."""
    seen = world.served(body, api)
    assert not agreed(seen)
    assert seen.status >= 400


ENDS = {"stop": ("end_turn", "completed"), "length": ("max_tokens", "incomplete"),
        "content_filter": ("refusal", "incomplete")}  # fmt: skip
OTHER_WORDS = {"MAX_TOKENS": "length", "model_length": "length", "max_output_tokens": "length",
               "LENGTH": "length", "SAFETY": "content_filter", "recitation": "content_filter",
               "content_filtered": "content_filter", "refusal": "content_filter", "STOP": "stop",
               "COMPLETE": "stop", "eos_token": "stop", "end_turn": "stop"}  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize("word", OTHER_WORDS)
def test_a_finish_reason_of_another_maker_is_in_the_readers_word(
    world: World, api: str, word: str, streamed: bool
) -> None:
    """A client that reads `MAX_TOKENS` as the end of an answer takes half of it for all."""
    said: Any = (
        [chunk({"content": "x"}), chunk({}, word), *END[1:]] if streamed else whole({"content": "x"}, word)
    )
    seen = world.served(said, api, stream=streamed)
    reason, expected = OTHER_WORDS[word], ENDS[OTHER_WORDS[word]]
    read = {"chat": f'"finish_reason":"{reason}"', "messages": f'"stop_reason":"{expected[0]}"',
            "responses": f'"status":"{expected[1]}"'}  # fmt: skip
    assert agreed(seen)
    assert read[api] in seen.text
    assert seen.record.finish_reason == reason


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("api", CHATS)
def test_a_call_that_a_bound_cut_is_said_to_be_cut(world: World, api: str, streamed: bool) -> None:
    """Whatever the maker calls the bound, the half of a call is not taken for a call."""
    cut = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1'}}
    streamed_cut = [chunk({"tool_calls": [{"index": 0, **cut}]}), chunk({}, "MAX_TOKENS"), *END[1:]]
    said: Any = streamed_cut if streamed else whole({"content": None, "tool_calls": [cut]}, "MAX_TOKENS")
    seen = world.served(said, api, stream=streamed)
    read = {"chat": '"finish_reason":"length"', "messages": '"stop_reason":"max_tokens"',
            "responses": '"status":"incomplete"'}  # fmt: skip
    assert agreed(seen)
    assert read[api] in seen.text


@pytest.mark.parametrize("api", CHATS)
def test_a_message_in_a_chunk_is_its_delta(world: World, api: str) -> None:
    """Servers that only seem to stream send the whole message in one event."""
    event = {
        **chunk({}),
        "choices": [{"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop"}],
    }
    seen = world.served([event, *END[1:]], api, stream=True)
    assert agreed(seen)
    assert "all of it" in seen.text


@pytest.mark.parametrize("api", CHATS)
def test_a_failure_may_be_billed(world: World, api: str) -> None:
    """The cost of a choice that failed is not known: nobody says that it was 0."""
    seen = world.served(whole({"content": ""}, "error"), api)
    assert (seen.record.success, seen.record.cost_usd, seen.record.error_type) == (
        False,
        None,
        "server_error",
    )


@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize("last", [True, False])
def test_anthropics_message_is_whole_with_its_stop_reason(world: World, api: str, last: bool) -> None:
    """`message_stop` may be missing. Without a stop reason the answer is cut."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": []}
    head = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_stop", "index": 0},
    ]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    stop = [{"type": "message_stop"}] * last
    assert agreed(world.served([*head, end, *stop], api, "claude", stream=True))
    cut = {**end, "delta": {"stop_reason": None}}
    assert not agreed(world.served([*head, cut, *stop], api, "claude", stream=True))
    dead = b'event: error\ndata: {"error": "died"}\n\n'
    assert not agreed(world.served([*head, dead], api, "claude", stream=True))
    assert not agreed(world.served([*head, {"error": {"message": "died"}}], api, "claude", stream=True))


@pytest.mark.parametrize("api", CHATS)
def test_a_response_is_whole_when_it_says_so(world: World, api: str) -> None:
    """A provider of the responses API ends with `response.completed`, and fails under status 200."""
    part = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "x"}]}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    response = {"id": "r", "object": "response", "status": "completed", "output": [part], "usage": usage}
    begun = {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "x"}
    events = [begun, delta, {"type": "response.completed", "response": response}]
    if api == "responses":
        assert agreed(world.served(events, api, "native", stream=True))
        assert not agreed(world.served(events[:-1], api, "native", stream=True))
        failed = {**response, "status": "failed", "error": {"code": "server_error", "message": "died"}}
        assert not agreed(world.served(failed, api, "native"))
        assert not agreed(world.served({"error": {"message": "died"}}, api, "native"))
        assert not agreed(world.served({"detail": "died"}, api, "native"))


@pytest.mark.parametrize("api", CHATS)
def test_one_body_where_a_stream_was_asked_for(world: World, api: str) -> None:
    """A whole answer is passed on as a stream, an error with its sentence."""
    seen = world.served(whole({"content": "Hello"}), api, stream=True)
    assert agreed(seen)
    assert "Hello" in seen.text
    assert (seen.record.tokens_output, seen.record.cost_usd is None) == (100, False)
    said = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    refused = world.served(said, api, stream=True)
    assert not agreed(refused)
    assert (refused.status, "exceeded your current quota" in refused.text) == (429, True)


VECTOR = {"object": "embedding", "index": 0, "embedding": [0.1]}


@pytest.mark.parametrize(
    "data",
    [
        [VECTOR],
        [VECTOR] * 3,
        [VECTOR, VECTOR],
        [VECTOR, {**VECTOR, "index": 5}],
        [VECTOR, {**VECTOR, "index": 1, "embedding": [0.1, 0.2]}],
        [VECTOR, {**VECTOR, "index": 1, "embedding": None}],
        [],
        None,
    ],
)
def test_vectors_belong_to_the_inputs(world: World, data: Any) -> None:
    """One for each of the two inputs. A client would store any other beside the wrong text."""
    seen = world.served({"object": "list", "data": data, "usage": USAGE}, "embeddings", "vectors")
    assert not agreed(seen)
    assert seen.record.error_type == "bad_response"


@pytest.mark.parametrize("given", ["a", ["a"], [1, 2], [[1, 2]]])
def test_one_input_has_one_vector(world: World, given: Any) -> None:
    """A text, a list of one, the tokens of one text, and a list of such tokens."""
    body = {"object": "list", "data": [VECTOR], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    assert agreed(world.served(body, "embeddings", "vectors", input=given))
    unnumbered = {**body, "data": [{"embedding": "AAAA"}]}
    assert agreed(world.served(unnumbered, "embeddings", "vectors", input=given))


def test_a_failure_in_a_stream_counts_against_its_model(world: World) -> None:
    """As a server's error does, so that the breaker leaves the model out."""
    seen = world.served([*PART, {"object": "error", "message": "CUDA out of memory"}, DONE], stream=True)
    assert seen.record.attempts[0].error_type == "server_error"
    assert "CUDA out of memory" in seen.text


def test_no_provider_is_needed_to_be_strict(world: World) -> None:
    """An error status with an odd body is an error all the same."""
    assert not agreed(world.served(Reply(b"<html>no</html>", status=502)))
