"""A client hears from a slow stream, and learns by the status whose fault a refusal is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from tests.replaying import CHATS, DONE, PATHS, World, chunk, replaying

if TYPE_CHECKING:
    from pathlib import Path

COMMENT = b": OPENROUTER PROCESSING\n\n"
SLOW: list[Any] = [
    COMMENT,
    0.5,
    COMMENT,
    0.5,
    chunk({"role": "assistant", "content": "x"}),
    chunk({}, "stop"),
    DONE,
]


def pieces(world: World, api: str, model: str, **members: Any) -> list[tuple[float, str]]:
    """What came, and after how many seconds."""
    path, body = PATHS[api]
    started = time.monotonic()
    asked = {"model": model, **body, "stream": True, **members}
    with httpx.stream("POST", world.url + path, json=asked, timeout=20) as reply:
        assert reply.status_code == 200
        return [(time.monotonic() - started, text) for text in reply.iter_text()]


@pytest.mark.parametrize("api", CHATS)
def test_a_providers_comments_pass_before_the_first_content(world: World, api: str) -> None:
    """Where no other model can be asked: the first byte need not wait for the content."""
    world.answers["one"] = SLOW
    first, *_, last = pieces(world, api, "one")
    assert first[1].startswith(": OPENROUTER PROCESSING")
    assert last[0] - first[0] > 0.8


def test_comments_are_held_back_while_another_model_can_be_asked(world: World) -> None:
    """A failure behind a comment still goes to the next candidate."""
    fine = [chunk({"role": "assistant", "content": "Hello"}), chunk({}, "stop"), DONE]
    world.answers.update(one=[COMMENT, 0.1, {"error": {"message": "died"}}], two=fine)
    seen = world.ask("chat", "auto", provider={"only": ["one", "two"], "order": ["one"]}, stream=True)
    assert (seen.status, seen.record.model_selected) == (200, "two")
    assert "OPENROUTER" not in seen.text


@pytest.mark.parametrize("api", CHATS)
def test_a_failure_behind_a_comment_ends_the_stream(world: World, api: str) -> None:
    """With the provider's sentence, since the status was sent."""
    seen = world.served([COMMENT, 0.1, {"error": {"message": "died at last"}}], api, stream=True)
    assert (seen.status, seen.is_whole, seen.record.success) == (200, False, False)
    assert "died at last" in seen.text
    assert "[DONE]" not in seen.text


@pytest.mark.parametrize("api", CHATS)
def test_a_silence_is_broken_by_a_comment(world: World, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first content, and between two pieces."""
    monkeypatch.setattr("router.server.sse.SILENCE_S", 0.1)
    world.answers["one"] = [0.5, chunk({"content": "x"}), 0.5, chunk({}, "stop"), DONE]
    seen = world.ask(api, "one", stream=True)
    assert (seen.is_whole, seen.record.success) == (True, True)
    assert seen.text.startswith(": keep-alive")
    assert ": keep-alive" in seen.text.partition("x")[2]
    world.answers["one"] = [0.5, {"error": {"message": "died"}}]
    assert "died" in world.ask(api, "one", stream=True).text


@pytest.mark.smoke
def test_the_status_says_whose_fault_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that no entry can ever serve is 400 and asked once. A model that is out for now is 503."""
    models: dict[str, dict[str, Any]] = {
        "one": {"capabilities": ["tools"]},
        "two": {"context_window": 10, "capabilities": []},
        "off": {"availability_status": "unavailable"},
        "off-and-small": {"availability_status": "unavailable", "context_window": 10},
    }
    with replaying(tmp_path, models=models) as world:
        client = openai.OpenAI(base_url=f"{world.url}/v1", api_key="unused", max_retries=1)
        said: Any = [{"role": "user", "content": "word " * 100}]
        with client:
            for model, error, code in (
                ("two", openai.BadRequestError, "no_eligible_model"),
                ("off-and-small", openai.BadRequestError, "no_eligible_model"),
                ("off", openai.InternalServerError, "no_eligible_model"),
                ("nowhere", openai.NotFoundError, "model_not_found"),
            ):
                with pytest.raises(error) as caught:
                    client.chat.completions.create(model=model, messages=said)
                assert caught.value.code == code
                assert ("retry-after" in caught.value.response.headers) == (model == "off")
        only = {"only": ["two", "off"]}
        assert world.ask("chat", "auto", messages=said, provider=only).status == 503
        only = {"only": ["two", "off-and-small"]}
        seen = world.ask("chat", "auto", messages=said, provider=only)
        assert (seen.status, seen.record.error_type) == (400, "no_eligible_model")
        for api in CHATS:
            path_seen = world.ask(
                api, "two", **({"input": "word " * 100} if api == "responses" else {"messages": said})
            )
            assert path_seen.status == 400
