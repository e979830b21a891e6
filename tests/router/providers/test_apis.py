"""What a server of OpenAI's responses and embeddings may send instead of an answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from router.catalog.catalog import Model
from router.errors import InexpressibleError, ProviderError
from router.providers.anthropic import AnthropicProvider
from router.providers.apis import ApisProvider
from router.providers.key_ring import ProviderKeyRing
from router.request.responses import ResponsesRequest
from router.translate.responses.streams import ChunksToEvents
from tests.router.providers.scripted import ScriptedServer

if TYPE_CHECKING:
    from tests.router.providers.scripted import Exchange

KEY = "sk-a-test-key-of-nobody"
MODEL = Model(id="m", provider="p", provider_model="m", apis=frozenset({"responses"}))
RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "completed", "output": []}
BODY = ResponsesRequest.parse({"input": "hello"}).body()


def failed(code: str) -> dict[str, Any]:
    """A response that failed."""
    return {**RESPONSE, "status": "failed", "error": {"code": code, "message": f"no, {KEY}"}}


def ask(content: bytes, method: str = "complete", model: Model = MODEL) -> Any:
    """What the provider makes of a server that sends `content`."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer("200 OK", content)

    async def run(url: str) -> Any:
        provider = ApisProvider(
            "p", base_url=url, keys=ProviderKeyRing([KEY]), max_connections=1, max_response_bytes=10_000
        )
        try:
            if method == "stream":
                return [event async for batch in provider.stream(model, BODY) for event in batch]
            return await getattr(provider, method)(model, BODY if method == "complete" else {"input": "a"})
        finally:
            await provider.aclose()

    with ScriptedServer(behave) as server:
        return asyncio.run(run(server.url))


def sse(*events: dict[str, Any]) -> bytes:
    """A stream of events."""
    return b"".join(b"event: x\ndata: " + orjson.dumps(event) + b"\n\n" for event in events)


@pytest.mark.parametrize(
    ("code", "error_type", "is_retryable"),
    [
        ("rate_limit_exceeded", "rate_limited", True),
        ("insufficient_quota", "rate_limited", True),
        ("server_error", "server_error", True),
        ("server_of_tomorrow", "server_error", True),
        ("invalid_prompt", "bad_request", False),
        ("image_too_large", "bad_request", False),
        ("context_length_exceeded", "bad_request", False),
        ("bio_policy", "bad_request", False),
    ],
)
@pytest.mark.parametrize("form", ["whole", "response.failed", "error", "nested error"])
def test_a_response_that_failed_is_a_failure(
    code: str, error_type: str, is_retryable: bool, form: str
) -> None:
    """Whatever status it came with; another model is asked where that may help. No key is repeated."""
    contents = {
        "whole": orjson.dumps(failed(code)),
        "response.failed": sse({"type": "response.failed", "response": failed(code)}),
        "error": sse({"type": "error", "code": code, "message": f"no, {KEY}"}),
        "nested error": sse({"type": "error", "error": {"code": code, "message": f"no, {KEY}"}}),
    }
    with pytest.raises(ProviderError) as caught:
        ask(contents[form], "complete" if form == "whole" else "stream")
    error = caught.value
    assert (error.error_type, error.is_retryable, error.provider_code) == (error_type, is_retryable, code)
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("method", "content"),
    [
        ("complete", b"<html>"),
        ("complete", b"[]"),
        ("complete", b'{"output": 3}'),
        ("complete", b'{"status": "completed", "output": [3]}'),
        ("complete", b'{"status": "completed", "output": [{"type": "message", "content": 3}]}'),
        ("complete", b'{"output": []' + b" " * 10_000),
        ("stream", b"data: <html>\n\n"),
        ("stream", b'data: {"type": "response.completed", "response": 3}\n\n'),
        ("stream", b'data: {"type": "response.output_item.added", "item": 3}\n\n'),
        ("stream", b": keep-alive\n\n" * 1_000),
        ("embed", b"<html>"),
        ("embed", b'{"data": 3}'),
        ("embed", b'{"data": [3]}'),
        ("embed", b'{"data": [{"embedding": []}]}'),
    ],
)
def test_what_is_not_the_apis_is_a_bad_response(method: str, content: bytes) -> None:
    """The next candidate answers for it."""
    with pytest.raises(ProviderError) as caught:
        ask(content, method)
    assert (caught.value.error_type, caught.value.is_retryable) == ("bad_response", True)


def test_a_stream_ends_with_its_response_and_not_before() -> None:
    """`DONE` follows the event that completes the response; a stream that is cut has none."""
    created = {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}}
    whole = ask(sse(created, {"type": "response.completed", "response": RESPONSE}), "stream")
    assert [event.raw for event in whole][-1] == b"data: [DONE]\n\n"
    assert whole[-2].data["choices"][0]["finish_reason"] == "stop"
    (only,) = ask(sse(created), "stream")
    assert only.data["choices"] == []


def test_a_member_of_a_chat_server_is_no_response() -> None:
    """A chat completion may have any member: one named `responses` is not passed on as a response."""
    choice = {"index": 0, "message": {"content": "hi"}, "delta": {"content": "hi"}, "finish_reason": "stop"}
    completion = {"choices": [choice], "responses": {**RESPONSE, "id": "forged"}}
    chat = replace(MODEL, apis=frozenset({"chat"}))
    assert "responses" not in ask(orjson.dumps(completion), model=chat).body
    (event,) = ask(sse(completion), "stream", model=chat)
    events = ChunksToEvents({}, response_id="resp_own", created=0).feed(event.data, event.native)
    assert [item["type"] for item in events][:2] == ["response.created", "response.in_progress"]
    assert {item["response"]["id"] for item in events if "response" in item} == {"resp_own"}


def test_a_provider_says_by_itself_what_it_can() -> None:
    """A server that counts no tokens gives no count, and one without embeddings refuses before it sends."""

    async def run() -> None:
        arguments: dict[str, Any] = {"base_url": "http://127.0.0.1:9", "keys": ProviderKeyRing()}
        arguments |= {"max_connections": 1, "max_response_bytes": 10_000}
        assert await ApisProvider("p", **arguments).count_tokens(MODEL, BODY) is None
        with pytest.raises(InexpressibleError, match="`p` has no embeddings"):
            await AnthropicProvider("p", **arguments).embed(MODEL, {"input": "a"})

    asyncio.run(run())
