"""Sessions as JSON: one text for each field, so that a change can replace one field of a stored session."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from router.request.preferences import AMOUNTS, SETS, Preferences
from router.sessions.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELDS = tuple(item.name for item in fields(Session))


def digest(owned: str) -> str:
    """The stored name of a session: it shows neither the client's id nor the owner."""
    return hashlib.sha256(owned.encode(errors="surrogatepass")).hexdigest()


def pack(session: Session) -> bytes:
    """The whole session."""
    return orjson.dumps(asdict(session), default=_as_json)


@lru_cache(maxsize=4096)  # a conversation reads the same content at each of its requests
def unpack(content: bytes) -> Session:
    """The session in `content`. ValueError, TypeError or KeyError if it is not one."""
    return _session(orjson.loads(content))


def pack_fields(values: Mapping[str, Any]) -> dict[str, bytes]:
    """Each field on its own."""
    return {name: orjson.dumps(value, default=_as_json) for name, value in values.items()}


def fields_of(session: Session) -> dict[str, Any]:
    """A session's fields by name."""
    return {name: getattr(session, name) for name in _FIELDS}


def unpack_fields(texts: Mapping[bytes, bytes]) -> Session:
    """The session of some fields. Fields that this version does not know are left out."""
    known = {name: orjson.loads(texts[name.encode()]) for name in _FIELDS if name.encode() in texts}
    return _session(known)


def _session(members: dict[str, Any]) -> Session:
    if members.get("treated_as") is not None:
        members["treated_as"] = tuple(members["treated_as"])
    wished = members.get("preferences")
    if wished is not None:
        wished["order"] = tuple(wished["order"])
        wished |= {name: frozenset(wished[name]) for name in SETS if wished[name] is not None}
        wished |= {name: Decimal(wished[name]) for name in AMOUNTS if wished[name] is not None}
        members["preferences"] = Preferences(**wished)
    return Session(**members)


def _as_json(value: Any) -> Any:
    if isinstance(value, Preferences):
        return asdict(value)
    return sorted(value) if isinstance(value, frozenset) else str(value)
