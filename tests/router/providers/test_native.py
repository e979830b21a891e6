"""Gemini's generateContent and Bedrock's Converse over real HTTP, and a loop before every kind."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import orjson
import pytest
import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from router import ProviderError, Request, Router
from router.catalog.catalog import Model
from router.providers.bedrock import BedrockProvider
from router.providers.gemini import GeminiProvider
from router.providers.key_ring import ProviderKeyRing
from router.translate.bedrock.converse import converse_request
from router.translate.members import LeftOut
from router.translate.usage import usage_from_openai
from tests.recording import Recorder, only_request
from tests.router.providers.scripted import Exchange, ScriptedServer
from tests.router.providers.spelled import ANSWER, SpellingServer, spelling_server
from tests.router.providers.weather import framed
from tests.router.server.api.loops import LOOPS, SCHEMA
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.records import Record

PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
KINDS = {
    "openai": "model_of_openai",
    "responses": "gpt-9",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-3-pro",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
}
"""A model of each kind of provider."""
AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "an-example-of-nobody"}
PNG = "iVBORw0KGgo="
CONVERSE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


class Before:
    """A shim before servers of all kinds."""

    def __init__(self, url: str, server: SpellingServer, records: list[Record]) -> None:
        self.url = url
        self.server = server
        self.records = records

    def chat(self, kind: str, **members: Any) -> httpx.Response:
        """Ask by chat completions."""
        body = {"model": KINDS[kind], "messages": [{"role": "user", "content": "hi"}], **members}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    """The shim of all tests here."""
    home = tmp_path_factory.mktemp("home")
    with spelling_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {**AWS, "GEMINI_API_KEY": "a-key"}.items():
            patch.setenv(name, value)
        host = server.base_url.removesuffix("/v1")
        providers: dict[str, dict[str, Any]] = {
            "openai": {"kind": "openai", "base_url": server.base_url},
            "responses": {"kind": "openai", "base_url": server.base_url, "apis": ["responses"]},
            "anthropic": {"kind": "anthropic", "base_url": server.base_url},
            "gemini": {"kind": "gemini", "base_url": f"{host}/v1beta", "api_key_env": "GEMINI_API_KEY"},
            "bedrock": {"kind": "bedrock", "base_url": host, "region": "eu-west-1"},
        }
        models = [{"id": model, "provider": kind, **PRICED} for kind, model in KINDS.items()]
        (home / "catalog.yaml").write_text(yaml.safe_dump({"providers": providers, "models": models}))
        router = Router.open(
            home=home, seed=1, task_sample_share=0, max_retries=0, health_max_ejected_share=0
        )
        recorder = Recorder()
        router.observe(recorder)
        with serving(router) as url:
            yield Before(url, server, recorder.records)


@pytest.fixture
def before(shared: Before) -> Before:
    """The shim, with nothing recorded."""
    shared.records.clear()
    shared.server.bodies.clear()
    return shared


LOOPED = [
    (shape, kind)
    for kind in KINDS
    for shape in LOOPS
    if (shape, kind) not in (("chat", "responses"), ("messages", "responses"))
]
"""A model that is served by the responses API alone takes no other client's requests."""


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("shape", "kind"), LOOPED)
def test_every_clients_loop_ends_before_every_kind(
    before: Before, shape: str, kind: str, is_streamed: bool
) -> None:
    """Two parallel calls, their results, and all that the provider demands back, under every API."""
    assert LOOPS[shape](before.url, KINDS[kind], is_streamed=is_streamed) == ANSWER
    assert [getattr(record, "success", None) for record in before.records] == [True, True]


