"""`/v1/messages` as its clients see it: the `anthropic` package and raw HTTP, over real sockets."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import pytest
import uvicorn
import yaml

from router import Request, Router
from router.records import RequestRecord
from router.server.app import create_app
from tests.recording import Recorder, only_request
from tests.router.providers.anthropic_server import (
    COUNT_FAILURES,
    KEY,
    USAGE,
    AnthropicServer,
    anthropic_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.records import Record

PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
MESSAGES: list[Any] = [{"role": "user", "content": "2 + 2?"}]
TOOLS: list[Any] = [{"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}]
CACHED: list[Any] = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}]
CLAUDES = (
    "text", "thinks", "calls", "stops", "overloaded", "busy", "refuses", "locked", "broken", "cut", "fails",
)  # fmt: skip
ANY: dict[str, Any] = {"extra_headers": {"x-intellirouter-policy": "any"}}
UNRECORDED = ("id", "timestamp", "draw", "latency_ms", "overhead_ms", "attempts")


class Shim:
    """A running shim before a scripted Anthropic and a fake OpenAI server, and what it recorded."""

    def __init__(self, home: Path, fake_url: str, server: AnthropicServer) -> None:
        self.server = server
        self.records: list[Record] = []
        catalog = {
            "providers": {
                "fake": {"kind": "openai", "base_url": fake_url},
                "anthropic": {
                    "kind": "anthropic",
                    "base_url": server.base_url,
                    "api_key_env": "ANTHROPIC_KEY",
                },
            },
            "models": [
                {"id": "small", "provider": "fake", **PRICED},
                *({"id": f"claude-{name}", "provider": "anthropic", **PRICED} for name in CLAUDES),
                *({"id": name, "provider": "anthropic", **PRICED} for name in COUNT_FAILURES),
                {"id": "sonnet", "provider": "anthropic", "provider_model": "claude-text"},
            ],
            "tasks": ["math", "chat", "tool-use"],
            "aliases": {"claude-somewhere": "auto", "claude-elsewhere": "claude-text"},
        }
        (home / "catalog.yaml").write_text(yaml.safe_dump(catalog))
        (home / "policies.yaml").write_text(
            "policies: [{id: balanced, version: 2, allowed_models: [small]}, {id: any}]"
        )
        (home / "limits.yaml").write_text("limits: [{scope: user, subject: hurried, requests: 1, per: hour}]")
        self.router = Router.open(home=home, max_body_bytes=100_000, seed=1, task_sample_share=0)
        recorder = Recorder()
        self.router.observe(recorder)
        self.records = recorder.records
        config = uvicorn.Config(create_app(self.router), port=0, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            threading.Event().wait(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def post(self, path: str = "", **request: Any) -> httpx.Response:
        """A raw request."""
        return httpx.post(f"{self.url}/v1/messages{path}", **request)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def shim(tmp_path: Path, fake_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shim]:
    """A shim of this test alone."""
    monkeypatch.setenv("ANTHROPIC_KEY", KEY)
    with anthropic_server() as server:
        shim = Shim(tmp_path, fake_url, server)
        yield shim
        shim.close()


@pytest.fixture
def client(shim: Shim) -> Iterator[anthropic.Anthropic]:
    """The anthropic package, unchanged but for its base URL."""
    with anthropic.Anthropic(base_url=shim.url, api_key="unused", max_retries=0) as client:
        yield client


def ask(client: anthropic.Anthropic, model: str = "auto", **members: Any) -> anthropic.types.Message:
    """One message, under a policy that lets any model serve."""
    headers = {"x-intellirouter-policy": "any", **members.pop("extra_headers", {})}
    given = {"max_tokens": 50, "messages": MESSAGES, **members}
    message: anthropic.types.Message = client.messages.create(model=model, extra_headers=headers, **given)
    return message


def test_an_openai_model_answers_an_anthropic_client(client: anthropic.Anthropic) -> None:
    """`auto` is routed; text, stop reason and usage stand where the client looks for them."""
    message = client.messages.create(model="auto", max_tokens=50, messages=MESSAGES)
    (block,) = message.content
    assert block.type == "text"
    assert block.text == "from small"
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1000, 100)


def test_the_async_client_gets_the_same(shim: Shim) -> None:
    """The package's other half works unchanged too."""

    async def ask() -> anthropic.types.Message:
        async with anthropic.AsyncAnthropic(base_url=shim.url, api_key="unused") as client:
            return await client.messages.create(model="auto", max_tokens=50, messages=MESSAGES)

    message = asyncio.run(ask())
    assert message.content[0].type == "text"
    assert message.content[0].text == "from small"


