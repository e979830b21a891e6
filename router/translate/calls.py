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

from router.translate.members import optional, optional_items, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        return [self._piece(piece) for piece in optional_items(pieces, "tool_calls")]

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
