"""Assembles the chunks of a streamed chat completion into its answer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from router.errors import RequestError
from router.providers.base import Answer
from router.providers.reading.endings import finish_of
from router.providers.reading.traces import NO_TRACE, Trace, answered_model, id_of, region_of
from router.translate.calls import Calls
from router.translate.usage import reported_cost_usd, service_tier_of, usage_from_openai

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE = frozenset({"id", "name", "role", "type"})
"""Members of a delta with text that comes whole. Any other text comes in pieces."""
HEAD = ("id", "created", "model", "system_fingerprint", "service_tier")


class _Pieces(list[str]):
    """A text that is joined once, at the end: each addition to a `str` would copy all of it."""


class _Items(dict[str, Any]):
    """A list that comes item by item, each item under its number."""


def answer_of(body: Mapping[str, Any], finish_reason: str | None = None, trace: Trace = NO_TRACE) -> Answer:
    """The answer in `body`, with the usage that it reports."""
    return Answer(
        model_answered=answered_model(body),
        service_tier=service_tier_of(body),
        provider_request_id=trace.request_id or id_of(body),
        provider_region=trace.region or region_of(body),
        body=body,
        raw=b"",
        status_code=200,
        usage=usage_from_openai(body),
        provider_cost_usd=reported_cost_usd(body),
        finish_reason=finish_reason,
    )


class Assembly:
    """The answer so far of one stream."""

    def __init__(self) -> None:
        self.has_content = False
        """Whether anything came that a caller can show: more than a role."""
        self.trace = NO_TRACE
        self._head: dict[str, Any] = {}
        self._messages: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, Calls] = {}
        self._finish_reasons: dict[int, str] = {}
        self._usage: Mapping[str, Any] | None = None
        self._is_usage_final = False

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Add one chunk. Members of an unexpected type are ignored."""
        choices = chunk.get("choices")
        if not self._head:
            self._head = {name: chunk[name] for name in HEAD if name in chunk}
        else:  # Azure's first chunk has no model, and a tier may be known at the end only
            if not self._head.get("model") and chunk.get("model"):
                self._head["model"] = chunk["model"]
            if chunk.get("service_tier") is not None:
                self._head["service_tier"] = chunk["service_tier"]
            if not self._head.get("id") and chunk.get("id"):
                self._head["id"] = chunk["id"]
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    self._add_choice(choice)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage, self._is_usage_final = usage, self.is_finished

    @property
    def is_finished(self) -> bool:
        """Whether every choice that began has its finish reason."""
        return bool(self._messages) and len(self._finish_reasons) == len(self._messages)

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        content = self._messages.get(min(self._messages, default=0), {}).get("content")
        return "".join(content) if isinstance(content, _Pieces) else ""

    def answer(self, *, is_whole: bool) -> Answer:
        """The answer so far. Usage from before the end counts only if the stream is whole."""
        is_counted = self._usage is not None and (is_whole or self._is_usage_final)
        body = {**self._body(), "usage": self._usage} if is_counted else self._body()
        return answer_of(body, self._finish_reasons.get(min(self._messages, default=0)), self.trace)

    def priced(self, usage: Mapping[str, Any]) -> Answer:
        """An answer with the usage of a chunk, for its cost."""
        return answer_of({**self._head, "usage": usage}, trace=self.trace)

    def _body(self) -> dict[str, Any]:
        """The answer so far, in the shape of an answer without streaming."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": None,
                    **_joined(message),
                    **({"tool_calls": self._calls[index].written()} if index in self._calls else {}),
                },
                "finish_reason": self._finish_reasons.get(index),
            }
            for index, message in sorted(self._messages.items())
        ]
        return {**self._head, "object": "chat.completion", "choices": choices}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        index = choice.get("index")
        if not isinstance(index, int):
            index = 0
        message = self._messages.get(index)
        if message is None:
            message = self._messages[index] = {}
        delta = choice.get("delta")
        if isinstance(delta, dict):
            for name, value in delta.items():
                if name == "tool_calls":
                    self._call(index, value)
                    continue
                held = message.get(name)
                if type(held) is _Pieces and type(value) is str:  # nearly every piece
                    held.append(value)
                elif value:
                    self.has_content = self.has_content or name != "role"
                    _merge(message, name, value)
        reason = finish_of(choice.get("finish_reason"))
        if reason is not None:
            self._finish_reasons[index] = reason

    def _call(self, index: int, pieces: object) -> None:
        with suppress(RequestError):  # a malformed piece
            if self._calls.setdefault(index, Calls()).feed(pieces):
                self.has_content = True


def _merge(into: dict[str, Any], name: str, value: Any) -> None:
    """Add a piece: texts grow, objects merge, lists merge by their items' numbers.

    A piece of another kind than the present value is ignored.
    """
    held = into.get(name)
    if isinstance(value, str) and name not in WHOLE:
        if held is None:
            into[name] = _Pieces((value,))
        elif isinstance(held, _Pieces):
            held.append(value)
    elif isinstance(value, dict):
        if held is None:
            held = into[name] = {}
        if type(held) is dict:
            for inner, piece in value.items():
                _merge(held, inner, piece)
    elif isinstance(value, list):
        if held is None:
            held = into[name] = _Items()
        if isinstance(held, _Items):
            _merge_items(held, value)
    elif not isinstance(held, _Pieces | dict):
        into[name] = value


def _merge_items(held: _Items, items: list[Any]) -> None:
    for item in items:
        place = len(held)
        if isinstance(item, dict):
            place = item.get("index", place)
            item = {inner: piece for inner, piece in item.items() if inner != "index"}
        _merge(held, str(place), item)


def _joined(value: Any) -> Any:
    if isinstance(value, _Pieces):
        return "".join(value)
    if isinstance(value, _Items):
        return [_joined(item) for item in value.values()]
    if isinstance(value, dict):
        return {name: _joined(item) for name, item in value.items()}
    return value