def test_anthropics_own_answer_is_untouched(shim: Shim, client: anthropic.Anthropic) -> None:
    """Thinking, its signature, the stop sequence and every figure of the usage come as they were sent."""
    message: dict[str, Any] = ask(client, "claude-thinks").to_dict()
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert message["content"][0]["signature"] == "c2lnbmVk"
    assert message["usage"] == USAGE
    stopped = ask(client, "claude-stops")
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "END")


def test_anthropic_is_asked_what_the_client_asked(shim: Shim, client: anthropic.Anthropic) -> None:
    """Caching, thinking, server tools, betas and members of tomorrow reach Anthropic as they were sent."""
    asked = {
        "system": CACHED,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        "metadata": {"user_id": "u1"},
    }
    ask(
        client,
        "claude-text",
        max_tokens=2000,
        **asked,
        extra_body={"top_k": 5, "new_member": [1]},
        extra_headers={"anthropic-beta": "some-beta-2025-01-01"},
    )
    assert shim.server.bodies == [
        {
            "model": "claude-text",
            "max_tokens": 2000,
            "messages": MESSAGES,
            "top_k": 5,
            "new_member": [1],
            **asked,
        }
    ]
    assert shim.server.headers[0]["anthropic-beta"] == "some-beta-2025-01-01"
    assert shim.server.headers[0]["x-api-key"] == KEY


def test_a_round_of_parallel_tools(shim: Shim, client: anthropic.Anthropic) -> None:
    """Calls come as blocks; the results go back in one message, as Anthropic demands."""
    message = ask(client, "claude-calls", tools=TOOLS)
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.id, call.input) for call in calls] == [
        ("toolu_1", {"city": "Rome"}),
        ("toolu_2", {"city": "Oslo"}),
    ]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "mild"} for call in calls]
    history = [
        *MESSAGES,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": results},
    ]
    ask(client, "claude-text", tools=TOOLS, messages=history)
    sent = shim.server.bodies[1]["messages"]
    assert sent[1] == {"role": "assistant", "content": [block.to_dict() for block in message.content]}
    assert sent[2] == {"role": "user", "content": results}


@pytest.mark.parametrize(
    ("model", "served"),
    [("claude-somewhere", "small"), ("claude-elsewhere", "claude-text"), ("claude-text", "claude-text")],
)
def test_names_that_the_catalog_maps(client: anthropic.Anthropic, model: str, served: str) -> None:
    """An alias stands for `auto` or a model, so that clients with a fixed name need no change."""
    policy = "balanced" if served == "small" else "any"
    raw = client.messages.with_raw_response.create(
        model=model, max_tokens=50, messages=MESSAGES, extra_headers={"x-intellirouter-policy": policy}
    )
    assert raw.headers["x-intellirouter-model"] == served


def test_the_headers_say_what_was_decided(client: anthropic.Anthropic) -> None:
    """The same as with chat completions, and the id where Anthropic's clients look for it."""
    raw = client.messages.with_raw_response.create(model="auto", max_tokens=50, messages=MESSAGES)
    assert raw.headers["x-intellirouter-cost-usd"] == "0.002000000000"
    assert (raw.headers["x-intellirouter-policy"], raw.headers["x-intellirouter-attempts"]) == (
        "balanced",
        "1",
    )
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    assert "x-intellirouter-ignored" not in raw.headers


def test_ignored_hints_are_named(client: anthropic.Anthropic) -> None:
    """What another provider has no use for is left out of its request, and the client is told."""
    raw = client.messages.with_raw_response.create(
        model="small", max_tokens=50, messages=MESSAGES, system=CACHED,
        extra_headers={"anthropic-beta": "some-beta-2025-01-01"},
    )  # fmt: skip
    assert raw.headers["x-intellirouter-ignored"] == "betas, cache_control"


def test_what_only_anthropic_can_be_asked(shim: Shim, client: anthropic.Anthropic) -> None:
    """A model of another provider is not sent half of it: another is tried, or the member named."""
    search: list[Any] = [{"type": "web_search_20250305", "name": "web_search"}]
    with pytest.raises(anthropic.BadRequestError, match=r"`tools\.0` cannot be served by this provider"):
        ask(client, "small", tools=search)
    order = {"provider": {"order": ["small", "claude-text"], "only": ["small", "claude-text"]}}
    assert ask(client, tools=search, extra_body=order).model == "claude-text"
    record = shim.records[-1]
    assert isinstance(record, RequestRecord)
    assert (record.model_decided, record.model_selected) == ("small", "claude-text")
    assert [attempt.error_type for attempt in record.attempts] == ["bad_request", None]


