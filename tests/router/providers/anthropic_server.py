"""A scripted server of Anthropic's messages API, over real HTTP; the model's name is the script."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-ant-api03-a-test-key-of-nobody"
USAGE = {
    "input_tokens": 100,
    "cache_read_input_tokens": 800,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
    "output_tokens": 100,
    "service_tier": "standard",
}
TEXT: list[dict[str, Any]] = [{"type": "text", "text": "It is 4."}]
THOUGHT = {"type": "thinking", "thinking": "Two and two.", "signature": "c2lnbmVk"}
CALLS: list[dict[str, Any]] = [
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Rome"}},
    {"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {"city": "Oslo"}},
]
JSON: list[dict[str, Any]] = [
    {"type": "tool_use", "id": "toolu_3", "name": "respond_with_json", "input": {"sum": 4}}
]
ANSWERS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "claude-text": (TEXT, "end_turn"),
    "claude-3-7-text": (TEXT, "end_turn"),
    "claude-thinks": ([THOUGHT, *TEXT], "end_turn"),
    "claude-calls": (CALLS, "tool_use"),
    "claude-json": (JSON, "tool_use"),
    "claude-stops": (TEXT, "stop_sequence"),
}
FAILURES: dict[str, tuple[int, str, dict[str, str]]] = {
    "claude-overloaded": (529, "overloaded_error", {}),
    "claude-busy": (429, "rate_limit_error", {"retry-after": "7"}),
    "claude-refuses": (400, "invalid_request_error", {}),
    "claude-locked": (401, "authentication_error", {}),
    "claude-forbidden": (403, "permission_error", {}),
    "claude-unknown": (404, "not_found_error", {}),
    "claude-large": (413, "request_too_large", {}),
    "claude-broken": (500, "api_error", {}),
}
COUNT_FAILURES: dict[str, tuple[int, str, dict[str, str]] | None] = {
    "count-hangs-up": None,
    "count-breaks": (500, "api_error", {}),
    "count-overloaded": (529, "overloaded_error", {}),
    "count-unknown": (404, "not_found_error", {}),
    "count-refused": (400, "invalid_request_error", {}),
}
"""Models whose tokens cannot be counted. None: the connection is closed without an answer."""
RAW: dict[str, bytes] = {
    "claude-garbled": b"<html>",
    "claude-list": b"[]",
    "claude-hollow": b'{"type": "message"}',
}


def message(model: str) -> dict[str, Any]:
    """What the server answers as `model`."""
    content, stop_reason = ANSWERS[model]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": "END" if stop_reason == "stop_sequence" else None,
        "usage": USAGE,
    }


def events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The message as the API streams it: each text and each argument in two pieces."""
    usage = {name: count for name, count in USAGE.items() if name != "output_tokens"}
    started = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": started}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        empty = {
            "text": {"text": ""},
            "thinking": {"thinking": "", "signature": ""},
            "tool_use": {"input": {}},
        }
        told.append(
            {
                "type": "content_block_start",
                "index": index,
                "content_block": block | empty[block["type"]],
            }
        )
        kind, member, content = {
            "text": ("text_delta", "text", block.get("text")),
            "thinking": ("thinking_delta", "thinking", block.get("thinking")),
            "tool_use": ("input_json_delta", "partial_json", orjson.dumps(block.get("input")).decode()),
        }[block["type"]]
        told += [
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, member: piece}}
            for piece in (content[:3], content[3:])
        ]
        if block["type"] == "thinking":
            delta = {"type": "signature_delta", "signature": block["signature"]}
            told.append({"type": "content_block_delta", "index": index, "delta": delta})
        told.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    told.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": USAGE["output_tokens"]}})
    return [*told, {"type": "message_stop"}]


class AnthropicServer(ThreadingHTTPServer):
    """Keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    @property
    def base_url(self) -> str:
        """What the catalog names."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AnthropicServer

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.paths.append(self.path)
        model = body["model"]
        if self.headers["x-api-key"] != KEY:
            self._fail(401, "authentication_error", {})
        elif self.path == "/v1/messages/count_tokens" and model in COUNT_FAILURES:
            if failure := COUNT_FAILURES[model]:
                self._fail(*failure)
            else:
                self.close_connection = True
        elif self.path == "/v1/messages/count_tokens":
            self._reply(200, orjson.dumps({"input_tokens": 42}), {})
        elif self.path != "/v1/messages" or "anthropic-version" not in self.headers:
            self._fail(404, "not_found_error", {})
        elif "max_tokens" not in body:
            self._fail(400, "invalid_request_error", {})
        elif model in FAILURES:
            self._fail(*FAILURES[model])
        elif model in RAW:
            self._reply(200, RAW[model], {})
        elif body.get("stream"):
            cut = {"claude-cut": 4, "claude-fails": 4}.get(model)
            told = events(message("claude-text" if cut else model))[:cut]
            if model == "claude-fails":
                told.append({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
            pieces = [
                b"event: %b\ndata: %b\n\n" % (item["type"].encode(), orjson.dumps(item)) for item in told
            ]
            self._reply(200, b"".join(pieces), {"content-type": "text/event-stream"})
        else:
            self._reply(200, orjson.dumps(message(model)), {"request-id": "req_1"})

    def _fail(self, status: int, kind: str, headers: dict[str, str]) -> None:
        said = f"no, and your key is {self.headers['x-api-key']}"
        body = {"type": "error", "error": {"type": kind, "message": said}, "request_id": "req_1"}
        self._reply(status, orjson.dumps(body), headers)

    def _reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: requests are kept in lists."""


@contextmanager
def anthropic_server() -> Iterator[AnthropicServer]:
    """A running server."""
    with AnthropicServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
