"""Separate the tool calls of a chat answer, in every spelling that servers use.

Servers of OpenAI's API differ in the streams of their calls. Some leave out `index`, or write 0 for each
call. Some leave out `id`, or repeat it, or write another one in each chunk. Some write the arguments as an
object. `Calls` reads all of them by index and id together.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from router.translate.members import items, optional, optional_items, refuse
from router.translate.thoughts import TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


EXTRAS = (
    "extra_content",  # Google's OpenAI endpoint
    "provider_specific_fields",  # LiteLLM
    "signature",
    "thoughtSignature",
    "thought_signature",
)
"""Members of a call with the signature that its provider demands back."""
NO_OBJECT = "arguments"
"""The member that holds arguments which are no object, where a reader takes only objects."""


@dataclass(slots=True, eq=False)
class Call:
    """One tool call, as far as it has come."""

    id: str
    """The provider's id, or one of our own if the provider gives none, or the same one twice."""
    given_id: str | None
    name: str | None
    extra: Mapping[str, Any]
    """The members of `EXTRAS` that it has."""
    kind: str = "function"
    """The type of the call. Others than `function` are run by the provider itself."""
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        return "".join(self.pieces)

    @property
    def is_object(self) -> bool:
        """Whether the arguments begin as an object does, or have not begun."""
        for piece in self.pieces:
            if start := piece.lstrip():
                return start[0] == "{"
        return True

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
            is_taken = given_id is None or any(other.given_id == given_id for other in self.all)
            made = new_call_id() if is_taken or given_id is None else given_id
            kind = piece.get("type")
            kind = kind if isinstance(kind, str) and kind else "function"
            call = Call(made, given_id, name, _extra(piece), kind)
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
    made: dict[str, Any] = {"id": call.id, "type": call.kind, **call.extra}
    if call.kind == "function":
        made["function"] = {"name": call.name, "arguments": call.arguments}
    return made


def whole_calls(calls: object) -> list[Call]:
    """The tool calls of a whole answer, each with an id of its own. RequestError if they are malformed."""
    found: list[Call] = []
    for item in optional_items(calls, "tool_calls"):
        function = optional(item.get("function"), "tool_calls.function")
        given_id, name = _id(item.get("id")), function.get("name")
        is_taken = given_id is None or any(other.id == given_id for other in found)
        call = Call(
            new_call_id() if is_taken or given_id is None else given_id,
            given_id,
            name if isinstance(name, str) else None,
            _extra(item),
        )
        if arguments := arguments_text(function.get("arguments")):
            call.pieces.append(arguments)
        found.append(call)
    return found


def usual(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message or delta whose content is a text, and whose `function_call` is one of the `tool_calls`.

    Mistral writes content in parts, streamed too, and its thoughts are parts. Older servers write the one
    call. The same object if nothing is unusual. RequestError if a part is malformed.
    """
    content, called = said.get("content"), said.get("function_call")
    if not isinstance(content, list) and not called:
        return said
    made = dict(said)
    if isinstance(content, list):
        parts = items(content, "content")
        made["content"] = "".join(str(part.get("text") or "") for part in parts)
        thought = "".join(_thought(part) for part in parts)
        if thought and not any(said.get(name) for name in TEXTS):
            made["reasoning_content"] = thought
    if called and not said.get("tool_calls"):
        made["tool_calls"] = [{"index": 0, "type": "function", "function": called}]
    return made


def is_thought(part: object) -> bool:
    """Whether a part of the content is one of Mistral's thoughts."""
    return isinstance(part, dict) and part.get("type") == "thinking"


def _thought(part: Mapping[str, Any]) -> str:
    """The text of a part that is one of Mistral's thoughts."""
    said = part.get("thinking")
    if isinstance(said, str):
        return said
    pieces = said if isinstance(said, list) else []
    return "".join(str(piece.get("text") or "") for piece in pieces if isinstance(piece, dict))


def _extra(piece: Mapping[str, Any]) -> dict[str, Any]:
    return {name: piece[name] for name in EXTRAS if piece.get(name)}


def arguments_text(value: object) -> str:
    """The arguments of a call as JSON text: null is empty, and an object is written."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def arguments_object(value: object, member: str, why: str = "is not valid JSON") -> dict[str, Any]:
    """The arguments of a call as an object, in any spelling that means one. RequestError if they are no JSON.

    A list, a number or a text is put into the member `arguments` of an object. The tool then says what it
    misses, as it does for clients that read the text.
    """
    try:
        value = _meant(value)
        orjson.dumps(value)
    except (TypeError, ValueError, RecursionError):
        refuse(member, why)
    return value if isinstance(value, dict) else {NO_OBJECT: value}


def object_text(arguments: str) -> str:
    """The arguments as JSON text of an object, if they mean one. Others are returned as they are."""
    start = arguments.lstrip()[:1]
    if start and start not in '"n':
        return arguments
    try:
        value = _meant(arguments)
        return orjson.dumps(value).decode() if isinstance(value, dict) else arguments
    except (TypeError, ValueError, RecursionError):
        return arguments


def _meant(value: object) -> Any:
    """The value of JSON text. Nothing and null are no arguments. ValueError if it is no JSON."""
    if isinstance(value, str) and value.strip():
        value = json.loads(value, strict=False)  # accepts line ends within texts, which models write
        if isinstance(value, str) and value.strip():
            with suppress(ValueError, RecursionError):  # some models write the JSON text as a JSON text
                inner = json.loads(value, strict=False)
                return inner if isinstance(inner, dict) else value
    return {} if value is None or (isinstance(value, str) and not value.strip()) else value


def is_json(said: str) -> bool:
    """Whether a text is JSON of any kind."""
    try:
        json.loads(said, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


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
