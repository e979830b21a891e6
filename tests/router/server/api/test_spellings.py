"""Two-turn tool loops of unchanged clients, before servers that spell their calls in every way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import orjson
import pytest
import yaml

from router import Router
from router.translate.responses.requests import native_of
from tests.recording import Recorder, only_request
from tests.router.providers.spelled import (
    ANSWER,
    FORGOTTEN,
    MODELS,
    SpellingServer,
    call,
    chunk,
    piece,
    spelling_server,
    whole,
)
from tests.router.server.api.loops import LOOPS, QUESTION
from tests.router.server.api.test_matrix import PATHS, asked
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
    answers["odd-arguments"] = partial(answered, None)  # its tests write the answer
    home = tmp_path_factory.mktemp("home")
    with spelling_server(answers) as server:
        catalog = {
            "providers": {
                "up": {"kind": "openai", "base_url": server.base_url},
                "own": {"kind": "openai", "base_url": server.base_url, "apis": ["responses"]},
            },
            "models": [
                {"id": "native", "provider": "own"},
                *({"id": name, "provider": "up"} for name in (*MODELS, *answers)),
            ],
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


@pytest.mark.parametrize("model", ["odd-cut", "streamed-cut"])
def test_an_unreadable_call_fails_for_client_and_record_alike(before: Before, model: str) -> None:
    """Anthropic's clients cannot read arguments that are no JSON: they get an error, and the record too."""
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


ARGUMENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "[1]": ("[1]", {"arguments": [1]}),
    "5": ("5", {"arguments": 5}),
    "true": ("true", {"arguments": True}),
    '"Rome"': ('"Rome"', {"arguments": "Rome"}),
    "null": ("{}", {}),
    " ": ("{}", {}),
    "": ("{}", {}),
}
"""Arguments, with the text that readers of text get, and the object that readers of objects get."""


def calls_in(answer: httpx.Response, shape: str, *, is_streamed: bool) -> list[Any]:
    """The arguments of the calls in an answer: an object under /v1/messages, else a text."""
    if not is_streamed:
        body = answer.json()
        if shape == "chat":
            return [made["function"]["arguments"] for made in body["choices"][0]["message"]["tool_calls"]]
        items = body["content"] if shape == "messages" else body["output"]
        return [item.get("input", item.get("arguments")) for item in items]
    texts: dict[int, str] = {}
    for line in answer.text.splitlines():
        if not line.startswith("data: {"):
            continue
        event = orjson.loads(line.removeprefix("data: "))
        if event.get("type") == "response.output_item.done":
            texts[event["output_index"]] = event["item"]["arguments"]
        delta = event.get("delta", {})
        if event.get("type") == "content_block_delta":
            texts[event["index"]] = texts.get(event["index"], "") + delta["partial_json"]
        for choice in event.get("choices") or ():
            for item in choice["delta"].get("tool_calls") or ():
                said = item["function"].get("arguments") or ""
                texts[item["index"]] = texts.get(item["index"], "") + said
    return [orjson.loads(text or "{}") if shape == "messages" else text.strip() for text in texts.values()]


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", PATHS)
@pytest.mark.parametrize("given", ARGUMENTS)
def test_arguments_that_are_no_object_are_served_alike(
    before: Before, given: str, shape: str, is_streamed: bool
) -> None:
    """Every API serves them, whole and streamed. Where only an object fits, they are a member of one."""
    before.server.answers["odd-arguments"] = partial(
        answered,
        [
            chunk({"role": "assistant", "tool_calls": [{"index": 0, **call("", "call_1", "")}]}),
            *(chunk({"tool_calls": [piece(0, letter)]}) for letter in given),
            chunk({}, "tool_calls"),
            b"data: [DONE]\n\n",
        ]
        if is_streamed
        else whole({"content": None, "tool_calls": [call("", "call_1", given)]}, "tool_calls"),
    )
    body = {**asked(shape, "text"), "model": "odd-arguments", "stream": is_streamed}
    answer = httpx.post(before.url + PATHS[shape], json=body)
    text, value = ARGUMENTS[given]
    assert answer.status_code == 200, answer.text
    assert calls_in(answer, shape, is_streamed=is_streamed) == [value if shape == "messages" else text]
    assert only_request(before.records).success


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", LOOPS)
@pytest.mark.parametrize("model", [name for name, spelling in MODELS.items() if spelling not in FORGOTTEN])
def test_a_client_that_keeps_ids_alone_ends_its_loop(
    before: Before, model: str, shape: str, is_streamed: bool
) -> None:
    """Many chat clients drop members that they do not know, and some drop thoughts: the ids hold them too."""
    assert LOOPS[shape](before.url, model, is_streamed=is_streamed, is_forgetful=True) == ANSWER


def thought_in(answer: httpx.Response, shape: str, *, is_streamed: bool) -> str:
    """The thoughts that a client of the API reads."""
    if not is_streamed:
        body = answer.json()
        if shape == "chat":
            return str(body["choices"][0]["message"].get("reasoning_content"))
        if shape == "messages":
            return "".join(block["thinking"] for block in body["content"] if block["type"] == "thinking")
        return "".join(item["content"][0]["text"] for item in body["output"] if item["type"] == "reasoning")
    said = ""
    for line in answer.text.splitlines():
        event = orjson.loads(line.removeprefix("data: ")) if line.startswith("data: {") else {}
        if event.get("type") == "response.reasoning_text.delta":
            said += event["delta"]
        elif event.get("type") == "content_block_delta":
            said += event["delta"].get("thinking", "")
        for choice in event.get("choices") or ():
            said += choice["delta"].get("reasoning_content") or ""
    return said


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", PATHS)
def test_a_thought_in_the_content_is_shown_as_a_thought(
    before: Before, shape: str, is_streamed: bool
) -> None:
    """Mistral writes thoughts as parts of the content. They are shown as those of other providers are."""
    body = {**asked(shape, "tools"), "model": "model_of_parts_of_magistral", "stream": is_streamed}
    answer = httpx.post(before.url + PATHS[shape], json=body)
    assert thought_in(answer, shape, is_streamed=is_streamed) == "I should look."


def test_a_server_of_responses_gets_no_marks_of_others(before: Before) -> None:
    """A conversation that goes on at OpenAI's own API leaves the marks of the earlier provider behind."""
    members: Any = {"model": "model_of_reasoning_of_kimi", "tools": asked("responses", "tools")["tools"]}
    with openai.OpenAI(base_url=f"{before.url}/v1", api_key="unused", max_retries=0) as client:
        first = client.responses.create(input=QUESTION, **members).output
        given: Any = [{"role": "user", "content": QUESTION}, *(item.model_dump() for item in first)]
        given += [
            {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
            for item in first
            if item.type == "function_call"
        ]
        with pytest.raises(openai.BadRequestError):  # the server demands reasoning of its own
            client.responses.create(model="native", input=given)
    sent = before.server.bodies[-1]["input"]
    assert native_of({"input": given})[1] == {"reasoning of earlier turns"}
    assert [item["call_id"] for item in sent if "call_id" in item] == 2 * ["call_1", "call_2"]
    assert not any(item.get("type") == "reasoning" for item in sent)


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
