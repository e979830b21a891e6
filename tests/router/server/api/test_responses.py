"""`/v1/responses` as its clients see it: the `openai` package unchanged, before servers of every kind."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

import httpx
import openai
import orjson
import pytest
from openai.types.responses import ResponseStreamEvent

from router import ProviderError, ResponsesRequest
from router.records import RequestRecord
from tests.recording import only_request
from tests.router.providers.anthropic_server import USAGE
from tests.router.server.api.conftest import KINDS, Shim

if TYPE_CHECKING:
    from openai.types.responses import Response

QUESTION = "2 + 2?"
WEATHER: list[Any] = [
    {
        "type": "function",
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": False,
    }
]
SEARCH: list[Any] = [{"type": "web_search"}]
CALLERS = ("native-calls", "chat-calls", "claude-calls")
EVENTS: dict[str, Any] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(ResponseStreamEvent)[0])
}
"""The types of events that the `openai` package knows."""
UNRECORDED = ("id", "timestamp", "draw", "latency_ms", "overhead_ms", "ttft_ms")


def preferring(*models: str) -> dict[str, Any]:
    """Only these models, in this order."""
    return {"extra_body": {"provider": {"order": list(models), "only": list(models)}}}


def calls_of(response: Response) -> list[tuple[str, str, dict[str, Any]]]:
    """The calls of functions in a response."""
    return [
        (item.call_id, item.name, orjson.loads(item.arguments))
        for item in response.output
        if item.type == "function_call"
    ]


def events_of(shim: Shim, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream as they stand in it; each names its type twice."""
    text = httpx.post(f"{shim.url}/responses", json={"input": QUESTION, "stream": True, **body}).text
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):  # a keep-alive
            continue
        first, second = block.split("\n")
        event = orjson.loads(second.removeprefix("data: "))
        assert first == f"event: {event['type']}"
        events.append(event)
    return events


@pytest.mark.parametrize("model", KINDS)
def test_every_kind_of_model_answers(shim: Shim, client: openai.OpenAI, model: str) -> None:
    """Text, status and usage stand where the client looks, whoever answers; the record has the same."""
    response = client.responses.create(model=model, input=QUESTION)
    text = "It is 4." if model == "claude-text" else "it is four"
    assert (response.output_text, response.status, response.object) == (text, "completed", "response")
    assert response.usage is not None
    record = only_request(shim.records)
    assert (record.tokens_input, record.tokens_output) == (
        response.usage.input_tokens,
        response.usage.output_tokens,
    )
    assert record.tokens_cached_input == response.usage.input_tokens_details.cached_tokens > 0
    assert (record.operation, record.finish_reason, record.success) == ("chat", "stop", True)
    assert record.cost_usd is not None


def test_the_usage_of_a_native_answer_is_normalised(shim: Shim, client: openai.OpenAI) -> None:
    """Cached and reasoning tokens are parts of input and output, as in chat completions."""
    client.responses.create(model="native-plain", input=QUESTION)
    client.responses.create(model="chat-plain", input=QUESTION)
    native, chat = shim.records
    assert isinstance(native, RequestRecord)
    assert isinstance(chat, RequestRecord)
    for name in ("input", "output", "cached_input", "reasoning"):
        assert getattr(native, f"tokens_{name}") == getattr(chat, f"tokens_{name}")
    assert native.tokens_reasoning == 30


def test_a_native_answer_is_untouched(shim: Shim) -> None:
    """Byte for byte what the server sent, and what it was sent is what the client sent, but for the model."""
    body = {
        "model": "gpt-somewhere",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
        "previous_response_id": "resp_1",
        "tools": SEARCH,
        "include": ["reasoning.encrypted_content"],
        "member_of_tomorrow": [1],
        "store": None,
    }
    answer = httpx.post(f"{shim.url}/responses", json=body)
    assert shim.last() == {**body, "model": "plain", "path": "/v1/responses"}
    direct = httpx.post(f"{shim.provider.base_url}/responses", json={**body, "model": "plain"})
    assert answer.content == direct.content


