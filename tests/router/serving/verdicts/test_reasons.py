"""The client learns why, from any provider, in the shape of the API that it called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from router.providers.reading.refusals import refusal_of, said_by
from tests.replaying import CHATS, DONE, Reply, chunk, whole

if TYPE_CHECKING:
    from tests.replaying import World

WHY = "the reason why"
BODIES: dict[str, Any] = {
    "OpenAI": {"error": {"message": WHY, "type": "invalid_request_error", "param": None, "code": None}},
    "Anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": WHY}},
    "Gemini": [{"error": {"code": 400, "message": WHY, "status": "INVALID_ARGUMENT"}}],
    "Gemini without its list": {"error": {"code": 400, "message": WHY, "status": "INVALID_ARGUMENT"}},
    "vLLM": {"object": "error", "message": WHY, "type": "BadRequestError", "param": None, "code": 400},
    "FastAPI": {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": WHY}]},
    "FastAPI's text": {"detail": WHY},
    "Mistral": {"object": "error", "message": {"detail": [{"loc": ["body", "x"], "msg": WHY}]}},
    "flat": {"message": WHY, "type": "invalid_request_error"},
    "Cohere": {"id": "1", "message": WHY},
    "Bedrock": {"__type": "com.amazonaws#ValidationException", "message": WHY},
    "Ollama": {"error": WHY},
    "TGI": {"error": WHY, "error_type": "validation"},
    "Azure": {"error": {"code": "content_filter", "message": WHY, "innererror": {"code": "X"}}},
    "Azure's gateway": {"statusCode": 400, "message": WHY},
    "OpenRouter": {
        "error": {
            "code": 400,
            "message": "Provider returned error",
            "metadata": {"raw": '{"error": {"message": "the reason why"}}', "provider_name": "X"},
        }
    },
    "DashScope": {"code": "InvalidParameter", "message": WHY, "request_id": "1"},
    "Databricks": {"error_code": "BAD_REQUEST", "message": WHY},
    "MiniMax": {"base_resp": {"status_code": 2013, "status_msg": WHY}},
    "Cloudflare": {"success": False, "errors": [{"code": 5006, "message": WHY}]},
    "problem+json": {"title": "Bad Request", "status": 400, "detail": WHY},
    "Spring": {"timestamp": 1, "status": 400, "error": "Bad Request", "message": WHY},
    "a text": WHY,
    "plain text": WHY.encode(),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", BODIES)
def test_the_sentence_is_found_in_every_shape(name: str) -> None:
    """However deep it lies."""
    body = BODIES[name]
    said = refusal_of(body) if isinstance(body, bytes) else said_by(body)
    assert said.message is not None
    assert WHY in said.message


@pytest.mark.parametrize("api", [*CHATS, "embeddings"])
@pytest.mark.parametrize("name", BODIES)
def test_the_providers_sentence_reaches_the_client(world: World, api: str, name: str) -> None:
    """With its status, on every endpoint, and in the shape of its API."""
    model = "vectors" if api == "embeddings" else "one"
    seen = world.served(Reply(BODIES[name], status=400), api, model)
    assert (seen.status, seen.record.success) == (400, False)
    error = seen.body["error"]
    assert WHY in error["message"]
    assert (seen.body.get("type") == "error") == (api == "messages")
    assert "retry-after" not in seen.headers


@pytest.mark.parametrize(
    "body", [b"<html><body>no</body></html>", b"", b"\xff\xfe", b"[]", b"{}", b"null", b"[" * 5000]
)
def test_a_body_that_says_nothing(world: World, body: bytes) -> None:
    """The status is told all the same, and no page of HTML."""
    seen = world.served(Reply(body, status=400))
    assert (seen.status, seen.body["error"]["code"]) == (400, "bad_request")
    assert "no readable error message" in seen.body["error"]["message"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_code_type_and_param_are_the_providers(world: World, api: str, streamed: bool) -> None:
    """Clients tell errors apart by them."""
    said = {"message": "no", "type": "t_error", "param": "messages", "code": "context_length_exceeded"}
    seen = world.served(Reply({"error": said}, status=400), api, stream=streamed)
    assert {**seen.body["error"], "message": "no"} == said
    body = {"detail": [{"loc": ["body", "messages", 0], "msg": "no"}]}
    assert world.served(Reply(body, status=422)).body["error"]["param"] == "messages.0"


def test_a_code_that_could_quote_the_request_stays_out(world: World) -> None:
    """An identifier cannot."""
    said = {"message": "no", "code": "Hi there", "param": "a b", "type": "x\ny"}
    error = world.served(Reply({"error": said}, status=400)).body["error"]
    assert (error["code"], error["param"], error["type"]) == ("bad_request", None, "invalid_request_error")


def test_a_key_of_ours_is_not_blamed_on_the_client(world: World) -> None:
    """The provider refuses the router's key: a bad gateway without the code of a wrong key."""
    said = {"message": "no", "type": "invalid_request_error", "code": "invalid_api_key"}
    seen = world.served(Reply({"error": said}, status=401))
    assert (seen.status, seen.body["error"]["code"], seen.body["error"]["type"]) == (
        502,
        "authentication",
        "api_error",
    )


