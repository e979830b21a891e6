"""What is kept of a request's and an answer's body.

none      nothing
hash      the SHA-256 of the JSON: proves what was said without saying it
redacted  the JSON with every text that a person or a model wrote replaced by its length
full      the JSON as it is

An error's message may quote a body, since providers quote prompts: it is kept under `full` alone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import ProviderError

if TYPE_CHECKING:
    from router.records import BodyMode

KEPT_TEXTS = frozenset(
    {"finish_reason", "format", "id", "model", "object", "reasoning_effort", "role", "service_tier",
     "system_fingerprint", "tool_choice", "type"}
)  # fmt: skip
"""Members whose text is the protocol's, not a person's or a model's."""
NUMBERS = (int, float)
PLAIN = frozenset({int, float, bool, type(None)})
"""Types of members that say nothing of a text: most of an answer's."""
MAX_KEPT_LENGTH = 64
MAX_DETAILS_LENGTH = 500


def kept(body: Any, mode: BodyMode) -> str | None:
    """The text stored for `body` (None: there was none) under `mode`."""
    if body is None or mode == "none":
        return None
    if mode == "hash":
        content = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return orjson.dumps({"sha256": hashlib.sha256(content).hexdigest()}).decode()
    return orjson.dumps(_redacted(body, "") if mode == "redacted" else body).decode()


def kept_details(failure: BaseException | None, mode: BodyMode) -> str | None:
    """The `error_details` stored of a failed call under `mode`."""
    if failure is not None and mode == "full":
        return str(failure)[:MAX_DETAILS_LENGTH] or None
    return failure.facts if isinstance(failure, ProviderError) else None


def _redacted(value: Any, member: str) -> Any:
    if isinstance(value, str):
        is_protocol = member in KEPT_TEXTS and len(value) <= MAX_KEPT_LENGTH
        return value if is_protocol else f"[redacted: {len(value)} characters]"
    if isinstance(value, (list, tuple)):
        # Tokens and vectors spell a text too.
        if value and type(value[0]) in NUMBERS and all(type(item) in NUMBERS for item in value):
            return f"[redacted: {len(value)} numbers]"
        return [_redacted(item, member) for item in value]
    if hasattr(value, "items"):
        return {name: item if type(item) in PLAIN else _redacted(item, name) for name, item in value.items()}
    return value
