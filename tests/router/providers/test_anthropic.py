"""The provider of Anthropic's messages API, against a scripted server over real HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from router.catalog.catalog import Model
from router.catalog.prices import Usage
from router.errors import InexpressibleError, ProviderError
from router.providers.anthropic import AnthropicProvider
from router.providers.http.sse import MAX_EVENT_BYTES
from router.providers.key_ring import ProviderKeyRing
from router.translate.usage import usage_from_openai
from tests.router.providers.anthropic_server import CALLS, KEY, THOUGHT, AnthropicServer, anthropic_server
from tests.router.providers.scripted import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.catalog.entries import Thinking
    from router.providers.base import Answer
    from tests.router.providers.scripted import Exchange

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "2 + 2?"}]}


@pytest.fixture
def server() -> Iterator[AnthropicServer]:
    """A scripted server of this test alone."""
    with anthropic_server() as server:
        yield server


def ask(
    server: AnthropicServer,
    model: str,
    *,
    key: str | None = KEY,
    thinking: Thinking | None = None,
    **body: Any,
) -> Answer:
    """One completion."""
    provider = AnthropicProvider(
        "anthropic",
        base_url=server.base_url,
        keys=ProviderKeyRing([key] if key else []),
        max_connections=4,
        max_response_bytes=100_000,
    )

    async def complete() -> Answer:
        try:
            named = Model(
                id="m",
                provider="anthropic",
                provider_model=model,
                max_output_tokens=9000,
                thinking=thinking,
            )
            return await provider.complete(named, {**ASKED, **body})
        finally:
            await provider.aclose()

    return asyncio.run(complete())


@pytest.mark.smoke
def test_the_answer_has_openais_shape(server: AnthropicServer) -> None:
    """Text, finish reason, ids and usage stand where an OpenAI client looks for them, in the bytes too."""
    answer = ask(server, "claude-text")
    assert answer.body["choices"][0]["message"]["content"] == "It is 4."
    assert (answer.body["id"], answer.body["model"]) == ("msg_1", "claude-text")
    assert (answer.finish_reason, answer.body["choices"][0]["finish_reason"]) == ("stop", "stop")
    assert answer.body["usage"] == {
        "prompt_tokens": 950,
        "completion_tokens": 100,
        "total_tokens": 1050,
        "prompt_tokens_details": {
            "cached_tokens": 800,
            "cache_write_tokens": 50,
            "cache_write_1h_tokens": 30,
        },
        "service_tier": "standard",
    }
    assert usage_from_openai(answer.body) == answer.usage
    assert orjson.loads(answer.raw) == answer.body


@pytest.mark.smoke
def test_usage_is_read_from_anthropics_own(server: AnthropicServer) -> None:
    """Cache reads and writes are part of the input; writes for an hour, which cost more, stay apart."""
    assert ask(server, "claude-text").usage == Usage(
        tokens_input=950,
        tokens_output=100,
        tokens_cached_input=800,
        tokens_cache_write=50,
        tokens_cache_write_1h=30,
    )


def test_the_request_is_anthropics(server: AnthropicServer) -> None:
    """Key and version travel in its headers; the bound that it asks for is the model's own."""
    ask(server, "claude-text", temperature=0.5)
    assert server.bodies == [
        {
            "model": "claude-text",
            "max_tokens": 9000,
            "temperature": 0.5,
            "messages": [{"role": "user", "content": "2 + 2?"}],
        }
    ]
    sent = server.headers[0]
    assert (sent["x-api-key"], sent["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in sent


def test_parallel_tool_calls(server: AnthropicServer) -> None:
    """Each call has its id, name and arguments as a JSON text."""
    said = ask(server, "claude-calls").body["choices"][0]
    calls = [
        (call["id"], orjson.loads(call["function"]["arguments"])) for call in said["message"]["tool_calls"]
    ]
    assert calls == [("toolu_1", {"city": "Rome"}), ("toolu_2", {"city": "Oslo"})]
    assert (said["message"]["content"], said["finish_reason"]) == ("I look.", "tool_calls")
    assert CALLS[0]["text"] == "I look."


def test_signed_thinking_comes_back_with_the_history(server: AnthropicServer) -> None:
    """An OpenAI client that appends the answer to its messages sends the signature without knowing it."""
    said = ask(server, "claude-thinks").body["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("It is 4.", "Two and two.")
    ask(server, "claude-text", messages=[*ASKED["messages"], said, {"role": "user", "content": "Sure?"}])
    assert server.bodies[1]["messages"][1] == {
        "role": "assistant",
        "content": [THOUGHT, {"type": "text", "text": "It is 4."}],
    }


def test_json_mode_is_a_tool(server: AnthropicServer) -> None:
    """What Anthropic lacks is asked as a forced tool, and its input is the answer."""
    answer = ask(server, "claude-json", response_format={"type": "json_object"})
    assert server.bodies[0]["tool_choice"] == {"type": "tool", "name": "respond_with_json"}
    choice = answer.body["choices"][0]
    assert (orjson.loads(choice["message"]["content"]), choice["finish_reason"]) == ({"sum": 4}, "stop")
    assert "tool_calls" not in choice["message"]


def test_an_effort_is_said_as_the_model_takes_it(server: AnthropicServer) -> None:
    """By the version in its name, or by the catalog's word where the name does not tell."""
    models: list[tuple[str, Thinking | None]] = [
        ("claude-text", None), ("claude-text", "budget"), ("claude-3-7-text", None),
    ]  # fmt: skip
    for name, thinking in models:
        ask(server, name, thinking=thinking, reasoning_effort="low")
    adaptive, budget, named = server.bodies
    assert (adaptive["thinking"], adaptive["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})
    for body in (budget, named):
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 4096}
        assert "output_config" not in body


def test_betas_travel_in_their_header(server: AnthropicServer) -> None:
    """And not in the body."""
    ask(server, "claude-text", anthropic={"betas": ["a-2025-01-01", "b-2025-02-02"]})
    assert server.headers[0]["anthropic-beta"] == "a-2025-01-01,b-2025-02-02"
    assert "betas" not in server.bodies[0]


@pytest.mark.parametrize(
    ("model", "error_type", "status", "is_retryable", "retry_after_s"),
    [
        ("claude-overloaded", "overloaded", 529, True, None),
        ("claude-busy", "rate_limited", 429, True, 7.0),
        ("claude-refuses", "bad_request", 400, False, None),
        ("claude-locked", "authentication", 401, True, None),
        ("claude-forbidden", "authentication", 403, True, None),
        ("claude-unknown", "model_gone", 404, False, None),
        ("claude-large", "bad_request", 413, False, None),
        ("claude-broken", "server_error", 500, True, None),
    ],
)
def test_errors_are_told_apart(
    server: AnthropicServer,
    model: str,
    error_type: str,
    status: int,
    is_retryable: bool,
    retry_after_s: float,
) -> None:
    """Status, kind, Anthropic's own code and the time to wait are kept; the key is not."""
    with pytest.raises(ProviderError) as caught:
        ask(server, model)
    error = caught.value
    assert (error.error_type, error.status_code, error.is_retryable) == (error_type, status, is_retryable)
    assert error.retry_after_s == retry_after_s
    assert error.provider_code is not None
    assert error.provider_code.endswith("_error") or error.provider_code == "request_too_large"
    assert KEY not in str(error)
    assert "[key]" in str(error)


@pytest.mark.parametrize("model", ["claude-garbled", "claude-list", "claude-hollow"])
def test_a_body_that_is_no_message(server: AnthropicServer, model: str) -> None:
    """It is a failure that another model may make good."""
    with pytest.raises(ProviderError) as caught:
        ask(server, model)
    assert (caught.value.error_type, caught.value.is_retryable) == ("bad_response", True)


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"seed": 7}, "seed"),
        ({"anthropic": {"betas": ["bad\r\nx: y"]}}, "betas"),
        (
            {"messages": [{"role": "user", "content": "x", "member_of_tomorrow": 1}]},
            "messages.0.member_of_tomorrow",
        ),
    ],
)
def test_what_anthropic_cannot_be_asked(server: AnthropicServer, body: dict[str, Any], member: str) -> None:
    """The member is named, nothing is sent, and another model may be tried."""
    with pytest.raises(InexpressibleError, match=f"`{member}`|anthropic-beta") as caught:
        ask(server, "claude-text", **body)
    error = caught.value
    assert (error.param, error.error_type, error.is_retryable) == (member, "bad_request", True)
    assert (error.may_be_billed, server.bodies) == (False, [])


def test_an_event_without_end_is_named() -> None:
    """An event over the bound ends the stream with an error that gives the bound, as of other providers."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer("200 OK", b"data: " + b"x" * (MAX_EVENT_BYTES + 1))

    async def run(url: str) -> None:
        provider = AnthropicProvider(
            "anthropic",
            base_url=url,
            keys=ProviderKeyRing(),
            max_connections=1,
            max_response_bytes=3 * MAX_EVENT_BYTES,
        )
        model = Model(id="m", provider="anthropic", provider_model="claude-text")
        try:
            async for _ in provider.stream(model, ASKED):
                pass
        finally:
            await provider.aclose()

    with (
        ScriptedServer(behave) as scripted,
        pytest.raises(ProviderError, match=f"event of more than {MAX_EVENT_BYTES} bytes") as caught,
    ):
        asyncio.run(run(scripted.url))
    assert (caught.value.error_type, caught.value.is_retryable) == ("bad_response", True)
