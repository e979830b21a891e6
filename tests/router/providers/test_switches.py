"""Switches of catalog.yaml for servers that speak most of OpenAI's API."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from router import ConfigError, ProviderError, Request, Router
from router.catalog.catalog import Catalog
from tests.factories import write_catalog
from tests.recording import Recorder, only_request
from tests.router.providers.scripted import Exchange, ScriptedServer, completion
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.records import Record

MESSAGES = [{"role": "user", "content": "hi"}]
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\n'
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}


async def strict(exchange: Exchange) -> None:
    """A server that refuses members it does not know, as Mistral's does."""
    body = orjson.loads(exchange.body)
    for name in ("stream_options", "max_completion_tokens"):
        if name in body:
            await exchange.answer("400 Bad", b'{"error": {"message": "Extra inputs: %s"}}' % name.encode())
            return
    if body.get("stream"):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        await exchange.send(head + CHUNK + b"data: [DONE]\n\n")
        exchange.writer.close()
    else:
        await exchange.answer("200 OK", completion())


@contextmanager
def before(
    home: Path, model: dict[str, Any], **provider: Any
) -> Iterator[tuple[Router, list[Record], ScriptedServer]]:
    """A router whose one model stands at the strict server."""
    with ScriptedServer(strict) as server:
        write_catalog(home, [{"id": "m", **model}], base_url=server.url, **provider)
        with Router.open(home=home) as router:
            recorder = Recorder()
            router.observe(recorder)
            yield router, recorder.records, server


def bodies(server: ScriptedServer) -> list[dict[str, Any]]:
    """What the server was asked."""
    return [orjson.loads(exchange.body) for exchange in server.requests]


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ({"stream_usage": False}, {}),
        ({}, {"stream_usage": False}),
        ({"stream_usage": False}, {"stream_usage": True}),
    ],
)
def test_a_stream_without_usage_is_served_and_its_cost_unknown(
    tmp_path: Path, model: dict[str, Any], provider: dict[str, Any]
) -> None:
    """`stream_usage: false` asks for none: tokens and cost are NULL and not 0, the answer is a success."""
    with before(tmp_path, {**model, **PRICED}, **provider) as (router, records, server):
        with router.stream_sync(Request(messages=MESSAGES)) as stream:
            assert "".join(event.text for event in stream) == "hi"
        assert bodies(server) == [{"messages": MESSAGES, "stream": True, "model": "m"}]
    record = only_request(records)
    assert (record.success, record.usage_source) == (True, "unknown")
    assert (record.tokens_input, record.tokens_output, record.cost_usd) == (None, None, None)


def test_without_the_switch_the_refusal_is_told(tmp_path: Path) -> None:
    """The server's own words name the member; a model's `true` stands above its provider's `false`."""
    with before(tmp_path, {"stream_usage": True}, stream_usage=False) as (router, _, server):
        refused = pytest.raises(ProviderError, match="Extra inputs: stream_options")
        with refused, router.stream_sync(Request(messages=MESSAGES)):
            raise AssertionError("it streams")
        assert bodies(server)[0]["stream_options"] == {"include_usage": True}


def test_a_client_hears_that_its_stream_options_were_left_out(tmp_path: Path) -> None:
    """Nothing that a client sends is dropped silently: the header names it; who sent none hears nothing."""
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    asked = {**body, "stream_options": {"include_usage": True}}
    with before(tmp_path, {"stream_usage": False}) as (router, _, _), serving(router) as url:
        answers = [httpx.post(f"{url}/v1/chat/completions", json=item) for item in (asked, body)]
    assert [answer.headers.get("x-intellirouter-ignored") for answer in answers] == ["stream_options", None]
    assert [answer.content for answer in answers] == [CHUNK + b"data: [DONE]\n\n"] * 2


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 6}, {"max_tokens": 6}),
        ({"max_tokens": 6, "max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 6, "max_completion_tokens": None}, {"max_tokens": 6}),
        ({}, {}),
    ],
)
def test_the_bound_on_the_output_has_the_name_the_server_knows(
    tmp_path: Path, said: dict[str, Any], sent: dict[str, Any]
) -> None:
    """`max_tokens_as` renames it, streamed or whole; without it the member goes as it came."""
    with before(tmp_path, {}, max_tokens_as="max_tokens", stream_usage=False) as (router, records, server):
        router.complete_sync(Request(messages=MESSAGES, parameters=said))
        with router.stream_sync(Request(messages=MESSAGES, parameters=said)) as stream:
            list(stream)
        plain = {"messages": MESSAGES, "model": "m", **sent}
        assert bodies(server) == [plain, {**plain, "stream": True}]
    assert len(records) == 2


def test_a_models_name_for_the_bound_stands_above_its_providers(tmp_path: Path) -> None:
    """OpenAI's reasoning models know the newer name alone."""
    write_catalog(
        tmp_path,
        ["old", {"id": "new", "max_tokens_as": "max_completion_tokens"}],
        max_tokens_as="max_tokens",
    )
    models = Catalog.load(tmp_path / "catalog.yaml").models
    assert [models[name].max_tokens_as for name in ("old", "new")] == ["max_tokens", "max_completion_tokens"]


def test_thinking_is_a_switch_of_anthropics_models(tmp_path: Path) -> None:
    """Elsewhere it would do nothing, and is refused when the catalog is read."""
    path = write_catalog(tmp_path, [{"id": "m", "thinking": "budget"}])
    with pytest.raises(ConfigError, match="model `m` is not Anthropic's"):
        Catalog.load(path)
    path = write_catalog(tmp_path, [{"id": "m", "thinking": "budget"}, "n"], kind="anthropic")
    models = Catalog.load(path).models
    assert [models[name].thinking for name in ("m", "n")] == ["budget", None]


@pytest.mark.parametrize("switch", [{"stream_usage": False}, {"max_tokens_as": "max_tokens"}])
def test_anthropics_api_has_no_such_switches(tmp_path: Path, switch: dict[str, Any]) -> None:
    """A switch that would do nothing is refused when the catalog is read."""
    for of_model, of_provider in (({}, switch), (switch, {})):
        path = write_catalog(tmp_path, [{"id": "m", **of_model}], kind="anthropic", **of_provider)
        with pytest.raises(ConfigError, match="speak OpenAI's API"):
            Catalog.load(path)