@pytest.mark.parametrize(
    ("said", "status", "record"),
    [
        ({"message": "Insufficient credits", "code": 402}, 502, "authentication"),
        ("Model is overloaded", 502, "server_error"),
        ({"message": "slow", "code": 429}, 429, "rate_limited"),
        ({"message": "long", "code": "context_length_exceeded"}, 400, "bad_request"),
        ({"message": "x", "type": "overloaded_error"}, 502, "overloaded"),
        ({"message": "x", "status": "RESOURCE_EXHAUSTED"}, 429, "rate_limited"),
        ({"message": "x", "code": "model_not_found"}, 404, "model_gone"),
        ({"message": "x", "code": "content_filter"}, 400, "content_filter"),
    ],
)
@pytest.mark.parametrize("how", ["whole", "first event", "JSON for a stream"])
def test_an_error_under_status_200(world: World, said: Any, status: int, record: str, how: str) -> None:
    """Its sentence, and the status that its code stands for."""
    sent: Any = [{"error": said}, DONE] if how == "first event" else {"error": said}
    seen = world.served(sent, stream=how != "whole")
    assert (seen.status, seen.record.error_type) == (status, record)
    assert (said if isinstance(said, str) else said["message"]) in seen.body["error"]["message"]


QUOTA = {"message": "You exceeded your current quota", "type": "insufficient_quota", "param": None,
         "code": "insufficient_quota"}  # fmt: skip


def test_a_quota_that_is_used_up_is_not_asked_again(world: World) -> None:
    """By neither the router nor OpenAI's own client, which repeats every other 429."""
    world.answers["one"] = Reply({"error": QUOTA}, status=429)
    before = world.calls("one")
    client = openai.OpenAI(base_url=f"{world.url}/v1", api_key="unused")
    with client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="one", messages=[{"role": "user", "content": "Hi"}])
    assert world.calls("one") - before == 1
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")
    assert "retry-after" not in caught.value.response.headers


def test_an_overloaded_provider_has_anthropics_name_in_mid_stream(world: World) -> None:
    """Anthropic's clients tell `overloaded_error` from others."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    events = [
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "x"}},
        0.2,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ]
    assert '"type":"overloaded_error"' in world.served(events, "messages", "claude", stream=True).text
    late = [chunk({"content": "x"}), 0.2, {"error": {"message": "x", "code": 529}}]
    assert '"type":"overloaded_error"' in world.served(late, "messages", stream=True).text


def test_a_key_in_a_providers_sentence_is_masked(world: World) -> None:
    """Providers quote what they were sent."""
    seen = world.served(Reply({"message": "bad key sk-abcdefgh12345678"}, status=400))
    assert "abcdefgh" not in seen.text


def test_an_answer_with_a_message_member_is_no_error(world: World) -> None:
    """Only where there are no choices."""
    assert world.served({**whole({"content": "x"}), "message": "hello", "detail": "x"}).status == 200