@pytest.mark.smoke
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("kind", "counts"), [("gemini", (100, 20, None, 5)), ("bedrock", (110, 20, 10, None))]
)
def test_usage_is_counted(
    before: Before, kind: str, counts: tuple[int | None, ...], is_streamed: bool
) -> None:
    """Thoughts are output, and cached tokens are input, as in every other provider's record."""
    with httpx.stream(
        "POST",
        f"{before.url}/v1/chat/completions",
        json={"model": KINDS[kind], "stream": is_streamed, "messages": [{"role": "user", "content": "hi"}]},
    ) as answer:
        answer.read()
    record = only_request(before.records)
    assert counts == (
        record.tokens_input,
        record.tokens_output,
        record.tokens_cached_input,
        record.tokens_reasoning,
    )
    assert (record.finish_reason, record.success) == ("stop", True)
    assert record.cost_usd is not None


def test_gemini_is_asked_in_its_own_words(before: Before) -> None:
    """Every member of a chat request has its place in Google's."""
    part = {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}"}}
    before.chat(
        "gemini",
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "look"}, part], "name": "ada"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop="END",
        max_tokens=50,
        reasoning_effort="low",
        extra_body={"google": {"cached_content": "cachedContents/1"}},
    )
    assert before.server.paths[-1] == "/v1beta/models/gemini-3-pro:generateContent"
    assert before.server.headers[-1]["x-goog-api-key"] == "a-key"
    assert before.server.bodies[-1] == {
        "systemInstruction": {"parts": [{"text": "Be short."}]},
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "look"}, {"inlineData": {"mimeType": "image/jpeg", "data": PNG}}],
            }
        ],
        "tools": [
            {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}]}
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "cachedContent": "cachedContents/1",
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "seed": 3,
            "maxOutputTokens": 50,
            "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True},
        },
    }


@pytest.mark.parametrize("kind", ["gemini", "bedrock"])
@pytest.mark.parametrize("member", [{"logit_bias": {"1": 1}}, {"verbosity": "low"}, {"unknown_member": 1}])
def test_a_wish_is_refused_by_name(before: Before, kind: str, member: dict[str, Any]) -> None:
    """Nothing is dropped in silence, and nothing was sent."""
    answer = before.chat(kind, **member)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(member)))
    assert before.server.bodies == []


@pytest.mark.parametrize("kind", ["gemini", "bedrock"])
def test_a_hint_is_left_out_and_named(before: Before, kind: str) -> None:
    """Also on streams."""
    for is_streamed in (False, True):
        answer = before.chat(kind, store=True, metadata={"a": "b"}, stream=is_streamed)
        assert answer.headers["x-intellirouter-ignored"] == "metadata, store"


def test_bedrock_is_asked_as_its_service_model_says(before: Before) -> None:
    """Amazon's own model of the API accepts the request, and its signature is that of Amazon's own code."""
    with anthropic.Anthropic(base_url=before.url, api_key="unused", max_retries=0) as client:
        image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
        pdf: Any = {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        }
        client.messages.create(
            model=KINDS["bedrock"],
            max_tokens=9000,
            system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            thinking={"type": "enabled", "budget_tokens": 2000},
            tools=[{"name": "get_weather", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}],
            messages=[{"role": "user", "content": [image, pdf, {"type": "text", "text": "look"}]}],
            stop_sequences=["END"],
        )
    server, body = before.server, before.server.bodies[-1]
    report = ParamValidator().validate(
        {**body, "modelId": KINDS["bedrock"]}, CONVERSE.operation_model("Converse").input_shape
    )
    assert not report.has_errors(), report.generate_report()
    assert body["system"] == [{"text": "s"}, {"cachePoint": {"type": "default"}}]
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    headers = server.headers[-1]
    path = "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    assert server.paths[-1] == path
    request = AWSRequest("POST", f"http://{headers['host']}{path}", data=orjson.dumps(body))
    signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    for name in signed:
        if name != "host":
            request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(*AWS.values()), "bedrock", "eu-west-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert f"Signature={auth.signature(text, request)}" in headers["authorization"]


