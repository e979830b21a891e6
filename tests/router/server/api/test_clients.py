"""The `openai` and `anthropic` packages in every way they call, and the record that each way leaves."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import openai
import pytest
import yaml

from router import Request, Router
from router.providers.fake import FakeProvider
from tests.recording import Recorder, only_request
from tests.router.providers.anthropic_server import KEY, anthropic_server
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from router.records import Record

PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
MESSAGES: list[Any] = [{"role": "user", "content": "How is the weather in Rome and in Oslo?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
OPENAI_TOOLS: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
ANTHROPIC_TOOLS: list[Any] = [{"name": "get_weather", "input_schema": SCHEMA}]
CALLS = [
    {"id": f"call_{city}", "type": "function",
     "function": {"name": "get_weather", "arguments": f'{{"city":"{city}"}}'}}
    for city in ("Rome", "Oslo")
]  # fmt: skip
COUNTED = {"tokens_input": 1000, "tokens_output": 100}
SCRIPT: dict[str, Any] = {
    "models": {
        "text": {"answer": "It is 4.", **COUNTED},
        "calls": {"answer": "I look.", "tools": CALLS, **COUNTED},
    }
}
HEADERS = {
    "x-intellirouter-task": "tool-use",
    "x-intellirouter-policy": "any",
    "x-intellirouter-tags": "team=search,tier=gold",
    "openai-organization": "acme",
    "x-session-id": "s1",
}
OF_CHANCE = ("id", "timestamp", "draw", "latency_ms", "overhead_ms", "ttft_ms")


class Said(NamedTuple):
    """What a client makes of an answer."""

    text: str
    cities: list[str]
    """Of its tool calls."""


class Side(NamedTuple):
    """A running shim and its router."""

    url: str
    router: Router
    records: list[Record]


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Two models behind OpenAI's API, two behind Anthropic's."""
    home: Path = tmp_path_factory.mktemp("home")
    with anthropic_server() as claude, FakeProvider(SCRIPT) as fake, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_KEY", KEY)
        providers = {
            "fake": {"kind": "openai", "base_url": fake},
            "anthropic": {"kind": "anthropic", "base_url": claude.base_url, "api_key_env": "ANTHROPIC_KEY"},
        }
        models = [
            *({"id": name, "provider": "fake", **PRICED} for name in ("text", "calls")),
            *({"id": f"claude-{name}", "provider": "anthropic", **PRICED} for name in ("text", "calls")),
        ]
        catalog = {"providers": providers, "models": models, "tasks": ["tool-use", "chat"]}
        (home / "catalog.yaml").write_text(yaml.safe_dump(catalog))
        (home / "policies.yaml").write_text("policies: [{id: any, version: 3}]")
        router = Router.open(home=home, seed=1, task_sample_share=0, baseline_model="text")
        recorder = Recorder()
        router.observe(recorder)
        with serving(router) as url:
            yield Side(url, router, recorder.records)


def openai_said(completion: Any) -> Said:
    """Of a chat completion."""
    message = completion.choices[0].message
    return _said(message.content, [call.function.arguments for call in message.tool_calls or ()])


def openai_pieces(chunks: list[Any]) -> Said:
    """Of a chat completion's chunks."""
    text = ""
    arguments: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    return _said(text, list(arguments.values()))


def anthropic_said(message: Any) -> Said:
    """Of a message."""
    texts = [block.text for block in message.content if block.type == "text"]
    return Said(
        "".join(texts), [block.input["city"] for block in message.content if block.type == "tool_use"]
    )


def anthropic_pieces(events: list[Any]) -> Said:
    """Of a message's events."""
    text = ""
    arguments: dict[int, str] = {}
    for event in events:
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            text += event.delta.text
        elif event.type == "content_block_delta":
            arguments[event.index] = arguments.get(event.index, "") + event.delta.partial_json
    return _said(text, list(arguments.values()))


