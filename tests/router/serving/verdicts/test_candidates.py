"""`auto` serves what any candidate can, and a request's own fault is certain only when all refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router.errors import ProviderError
from tests.replaying import CHATS, DONE, Reply, World, chunk, replaying, whole

if TYPE_CHECKING:
    from pathlib import Path

FIRST = {"only": ["one", "two"], "order": ["one"]}


def error(status: int, **said: Any) -> Reply:
    """A refusal in OpenAI's shape."""
    return Reply({"error": {"message": "no", "type": "invalid_request_error", **said}}, status=status)


STATUSES = (401, 402, 403, 405, 408, 409, 415, 424, 429, 451, 500, 502, 503, 504, 520, 529, 530)
REFUSALS = {
    "context": error(400, code="context_length_exceeded", param="messages"),
    "temperature": error(400, code="unsupported_value", param="temperature"),
    "no code": error(400, message="`temperature` is deprecated for this model."),
    "unprocessable": Reply({"detail": [{"loc": ["body", "x"], "msg": "no"}]}, status=422),
    "too large": error(413),
    "Azure's filter": error(400, code="content_filter"),
    "OpenRouter's moderation": Reply(
        {"error": {"code": 403, "message": "no", "metadata": {"reasons": ["x"], "flagged_input": "…"}}},
        status=403,
    ),
    "decommissioned": error(400, code="model_decommissioned"),
    "no endpoints": error(404, message="No endpoints found for x."),
    "not found": error(404, code="model_not_found"),
    "gone": error(410),
    "Groq's capacity": error(498),
    "under status 200": Reply({"error": {"message": "no", "code": "context_length_exceeded"}}),
    "a choice that failed": Reply(whole({"content": ""}, "error")),
    **{f"status {status}": error(status) for status in STATUSES},
}  # fmt: skip


def fine(request: dict[str, Any]) -> Any:
    """An answer, streamed if it was asked for so."""
    if request.get("stream"):
        return [chunk({"role": "assistant", "content": "Hello"}), chunk({}, "stop"), DONE]
    return whole({"content": "Hello"})


@pytest.mark.smoke
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("api", CHATS)
@pytest.mark.parametrize("name", REFUSALS)
def test_the_next_candidate_serves_what_one_refuses(
    world: World, name: str, api: str, streamed: bool
) -> None:
    """Whatever the refusal, on every endpoint."""
    world.answers.update(one=REFUSALS[name], two=fine)
    seen = world.ask(api, "auto", provider=FIRST, stream=streamed)
    assert (seen.status, seen.record.success, seen.record.model_selected) == (200, True, "two")
    assert "Hello" in seen.text


@pytest.mark.parametrize("streamed", [False, True])
def test_if_all_refuse_the_first_ones_error_is_the_answer(world: World, streamed: bool) -> None:
    """The first candidate is the best one, so its sentence says most."""
    world.answers.update(one=error(400, message="first", code="context_length_exceeded"), two=error(422))
    seen = world.ask("chat", "auto", provider=FIRST, stream=streamed)
    assert (seen.status, seen.body["error"]["code"]) == (400, "context_length_exceeded")
    assert "first" in seen.body["error"]["message"]
    assert [item.error_type for item in seen.record.attempts] == ["bad_request", "bad_request"]


def test_if_the_last_one_fails_otherwise_nothing_is_certain(world: World) -> None:
    """The client may ask again: the last candidate may serve the request then."""
    world.answers.update(one=error(400), two=error(503))
    seen = world.ask("chat", "auto", provider=FIRST)
    assert (seen.status, seen.headers["retry-after"]) == (502, "1")


@pytest.mark.parametrize("name", ["Azure's filter", "OpenRouter's moderation"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_policy_can_forbid_to_go_round_a_filter(tmp_path: Path, name: str, streamed: bool) -> None:
    """The refusal is the answer, and no other model is asked."""
    strict = {"policies": [{"id": "strict", "content_filter_fallback": False}]}
    with replaying(tmp_path, files={"policies.yaml": strict}, default_policy="strict") as world:
        world.answers.update(one=REFUSALS[name], two=fine)
        seen = world.ask("chat", "auto", provider=FIRST, stream=streamed)
        assert (seen.status, seen.record.error_type) == (400, "content_filter")
        assert len(seen.record.attempts) == 1
        world.answers["one"] = REFUSALS["context"]
        assert world.ask("chat", "auto", provider=FIRST, stream=streamed).status == 200


@pytest.mark.parametrize("name", ["not found", "gone", "decommissioned"])
def test_a_model_that_is_gone_is_left_out(tmp_path: Path, name: str) -> None:
    """As one that fails is, so that few requests are lost on it."""
    with replaying(tmp_path, health_max_ejected_share=0.5) as world:
        world.answers.update(one=REFUSALS[name], two=fine)
        for _ in range(12):
            assert world.ask("chat", "auto", provider=FIRST).status == 200
        assert world.calls("one") == 5


@pytest.mark.parametrize("name", ["context", "Azure's filter"])
def test_a_refusal_says_nothing_about_a_models_health(tmp_path: Path, name: str) -> None:
    """The next request may fit it."""
    with replaying(tmp_path, health_max_ejected_share=0.5) as world:
        world.answers.update(one=REFUSALS[name], two=fine)
        for _ in range(8):
            world.ask("chat", "auto", provider=FIRST)
        assert world.calls("one") == 8


def test_a_callable_gets_the_same_error(world: World) -> None:
    """The router's own callers see the provider's facts as attributes."""
    from router import Request

    world.answers["one"] = REFUSALS["context"]
    with pytest.raises(ProviderError) as caught:
        world.router.complete_sync(Request(messages=[{"role": "user", "content": "Hi"}], model="one"))
    failure = caught.value
    assert (failure.provider_code, failure.param) == ("context_length_exceeded", "messages")
    assert not failure.is_retryable