@pytest.mark.parametrize("model", ["chat-plain", "claude-text"])
def test_others_are_asked_in_their_own_words(shim: Shim, client: openai.OpenAI, model: str) -> None:
    """Instructions, history, images, schemas, bounds and effort come over."""
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "additionalProperties": False}
    client.responses.create(
        model=model,
        instructions="Be short.",
        input=[
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "content": "2"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": QUESTION},
                    {"type": "input_image", "image_url": "https://example.org/4.png", "detail": "auto"},
                ],
            },
        ],
        max_output_tokens=500,
        temperature=0.5,
        reasoning={"effort": "low"},
        text={"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}},
        user="u1",
    )
    if model == "chat-plain":
        assert shim.last() == {
            "path": "/v1/chat/completions",
            "model": "plain",
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": "1 + 1?"},
                {"role": "assistant", "content": "2"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": QUESTION},
                        {
                            "type": "image_url",
                            "image_url": {"url": "https://example.org/4.png", "detail": "auto"},
                        },
                    ],
                },
            ],
            "max_completion_tokens": 500,
            "temperature": 0.5,
            "reasoning_effort": "low",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            },
            "user": "u1",
        }
    else:
        (sent,) = shim.claude.bodies
        assert (sent["system"], sent["max_tokens"], sent["metadata"]) == ("Be short.", 500, {"user_id": "u1"})
        assert sent["output_config"]["effort"] == "low"
        assert sent["output_config"]["format"]["schema"]["properties"] == schema["properties"]
        assert sent["messages"][2]["content"][1]["type"] == "image"
    assert only_request(shim.records).user_id == "u1"


@pytest.mark.parametrize("model", CALLERS)
def test_a_round_of_parallel_tools(shim: Shim, client: openai.OpenAI, model: str) -> None:
    """Calls come as items; sent back with their results they are one turn, whoever is asked."""
    first = client.responses.create(model=model, input=QUESTION, tools=WEATHER)
    called = calls_of(first)
    assert [arguments for _, _, arguments in called] == [{"city": "Rome"}, {"city": "Oslo"}]
    history: list[Any] = [{"role": "user", "content": QUESTION}, *(item.to_dict() for item in first.output)]
    history += [{"type": "function_call_output", "call_id": name, "output": "mild"} for name, _, _ in called]
    second = client.responses.create(
        model="claude-text" if model == "claude-calls" else model, input=history, tools=WEATHER
    )
    assert second.status == "completed"
    if model == "native-calls":
        assert shim.last()["input"] == history
    elif model == "chat-calls":
        *_, said, one, two = shim.last()["messages"]
        assert (said["role"], said["content"]) == ("assistant", "it is four")
        assert [call["id"] for call in said["tool_calls"]] == ["call_1", "call_2"]
        assert [(item["role"], item["tool_call_id"]) for item in (one, two)] == [
            ("tool", "call_1"),
            ("tool", "call_2"),
        ]
    else:
        said, results = shim.claude.bodies[1]["messages"][1:]
        assert [block["type"] for block in said["content"]] == ["text", "tool_use", "tool_use"]
        assert [block["tool_use_id"] for block in results["content"]] == ["toolu_1", "toolu_2"]
    assert isinstance(shim.records[0], RequestRecord)
    assert (shim.records[0].task_type, shim.records[0].finish_reason) == ("tool-use", "tool_calls")


@pytest.mark.parametrize("model", [*KINDS, *CALLERS, "claude-thinks"])
def test_a_stream_is_the_response_piece_by_piece(shim: Shim, client: openai.OpenAI, model: str) -> None:
    """The `openai` package assembles from the stream what it gets whole; both records say the same."""
    asked: dict[str, Any] = {"model": model, "input": QUESTION, "tools": WEATHER}
    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        assembled = stream.get_final_response()
    forms = [
        [
            {name: value for name, value in item.to_dict().items() if name not in ("id", "parsed_arguments")}
            for item in response.output
        ]
        for response in (whole, assembled)
    ]
    assert str(forms[0]) == str(forms[1]).replace(", 'parsed': None", "")
    assert (assembled.status, assembled.output_text) == (whole.status, whole.output_text)
    assert assembled.usage is not None
    assert whole.usage is not None
    assert assembled.usage.output_tokens == whole.usage.output_tokens
    plain, streamed = shim.records
    assert isinstance(plain, RequestRecord)
    assert isinstance(streamed, RequestRecord)
    assert (streamed.is_streaming, streamed.ttft_ms is not None) == (True, True)
    for name in ("tokens_input", "tokens_output", "tokens_cached_input", "finish_reason", "cost_usd"):
        assert getattr(streamed, name) == getattr(plain, name) is not None


@pytest.mark.parametrize("model", [*KINDS, *CALLERS, "claude-thinks"])
def test_events_are_typed_numbered_and_closed(shim: Shim, model: str) -> None:
    """Each is one of the API's, in unbroken order; what is opened is closed; the last has usage and cost."""
    events = events_of(shim, model=model, tools=WEATHER)
    for event in events:
        EVENTS[event["type"]].model_validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert (kinds[:2], kinds[-1]) == (["response.created", "response.in_progress"], "response.completed")
    for what in ("output_item", "content_part"):
        assert kinds.count(f"response.{what}.added") == kinds.count(f"response.{what}.done") > 0
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    final = events[-1]["response"]
    assert sorted(done, key=lambda item: item["id"]) == sorted(final["output"], key=lambda item: item["id"])
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    record = only_request(shim.records)
    assert final["usage"]["cost_usd"] == float(record.cost_usd or 0) > 0


