"""Members that a provider demands back on the next turn, in places that clients of other APIs keep.

Gemini refuses a turn whose tool calls lack their thought signatures, and DeepSeek one without its
reasoning. Anthropic's and the responses API have no member for either. Their clients do send back the id
of a call and the signature of a thought, so these carry the members, with the name of the provider that
wrote them. They go back to that provider only.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

CALL_MARK = "__thought__"
"""Separates the provider's id of a call from the members that travel in it. LiteLLM writes it too."""
RETURNED = "returned"
"""The member of a tool call in a request with the fields of a `Returned`."""
SIGNATURE_MARK = "intellirouter."
"""Begins a signature that is ours, and not Anthropic's."""
MAX_LENGTH = 1 << 20
MAX_TURN_LENGTH = 32 << 10
"""The most characters that the thoughts of a turn may add to an id. Longer ones are left out."""


class Kept(NamedTuple):
    """A member of an answer, as it came."""

    maker: str
    """The name of the provider that wrote it."""
    member: str
    value: Any
    """None if the text of the thought is the value."""


class Returned(NamedTuple):
    """The members that travelled in the id of a call."""

    maker: str
    """The name of the provider that wrote it."""
    call: Mapping[str, Any]
    """Members of the call."""
    turn: Mapping[str, Any]
    """Members of the message that the call belongs to."""


def marked_id(
    call_id: str, maker: str, call: Mapping[str, Any] | None, turn: Mapping[str, Any] | None = None
) -> str:
    """The id of a call, with the members that its provider demands back in the call and in its turn.

    An id that its provider has marked itself goes back to that provider whole.
    """
    members = dict(call or {})
    plain = call_id
    if CALL_MARK in call_id:
        plain, returned = parted_id(call_id)
        if returned is not None:
            return call_id
        plain = call_id.partition(CALL_MARK)[0]
        members["id"] = call_id
    packed = _packed([maker, members, turn or {}]) if members or turn else ""
    if turn and len(packed) > MAX_TURN_LENGTH:
        packed = _packed([maker, members, {}]) if members else ""
    return f"{plain}{CALL_MARK}{packed}" if packed else plain


def parted_id(call_id: str) -> tuple[str, Returned | None]:
    """The provider's id of a call, and the members that `marked_id` put into it."""
    plain, mark, packed = call_id.partition(CALL_MARK)
    match _unpacked(packed) if mark else None:
        case [str(maker), dict(call), dict(turn)]:
            return plain, Returned(maker, call, turn)
    return call_id, None


def returned_of(value: object) -> Returned | None:
    """The fields that a call in a request has under RETURNED; None if they are not ours."""
    match value:
        case {"maker": str(maker), "call": dict(call), "turn": dict(turn)}:
            return Returned(maker, call, turn)
    return None


def signature_of(maker: str, member: str, value: Any = None) -> str:
    """A thought's signature that says which member the thought came in."""
    return SIGNATURE_MARK + _packed([maker, member, value])


def kept_in(signature: object) -> Kept | None:
    """The member that a signature of ours means; None for any other signature."""
    if not isinstance(signature, str) or not signature.startswith(SIGNATURE_MARK):
        return None
    match _unpacked(signature.removeprefix(SIGNATURE_MARK)):
        case [str(maker), str(member), value]:
            return Kept(maker, member, value)
    return None


def wrapped(
    signature: str | None, maker: str | None, member: str = "signature", thought: str = ""
) -> str | None:
    """Anthropic's signature (or the `data` of a redacted thought) for clients of the responses API.

    They know only encrypted reasoning, of which each provider has its own. Some drop the text of a thought,
    so the signature of a `thought` holds the text too.
    """
    if signature is None or maker is None or is_ours(signature):
        return signature
    return signature_of(
        maker, member, {"signature": signature, "thinking": thought} if thought else signature
    )


def is_ours(signature: object) -> bool:
    """Whether a signature is one of ours, readable or not."""
    return isinstance(signature, str) and signature.startswith(SIGNATURE_MARK)


def _packed(value: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


def _unpacked(packed: str) -> Any:
    if len(packed) > MAX_LENGTH or not packed.isascii():
        return None
    try:
        return orjson.loads(base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
