"""A server of OpenAI's chat completions whose models spell their answers as the servers of many makers do."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
DONE = b"data: [DONE]\n\n"
Spelling = dict[str, Any]


def chunk(delta: dict[str, Any], finish: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice], **members}


def whole(message: dict[str, Any], finish: str | None = "stop", **members: Any) -> dict[str, Any]:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": USAGE, **members}


def call(city: str, call_id: Any, arguments: Any = None, **members: Any) -> dict[str, Any]:
    """A call of `get_weather`."""
    given = orjson.dumps({"city": city}).decode() if arguments is None else arguments
    function = {"name": "get_weather", "arguments": given}
    return {"id": call_id, "type": "function", "function": function, **members}


def piece(index: int | None, arguments: str, **members: Any) -> dict[str, Any]:
    """A further piece of a call."""
    placed = {} if index is None else {"index": index}
    return {**placed, "function": {"arguments": arguments}, **members}


ROME, OSLO = call("Rome", "call_1"), call("Oslo", "call_2")


def _deltas(*deltas: Any, finish: str = "tool_calls") -> list[dict[str, Any]]:
    return [
        chunk({"role": "assistant", "content": None}),
        *map(chunk, deltas),
        chunk({}, finish, usage=USAGE),
    ]


def _both(first: dict[str, Any], second: dict[str, Any], finish: str = "tool_calls", **said: Any) -> Spelling:
    """Two calls, streamed in one piece each."""
    return {
        "whole": whole({"content": None, "tool_calls": [first, second], **said}, finish),
        "stream": _deltas(
            *([said] if said else []),
            {"tool_calls": [{"index": 0, **first}]},
            {"tool_calls": [{"index": 1, **second}]},
            finish=finish,
        ),
    }


def _streamed(*deltas: Any, finish: str = "tool_calls") -> Spelling:
    return {**_both(ROME, OSLO), "stream": _deltas(*deltas, finish=finish)}


def _named(call_id: Any, **members: Any) -> dict[str, Any]:
    return call("", call_id, "", **members)


SIGNED = {"extra_content": {"google": {"thought_signature": "U0lH"}}}
LITELLM = f"__thought__{'U0lH' * 20}"
"""The thought signature as LiteLLM writes it into an id."""
SIGNED_THOUGHT = {"type": "thinking", "thinking": "I should look.", "signature": "c2ln"}
PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "I should look."}]}]
"""A thought as Mistral writes it, into the content."""
DETAILS = [{"type": "reasoning.encrypted", "data": "c2VjcmV0", "format": "google-gemini-v1", "index": 0}]
SPELLINGS: dict[str, Spelling] = {
    "openai": _streamed(
        {"tool_calls": [{"index": 0, **_named("call_1")}]},
        {"tool_calls": [piece(0, '{"city":')]},
        {"tool_calls": [piece(0, '"Rome"}')]},
        {"tool_calls": [{"index": 1, **_named("call_2")}]},
        {"tool_calls": [piece(1, '{"city":"Oslo"}')]},
    ),
    "no index": _streamed({"tool_calls": [ROME]}, {"tool_calls": [OSLO]}, finish="stop"),
    "no index, in one chunk": _streamed({"tool_calls": [ROME, OSLO]}, finish="stop"),
    "index null": _streamed(
        {"tool_calls": [{**ROME, "index": None}]}, {"tool_calls": [{**OSLO, "index": None}]}
    ),
    "no index, in pieces": _streamed(
        {"tool_calls": [_named("call_1")]},
        {"tool_calls": [piece(None, '{"city":"Ro')]},
        {"tool_calls": [piece(None, 'me"}')]},
        {"tool_calls": [_named("call_2")]},
        {"tool_calls": [piece(None, '{"city":"Oslo"}')]},
    ),
    "index 0 twice": _streamed(
        {"tool_calls": [{"index": 0, **ROME}]}, {"tool_calls": [{"index": 0, **OSLO}]}
    ),
    "index 0 twice, no ids": _streamed(
        {"tool_calls": [{"index": 0, **call("Rome", None)}]},
        {"tool_calls": [{"index": 0, **call("Oslo", None)}]},
    ),
    "index as text": _streamed(
        {"tool_calls": [{"index": "0", **ROME}]}, {"tool_calls": [{"index": "1", **OSLO}]}
    ),
    "id in each piece": _streamed(
        {"tool_calls": [{"index": 0, **_named("call_1")}]},
        {"tool_calls": [piece(0, '{"city":"Rome"}', id="call_1")]},
        {"tool_calls": [{"index": 1, **_named("call_2")}]},
        {"tool_calls": [piece(1, '{"city":"Oslo"}', id="call_2")]},
    ),
    "another id in each piece": _streamed(
        {"tool_calls": [{"index": 0, **_named("call_1")}]},
        {"tool_calls": [piece(0, '{"city":"Rome"}', id="call_9")]},
        {"tool_calls": [{"index": 1, **_named("call_2")}]},
        {"tool_calls": [piece(1, '{"city":"Oslo"}', id="call_8")]},
    ),
    "empty id and name in pieces": _streamed(
        {"tool_calls": [{"index": 0, **_named("call_1")}]},
        {"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": '{"city":"Rome"}'}}]},
        {"tool_calls": [{"index": 1, **_named("call_2")}]},
        {"tool_calls": [{"index": 1, "id": "", "function": {"name": None, "arguments": '{"city":"Oslo"}'}}]},
    ),
    "by turns": _streamed(
        {"tool_calls": [{"index": 0, **_named("call_1")}]},
        {"tool_calls": [{"index": 1, **_named("call_2")}]},
        {"tool_calls": [piece(0, '{"city":'), piece(1, '{"city":')]},
        {"tool_calls": [piece(1, '"Oslo"}'), piece(0, '"Rome"}')]},
    ),
    "index from 1": _streamed({"tool_calls": [{"index": 1, **ROME}]}, {"tool_calls": [{"index": 2, **OSLO}]}),
    "ends with stop": _both(ROME, OSLO, "stop"),
    "ends with function_call": _both(ROME, OSLO, "function_call"),
    "ends with a word of its own": _both(ROME, OSLO, "eos"),
    "empty finish in each chunk": {
        "whole": whole({"content": "", "tool_calls": [ROME, OSLO]}, "tool_calls"),
        "stream": [
            chunk({"role": "assistant", "content": ""}, ""),
            chunk({"tool_calls": [{"index": 0, **ROME}]}, ""),
            chunk({"tool_calls": [{"index": 1, **OSLO}]}, ""),
            chunk({}, "tool_calls", usage=USAGE),
        ],
    },
    "id null": _both(call("Rome", None), call("Oslo", None)),
    "id empty": _both(call("Rome", ""), call("Oslo", "")),
    "id missing": _both(
        {**call("Rome", 0), "id": None}, {k: v for k, v in call("Oslo", 0).items() if k != "id"}
    ),
    "the same id twice": _both(call("Rome", "call_1"), call("Oslo", "call_1")),
    "id as number": _both(call("Rome", 1), call("Oslo", 2)),
    "an id of Kimi's": _both(
        call("Rome", "functions.get_weather:0"), call("Oslo", "functions.get_weather:1")
    ),
    "a long id": _both(call("Rome", "call_" + 90 * "a"), call("Oslo", "call_" + 90 * "b")),
    "arguments as object": _both(
        call("Rome", "call_1", {"city": "Rome"}), call("Oslo", "call_2", {"city": "Oslo"})
    ),
    "arguments with blanks": _both(
        call("Rome", "call_1", ' {"city": "Rome"}\n'), call("Oslo", "call_2", ' {"city": "Oslo"}\n')
    ),
    "type missing": _both({k: v for k, v in ROME.items() if k != "type"}, OSLO),
    "thought signature": _both(
        call("Rome", "function-call-1", **SIGNED), call("Oslo", "function-call-2", **SIGNED)
    ),
    "thought signature at the first": _both(call("Rome", "function-call-1", **SIGNED), OSLO, "stop"),
    "reasoning_content": _both(ROME, OSLO, reasoning_content="I should look."),
    "reasoning": _both(ROME, OSLO, reasoning="I should look."),
    "reasoning_details": _both(ROME, OSLO, reasoning="I should look.", reasoning_details=DETAILS),
    "encrypted reasoning_details": _both(ROME, OSLO, reasoning_details=DETAILS),
    "reasoning_content of deepseek": _both(ROME, OSLO, reasoning_content="I should look."),
    "reasoning of kimi": _both(ROME, OSLO, reasoning="I should look."),
    "thought_signature of a proxy": _both(
        {**ROME, "thought_signature": "U0lH"}, {**OSLO, "thought_signature": "U0lH"}, "stop"
    ),
    "provider_specific_fields": _both(
        {**ROME, "provider_specific_fields": {"thought_signature": "U0lH"}}, OSLO, "stop"
    ),
    "ids of litellm": _both(call("Rome", f"call_1{LITELLM}"), call("Oslo", f"call_2{LITELLM}")),
    "thinking_blocks of claude": {
        "whole": whole(
            {"content": None, "tool_calls": [ROME, OSLO], "thinking_blocks": [SIGNED_THOUGHT]}, "tool_calls"
        ),
        "stream": _deltas(
            {"thinking_blocks": [{"type": "thinking", "thinking": "I should", "signature": ""}]},
            {"thinking_blocks": [{"type": "thinking", "thinking": " look.", "signature": ""}]},
            {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "c2ln"}]},
            {"tool_calls": [{"index": 0, **ROME}]},
            {"tool_calls": [{"index": 1, **OSLO}]},
        ),
    },
    "parts of magistral": {
        "whole": whole({"content": PARTS, "tool_calls": [ROME, OSLO]}, "tool_calls"),
        "stream": _deltas(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "I should"}]}]},
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": " look."}]}]},
            {"content": [{"type": "text", "text": ""}]},
            {"tool_calls": [{"index": 0, **ROME}, {"index": 1, **OSLO}]},
        ),
    },
    "arguments as text of text": _both(
        call("Rome", "call_1", '"{\\"city\\": \\"Rome\\"}"'),
        call("Oslo", "call_2", '"{\\"city\\": \\"Oslo\\"}"'),
    ),
    "arguments as text of text, in pieces": _streamed(
        {"tool_calls": [{"index": 0, **_named("call_1")}, {"index": 1, **_named("call_2")}]},
        {"tool_calls": [piece(0, ' "{\\"city'), piece(1, '"{\\"ci')]},
        {"tool_calls": [piece(0, '\\": \\"Rome\\"}"'), piece(1, 'ty\\": \\"Oslo\\"}" ')]},
    ),
    "no usage": {
        "whole": {
            k: v
            for k, v in whole({"content": None, "tool_calls": [ROME, OSLO]}, "tool_calls").items()
            if k != "usage"
        },
        "stream": [
            chunk({"role": "assistant", "tool_calls": [{"index": 0, **ROME}]}),
            chunk({"tool_calls": [{"index": 1, **OSLO}]}),
            chunk({}, "tool_calls"),
        ],
    },
}
"""Two parallel calls of `get_weather`, for Rome and Oslo, as servers write them."""
MODELS = {f"model_of_{name.replace(' ', '_')}": name for name in SPELLINGS}
"""The spelling of each model."""
assert len(MODELS) == len(SPELLINGS), "two spellings have one model"
DEMANDED = {
    "thought signature": "extra_content",
    "thought signature at the first": "extra_content",
    "reasoning_content": "reasoning_content",
    "reasoning": "reasoning",
    "reasoning_details": "reasoning_details",
    "encrypted reasoning_details": "reasoning_details",
    "reasoning_content of deepseek": "reasoning_content",
    "reasoning of kimi": "reasoning",
    "thought_signature of a proxy": "thought_signature",
    "provider_specific_fields": "provider_specific_fields",
    "ids of litellm": LITELLM,
    "thinking_blocks of claude": "thinking_blocks",
}
"""The member without which the next turn is refused, or the end of an id."""
FORGOTTEN = ("reasoning_content", "reasoning")
"""Spellings whose thoughts come back only from clients that keep them: no name says that they must."""
ANSWER = "Rome is sunny, Oslo is rainy."


class SpellingServer(ThreadingHTTPServer):
    """Answers with two calls, and then with their results. It refuses a turn that it could not read."""

    def __init__(self, answers: dict[str, Callable[[dict[str, Any]], Any]] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers or {}
        """Answers of other models: a body, (status, body), or a list of events."""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    @property
    def base_url(self) -> str:
        """The address for the catalog."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SpellingServer

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        self.server.paths.append(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        from tests.router.providers.weather import answer_at  # which needs the answer of this module

        made = answer_at(self.path, body)
        if made is None:
            made = self.server.answers.get(body["model"], answer_of)(body)
        status, made = made if isinstance(made, tuple) else (200, made)
        if isinstance(made, list):
            events = [
                event if isinstance(event, bytes) else b"data: %b\n\n" % orjson.dumps(event) for event in made
            ]
            self._reply(status, b"".join(events), "text/event-stream")
        else:
            self._reply(status, orjson.dumps(made), "application/json")

    def _reply(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: requests are kept in lists."""


def answer_of(body: dict[str, Any]) -> Any:
    """The answer of the model that is named for its spelling."""
    spelling = MODELS[body["model"]]
    if "tools" not in body:
        return spoken(body, ANSWER)
    if not any(message["role"] == "tool" for message in body["messages"]):
        made = SPELLINGS[spelling]
        return [*made["stream"], DONE] if body.get("stream") else made["whole"]
    fault = fault_of(body["messages"], DEMANDED.get(spelling))
    if spelling == "thinking_blocks of claude":
        kept = [message["thinking_blocks"] for message in body["messages"] if "thinking_blocks" in message]
        fault = fault or (None if kept == [[SIGNED_THOUGHT]] else f"the thoughts are {kept}")
    if spelling == "parts of magistral":
        extra = [message for message in body["messages"] if "reasoning_content" in message]
        fault = fault or ("Extra inputs are not permitted" if extra else None)
    if fault:
        return 400, {
            "error": {"message": fault, "type": "invalid_request_error", "param": None, "code": None}
        }
    return spoken(body, ANSWER)


def spoken(body: dict[str, Any], text: str) -> Any:
    """A text, whole or streamed."""
    if not body.get("stream"):
        return whole({"content": text})
    return [chunk({"role": "assistant", "content": text}), chunk({}, "stop", usage=USAGE), DONE]


def fault_of(messages: list[dict[str, Any]], demanded: str | None) -> str | None:
    """The reason why strict servers refuse a turn: calls and results must be pairs, and complete."""
    is_litellm = demanded == LITELLM
    open_ids: dict[str, str] = {}
    results: dict[str, str] = {}
    for message in messages:
        for called in message.get("tool_calls") or []:
            if is_litellm and not called["id"].endswith(LITELLM):
                return "an id without its signature"
            if not isinstance(called["id"], str) or not (is_litellm or 0 < len(called["id"]) <= 40):
                return f"the id {called['id']} is not one"
            if called["id"] in open_ids:
                return "two calls have one id"
            open_ids[called["id"]] = orjson.loads(called["function"]["arguments"])["city"]
        called = message.get("tool_calls")
        if called and demanded not in (None, LITELLM) and demanded not in {**called[0], **message}:
            return f"missing {demanded}"
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                return "a result without its call"
            content = message["content"]
            results[open_ids[message["tool_call_id"]]] = (
                content if isinstance(content, str) else content[0]["text"]
            )
    wrong = {city: said for city, said in results.items() if said != {"Rome": "sunny", "Oslo": "rainy"}[city]}
    return "wrong results" if wrong or set(results) != {"Rome", "Oslo"} else None


@contextmanager
def spelling_server(
    answers: dict[str, Callable[[dict[str, Any]], Any]] | None = None,
) -> Iterator[SpellingServer]:
    """A running server."""
    with SpellingServer(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
