"""Translate streams, both ways: Anthropic's events and OpenAI's chunks. Each stream has its translator.

Anthropic reports usage as running totals, and OpenAI once at the end. Anthropic numbers all blocks of an
answer, and OpenAI only its tool calls. A malformed event or chunk is a RequestError, because the stream
is broken.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import RequestError
from router.translate.anthropic.answers import (
    CHARACTERS_PER_TOKEN,
    chat_usage,
    finish_reason_of,
    message_usage,
    stop_reason_of,
    stop_reason_with,
)
from router.translate.calls import Calls, arguments_object, usual
from router.translate.members import JSON_TOOL, NATIVE, optional, optional_items, refuse
from router.translate.thoughts import BLOCKS, Thoughts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.calls import Call

ERROR_TYPE = "api_error"


def to_sse(event: Mapping[str, Any]) -> bytes:
    """Write an event of Anthropic's for a stream."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


def _index(holder: Mapping[str, Any]) -> int:
    index = holder.get("index", 0)
    if not isinstance(index, int):
        refuse("index", f"must be a number, got `{type(index).__name__}`")
    return index


def error_event(kind: str, message: str) -> dict[str, Any]:
    """The event that ends a failed stream."""
    return {"type": "error", "error": {"type": kind, "message": message}}


class EventsToChunks:
    """Translates Anthropic's events to OpenAI's chunks.

    The last chunk carries the usage and no choice, as OpenAI's does with `include_usage`. An error
    event becomes a chunk with the member `error`. With `keep_native` each chunk carries its event
    under `anthropic`, so that ChunksToEvents restores the stream exactly.
    """

    def __init__(self, *, created: int, keep_native: bool = False) -> None:
        """`created` is in seconds since 1970, and goes into every chunk."""
        self.is_finished = False
        """Whether the message reached its end. A stream that stops before is broken."""
        self.has_stop_reason = False
        """Whether the message said why it stops. Without it, it was cut."""
        self._head: dict[str, Any] = {
            "id": None,
            "object": "chat.completion.chunk",
            "created": created,
            "model": None,
        }
        self._keep_native = keep_native
        self._usage: dict[str, Any] = {}
        self._tools: dict[int, int] = {}  # Anthropic's block to OpenAI's tool call
        self._thoughts: dict[int, list[str]] = {}  # Anthropic's block to the pieces of its thought
        self._signed = 0
        self._json_block: int | None = None

    def feed(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Translate `event` to chunks. A ping gives none."""
        chunks = self._chunks(event)
        if self._keep_native and event.get("type") != "ping":
            chunks = chunks or [{**self._head, "choices": []}]
            chunks[0][NATIVE] = dict(event)
        return chunks

    def _chunks(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        kind = event.get("type")
        if kind == "message_start":
            message = optional(event.get("message"), "message")
            self._head.update(id=message.get("id"), model=message.get("model"))
            self._tell(message.get("usage"))
            return [self._chunk({"role": "assistant", "content": ""})]
        if kind == "content_block_start":
            return self._start(_index(event), optional(event.get("content_block"), "content_block"))
        if kind == "content_block_delta":
            return self._delta(_index(event), optional(event.get("delta"), "delta"))
        if kind == "content_block_stop":
            self._thoughts.pop(_index(event), None)
            return []
        if kind == "message_delta":
            self._tell(event.get("usage"))
            stop_reason = optional(event.get("delta"), "delta").get("stop_reason")
            if stop_reason is None:
                return []
            self.has_stop_reason = True
            is_json = self._json_block is not None and not self._tools
            return [self._chunk({}, finish_reason_of(stop_reason, is_json=is_json))]
        if kind == "message_stop":
            self.is_finished = True
            usage = chat_usage({"usage": self._usage})
            return [{**self._head, "choices": [], "usage": usage}] if usage else []
        if kind == "error":
            error = optional(event.get("error"), "error")
            said = {"message": error.get("message"), "type": error.get("type"), "code": error.get("type")}
            return [{"error": {**said, "param": None}}]
        return []

    def _start(self, index: int, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        if block.get("type") == "text" and block.get("text"):
            return [self._chunk({"content": block["text"]})]
        if block.get("type") == "thinking":
            self._thoughts[index] = []
            chunks = self._think(index, block.get("thinking"))
            return chunks + (self._sign(index, block["signature"]) if block.get("signature") else [])
        if block.get("type") == "redacted_thinking":
            return [self._block({"type": "redacted_thinking", "data": block.get("data")})]
        if block.get("type") != "tool_use":
            return []
        if block.get("name") == JSON_TOOL:
            self._json_block = index
            return []
        position = self._tools[index] = len(self._tools)
        function = {"name": block.get("name"), "arguments": ""}
        call = {"index": position, "id": block.get("id"), "type": "function", "function": function}
        chunks = [self._chunk({"tool_calls": [call]})]
        if block.get("input"):
            chunks.append(self._arguments(position, orjson.dumps(block["input"]).decode()))
        return chunks

    def _delta(self, index: int, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        kind = delta.get("type")
        if kind == "text_delta":
            return [self._chunk({"content": delta.get("text", "")})]
        if kind == "thinking_delta":
            return self._think(index, delta.get("thinking"))
        if kind == "signature_delta" and delta.get("signature"):
            return self._sign(index, delta["signature"])
        if kind == "input_json_delta" and delta.get("partial_json"):
            if index == self._json_block:
                return [self._chunk({"content": delta["partial_json"]})]
            if index in self._tools:  # excludes tools that Anthropic runs itself
                return [self._arguments(self._tools[index], delta["partial_json"])]
        return []

    def _think(self, index: int, piece: Any) -> list[dict[str, Any]]:
        if not piece:
            return []
        self._thoughts.setdefault(index, []).append(str(piece))
        return [self._chunk({"reasoning_content": piece})]

    def _sign(self, index: int, signature: Any) -> list[dict[str, Any]]:
        """The whole thought with its signature, which the client sends back in its next turn."""
        thought = "".join(self._thoughts.get(index, []))
        return [self._block({"type": "thinking", "thinking": thought, "signature": signature})]

    def _block(self, block: dict[str, Any]) -> dict[str, Any]:
        self._signed += 1
        return self._chunk({BLOCKS: [{"index": self._signed - 1, **block}]})

    def _arguments(self, position: int, piece: str) -> dict[str, Any]:
        return self._chunk({"tool_calls": [{"index": position, "function": {"arguments": piece}}]})

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    def _tell(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage.update({name: value for name, value in usage.items() if value is not None})


class ChunksToEvents:
    """Translates OpenAI's chunks to Anthropic's events.

    You must `feed` each chunk, then `finish` (or `fail`) once. OpenAI reports usage after the finish
    reason, so the message ends when the stream does. Anthropic writes each block without interruption, so
    pieces that come while a tool call is incomplete wait for its end.
    """

    def __init__(self, *, tokens_input: int = 0) -> None:
        """`tokens_input` is an estimate, which clients read until the end reports the count."""
        self.maker: str | None = None
        """The name of the provider that answers. Without it, nothing is kept for its next turn."""
        self._tokens_input = tokens_input
        self._is_started = False
        self._is_over = False
        self._is_native = False
        """Whether Anthropic's own events pass unchanged."""
        self._kind: str | None = None  # of the open block: text, thinking or tool
        self._blocks = 0
        self._calls = Calls()
        self._call: Call | None = None  # the open one
        self._waiting: list[Call] = []
        self._later: list[tuple[str, str]] = []  # texts and thoughts that came before the end of a call
        self._thoughts = Thoughts()
        self._stop_reason: str | None = None
        self._length = 0
        self._usage: dict[str, Any] = {}

    def feed(self, chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Translate `chunk` to events."""
        if self._is_over:
            return []
        native = chunk.get(NATIVE)
        if isinstance(native, dict):
            self._is_over = native.get("type") in ("message_stop", "error")
            self._is_started = self._is_native = True
            return [native]
        if isinstance(chunk.get("error"), dict):
            error = chunk["error"]
            return self.fail(ERROR_TYPE, str(error.get("message") or "the provider reports an error"))
        events = [] if self._is_started else [self._start(chunk)]
        if isinstance(chunk.get("usage"), dict):
            self._usage = message_usage(chunk)
        for choice in optional_items(chunk.get("choices"), "choices"):
            self._delta(usual(optional(choice.get("delta"), "delta")), events)
            if choice.get("finish_reason"):
                self._stop_reason = self._stop_reason or stop_reason_of(choice["finish_reason"])
        return events

    def finish(self) -> list[dict[str, Any]]:
        """The events that end the message, or an error event if the stream ended before the answer did."""
        if self._is_over:
            return []
        if self._is_native:
            self._is_over = True
            return [{"type": "message_stop"}]  # the message said why it stops, and its server no more
        if self._stop_reason is None:
            return self.fail(ERROR_TYPE, "the provider's stream ended before its answer did")
        events: list[dict[str, Any]] = []
        if self._call is not None:
            self._close(events)
        for call in self._waiting:
            self._open_call(call, call.arguments, events)
            self._close(events)
        for kind, piece in self._later:
            self._say(kind, piece, events)
        self._close(events)
        self._redacted(events)
        self._is_over = True
        usage = {name: count for name, count in self._usage.items() if count is not None}
        usage.setdefault("output_tokens", -(-self._length // CHARACTERS_PER_TOKEN))
        reason = stop_reason_with(self._stop_reason, has_calls=bool(self._calls.all))
        delta = {"stop_reason": reason, "stop_sequence": None}
        return [
            *events,
            {"type": "message_delta", "delta": delta, "usage": usage},
            {"type": "message_stop"},
        ]

    def fail(self, kind: str, message: str) -> list[dict[str, Any]]:
        """The event that ends the stream with an error."""
        if self._is_over:
            return []
        self._is_over = True
        return [error_event(kind, message)]

    def _start(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        self._is_started = True
        message: dict[str, Any] = {
            "id": chunk.get("id"),
            "type": "message",
            "role": "assistant",
            "model": chunk.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # `message_delta` replaces these running totals. Clients add them up, so they must be numbers.
            "usage": {"input_tokens": self._tokens_input, "output_tokens": 0},
        }
        return {"type": "message_start", "message": message}

    def _delta(self, delta: Mapping[str, Any], events: list[dict[str, Any]]) -> None:
        thought = self._thoughts.feed(delta)
        if thought:
            self._say("thinking", thought, events)
        if delta.get("refusal"):
            self._stop_reason = "refusal"
        for name in ("content", "refusal"):
            if isinstance(delta.get(name), str) and delta[name]:
                self._say("text", delta[name], events)
        if delta.get("tool_calls"):
            for call, piece, is_new in self._calls.each(delta["tool_calls"]):
                self._length += len(piece)
                self._take(call, piece, events, is_new=is_new)

    def _take(self, call: Call, piece: str, events: list[dict[str, Any]], *, is_new: bool) -> None:
        if is_new and self._call is not None and not (self._call.is_whole and not self._waiting):
            self._waiting.append(call)
        elif is_new:
            self._open_call(call, piece, events)
        elif call is self._call:
            self._argue(piece, events)
            while self._waiting and self._call is not None and self._call.is_whole:
                following = self._waiting.pop(0)
                self._open_call(following, following.arguments, events)
        elif call not in self._waiting and piece.strip():
            refuse("tool_calls", "go back to a call that was over")

    def _open_call(self, call: Call, piece: str, events: list[dict[str, Any]]) -> None:
        self._close(events)
        self._redacted(events)
        self._call = call
        block: dict[str, Any] = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        self._open("tool", block, events)
        self._argue(piece, events)

    def _argue(self, piece: str, events: list[dict[str, Any]]) -> None:
        """Write arguments of the open call. Those that are no object wait until it is whole."""
        if piece and self._call is not None and self._call.is_object:
            events.append(self._piece({"type": "input_json_delta", "partial_json": piece}))

    def _say(self, kind: str, piece: str, events: list[dict[str, Any]]) -> None:
        if self._call is not None and not (self._call.is_whole and not self._waiting):
            self._later.append((kind, piece))
            return
        self._length += len(piece)
        if kind != self._kind:
            self._close(events)
            empty = {"type": "text", "text": ""}
            if kind == "thinking":
                empty = {"type": "thinking", "thinking": "", "signature": ""}
            self._open(kind, empty, events)
        events.append(self._piece({"type": f"{kind}_delta", kind: piece}))

    def _redacted(self, events: list[dict[str, Any]]) -> None:
        """Add the thoughts that the provider encrypted whole."""
        for data in self._thoughts.left(self.maker):
            self._open("redacted_thinking", {"type": "redacted_thinking", "data": data}, events)
            self._close(events)

    def _open(self, kind: str, block: dict[str, Any], events: list[dict[str, Any]]) -> None:
        self._kind = kind
        self._blocks += 1
        events.append({"type": "content_block_start", "index": self._blocks - 1, "content_block": block})

    def _close(self, events: list[dict[str, Any]]) -> None:
        if self._kind is None:
            return
        if self._kind == "thinking" and (signature := self._thoughts.signature(self.maker)):
            events.append(self._piece({"type": "signature_delta", "signature": signature}))
        if self._call is not None and not self._call.is_object:
            with suppress(RequestError):  # of an answer that its bound cut
                given = orjson.dumps(arguments_object(self._call.arguments, "tool_calls"))
                events.append(self._piece({"type": "input_json_delta", "partial_json": given.decode()}))
        self._kind = self._call = None
        events.append({"type": "content_block_stop", "index": self._blocks - 1})

    def _piece(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._blocks - 1, "delta": delta}
