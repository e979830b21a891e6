"""Takes a person's id out of a document's text, whatever the document is.

An id may also be the name of a model, an environment or an organisation. Then only the places that can
hold a person change: the names under `users`, the values of `user` and `user_id`, and the `subject` of an
entry whose `scope` is `user`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ERASED = "erased-person"
"""Replaces an erased person's id. YAML reads it as a plain text wherever the id was."""
_WORD = r"[\w.@+-]"


def without(content: bytes, user: str) -> bytes | None:
    """The document without the id; None if it does not hold it. A longer id that contains it stays.

    Ids that YAML or JSON write in another way (with escapes) are found too.
    """
    text = content.decode("utf-8", errors="surrogateescape")
    word = re.compile(rf"(?<!{_WORD}){re.escape(user)}(?!{_WORD})")
    places = person_places(text)
    found = text
    for place in sorted(places or (), key=lambda node: -node.start_mark.index):
        if place.value == user:
            start, end = place.start_mark.index, place.end_mark.index
            quote = '"' if text[start] == '"' else ""
            found = f"{found[:start]}{quote}{ERASED}{quote}{found[end:]}"
    if places is None or not any(word.search(name) for name in _names(found)):
        found = word.sub(ERASED, found)
    return None if found == text else found.encode("utf-8", errors="surrogateescape")


def person_places(text: str, *, organization: str | None = None) -> list[Any] | None:
    """The YAML nodes of a document that can hold a person's id; None if it is not YAML or JSON.

    With an organisation, only entries with this `organization_id` count.
    """
    root = _parsed(text)
    if root is None and text.strip():
        return None
    return [] if root is None else list(_places(root, organization, set()))


def _parsed(text: str) -> Any:
    import yaml

    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)  # JSON is YAML
    except (yaml.YAMLError, ValueError):
        return None


def _places(node: Any, organization: str | None, seen: set[int]) -> Iterator[Any]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.id == "sequence":
        for item in node.value:
            yield from _places(item, organization, seen)
    elif node.id == "mapping":
        members = {name.value: value for name, value in node.value if name.id == "scalar"}
        entry = {name: value.value for name, value in members.items() if value.id == "scalar"}
        if organization in (None, entry.get("organization_id")):
            yield from _own_places(members, is_user=entry.get("scope") == "user")
        for _, value in node.value:
            yield from _places(value, organization, seen)


def _own_places(members: dict[str, Any], *, is_user: bool) -> Iterator[Any]:
    """The places in one mapping. The subject `*` means all users, so it is not a person."""
    for name, value in members.items():
        is_place = name in ("user", "user_id") or (name == "subject" and is_user and value.value != "*")
        if is_place and value.id == "scalar":
            yield value
        elif name == "users" and value.id == "mapping":
            yield from (key for key, _ in value.value if key.id == "scalar")
        elif name == "users" and value.id == "sequence":
            yield from (item for item in value.value if item.id == "scalar")


def _names(text: str) -> set[str]:
    """The scalars of a document that are one word, which may be names of something else than a person."""
    root = _parsed(text)
    waiting, found = [] if root is None else [root], set()
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.id == "mapping":
            waiting += [item for pair in node.value for item in pair]
        elif node.id == "sequence":
            waiting += node.value
        elif not any(letter.isspace() for letter in node.value):
            found.add(node.value)
    return found
