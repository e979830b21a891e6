"""Two-turn tool loops of unchanged clients, before servers that spell their calls in every way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
import yaml

from router import Router
from tests.recording import Recorder, only_request
from tests.router.providers.spelled import (
    ANSWER,
    MODELS,
    SpellingServer,
    call,
    chunk,
    piece,
    spelling_server,
    whole,
)
from tests.router.server.api.loops import LOOPS, QUESTION
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.records import Record

ODD: dict[str, Any] = {
    "null": whole(
        {
            "content": None,
            "tool_calls": [{**call("", "call_1"), "function": {"name": "f", "arguments": None}}],
        }
    ),
    "empty": whole(
        {"content": None, "tool_calls": [{**call("", "call_1"), "function": {"name": "f", "arguments": ""}}]}
    ),
    "twice": whole({"content": None, "tool_calls": [call("", "call_1", '"{\\"city\\": \\"Rome\\"}"')]}),
    "cut": whole({"content": None, "tool_calls": [call("", "call_1", '{"city": "Ro')]}),
    "list": whole({"content": None, "tool_calls": [call("", "call_1", "[1]")]}),
    "bound": whole({"content": None, "tool_calls": [call("", "call_1", '{"city": "Ro')]}, "length"),
}


class Before:
    """A shim before the server."""

    def __init__(self, url: str, server: SpellingServer, records: list[Record]) -> None:
        self.url = url
        self.server = server
        self.records = records


def answered(made: Any, _: dict[str, Any]) -> Any:
    """The same answer to each request."""
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    """The shim of all tests here."""
    answers: dict[str, Any] = {f"odd-{name}": partial(answered, made) for name, made in ODD.items()}
    cut = [
        chunk({"tool_calls": [{"index": 0, **call("", "call_1", "")}]}),
        chunk({"tool_calls": [piece(0, '{"city": "Ro')]}),
        chunk({}, "tool_calls"),
        b"data: [DONE]\n\n",
    ]
    answers["streamed-cut"] = partial(answered, cut)
    home = tmp_path_factory.mktemp("home")
    with spelling_server(answers) as server:
        catalog = {
            "providers": {"up": {"kind": "openai", "base_url": server.base_url}},
            "models": [{"id": name, "provider": "up"} for name in (*MODELS, *answers)],
        }
        (home / "catalog.yaml").write_text(yaml.safe_dump(catalog))
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


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", LOOPS)
@pytest.mark.parametrize("model", MODELS)
def test_a_loop_ends_before_every_spelling(before: Before, model: str, shape: str, is_streamed: bool) -> None:
    """Both calls arrive with ids of their own, and all that the model demands comes back to it."""
    assert LOOPS[shape](before.url, model, is_streamed=is_streamed) == ANSWER


@pytest.mark.parametrize(
    ("name", "expected"),
    [("null", {}), ("empty", {}), ("twice", {"city": "Rome"}), ("bound", {})],
)
def test_arguments_in_any_spelling_are_an_object(before: Before, name: str, expected: dict[str, Any]) -> None:
    """Null and empty text are no arguments, JSON within JSON is its object, and a bound cuts a call."""
    with anthropic.Anthropic(base_url=before.url, api_key="unused", max_retries=0) as client:
        asked: Any = [{"role": "user", "content": QUESTION}]
        message = client.messages.create(model=f"odd-{name}", max_tokens=9, messages=asked)
    assert [block.input for block in message.content if block.type == "tool_use"] == [expected]
    assert message.stop_reason == ("max_tokens" if name == "bound" else "tool_use")


@pytest.mark.parametrize("model", ["odd-cut", "odd-list", "streamed-cut"])
def test_an_unreadable_call_fails_for_client_and_record_alike(before: Before, model: str) -> None:
    """Anthropic's clients cannot read arguments that are no object: they get an error, and the record too."""
    is_streamed = model.startswith("streamed")
    with anthropic.Anthropic(base_url=before.url, api_key="unused", max_retries=0) as client:
        asked: dict[str, Any] = {
            "model": model,
            "max_tokens": 9,
            "messages": [{"role": "user", "content": QUESTION}],
        }
        with pytest.raises(anthropic.APIError):
            _ = list(client.messages.create(stream=is_streamed, **asked))
    record = only_request(before.records)
    assert (record.success, record.error_type) == (False, "bad_response")


def test_the_next_candidate_answers_where_one_breaks_its_json(before: Before) -> None:
    """Under `auto` an unreadable call is a failure of the model, and not of the request."""
    with anthropic.Anthropic(base_url=before.url, api_key="unused", max_retries=0) as client:
        order = {"order": ["odd-cut"], "only": ["odd-cut", "odd-twice"]}
        asked: Any = [{"role": "user", "content": QUESTION}]
        message = client.messages.create(
            model="auto", max_tokens=9, messages=asked, extra_body={"provider": order}
        )
    assert message.stop_reason == "tool_use"
    assert [attempt.model for attempt in only_request(before.records).attempts] == ["odd-cut", "odd-twice"]