@pytest.mark.parametrize(
    ("model", "error", "kind"),
    [
        ("claude-overloaded", anthropic.OverloadedError, "overloaded_error"),
        ("claude-busy", anthropic.RateLimitError, "rate_limit_error"),
        ("claude-refuses", anthropic.BadRequestError, "invalid_request_error"),
        ("claude-broken", anthropic.InternalServerError, "api_error"),
        ("claude-locked", anthropic.InternalServerError, "api_error"),
        ("claude-nobody", anthropic.NotFoundError, "not_found_error"),
    ],
)
def test_failures_have_anthropics_class(
    client: anthropic.Anthropic, model: str, error: type[anthropic.APIStatusError], kind: str
) -> None:
    """Clients see the exception they already handle; a failed call has the id of its record."""
    with pytest.raises(error) as caught:
        ask(client, model)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert KEY not in str(body)
    if model != "claude-nobody":
        assert caught.value.request_id == body["request_id"] == caught.value.response.headers["x-request-id"]


def test_a_used_up_limit_is_anthropics_rate_limit_error(client: anthropic.Anthropic) -> None:
    """429 with Retry-After; the user is Anthropic's `metadata.user_id`."""
    ask(client, "small", metadata={"user_id": "hurried"})
    with pytest.raises(anthropic.RateLimitError, match="user `hurried`") as caught:
        ask(client, "small", metadata={"user_id": "hurried"})
    assert int(caught.value.response.headers["retry-after"]) > 3000


@pytest.mark.parametrize(
    ("content", "status", "kind", "message"),
    [
        (b"{bad", 400, "invalid_request_error", "not valid JSON"),
        (b"[]", 400, "invalid_request_error", "must be a JSON object"),
        (b"{}", 400, "invalid_request_error", "`messages` must be a list"),
        (b'{"messages": []}', 400, "invalid_request_error", "`messages` must be a non-empty list"),
        (b"x" * 100_001, 413, "request_too_large", "MAX_BODY_BYTES"),
    ],
)
def test_a_malformed_body_is_refused_in_anthropics_shape(
    shim: Shim, content: bytes, status: int, kind: str, message: str
) -> None:
    """What is wrong is said in `error.message`; the shim goes on serving."""
    response = shim.post(content=content)
    error = response.json()["error"]
    assert (response.status_code, response.json()["type"], error["type"]) == (status, "error", kind)
    assert message in error["message"]
    assert shim.post(json={"messages": MESSAGES}).status_code == 200


def test_the_shape_follows_the_path(shim: Shim) -> None:
    """A wrong method here is Anthropic's error, and elsewhere OpenAI's, whatever the Host header says."""
    ours = httpx.get(f"{shim.url}/v1/messages", headers={"host": "x/v1/chat"})
    assert (ours.status_code, ours.json()["type"]) == (405, "error")
    other = httpx.get(f"{shim.url}/v1/messagesandmore", headers={"host": "x/v1/messages/"})
    assert (other.status_code, other.json()["error"]["code"]) == (404, "not_found")


def test_tokens_are_counted_by_anthropic_or_estimated(shim: Shim, client: anthropic.Anthropic) -> None:
    """Its own models are counted exactly; for others the answer says that it is an estimate."""
    count = client.messages.with_raw_response.count_tokens(
        model="claude-text", messages=MESSAGES, system=CACHED
    )
    assert (count.parse().input_tokens, "x-intellirouter-estimated" in count.headers) == (42, False)
    assert shim.server.bodies == [{"model": "claude-text", "messages": MESSAGES, "system": CACHED}]
    text: list[Any] = [{"role": "user", "content": "x" * 4000}]
    few = client.messages.with_raw_response.count_tokens(model="auto", messages=text)
    assert (few.parse().input_tokens, few.headers["x-intellirouter-estimated"]) == (1000, "true")
    more = client.messages.count_tokens(model="small", messages=text, tools=TOOLS)
    assert 1000 < more.input_tokens < 1100
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nobody", messages=MESSAGES)
    assert shim.records == []


@pytest.mark.parametrize("model", ["count-hangs-up", "count-breaks", "count-overloaded", "count-unknown"])
def test_a_count_that_fails_is_estimated(shim: Shim, client: anthropic.Anthropic, model: str) -> None:
    """A broken connection or a server error leaves the client with a number, and the header says which."""
    text: list[Any] = [{"role": "user", "content": "x" * 4000}]
    count = client.messages.with_raw_response.count_tokens(model=model, messages=text)
    assert (count.parse().input_tokens, count.headers["x-intellirouter-estimated"]) == (1000, "true")


def test_a_request_that_the_provider_refuses_has_no_count(client: anthropic.Anthropic) -> None:
    """The client must hear that the request itself is wrong."""
    with pytest.raises(anthropic.BadRequestError):
        client.messages.count_tokens(model="count-refused", messages=MESSAGES)