def _said(text: str | None, arguments: list[str]) -> Said:
    return Said(text or "", [yaml.safe_load(item)["city"] for item in arguments])


def openai_sync(client: openai.OpenAI, **asked: Any) -> Said:
    return openai_said(client.chat.completions.create(**asked))


def openai_raw(client: openai.OpenAI, **asked: Any) -> Said:
    raw = client.chat.completions.with_raw_response.create(**asked)
    assert raw.headers["x-intellirouter-model"] == asked["model"]
    assert raw.headers["x-intellirouter-cost-usd"]
    return openai_said(raw.parse())


def openai_streaming_response(client: openai.OpenAI, **asked: Any) -> Said:
    with client.chat.completions.with_streaming_response.create(**asked) as response:
        return openai_said(response.parse())


def openai_stream(client: openai.OpenAI, **asked: Any) -> Said:
    return openai_pieces(list(client.chat.completions.create(stream=True, **asked)))


def openai_raw_stream(client: openai.OpenAI, **asked: Any) -> Said:
    raw = client.chat.completions.with_raw_response.create(stream=True, **asked)
    assert raw.headers["x-intellirouter-model"] == asked["model"]
    return openai_pieces(list(raw.parse()))


def openai_assembled(client: openai.OpenAI, **asked: Any) -> Said:
    with client.chat.completions.stream(**asked) as stream:
        return openai_said(stream.get_final_completion())


def anthropic_sync(client: anthropic.Anthropic, **asked: Any) -> Said:
    return anthropic_said(client.messages.create(**asked))


def anthropic_raw(client: anthropic.Anthropic, **asked: Any) -> Said:
    raw = client.messages.with_raw_response.create(**asked)
    assert raw.headers["x-intellirouter-model"] == asked["model"]
    assert raw.headers["request-id"]
    return anthropic_said(raw.parse())


def anthropic_streaming_response(client: anthropic.Anthropic, **asked: Any) -> Said:
    with client.messages.with_streaming_response.create(**asked) as response:
        return anthropic_said(response.parse())


def anthropic_stream(client: anthropic.Anthropic, **asked: Any) -> Said:
    return anthropic_pieces(list(client.messages.create(stream=True, **asked)))


def anthropic_raw_stream(client: anthropic.Anthropic, **asked: Any) -> Said:
    raw = client.messages.with_raw_response.create(stream=True, **asked)
    assert raw.headers["x-intellirouter-model"] == asked["model"]
    return anthropic_pieces(list(raw.parse()))


def anthropic_assembled(client: anthropic.Anthropic, **asked: Any) -> Said:
    with client.messages.stream(**asked) as stream:
        return anthropic_said(stream.get_final_message())


async def openai_async(client: openai.AsyncOpenAI, **asked: Any) -> Said:
    return openai_said(await client.chat.completions.create(**asked))


async def openai_async_raw(client: openai.AsyncOpenAI, **asked: Any) -> Said:
    raw = await client.chat.completions.with_raw_response.create(**asked)
    return openai_said(raw.parse())


async def openai_async_stream(client: openai.AsyncOpenAI, **asked: Any) -> Said:
    stream = await client.chat.completions.create(stream=True, **asked)
    return openai_pieces([chunk async for chunk in stream])


async def anthropic_async(client: anthropic.AsyncAnthropic, **asked: Any) -> Said:
    return anthropic_said(await client.messages.create(**asked))


async def anthropic_async_raw(client: anthropic.AsyncAnthropic, **asked: Any) -> Said:
    raw = await client.messages.with_raw_response.create(**asked)
    return anthropic_said(await raw.parse())


async def anthropic_async_assembled(client: anthropic.AsyncAnthropic, **asked: Any) -> Said:
    async with client.messages.stream(**asked) as stream:
        return anthropic_said(await stream.get_final_message())