def test_native_events_are_untouched(shim: Shim) -> None:
    """Byte for byte what the server sent, but for the cost in the last event's usage."""
    asked: dict[str, Any] = {"input": QUESTION, "stream": True, "previous_response_id": "resp_1"}
    ours, theirs = (
        httpx.post(f"{url}/responses", json={**asked, "model": model}).text.split("\n\n")
        for url, model in ((shim.url, "native-plain"), (shim.provider.base_url, "plain"))
    )
    assert ours[:-2] == theirs[:-2]
    assert ours[-2].replace(',"cost_usd":0.002', "") == theirs[-2]


def test_the_async_client_gets_the_same(shim: Shim) -> None:
    """Several streams and answers at once, each with its record."""

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=shim.url, api_key="unused", max_retries=0) as client:

            async def one(model: str) -> str:
                stream = await client.responses.create(model=model, input=QUESTION, stream=True)
                pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
                whole = await client.responses.create(model=model, input=QUESTION)
                assert "".join(pieces) == whole.output_text
                return whole.output_text

            return await asyncio.gather(*(one(model) for model in KINDS * 3))

    assert set(asyncio.run(run())) == {"it is four", "It is 4."}
    assert len({record.id for record in shim.records if isinstance(record, RequestRecord)}) == 18


@pytest.mark.parametrize("stream", [False, True])
def test_the_headers_say_what_was_decided(own_shim: Shim, stream: bool) -> None:
    """The same as with chat completions; a stream's come before its cost is known."""
    shim, client = own_shim, openai.OpenAI(base_url=own_shim.url, api_key="unused", max_retries=0)
    raw = client.responses.with_raw_response.create(
        model="auto",
        input=QUESTION,
        stream=stream,
        user="hurried",
        **preferring("chat-down", "native-hollow" if not stream else "native-early-cut", "native-plain"),
    )
    if stream:
        list(raw.parse())
    headers, record = raw.headers, only_request(shim.records)
    assert (headers["x-request-id"], headers["x-intellirouter-model"]) == (record.id, "native-plain")
    assert (headers["x-intellirouter-policy"], headers["x-intellirouter-attempts"]) == ("balanced", "3")
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert ("x-intellirouter-cost-usd" in headers) is not stream
    assert [attempt.error_type for attempt in record.attempts][-1] is None
    with pytest.raises(openai.RateLimitError, match="user `hurried`"):
        client.responses.create(model="auto", input=QUESTION, user="hurried")
    client.close()


def test_ignored_hints_are_named(client: openai.OpenAI) -> None:
    """What another provider has no use for is left out of its request, and the client is told."""
    asked: dict[str, Any] = {"input": QUESTION, "reasoning": {"summary": "auto"}, "truncation": "auto"}
    raw = client.responses.with_raw_response.create(model="chat-plain", **asked)
    assert raw.headers["x-intellirouter-ignored"] == "reasoning.summary, truncation"
    assert (
        "x-intellirouter-ignored"
        not in client.responses.with_raw_response.create(model="native-plain", **asked).headers
    )


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"tools": SEARCH}, "`tools.0` (`web_search`)"),
        ({"previous_response_id": "resp_1"}, "`previous_response_id`"),
        ({"conversation": "conv_1"}, "`conversation`"),
        ({"background": True}, "`background`"),
        ({"include": ["message.output_text.logprobs"]}, "`include` (`message.output_text.logprobs`)"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "`input.0` (`item_reference`)"),
        ({"extra_body": {"member_of_tomorrow": 1}}, "`member_of_tomorrow`"),
    ],
)
def test_what_only_the_responses_api_has(
    shim: Shim, client: openai.OpenAI, members: dict[str, Any], what: str
) -> None:
    """Other models are excluded before anything is called, and the record says why; else the client hears."""
    ours = members.pop("extra_body", {})
    order = ["chat-plain", "claude-text", "native-plain"]
    preferences = {"order": order, "only": order}
    given = {"input": QUESTION, **members}
    client.responses.create(model="auto", extra_body={**ours, "provider": preferences}, **given)
    record = only_request(shim.records)
    assert (record.model_selected, len(record.attempts)) == ("native-plain", 1)
    reasons = {item.model: item.exclusion for item in record.candidates}
    assert reasons["chat-plain"] == reasons["claude-text"]
    assert (reasons["chat-plain"] or "").startswith(f"{what} needs OpenAI's responses API")
    with pytest.raises(openai.APIStatusError, match="needs OpenAI's responses API") as caught:
        client.responses.create(model="chat-plain", extra_body=ours, **given)
    assert caught.value.code == "no_eligible_model"


