"""Separate the tool calls of a chat answer, in every spelling that servers use.

Servers of OpenAI's API differ in the streams of their calls. Some leave out `index`, or write 0 for each
call. Some leave out `id`, or repeat it, or write another one in each chunk. Some write the arguments as an
object. `Calls` reads all of them by index and id together.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from router.translate.members import items, optional, optional_items, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call", "error"})
"""The words that OpenAI's clients know, and OpenRouter's for a failure."""


@dataclass(slots=True, eq=False)
class Call:
    """One tool call, as far as it has come."""

    id: str
    """The provider's id, or one of our own if the provider gives none, or the same one twice."""
    given_id: str | None
    name: str | None
    extra: Mapping[str, Any] | None
    """`extra_content`, in which Gemini puts the thought signature that it demands back."""
    kind: str = "function"
    """The type of the call. Others than `function` are run by the provider itself."""
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        return "".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are a JSON object with members, so that no further piece can follow."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            return bool(orjson.loads(self.arguments))
        except orjson.JSONDecodeError:
            return False


class Calls:
    """The tool calls of one stream."""

    def __init__(self) -> None:
        self.all: list[Call] = []
        self._by_index: dict[int, Call] = {}

    def feed(self, pieces: object) -> list[tuple[Call, str, bool]]:
        """Read the `tool_calls` of a delta: each piece's call, its arguments, and whether the call is new.

        RequestError if they are malformed.
        """
        return list(self.each(pieces))

    def each(self, pieces: object) -> Iterator[tuple[Call, str, bool]]:
        """As `feed`, piece by piece: a call is only as far as the pieces that were taken."""
        for piece in optional_items(pieces, "tool_calls"):
            yield self._piece(piece)

    def _piece(self, piece: Mapping[str, Any]) -> tuple[Call, str, bool]:
        function = optional(piece.get("function"), "tool_calls.function")
        name, arguments = function.get("name"), arguments_text(function.get("arguments"))
        name = name if isinstance(name, str) and name else None
        index, given_id = _index(piece.get("index")), _id(piece.get("id"))
        call = self._known(index, given_id, name, arguments)
        is_new = call is None
        if call is None:
            extra = piece.get("extra_content")
            is_taken = given_id is None or any(other.given_id == given_id for other in self.all)
            made = new_call_id() if is_taken or given_id is None else given_id
            kind = piece.get("type")
            kind = kind if isinstance(kind, str) and kind else "function"
            call = Call(made, given_id, name, extra if isinstance(extra, dict) else None, kind)
            self.all.append(call)
        elif call.name is None:
            call.name = name
        if index is not None:
            self._by_index[index] = call
        if arguments:
            call.pieces.append(arguments)
        return call, arguments, is_new

    def _known(
        self, index: int | None, given_id: str | None, name: str | None, arguments: str
    ) -> Call | None:
        """The call that a piece continues, or None if it begins one."""
        last = self.all[-1] if self.all else None
        same = next((call for call in reversed(self.all) if given_id and call.given_id == given_id), None)
        if index is not None:
            held = self._by_index.get(index)
            if held is None:
                return None if name else same
            if name is None or (given_id is not None and held.given_id == given_id):
                return held
            if given_id is None or held.given_id is None:
                return None if held.is_whole and arguments.lstrip().startswith("{") else held
            return None
        if given_id is not None:
            return same or (None if name else last)
        if name is None:
            return last
        is_continued = last is not None and last.name == name and last.pieces and not last.is_whole
        return last if is_continued else None

    def written(self) -> list[dict[str, Any]]:
        """The calls as a whole answer has them."""
        return [_written(call) for call in self.all]


