"""Takes a person's id out of a document's text, whatever the document is."""

from __future__ import annotations

import re

ERASED = "erased-person"
"""Replaces an erased person's id. YAML reads it as a plain text wherever the id was."""
_WORD = r"[\w.@+-]"


def without(content: bytes, user: str) -> bytes | None:
    """The document without the id; None if it does not hold it. A longer id that contains it stays.

    Ids that YAML or JSON write in another way (with escapes) are found too: then the whole document goes.
    """
    text = content.decode("utf-8", errors="surrogateescape")
    found = re.sub(rf"(?<!{_WORD}){re.escape(user)}(?!{_WORD})", ERASED, text)
    if user in _texts(found):
        found = ERASED
    return None if found == text else found.encode("utf-8", errors="surrogateescape")


def _texts(text: str) -> set[str]:
    """Every text and every name in the document, as a reader of it gets them."""
    import yaml

    try:
        tree = yaml.safe_load(text)  # JSON is YAML
    except (yaml.YAMLError, ValueError):
        return set()
    waiting, found = [tree], set()
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            if id(value) in seen:
                continue
            seen.add(id(value))
            waiting += [*value, *value.values()] if isinstance(value, dict) else value
        else:
            found.add(str(value))
    return found
