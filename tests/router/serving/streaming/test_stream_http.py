"""Streaming over HTTP as its clients see it: the `openai` package unchanged, and raw sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import httpx
import openai
import orjson
import pytest

from router import ProviderError, Request, Router
from router.journal.journal import AppendLog
from router.server.sse import EventStream
from tests.factories import write_catalog
from tests.recording import Recorder, only_request
from tests.router.serving.streaming.conftest import MESSAGES, PRICED, STREAMS, TOOLS
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.providers.fake import FakeProvider
    from router.records import Record


@pytest.fixture
def router(tmp_path: Path, fake_url: str) -> Router:
    """A router over every model of the provider; its records are in `records`."""
    write_catalog(tmp_path, [{"id": model, **PRICED} for model in STREAMS], base_url=fake_url)
    (tmp_path / "limits.yaml").write_text("limits: [{scope: user, subject: hurried, requests: 1, per: hour}]")
    return Router.open(home=tmp_path, seed=1, request_timeout_s=5, max_retries=0, task_sample_share=0)


@pytest.fixture
def records(router: Router) -> list[Record]:
    """What was recorded."""
    recorder = Recorder()
    router.observe(recorder)
    return recorder.records


@pytest.fixture
def url(router: Router) -> Iterator[str]:
    """A running shim."""
    with serving(router) as url:
        yield f"{url}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """The openai package, unchanged but for its base URL."""
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        yield client


def test_the_openai_package_streams(client: openai.OpenAI, records: list[Record]) -> None:
    """Pieces, finish reason and no usage, since none was asked for; the record has it all the same."""
    with client.chat.completions.create(model="plain", messages=MESSAGES, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "it is four"
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].usage) == ("stop", None)
    assert only_request(records).tokens_output == 100


def test_the_openai_package_gets_usage_and_cost(client: openai.OpenAI) -> None:
    """The usage chunk it asks for has our `cost_usd` among its members."""
    chunks = list(
        client.chat.completions.create(
            model="plain", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.model_extra) == (1000, {"cost_usd": 0.002})


def test_the_async_openai_package_streams(url: str, records: list[Record]) -> None:
    """Several streams at once, each with its record."""

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as client:

            async def one() -> str:
                stream = await client.chat.completions.create(model="plain", messages=MESSAGES, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(one() for _ in range(20)))

    assert asyncio.run(run()) == ["it is four"] * 20
    assert len({record.id for record in map(only_request, ([record] for record in records))}) == 20


def test_the_openai_package_assembles_tool_calls(client: openai.OpenAI) -> None:
    """Its streaming helper gets the pieces of each call in order."""
    tools: Any = [
        {"type": "function", "function": {"name": name, "parameters": {}}} for name in ("add", "now")
    ]
    with client.chat.completions.stream(model="tools", messages=MESSAGES, tools=tools) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls or ()]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [
        (call["id"], call["function"]["arguments"]) for call in TOOLS
    ]


def test_the_headers_come_with_the_first_piece(client: openai.OpenAI, records: list[Record]) -> None:
    """What is known at the start: id, the model that answers, policy, attempts; and the limits left."""
    raw = client.chat.completions.with_raw_response.create(
        model="auto",
        messages=MESSAGES,
        stream=True,
        user="hurried",
        extra_body={"provider": {"order": ["down", "early-cut", "plain"]}},
    )
    list(raw.parse())
    headers, record = raw.headers, only_request(records)
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (headers["x-request-id"], headers["x-intellirouter-model"]) == (record.id, "plain")
    assert (headers["x-intellirouter-policy"], headers["x-intellirouter-attempts"]) == ("balanced", "3")
    assert float(headers["x-intellirouter-overhead-ms"]) >= 0
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert "x-intellirouter-cost-usd" not in headers


def test_the_events_are_the_providers_and_then_done(url: str) -> None:
    """Byte for byte what the provider sends, less the usage nobody asked for."""
    body = {"model": "plain", "messages": MESSAGES, "stream": True}
    events = httpx.post(f"{url}/chat/completions", json=body).text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert events[0] == (
        'data: {"id":"chatcmpl-fake","object":"chat.completion.chunk","created":0,"model":"plain",'
        '"choices":[{"index":0,"delta":{"role":"assistant","content":"it"},"finish_reason":null}]}'
    )
    assert len(events) == 6


@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": False}}])
def test_a_client_sees_what_it_would_see_of_the_provider(
    url: str, fake_url: str, records: list[Record], asked: dict[str, Any]
) -> None:
    """Chunks say `"usage": null` only to clients who ask for usage: the bytes are those of a direct call."""
    body = {"model": "announced", "messages": MESSAGES, "stream": True, **asked}
    direct = httpx.post(f"{fake_url}/chat/completions", json=body).content
    assert b"usage" not in direct
    assert httpx.post(f"{url}/chat/completions", json=body).content == direct
    assert only_request(records).tokens_input == 1000


def test_who_asks_for_usage_is_told_that_it_comes(url: str, fake_url: str) -> None:
    """Every chunk but the last says null, as the provider's own do."""
    asked = {"stream_options": {"include_usage": True}}
    body = {"model": "announced", "messages": MESSAGES, "stream": True, **asked}
    direct, passed = (
        httpx.post(f"{base}/chat/completions", json=body).text.split("\n\n") for base in (fake_url, url)
    )
    assert passed[:-3] == direct[:-3]
    assert all(event.endswith('"usage":null}') for event in passed[:-3])
    assert "prompt_tokens" in passed[-3]


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("down", openai.InternalServerError, "overloaded"),
        ("busy", openai.RateLimitError, "scripted_error"),
        ("early-cut", openai.InternalServerError, "connection"),
        ("empty", openai.InternalServerError, "bad_response"),
        ("nobody", openai.NotFoundError, "model_not_found"),
    ],
)
def test_before_the_first_content_errors_are_ordinary(
    client: openai.OpenAI, model: str, error: type[openai.APIStatusError], code: str
) -> None:
    """A status and OpenAI's error body, as without streaming."""
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    assert caught.value.code == code
    assert caught.value.response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("model", ["late-cut", "late-truncated", "late-error"])