def test_what_one_provider_alone_knows(own_shim: Shim) -> None:
    """Where several could be asked for an earlier response, none is asked by chance; a session knows."""
    asked: dict[str, Any] = {"model": "auto", "input": QUESTION, "previous_response_id": "resp_1"}
    session: dict[str, Any] = {"extra_headers": {"x-session-id": "s1"}}
    with openai.OpenAI(base_url=own_shim.url, api_key="unused", max_retries=0) as client:
        order = {"provider": {"order": ["native-plain"]}}
        client.responses.create(**asked, extra_body=order)  # one provider speaks the API
        own_shim.add_model("{id: other, provider: chat, provider_model: plain, apis: [responses]}")
        with pytest.raises(openai.BadRequestError, match="known to only one provider") as caught:
            client.responses.create(**asked)
        assert caught.value.param == "previous_response_id"
        assert client.responses.create(**{**asked, "model": "other"}).status == "completed"
        client.responses.create(model="native-plain", input=QUESTION, **session)
        client.responses.create(**asked, **session)
    record = own_shim.records[-1]
    assert isinstance(record, RequestRecord)
    assert (record.model_selected, record.strategy) == ("native-plain", "sticky")


def test_a_model_of_the_responses_api_alone_answers_no_chat(own_shim: Shim) -> None:
    """`apis: [responses]` excludes it from chat completions, and the error says so."""
    own_shim.add_model("{id: pro, provider: native, provider_model: plain, apis: [responses]}")
    with openai.OpenAI(base_url=own_shim.url, api_key="unused", max_retries=0) as client:
        assert client.responses.create(model="pro", input=QUESTION).output_text == "it is four"
        with pytest.raises(openai.APIStatusError, match="served only by OpenAI's responses API"):
            client.chat.completions.create(model="pro", messages=[{"role": "user", "content": QUESTION}])


def test_tools_that_a_provider_runs_have_no_bound(own_shim: Shim) -> None:
    """Nobody knows what a web search may cost, so a hard budget does not admit it."""
    with openai.OpenAI(base_url=own_shim.url, api_key="unused", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError, match="budget `small`"):
            client.responses.create(model="native-plain", input=QUESTION, tools=SEARCH, user="poor")
        client.responses.create(
            model="native-plain", input=QUESTION, tools=WEATHER, max_output_tokens=100, user="poor"
        )


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("native-down", openai.InternalServerError, "overloaded"),
        ("chat-picky", openai.BadRequestError, "scripted_error"),
        ("native-early-cut", openai.InternalServerError, "connection"),
        ("native-early-error", openai.InternalServerError, "server_error"),
        ("native-early-ended", openai.InternalServerError, "bad_response"),
        ("claude-fails", openai.InternalServerError, "overloaded"),
        ("nobody", openai.NotFoundError, "model_not_found"),
    ],
)
def test_before_the_first_content_errors_are_ordinary(
    client: openai.OpenAI, model: str, error: type[openai.APIStatusError], code: str
) -> None:
    """A status and OpenAI's error body, as without streaming."""
    with pytest.raises(error) as caught:
        client.responses.create(model=model, input=QUESTION, stream=True)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "model",
    [
        *(
            f"{kind}-late-{fault}"
            for kind in ("native", "chat")
            for fault in ("cut", "ended", "error", "not-json", "truncated")
        ),
        "claude-cut",
    ],
)
def test_after_the_first_content_the_error_is_an_event(shim: Shim, client: openai.OpenAI, model: str) -> None:
    """The pieces, `error`, `response.failed` and nothing more; the package raises; the record tells it."""
    *pieces, error, failed = events_of(shim, model=model)
    EVENTS["error"].model_validate(error)
    EVENTS["response.failed"].model_validate(failed)
    assert any(event["type"] == "response.output_text.delta" for event in pieces)
    assert (error["type"], failed["type"]) == ("error", "response.failed")
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["id"] == pieces[0]["response"]["id"]
    assert failed["response"]["error"] == {"code": "server_error", "message": error["message"]}
    assert failed["sequence_number"] == error["sequence_number"] + 1 == len(pieces) + 1
    record = only_request(shim.records)
    assert (record.success, record.error_type) == (False, error["code"])
    assert (record.tokens_output, record.cost_usd, record.attempts[0].error_type) == (
        None,
        None,
        error["code"],
    )
    with pytest.raises(openai.APIError, match=error["message"][:30]):
        list(client.responses.create(model=model, input=QUESTION, stream=True))