OPENAI: list[Callable[..., Said]] = [
    openai_sync, openai_raw, openai_streaming_response, openai_stream, openai_raw_stream, openai_assembled,
]  # fmt: skip
ANTHROPIC: list[Callable[..., Said]] = [
    anthropic_sync, anthropic_raw, anthropic_streaming_response, anthropic_stream, anthropic_raw_stream,
    anthropic_assembled,
]  # fmt: skip
OPENAI_ASYNC: list[Callable[..., Awaitable[Said]]] = [openai_async, openai_async_raw, openai_async_stream]
ANTHROPIC_ASYNC: list[Callable[..., Awaitable[Said]]] = [
    anthropic_async, anthropic_async_raw, anthropic_async_assembled,
]  # fmt: skip
WAYS = [*OPENAI, *ANTHROPIC, *OPENAI_ASYNC, *ANTHROPIC_ASYNC]


def ask(side: Side, way: Callable[..., Any], model: str) -> Said:
    """The request over HTTP, by the package and in the way that the function's name says."""
    options: dict[str, Any] = {"api_key": "unused", "max_retries": 0}
    asked: dict[str, Any] = {"model": model, "messages": MESSAGES, "extra_headers": HEADERS}
    if way.__name__.startswith("openai"):
        asked |= {"user": "u1", "max_tokens": 50, "tools": OPENAI_TOOLS}
        options["base_url"] = f"{side.url}/v1"
        sync, asynchronous = openai.OpenAI, openai.AsyncOpenAI
    else:
        asked |= {"metadata": {"user_id": "u1"}, "max_tokens": 50, "tools": ANTHROPIC_TOOLS}
        options["base_url"] = side.url
        sync, asynchronous = anthropic.Anthropic, anthropic.AsyncAnthropic  # type: ignore[assignment]
    if way in (*OPENAI, *ANTHROPIC):
        with sync(**options) as client:
            return way(client, **asked)  # type: ignore[no-any-return]

    async def run() -> Said:
        async with asynchronous(**options) as client:
            return await way(client, **asked)  # type: ignore[no-any-return]

    return asyncio.run(run())


def call(side: Side, model: str, *, is_streaming: bool) -> None:
    """The same request to the callable."""
    request = Request(
        messages=MESSAGES,
        model=model,
        parameters={"user": "u1", "max_tokens": 50, "tools": OPENAI_TOOLS},
        task_type="tool-use",
        policy="any",
        organization_id="acme",
        user_id="u1",
        session_id="s1",
        tags={"team": "search", "tier": "gold"},
    )
    if is_streaming:
        with side.router.stream_sync(request) as stream:
            list(stream)
    else:
        side.router.complete_sync(request)


def comparable(records: list[Record]) -> dict[str, Any]:
    """The one record, without identity, time and chance; these are at least there."""
    record = only_request(records)
    assert (record.ttft_ms is not None) == record.is_streaming
    assert (record.overhead_ms or 0.0) > 0.0
    compared = {name: value for name, value in asdict(record).items() if name not in OF_CHANCE}
    for attempt in compared["attempts"]:
        assert attempt.pop("latency_ms") > 0.0
    return compared


@pytest.mark.parametrize("model", ["text", "calls", "claude-text", "claude-calls"])
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_a_client_is_answered_and_recorded_as_the_callable_is(
    side: Side, way: Callable[..., Any], model: str
) -> None:
    """Text and tool calls arrive whatever provider serves; the record equals the callable's, every field."""
    side.records.clear()
    said = ask(side, way, model)
    has_calls = model.endswith("calls")
    assert said == (("I look.", ["Rome", "Oslo"]) if has_calls else ("It is 4.", []))
    over_http = comparable(side.records)
    side.records.clear()
    call(side, model, is_streaming=over_http["is_streaming"])
    assert over_http == comparable(side.records)
    assert over_http["is_streaming"] == way.__name__.endswith(("_stream", "_assembled"))
    assert None not in (over_http["cost_usd"], over_http["baseline_cost_usd"], over_http["tokens_input"])
    assert over_http["finish_reason"] == ("tool_calls" if has_calls else "stop")