class Mender:
    """Mends the tool calls of a chat answer that strict clients cannot read. Others stay as they are."""

    def __init__(self) -> None:
        self._calls: dict[Any, Calls] = {}
        self._places: dict[Call, int] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a call has come."""
        return bool(self._calls)

    def chunk(self, chunk: dict[str, Any]) -> bool:
        """Mend a chunk in place, and return whether it needed that. RequestError if it is malformed."""
        is_mended = False
        for choice in optional_items(chunk.get("choices"), "choices"):
            delta, place = optional(choice.get("delta"), "delta"), choice.get("index")
            if delta.get("tool_calls"):
                calls = self._calls.setdefault(place, Calls())
                pieces = optional_items(delta["tool_calls"], "tool_calls")
                for piece, (call, arguments, is_new) in zip(pieces, calls.feed(pieces), strict=True):
                    if is_new:
                        self._places[call] = calls.all.index(call)  # without a gap, as some clients need
                    is_mended |= _mend(piece, call, arguments, self._places[call], is_new=is_new)
            is_mended |= _mend_end(choice, has_calls=place in self._calls)
        return is_mended

    def whole(self, completion: dict[str, Any]) -> bool:
        """As `chunk`, for a whole answer."""
        is_mended = False
        for choice in optional_items(completion.get("choices"), "choices"):
            message = optional(choice.get("message"), "message")
            pieces = optional_items(message.get("tool_calls"), "tool_calls")
            for piece, call in zip(pieces, whole_calls(pieces), strict=True):
                is_mended |= _mend(piece, call, call.arguments, None, is_new=True)
            is_mended |= _mend_end(choice, has_calls=bool(pieces))
        return is_mended


def _mend(piece: dict[str, Any], call: Call, arguments: str, index: int | None, *, is_new: bool) -> bool:
    function = piece.get("function")
    if not isinstance(function, dict):
        return False
    mended: dict[str, Any] = {}
    if index is not None and (piece.get("index") != index or type(piece.get("index")) is not int):
        mended["index"] = index
    if piece.get("id") != call.id and (is_new or piece.get("id")):
        mended["id"] = call.id
    if is_new and piece.get("type") is None:
        mended["type"] = "function"
    given = function.get("arguments")
    if given is not None and not isinstance(given, str):
        function["arguments"] = arguments
        mended.setdefault("type", piece.get("type", "function"))
    piece.update(mended)
    return bool(mended)


def _mend_end(choice: dict[str, Any], *, has_calls: bool) -> bool:
    """Clients go on by the finish reason, so that an answer with calls must not end with an unknown word."""
    reason = choice.get("finish_reason")
    if not has_calls or reason is None or reason in FINISH_REASONS or not isinstance(reason, str):
        return False
    choice["finish_reason"] = "tool_calls" if reason else None
    return True


def _written(call: Call) -> dict[str, Any]:
    made: dict[str, Any] = {"id": call.id, "type": call.kind}
    if call.kind == "function":
        made["function"] = {"name": call.name, "arguments": call.arguments}
    return made if call.extra is None else {**made, "extra_content": call.extra}


def whole_calls(calls: object) -> list[Call]:
    """The tool calls of a whole answer, each with an id of its own. RequestError if they are malformed."""
    found: list[Call] = []
    for item in optional_items(calls, "tool_calls"):
        function = optional(item.get("function"), "tool_calls.function")
        given_id, name, extra = _id(item.get("id")), function.get("name"), item.get("extra_content")
        is_taken = given_id is None or any(other.id == given_id for other in found)
        call = Call(
            new_call_id() if is_taken or given_id is None else given_id,
            given_id,
            name if isinstance(name, str) else None,
            extra if isinstance(extra, dict) else None,
        )
        if arguments := arguments_text(function.get("arguments")):
            call.pieces.append(arguments)
        found.append(call)
    return found


def usual(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message or delta whose content is a text, and whose `function_call` is one of the `tool_calls`.

    Mistral writes content in parts, streamed too, and older servers write the one call. The same object if
    nothing is unusual. RequestError if a part is malformed.
    """
    content, called = said.get("content"), said.get("function_call")
    if not isinstance(content, list) and not called:
        return said
    made = dict(said)
    if isinstance(content, list):
        made["content"] = "".join(str(part.get("text") or "") for part in items(content, "content"))
    if called and not said.get("tool_calls"):
        made["tool_calls"] = [{"index": 0, "type": "function", "function": called}]
    return made


def arguments_text(value: object) -> str:
    """The arguments of a call as JSON text: null is empty, and an object is written."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def arguments_object(value: object, member: str, why: str = "is not valid JSON") -> dict[str, Any]:
    """The arguments of a call as an object, in any spelling that means one. RequestError for others."""
    for _ in range(2):  # some models write the JSON text as a JSON text
        if value is None or (isinstance(value, str) and not value.strip()):
            return {}
        if isinstance(value, str):
            try:
                value = json.loads(value, strict=False)  # accepts line ends within texts, which models write
            except (ValueError, RecursionError):
                refuse(member, why)
    if not isinstance(value, dict):
        refuse(member, f"must be an object, got `{type(value).__name__}`")
    try:
        orjson.dumps(value)
    except (TypeError, ValueError):
        refuse(member, why)
    return value


def new_call_id() -> str:
    """An id for a call that has none from its provider."""
    return f"call_{secrets.token_hex(12)}"


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 6:
        return int(value)
    return value if type(value) is int else None


def _id(value: object) -> str | None:
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) and value else None