@pytest.mark.parametrize("model", ["native-long", "chat-long"])
def test_a_client_that_leaves_ends_the_call(shim: Shim, client: openai.OpenAI, model: str) -> None:
    """The provider's call is closed, and the record says `cancelled`."""
    before = shim.provider.seen()["abandoned"]
    stream = client.responses.create(model=model, input=QUESTION, stream=True)
    for event in stream:
        if event.type == "response.output_text.delta":
            break
    stream.close()
    for _ in range(100):
        if shim.records and shim.provider.seen()["abandoned"] == before + 1:
            break
        threading.Event().wait(0.05)
    assert shim.provider.seen()["abandoned"] == before + 1
    record = only_request(shim.records)
    assert (record.error_type, record.success, record.tokens_output) == ("cancelled", False, None)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{bad", 400, "not valid JSON"),
        (b"{}", 400, "`input` is missing"),
        (b'{"input": []}', 400, "`input` is empty"),
        (b'{"input": 3}', 400, "`input` must be a list of objects"),
        (b'{"input": "x", "instructions": 3}', 400, "`instructions` must be a text"),
        (b'{"input": "x", "tools": {}}', 400, "`tools` must be a list of objects"),
        (b'{"input": [{"role": "robot", "content": "x"}]}', 400, "`input.0.role` is `robot`"),
        (b'{"input": [{"type": 3}]}', 400, "`input.0.type` must be a text"),
        (b'{"input": "x", "model": 3}', 400, "`model` must be a text"),
        (b'{"input": "x", "provider": {"nobody": 1}}', 400, "unknown member `nobody` of `provider`"),
        (b"x" * 100_001, 413, "MAX_BODY_BYTES"),
    ],
)
def test_a_malformed_body_is_refused(shim: Shim, content: bytes, status: int, message: str) -> None:
    """What is wrong is said in OpenAI's shape; nothing is recorded, and the shim goes on serving."""
    response = httpx.post(f"{shim.url}/responses", content=content)
    assert (response.status_code, set(response.json()["error"])) == (
        status,
        {"message", "type", "param", "code"},
    )
    assert message in response.json()["error"]["message"]
    assert shim.records == []
    assert httpx.post(f"{shim.url}/responses", json={"input": "x", "model": "chat-plain"}).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [*KINDS, "native-down", "native-late-cut", "chat-late-cut"])
def test_the_record_from_http_is_the_record_from_the_callable(shim: Shim, model: str, stream: bool) -> None:
    """Field by field, but for identity, time and chance; the audit trail too."""
    body = {"model": model, "input": QUESTION, "user": "u1", "temperature": 0.5, "stream": stream}
    httpx.post(f"{shim.url}/responses", json=body, headers={"x-intellirouter-task": "math"})
    request = ResponsesRequest.parse(body, task_type="math")
    with suppress(ProviderError):
        if stream:
            with shim.router.stream_sync(request) as events:
                list(events)
        else:
            shim.router.complete_sync(request)
    over_http, called = (asdict(record) for record in shim.records)
    for record in (over_http, called):
        for name in UNRECORDED:
            del record[name]
        for attempt in record["attempts"]:
            del attempt["latency_ms"]
    assert called == over_http
    assert shim.logs[0].request_data == shim.logs[1].request_data
    assert orjson.loads(shim.logs[0].request_data or "")["input"] == "[redacted: 6 characters]"


@pytest.mark.parametrize("model", KINDS)
def test_the_callable_gives_the_response_object(shim: Shim, client: openai.OpenAI, model: str) -> None:
    """`answer` is what HTTP answers, but for ids and the moment."""
    body = {"model": model, "input": QUESTION, "metadata": {} if model == "claude-text" else {"a": "b"}}
    request = ResponsesRequest.parse(body)
    response = shim.router.complete_sync(request)
    ours = request.answer(response.body)
    theirs = httpx.post(f"{shim.url}/responses", json=body).json()
    assert response.text == client.responses.create(**body).output_text  # type: ignore[call-overload]
    for answer in (ours, theirs):
        for item in (answer, *answer["output"]):
            del item["id"]
        del answer["created_at"]
    assert ours == theirs
    if model == "claude-text":
        assert ours["usage"]["input_tokens_details"]["cached_tokens"] == USAGE["cache_read_input_tokens"]
