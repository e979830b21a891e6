"""Mend chat answers that strict clients cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.translate.calls import Calls, is_json, is_thought, object_text, usual, whole_calls
from router.translate.members import optional, optional_items
from router.translate.returned import marked_id
from router.translate.thoughts import TurnThoughts, thinks_back

if TYPE_CHECKING:
    from router.translate.calls import Call

FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call", "error"})
"""The words that OpenAI's clients know, and OpenRouter's for a failure."""


class Mender:
    """Mends a chat answer that strict clients cannot read. Others stay as they are.

    Calls get an index and an id, arguments that are JSON text of an object, and in the id the members that
    their provider demands back. Mistral's thoughts move from the content to `reasoning_content`.
    """

    def __init__(self, maker: str, model: str) -> None:
        """`maker` is the name of the provider, and `model` its name of the model."""
        self._maker = maker
        self._thinks_back = thinks_back(model)
        self._calls: dict[Any, Calls] = {}
        self._places: dict[Call, int] = {}
        self._held: set[Call] = set()
        """Calls whose arguments begin as a text or null: they wait until they are whole."""
        self._passing: set[Call] = set()
        """Calls whose arguments pass as they come."""
        self._thoughts: dict[Any, TurnThoughts] = {}
        self._listed: set[Any] = set()
        """Choices whose content comes in parts."""

    def has_work(self, raw: bytes) -> bool:
        """Whether a chunk or an answer of these bytes may need a look."""
        return (
            b'"tool_calls"' in raw
            or bool(self._calls)
            or (b'"thinking' in raw or b'"reasoning_details"' in raw)
            or bool(self._listed)
            or (self._thinks_back and b'"reasoning' in raw)
        )

    def chunk(self, chunk: dict[str, Any]) -> bool:
        """Mend a chunk in place, and return whether it needed that. RequestError if it is malformed."""
        is_mended = False
        for choice in optional_items(chunk.get("choices"), "choices"):
            delta, place = optional(choice.get("delta"), "delta"), choice.get("index")
            is_mended |= self._spell(choice, "delta", place)
            delta = optional(choice.get("delta"), "delta")
            if delta.get("tool_calls"):
                calls = self._calls.setdefault(place, Calls())
                pieces = optional_items(delta["tool_calls"], "tool_calls")
                for piece, (call, arguments, is_new) in zip(pieces, calls.feed(pieces), strict=True):
                    if is_new:
                        self._places[call] = calls.all.index(call)  # without a gap, as some clients need
                        self._mark(call, place)
                    shown = self._shown(call, arguments)
                    is_mended |= _mend(piece, call, shown, self._places[call], is_new=is_new)
            if place in self._calls and choice.get("finish_reason"):
                is_mended |= self._finish(choice, self._calls[place])
            is_mended |= _mend_end(choice, has_calls=place in self._calls)
        return is_mended

    def whole(self, completion: dict[str, Any]) -> bool:
        """As `chunk`, for a whole answer."""
        is_mended = False
        for choice in optional_items(completion.get("choices"), "choices"):
            place = choice.get("index")
            is_mended |= self._spell(choice, "message", place)
            message = optional(choice.get("message"), "message")
            pieces = optional_items(message.get("tool_calls"), "tool_calls")
            for piece, call in zip(pieces, whole_calls(pieces), strict=True):
                self._mark(call, place)
                is_mended |= _mend(piece, call, object_text(call.arguments) or "{}", None, is_new=True)
            is_mended |= _mend_end(choice, has_calls=bool(pieces))
        return is_mended

    def _spell(self, choice: dict[str, Any], member: str, place: Any) -> bool:
        """Move thoughts out of the content, and note those that must come back with the next turn."""
        said = optional(choice.get(member), member)
        content, is_mended = said.get("content"), False
        if isinstance(content, list) and (place in self._listed or any(map(is_thought, content))):
            self._listed.add(place)
            said = choice[member] = dict(usual(said))
            is_mended = True
        thoughts = self._thoughts.setdefault(place, TurnThoughts(is_all=self._thinks_back))
        return thoughts.feed(said, is_piece=member == "delta") or is_mended

    def _mark(self, call: Call, place: Any) -> None:
        """Put the members that many clients drop into the id of a call. The first call has the thoughts."""
        call.id = marked_id(call.id, self._maker, call.extra, self._thoughts[place].taken())

    def _shown(self, call: Call, arguments: str) -> str:
        """The arguments to show for a piece."""
        if call in self._passing or not (said := call.arguments.lstrip()):
            return arguments
        if said[0] not in '"n':
            self._passing.add(call)
            return arguments
        self._held.add(call)
        if not is_json(said):
            return ""
        self._held.remove(call)
        self._passing.add(call)
        return object_text(said)

    def _finish(self, choice: dict[str, Any], calls: Calls) -> bool:
        """Add the arguments that are still to be shown, and `{}` for a call without any."""
        pieces = []
        for call in calls.all:
            said = call.arguments if call in self._held else ""
            self._held.discard(call)
            is_empty = call.kind == "function" and not call.arguments.strip()
            if is_empty and choice["finish_reason"] != "length":  # a call that was cut is not one without any
                said = "{}"
                call.pieces.append(said)
            if said:
                pieces.append({"index": self._places[call], "function": {"arguments": said}})
        if not pieces:
            return False
        delta = choice["delta"] = optional(choice.get("delta"), "delta")
        delta["tool_calls"] = [*optional_items(delta.get("tool_calls"), "tool_calls"), *pieces]
        return True


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
    piece.update(mended)
    if (function.get("arguments") or "") != arguments:
        function["arguments"] = arguments
        return True
    return bool(mended)


def _mend_end(choice: dict[str, Any], *, has_calls: bool) -> bool:
    """Clients go on by the finish reason, so that an answer with calls must not end with an unknown word."""
    reason = choice.get("finish_reason")
    if not has_calls or reason is None or reason in FINISH_REASONS or not isinstance(reason, str):
        return False
    choice["finish_reason"] = "tool_calls" if reason else None
    return True