def test_after_the_first_content_the_error_is_an_event(client: openai.OpenAI, url: str, model: str) -> None:
    """The pieces, the error and no `[DONE]`; the openai package raises what it raises for such an event."""
    body = {"model": model, "messages": MESSAGES, "stream": True}
    *pieces, last, end = httpx.post(f"{url}/chat/completions", json=body).text.split("\n\n")
    assert (len(pieces), end) == (2, "")
    error = orjson.loads(last.removeprefix("data: "))["error"]
    assert error["code"] == ("server_error" if model == "late-error" else "stream_cut")
    with pytest.raises(openai.APIError, match=error["message"][:30]):
        list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))


def test_an_answer_without_a_record_is_not_done(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `refuse` an error stands where `[DONE]` would."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AppendLog, "append", refuse)
    body = {"model": "plain", "messages": MESSAGES, "stream": True}
    text = httpx.post(f"{url}/chat/completions", json=body).text
    assert "[DONE]" not in text
    assert (
        orjson.loads(text.split("\n\n")[-2].removeprefix("data: "))["error"]["code"] == "record_not_written"
    )


@pytest.mark.parametrize("model", ["long", "stuck"])
def test_a_client_that_leaves_ends_the_call(
    url: str, records: list[Record], provider: FakeProvider, model: str
) -> None:
    """Before and after the first content the provider's call is closed and recorded as cancelled."""
    before = provider.seen()["abandoned"]
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    content = orjson.dumps({"model": model, "messages": MESSAGES, "stream": True})
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
            % (len(content), content)
        )
        if model == "long":
            seen = b""
            while b"word3" not in seen:
                seen += connection.recv(4096)
        else:
            threading.Event().wait(0.3)
    for _ in range(100):
        if records and provider.seen()["abandoned"] == before + 1:
            break
        threading.Event().wait(0.05)
    record = only_request(records)
    assert (record.error_type, record.success, record.tokens_output) == ("cancelled", False, None)
    assert provider.seen()["abandoned"] == before + 1
    assert record.latency_ms < 5_000


def test_the_shim_serves_on_after_clients_left(client: openai.OpenAI, records: list[Record]) -> None:
    """The openai package's own way of leaving; the next request is served."""
    stream = client.chat.completions.create(model="long", messages=MESSAGES, stream=True)
    next(iter(stream))
    stream.close()
    assert client.chat.completions.create(model="plain", messages=MESSAGES).choices
    for _ in range(100):
        if len(records) == 2:
            break
        threading.Event().wait(0.05)
    assert {record.error_type for record in map(only_request, ([record] for record in records))} == {
        None,
        "cancelled",
    }


def test_a_client_that_does_not_read_is_left(open_router: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that takes nothing holds the provider's call no longer than the deadline and a grace."""
    monkeypatch.setattr("router.server.sse.SLOW_CLIENT_S", 0.1)
    router, records = open_router("plain", request_timeout_s=0.5)

    async def never(*_: object) -> Any:
        await asyncio.sleep(30)
        raise AssertionError("the shim waited")

    async def run() -> None:
        await EventStream(router, Request(messages=MESSAGES))({"type": "http"}, never, never)
        await router.aclose_connections()

    asyncio.run(run())
    assert only_request(records).error_type == "cancelled"


@pytest.mark.parametrize("model", ["plain", "late-cut"])
def test_the_record_from_http_is_the_record_from_the_callable(
    url: str, router: Router, records: list[Record], model: str
) -> None:
    """Field by field, but for identity, time and chance."""
    body = {"model": model, "messages": MESSAGES, "stream": True, "user": "u1", "temperature": 0.5}
    httpx.post(f"{url}/chat/completions", json=body, headers={"x-intellirouter-task": "math"})
    parameters = {"user": "u1", "temperature": 0.5}
    request = Request(
        messages=MESSAGES, model=model, user_id="u1", task_type="math", parameters=parameters,
    )  # fmt: skip
    with router.stream_sync(request) as stream, suppress(ProviderError):
        list(stream)
    over_http, called = (asdict(record) for record in records)
    for record in (over_http, called):
        for name in ("id", "timestamp", "draw", "latency_ms", "overhead_ms", "ttft_ms"):
            del record[name]
        for attempt in record["attempts"]:
            del attempt["latency_ms"]
    assert called == over_http
