"""Translate streams between OpenAI's responses API and chat completions, both ways.

Source: OpenAI's API reference (streaming events), as of the `openai` package 3.54. Chat reports usage
after the finish reason, so that a response ends when its stream does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.translate.calls import Calls, usual
from router.translate.members import optional, optional_items
from router.translate.responses.answers import (
    call_item,
    chat_usage,
    finish_reason_of,
    finished,
    head_of,
    item_id,
    message_item,
    reasoning_item,
    refusal_part,
    response_usage,
    text_part,
)
from router.translate.returned import wrapped
from router.translate.thoughts import Thoughts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.calls import Call
    from router.translate.responses.answers import Item

    Event = dict[str, Any]

TEXTS = ("response.output_text.delta", "response.refusal.delta")
THOUGHTS = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
ENDS = ("response.completed", "response.incomplete")
FAILURES = {"rate_limited": "rate_limit_exceeded"}
"""The API's own name of a failure. Any other is `server_error`."""
CARRIED = ("message", "reasoning")
"""Items with content in deltas that chat has. Any other item is content by itself."""


def to_sse(event: Mapping[str, Any]) -> bytes:
    """Write an event for a stream."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


class EventsToChunks:
    """Translates the responses API's events to chat chunks. The caller must handle events of a failure."""

    def __init__(self) -> None:
        self.is_finished = False
        """Whether the response reached its end. A stream that stops before is broken."""
        self._head: dict[str, Any] = {
            "id": None,
            "object": "chat.completion.chunk",
            "created": None,
            "model": None,
        }
        self._calls: dict[Any, int] = {}  # output index to chat's tool call

    def feed(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Translate `event` to a chunk. RequestError if it is malformed."""
        kind = event.get("type")
        delta: dict[str, Any] | None = None
        finish_reason, usage = None, None
        if kind in TEXTS:
            delta = {"content" if kind == TEXTS[0] else "refusal": event.get("delta")}
        elif kind in THOUGHTS:
            delta = {"reasoning_content": event.get("delta")}
        elif kind == "response.output_item.added":
            delta = self._added(event.get("output_index"), optional(event.get("item"), "item"))
        elif kind == "response.function_call_arguments.delta":
            place = self._calls.get(event.get("output_index"), 0)
            delta = {"tool_calls": [{"index": place, "function": {"arguments": event.get("delta")}}]}
        elif kind in ENDS:
            response = optional(event.get("response"), "response")
            self.is_finished = True
            delta, finish_reason, usage = {}, finish_reason_of(response), chat_usage(response)
            named = {name: response.get(name) for name in ("model", "service_tier")}
            self._head |= {name: value for name, value in named.items() if value is not None}
        elif kind == "response.created":
            response = optional(event.get("response"), "response")
            self._head |= {
                "id": response.get("id"),
                "created": response.get("created_at"),
                "model": response.get("model"),
            }
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        chunk = {**self._head, "choices": choices}
        if usage is not None:
            chunk["usage"] = usage
        return chunk

    def _added(self, index: Any, item: Mapping[str, Any]) -> dict[str, Any] | None:
        if item.get("type") in CARRIED:
            return None
        place = self._calls[index] = len(self._calls)
        if item.get("type") != "function_call":  # a tool that OpenAI runs: the answer has begun
            return {"tool_calls": [{"index": place, "id": item.get("id"), "type": item.get("type")}]}
        function = {"name": item.get("name"), "arguments": ""}
        return {
            "tool_calls": [
                {"index": place, "id": item.get("call_id"), "type": "function", "function": function}
            ]
        }


class _Open:
    """An item of the answer that is still incomplete."""

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.id = name
        self.pieces: list[str] = []
        self.parts: list[Item] = []
        """Complete parts of a message."""
        self.kind = ""
        """The kind of a message's open part: `output_text` or `refusal`."""
        self.call_id = ""
        """The id of a function call, as the client sends it back."""


class ChunksToEvents:
    """Translates chat chunks to the responses API's events. The API's own events pass unchanged.

    You must `feed` each chunk, then `finish` or `fail` once.
    """

    def __init__(self, asked: Mapping[str, Any], *, response_id: str, created: int) -> None:
        """`created` is in seconds since 1970."""
        self._head = head_of(asked, response_id=response_id, created=created)
        self._number = 0
        self._is_started = False
        self._is_over = False
        self._output: dict[int, Item] = {}
        self._count = 0
        self._message: _Open | None = None
        self._thought: _Open | None = None
        self._calls: dict[Call, _Open] = {}
        self._call_now: Call | None = None  # the latest one whose item began
        self._waiting: list[Call] = []
        self._read = Calls()
        self._thoughts = Thoughts()
        self.maker: str | None = None
        """The name of the provider that answers. Without it, nothing is kept for its next turn."""
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None

    def feed(self, chunk: Mapping[str, Any], native: Event | None = None) -> list[Event]:
        """Translate `chunk` to events. RequestError if it is malformed.

        `native` is the event that the chunk was translated from. It passes unchanged, with its cost added.
        """
        if native is not None:
            return [self._passed(native, chunk)]
        events: list[Event] = []
        if not self._is_started:
            self._is_started = True
            self._head["model"] = chunk.get("model") or self._head["model"]
            kinds = ("response.created", "response.in_progress")
            events.extend(self._event(kind, response=dict(self._head)) for kind in kinds)
        if isinstance(chunk.get("usage"), dict):
            self._usage = response_usage(chunk)
        for choice in optional_items(chunk.get("choices"), "choices"):
            self._delta(usual(optional(choice.get("delta"), "delta")), events)
            self._finish_reason = self._finish_reason or choice.get("finish_reason")
        return events

    def finish(self) -> list[Event]:
        """The events that end the response."""
        if self._is_over:
            return []
        self._is_over = True
        events: list[Event] = []
        self._close_all(events)
        response = finished(self._head, self._items(), self._finish_reason, self._usage)
        return [*events, self._event(f"response.{response['status']}", response=response)]

    def fail(self, code: str, message: str) -> list[Event]:
        """The events that end a failed response: the error, and the incomplete response."""
        if self._is_over:
            return []
        self._is_over = True
        error = {"code": code, "message": message}
        # OpenAI's servers put the error into its own member, and its reference puts it next to the type.
        said = self._event(
            "error", **error, param=None, error={"type": "server_error", "param": None, **error}
        )
        named = {"code": FAILURES.get(code, "server_error"), "message": message}
        failed = {**self._head, "status": "failed", "error": named, "output": self._items()}
        return [said, self._event("response.failed", response=failed)]

    def _passed(self, event: Event, chunk: Mapping[str, Any]) -> Event:
        self._is_started = True
        if isinstance(event.get("sequence_number"), int):
            self._number = event["sequence_number"] + 1
        response = event.get("response")
        if isinstance(response, dict):
            self._head = response
        if event.get("type") in ENDS:
            self._is_over = True
            usage, told = optional(event["response"].get("usage"), "usage"), chunk.get("usage")
            if usage and isinstance(told, dict) and "cost_usd" in told:
                usage = {**usage, "cost_usd": told["cost_usd"]}
                return {**event, "response": {**event["response"], "usage": usage}}
        elif event.get("type") == "response.output_item.done" and isinstance(event.get("output_index"), int):
            self._output[event["output_index"]] = event.get("item") or {}
        return event

    def _event(self, kind: str, **members: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **members}

    def _items(self) -> list[Item]:
        return [item for _, item in sorted(self._output.items())]

    def _delta(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        if thought := self._thoughts.feed(delta):
            self._think(thought, events)
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            if isinstance(delta.get(name), str) and delta[name]:
                self._say(kind, delta[name], events)
        if delta.get("tool_calls"):
            for call, piece, is_new in self._read.each(delta["tool_calls"]):
                self._call(call, piece, events, is_new=is_new)

    def _open(self, kind: str) -> _Open:
        self._count += 1
        return _Open(self._count - 1, item_id(kind, self._head["id"], self._count - 1))

    def _at(self, item: _Open, **members: Any) -> dict[str, Any]:
        return {"item_id": item.id, "output_index": item.index, **members}

    def _think(self, piece: str, events: list[Event]) -> None:
        self._close_message(events)
        item = self._thought
        if item is None:
            item = self._thought = self._open("rs")
            started = reasoning_item(item.id, None, "in_progress")
            events.append(self._event("response.output_item.added", output_index=item.index, item=started))
            part = {"type": "reasoning_text", "text": ""}
            events.append(
                self._event("response.content_part.added", **self._at(item, content_index=0, part=part))
            )
        item.pieces.append(piece)
        where = self._at(item, content_index=0, delta=piece)
        events.append(self._event("response.reasoning_text.delta", **where))

    def _say(self, kind: str, piece: str, events: list[Event]) -> None:
        self._close_thought(events)
        item = self._message
        if item is None:
            item = self._message = self._open("msg")
            started = message_item(item.id, [], "in_progress")
            events.append(self._event("response.output_item.added", output_index=item.index, item=started))
        if item.kind != kind:
            self._close_part(item, events)
            item.kind = kind
            part = text_part("") if kind == "output_text" else refusal_part("")
            place = self._at(item, content_index=len(item.parts), part=part)
            events.append(self._event("response.content_part.added", **place))
        item.pieces.append(piece)
        where = self._at(item, content_index=len(item.parts), delta=piece)
        if kind == "output_text":
            where["logprobs"] = []
        events.append(self._event(f"response.{kind}.delta", **where))

    def _call(self, call: Call, piece: str, events: list[Event], *, is_new: bool) -> None:
        self._close_thought(events)
        self._close_message(events)
        now = self._call_now
        if is_new and now is not None and (self._waiting or not now.is_whole):
            self._waiting.append(call)  # clients read the pieces of one call after another
        elif is_new:
            self._open_call(call, events)
        elif call in self._calls and piece:
            self._add(call, piece, events)
        while self._waiting and now is not None and now.is_whole:
            now = self._waiting.pop(0)
            self._open_call(now, events)

    def _open_call(self, call: Call, events: list[Event]) -> None:
        """Begin the item of a call, with the arguments that have come."""
        self._call_now = call
        item = self._calls[call] = self._open("fc")
        item.call_id = call.id
        started = call_item(item.id, item.call_id, call.name, "", "in_progress")
        events.append(self._event("response.output_item.added", output_index=item.index, item=started))
        if call.pieces:
            self._add(call, call.arguments, events)

    def _add(self, call: Call, piece: str, events: list[Event]) -> None:
        kind = "response.function_call_arguments.delta"
        events.append(self._event(kind, **self._at(self._calls[call], delta=piece)))

    def _close_all(self, events: list[Event]) -> None:
        self._close_thought(events)
        self._close_message(events)
        for call in self._waiting:
            self._open_call(call, events)
        for call, item in self._calls.items():
            if not call.pieces:
                self._add(call, "{}", events)
            arguments = call.arguments or "{}"
            where = self._at(item, name=call.name, arguments=arguments)
            events.append(self._event("response.function_call_arguments.done", **where))
            self._done(item, call_item(item.id, item.call_id, call.name, arguments), events)

    def _close_thought(self, events: list[Event]) -> None:
        item, self._thought = self._thought, None
        if item is not None:
            content = "".join(item.pieces)
            where = self._at(item, content_index=0, text=content)
            events.append(self._event("response.reasoning_text.done", **where))
            part = {"type": "reasoning_text", "text": content}
            events.append(
                self._event("response.content_part.done", **self._at(item, content_index=0, part=part))
            )
            signature = wrapped(self._thoughts.signature(self.maker), self.maker, thought=content)
            self._done(item, reasoning_item(item.id, content, signature=signature), events)
        for data in self._thoughts.left(self.maker):
            item = self._open("rs")
            hidden = reasoning_item(item.id, None, signature=wrapped(data, self.maker, "data"))
            events.append(self._event("response.output_item.added", output_index=item.index, item=hidden))
            self._done(item, hidden, events)

    def _close_message(self, events: list[Event]) -> None:
        item, self._message = self._message, None
        if item is not None:
            self._close_part(item, events)
            self._done(item, message_item(item.id, item.parts), events)

    def _close_part(self, item: _Open, events: list[Event]) -> None:
        if not item.kind:
            return
        content, place = "".join(item.pieces), len(item.parts)
        if item.kind == "output_text":
            part, told = text_part(content), {"text": content, "logprobs": []}
        else:
            part, told = refusal_part(content), {"refusal": content}
        where = self._at(item, content_index=place)
        events.append(self._event(f"response.{item.kind}.done", **where, **told))
        events.append(self._event("response.content_part.done", **where, part=part))
        item.parts.append(part)
        item.pieces, item.kind = [], ""

    def _done(self, item: _Open, made: Item, events: list[Event]) -> None:
        self._output[item.index] = made
        events.append(self._event("response.output_item.done", output_index=item.index, item=made))