def provider_of(kind: type[Any], url: str, **arguments: Any) -> Any:
    """A provider before a scripted server."""
    return kind(
        "p",
        base_url=url,
        keys=ProviderKeyRing(["a-key-of-nobody"]),
        max_connections=1,
        max_response_bytes=100_000,
        **arguments,
    )


def asked(
    kind: type[Any], content: bytes, *, is_streamed: bool, status: str = "200 OK", **arguments: Any
) -> Any:
    """What a provider makes of a server that sends `content`."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, content)

    async def run(url: str) -> Any:
        provider = provider_of(kind, url, **arguments)
        model, body = (
            Model(id="m", provider="p", provider_model="m"),
            Request(messages=[{"role": "user", "content": "hi"}]).body(),
        )
        try:
            if is_streamed:
                return [event async for batch in provider.stream(model, body) for event in batch]
            return await provider.complete(model, body)
        finally:
            await provider.aclose()

    with ScriptedServer(behave) as server:
        return asyncio.run(run(server.url))


def test_converse_gets_turns_by_turns_and_ids_that_fit() -> None:
    """It refuses two turns of one role, blank texts, and ids of more than 64 characters."""
    called = {"type": "tool_use", "id": "call_" + 90 * "x", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": called["id"], "content": ""}
    turns = [("user", "a"), ("user", "b"), ("assistant", [called]), ("user", [result])]
    given = {"messages": [{"role": role, "content": content} for role, content in turns]}
    made = converse_request(given, LeftOut())["messages"]
    assert [turn["role"] for turn in made] == ["user", "assistant", "user"]
    assert made[0]["content"] == [{"text": "a"}, {"text": "b"}]
    use, answered = made[1]["content"][0]["toolUse"], made[2]["content"][0]["toolResult"]
    assert use["toolUseId"] == answered["toolUseId"]
    assert len(use["toolUseId"]) == 64
    assert answered["content"] == []


BLOCKED = orjson.dumps(
    {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
)
MALFORMED = orjson.dumps({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "index": 0}]})
FAILED = orjson.dumps(
    {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
)


@pytest.mark.parametrize(
    ("content", "status", "error_type", "said"),
    [
        (BLOCKED, "200 OK", "content_filter", "blocked"),
        (MALFORMED, "200 OK", "bad_response", "MALFORMED_FUNCTION_CALL"),
        (FAILED, "503 Busy", "overloaded", "overloaded"),
        (b"[]", "200 OK", "bad_response", "candidates"),
        (b"<html>", "200 OK", "bad_response", "JSON"),
    ],
)
def test_what_gemini_may_send_instead_of_an_answer(
    content: bytes, status: str, error_type: str, said: str
) -> None:
    """A refused prompt, a broken call and an overload are failures that say why."""
    with pytest.raises(ProviderError, match=said) as caught:
        asked(GeminiProvider, content, is_streamed=False, status=status)
    assert caught.value.error_type == error_type


@pytest.mark.parametrize("content", [BLOCKED, MALFORMED, FAILED])
def test_geminis_stream_may_fail_likewise(content: bytes) -> None:
    """The same failures within a stream."""
    with pytest.raises(ProviderError):
        asked(GeminiProvider, b"data: " + content + b"\n\n", is_streamed=True)


START = framed("messageStart", {"role": "assistant"})
PIECE = framed("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "par"}})
THROTTLED = framed("throttlingException", {"message": "Too many tokens"}, is_error=True)


@pytest.mark.parametrize(
    ("content", "error_type", "said"),
    [
        (START + PIECE + THROTTLED, "rate_limited", "Too many tokens"),
        (START + PIECE[:-3] + b"abc", "server_error", "damaged"),
        (
            START + framed("messageStop", {"stopReason": "malformed_tool_use"}),
            "bad_response",
            "malformed_tool_use",
        ),
    ],
)
def test_bedrocks_stream_may_fail(content: bytes, error_type: str, said: str) -> None:
    """An exception and a damaged event within a stream are failures that say why."""
    with pytest.raises(ProviderError, match=said) as caught:
        asked(BedrockProvider, content, is_streamed=True, region="us-east-1")
    assert caught.value.error_type == error_type


def test_a_cut_stream_of_bedrocks_has_no_end() -> None:
    """Without `messageStop` and `metadata` there is no DONE, so that the answer counts as cut."""
    events = asked(BedrockProvider, START + PIECE, is_streamed=True, region="us-east-1")
    assert [event.data["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": ""},
        {"content": "par"},
    ]


def called(
    provider: tuple[type[Any], dict[str, Any]], call: str, body: Any, *contents: Any
) -> tuple[Any, list[tuple[bytes, dict[str, Any]]]]:
    """(result of a provider's method, the paths and bodies that its server got)."""
    got: list[tuple[bytes, dict[str, Any]]] = []

    async def behave(exchange: Exchange) -> None:
        got.append((exchange.head.split()[1], orjson.loads(exchange.body)))
        await exchange.answer("200 OK", orjson.dumps(contents[min(exchange.number, len(contents) - 1)]))

    async def run(url: str) -> Any:
        made = provider_of(provider[0], url, **provider[1])
        try:
            return await getattr(made, call)(Model(id="m", provider="p", provider_model="name-1"), body)
        finally:
            await made.aclose()

    with ScriptedServer(behave) as server:
        return asyncio.run(run(server.url)), got


GEMINI: tuple[type[Any], dict[str, Any]] = (GeminiProvider, {})
BEDROCK: tuple[type[Any], dict[str, Any]] = (BedrockProvider, {"region": "us-east-1"})
VECTORS: dict[str, Any] = {
    "embeddings": [{"values": [0.5, -1.0]}, {"values": [0.25, 2]}],
    "usageMetadata": {"promptTokenCount": 7},
}


def test_gemini_embeds_several_texts_in_one_call() -> None:
    """Each has a request of its own, in the order of the inputs."""
    body = {"input": ["a", "b"], "dimensions": 2, "user": "ann", "google": {"task_type": "RETRIEVAL_QUERY"}}
    answer, got = called(GEMINI, "embed", body, VECTORS)
    options = {"outputDimensionality": 2, "taskType": "RETRIEVAL_QUERY"}
    wanted = [
        {"model": "models/name-1", "content": {"parts": [{"text": text}]}, **options} for text in ("a", "b")
    ]
    assert got == [(b"/v1/models/name-1:batchEmbedContents", {"requests": wanted})]
    assert [row["embedding"] for row in answer.body["data"]] == [[0.5, -1.0], [0.25, 2]]
    assert [row["index"] for row in answer.body["data"]] == [0, 1]
    assert (answer.usage.tokens_input, answer.usage.tokens_output) == (7, 0)
    assert answer.body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert answer.ignored == {"user"}


def test_gemini_s_vectors_come_in_base64_if_the_client_asks_so() -> None:
    """OpenAI's own client does by default. A provider without a count leaves the cost unknown."""
    one = {"embeddings": [{"values": [0.5, -1.0]}]}
    answer, _ = called(GEMINI, "embed", {"input": "a", "encoding_format": "base64"}, one)
    assert struct.unpack("<2f", base64.b64decode(answer.body["data"][0]["embedding"])) == (0.5, -1.0)
    assert answer.usage.tokens_input is None


@pytest.mark.parametrize(
    "content",
    [
        {"embeddings": VECTORS["embeddings"][:1]},
        {"embeddings": [{"values": [1, 2]}, {"values": [1]}]},
        {"embeddings": [{"values": []}, {"values": []}]},
        {"embeddings": [{"values": ["x"]}, {}]},
        {"embeddings": []},
        {"embeddings": None},
        {},
    ],
)
def test_gemini_s_vectors_must_be_those_of_the_inputs(content: Any) -> None:
    """A client would store vectors with the wrong texts."""
    with pytest.raises(ProviderError) as caught:
        called(GEMINI, "embed", {"input": ["a", "b"]}, content)
    assert caught.value.error_type == "bad_response"


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"input": [1, 2]}, "input"),
        ({"input": [[1], [2]]}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"unknown": 1}, "unknown"),
        ({"google": {"unknown": 1}}, "google.unknown"),
    ],
)
def test_what_gemini_cannot_embed_is_refused_by_name(members: dict[str, Any], name: str) -> None:
    """Before a call, so that another model with the same vectors may serve it."""
    with pytest.raises(ProviderError, match=f"`{name}`"):
        called(GEMINI, "embed", {"input": "a", **members}, VECTORS)


