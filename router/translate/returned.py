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
"""Separates the provider's id of a call from the members that travel in it."""
RETURNED = "returned"
"""The member of a tool call in a request that holds what travelled in its id."""
SIGNATURE_MARK = "intellirouter."
"""Begins a signature that is ours, and not Anthropic's."""
MAX_LENGTH = 1 << 20


class Kept(NamedTuple):
    """A member of an answer, as it came."""

    maker: str
    """The name of the provider that wrote it."""
    member: str
    value: Any
    """None if the text of the thought is the value."""


def marked_id(call_id: str, maker: str | None, extra: Mapping[str, Any] | None) -> str:
    """The id of a call, with the members that its provider demands back."""
    if maker is None or not extra or CALL_MARK in call_id:
        return call_id
    return f"{call_id}{CALL_MARK}{_packed([maker, 'extra_content', extra])}"


def parted_id(call_id: str) -> tuple[str, Kept | None]:
    """The provider's id of a call, and the members that `marked_id` put into it."""
    plain, mark, packed = call_id.partition(CALL_MARK)
    kept = _unpacked(packed) if mark else None
    return (plain, kept) if kept is not None else (call_id, None)


def signature_of(maker: str, member: str, value: Any = None) -> str:
    """A thought's signature that says which member the thought came in."""
    return SIGNATURE_MARK + _packed([maker, member, value])


def kept_in(signature: object) -> Kept | None:
    """The member that a signature of ours means; None for any other signature."""
    if not isinstance(signature, str) or not signature.startswith(SIGNATURE_MARK):
        return None
    return _unpacked(signature.removeprefix(SIGNATURE_MARK))


def wrapped(signature: str | None, maker: str | None, member: str = "signature") -> str | None:
    """Anthropic's signature (or the `data` of a redacted thought) for clients of the responses API.

    They know only encrypted reasoning, of which each provider has its own.
    """
    if signature is None or maker is None or is_ours(signature):
        return signature
    return signature_of(maker, member, signature)


def is_ours(signature: object) -> bool:
    """Whether a signature is one of ours, readable or not."""
    return isinstance(signature, str) and signature.startswith(SIGNATURE_MARK)


def _packed(value: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


def _unpacked(packed: str) -> Kept | None:
    if len(packed) > MAX_LENGTH or not packed.isascii():
        return None
    try:
        maker, member, value = orjson.loads(
            base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True)
        )
    except (binascii.Error, ValueError, TypeError):
        return None
    return Kept(maker, member, value) if isinstance(maker, str) and isinstance(member, str) else None
