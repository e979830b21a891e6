"""Task types: the caller's label, else a rule, else the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import UnknownTaskError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from router.records import TaskTypeSource

DEFAULT_TASK = "chat"
CODE_MARKS = ("```", "def ", "class ", "function ", "#include", "select ", "SELECT ")


def classify(
    label: str | None, body: Mapping[str, object], text: str, known: AbstractSet[str]
) -> tuple[str, TaskTypeSource]:
    """The task type of a request and where it came from; UnknownTaskError for an undeclared label.

    `text` is the last user message. Rules name only tasks that the catalog declares.
    """
    if label is not None:
        if label not in known:
            raise UnknownTaskError(label, known)
        return label, "caller"
    if body.get("tools") and "tool-use" in known:
        return "tool-use", "rule"
    if "code" in known and any(mark in text for mark in CODE_MARKS):
        return "code", "rule"
    return DEFAULT_TASK, "default"