def test_bedrock_counts_tokens() -> None:
    """Of the conversation, its system, its tools and what the model's own fields add."""
    body = Request(
        messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
        parameters={
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            "max_tokens": 9,
        },
    ).body()
    count, got = called(BEDROCK, "count_tokens", body, {"inputTokens": 42})
    assert count == 42
    [(path, asked_for)] = got
    assert path == b"/v1/model/name-1/count-tokens"
    assert sorted(asked_for["input"]["converse"]) == ["messages", "system", "toolConfig"]
    report = ParamValidator().validate(
        {"modelId": "name-1", **asked_for}, CONVERSE.operation_model("CountTokens").input_shape
    )
    assert not report.has_errors(), report.generate_report()
    with pytest.raises(ProviderError, match="inputTokens"):
        called(BEDROCK, "count_tokens", body, {})


SPOKEN: dict[str, Any] = {
    "output": {"message": {"role": "assistant", "content": [{"text": "x"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4},
}


@pytest.mark.parametrize(
    ("members", "tier", "priced"),
    [
        ({"serviceTier": {"type": "flex"}}, "flex", "flex"),
        ({"serviceTier": {"type": "default"}}, "default", None),
        ({"performanceConfig": {"latency": "optimized"}}, None, "optimized"),
        ({"performanceConfig": {"latency": "standard"}}, None, None),
    ],
)
def test_bedrock_s_answer_names_its_tier(members: Any, tier: str | None, priced: str | None) -> None:
    """A tier and a faster answer have prices of their own, in whole answers and in streams."""
    body = Request(messages=[{"role": "user", "content": "hi"}]).body()
    answer, _ = called(BEDROCK, "complete", body, {**SPOKEN, **members})
    assert (answer.service_tier, answer.usage.service_tier) == (tier, priced)
    end = framed("messageStop", {"stopReason": "end_turn"}) + framed(
        "metadata", {"usage": SPOKEN["usage"], **members}
    )
    events = asked(BedrockProvider, START + PIECE + end, is_streamed=True, region="us-east-1")
    assert usage_from_openai(events[-2].data) == answer.usage


@pytest.mark.parametrize(
    ("provider", "answer", "member", "words"),
    [
        (GEMINI, {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]},
         "serviceTier", {"flex": "flex", "priority": "priority", "default": "standard", "auto": None}),
        (BEDROCK, SPOKEN, "serviceTier",
         {"flex": {"type": "flex"}, "reserved": {"type": "reserved"}, "auto": None}),
    ],
    ids=["gemini", "bedrock"],
)  # fmt: skip
def test_a_service_tier_is_asked_for_in_the_providers_words(
    provider: Any, answer: Any, member: str, words: dict[str, Any]
) -> None:
    """`auto` asks for none, and a tier that the provider lacks is refused by name."""
    for tier, word in words.items():
        request = Request(messages=[{"role": "user", "content": "hi"}], parameters={"service_tier": tier})
        _, [(_, got)] = called(provider, "complete", request.body(), answer)
        assert got.get(member) == word
    request = Request(messages=[{"role": "user", "content": "hi"}], parameters={"service_tier": "scale"})
    with pytest.raises(ProviderError, match="service_tier"):
        called(provider, "complete", request.body(), answer)