def test_the_record_from_messages_is_the_record_from_the_callable(
    shim: Shim, client: anthropic.Anthropic
) -> None:
    """Field by field, but for identity, time and chance, both ways in leave the same record."""
    for model in ("small", "claude-text"):
        shim.records.clear()
        client.messages.create(
            model=model,
            max_tokens=50,
            messages=MESSAGES,
            metadata={"user_id": "u1"},
            extra_headers={
                "x-intellirouter-policy": "any",
                "x-intellirouter-task": "math",
                "x-intellirouter-tags": "team=search",
                "x-session-id": "s1",
            },
        )
        over_http = only_request(shim.records)
        shim.records.clear()
        shim.router.complete_sync(
            Request(
                messages=MESSAGES,
                model=model,
                parameters={"max_completion_tokens": 50, "user": "u1"},
                policy="any",
                task_type="math",
                user_id="u1",
                session_id="s1",
                tags={"team": "search"},
            )
        )
        compared = [
            {name: value for name, value in asdict(record).items() if name not in UNRECORDED}
            for record in (over_http, only_request(shim.records))
        ]
        assert compared[0] == compared[1]
        assert compared[0]["operation"] == "chat"
        assert compared[0]["cost_usd"] is not None


@pytest.mark.parametrize("model", ["claude-text", "claude-thinks", "claude-calls", "claude-stops"])
def test_a_stream_is_the_message_piece_by_piece(shim: Shim, client: anthropic.Anthropic, model: str) -> None:
    """The `anthropic` package assembles from the stream what it gets whole; the record has the usage."""
    asked: dict[str, Any] = {"model": model, "messages": MESSAGES, "max_tokens": 50, "tools": TOOLS, **ANY}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        assembled = stream.get_final_message()
    assert [block.to_dict() for block in whole.content] == [
        {name: value for name, value in block.to_dict().items() if name != "parsed_output"}
        for block in assembled.content
    ]
    assert (assembled.stop_reason, assembled.stop_sequence) == (whole.stop_reason, whole.stop_sequence)
    assert assembled.usage.output_tokens == whole.usage.output_tokens == USAGE["output_tokens"]
    plain, streamed = shim.records
    assert isinstance(plain, RequestRecord)
    assert isinstance(streamed, RequestRecord)
    assert (streamed.is_streaming, streamed.ttft_ms is not None) == (True, True)
    for name in ("tokens_input", "tokens_output", "tokens_cached_input", "finish_reason", "cost_usd"):
        assert getattr(streamed, name) == getattr(plain, name) is not None


def test_another_providers_stream_has_anthropics_shape(shim: Shim, client: anthropic.Anthropic) -> None:
    """A model behind OpenAI's API streams to Anthropic's client."""
    with client.messages.stream(model="small", messages=MESSAGES, max_tokens=50) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == "from small"
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 1000, 100)


def test_anthropics_stream_has_openais_shape(shim: Shim) -> None:
    """A model behind Anthropic's API streams to OpenAI's client, the calls of tools too."""
    with openai.OpenAI(base_url=f"{shim.url}/v1", api_key="unused", max_retries=0) as client:
        asked: dict[str, Any] = {"messages": MESSAGES, "stream_options": {"include_usage": True}, **ANY}
        with client.chat.completions.stream(model="claude-calls", **asked) as stream:
            final = stream.get_final_completion()
    message = final.choices[0].message
    assert (message.content, final.choices[0].finish_reason) == ("I look.", "tool_calls")
    assert [(call.id, call.function.name) for call in message.tool_calls or ()] == [
        ("toolu_1", "get_weather"),
        ("toolu_2", "get_weather"),
    ]
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (950, 100)


@pytest.mark.parametrize(
    ("model", "error_type"), [("claude-cut", "stream_cut"), ("claude-fails", "overloaded")]
)
def test_a_cut_stream_ends_with_anthropics_error(
    shim: Shim, client: anthropic.Anthropic, model: str, error_type: str
) -> None:
    """After the first piece the client hears that the answer is not whole; so does the record."""
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model=model, messages=MESSAGES, max_tokens=50, **ANY) as stream,
    ):
        stream.get_final_message()
    record = only_request(shim.records)
    assert (record.success, record.error_type, record.tokens_output) == (False, error_type, None)


def test_a_stream_that_never_begins_is_an_ordinary_error(shim: Shim, client: anthropic.Anthropic) -> None:
    """Before the first piece a failure has its status and Anthropic's body."""
    with (
        pytest.raises(anthropic.BadRequestError),
        client.messages.stream(model="claude-refuses", messages=MESSAGES, max_tokens=50, **ANY) as stream,
    ):
        stream.get_final_message()
