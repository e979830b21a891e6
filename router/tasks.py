"""Task types: the caller's label, else a rule, else the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import UnknownTaskError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from router.records import TaskTypeSource
    from router.request import Request

DEFAULT_TASK = "chat"
CODE_MARKS = ("```", "def ", "class ", "function ", "#include", "select ", "SELECT ")


def classify(request: Request, known: AbstractSet[str]) -> tuple[str, TaskTypeSource]:
    """The task type of a request and where it came from; UnknownTaskError for an undeclared label.

    Rules look at the last message and name only tasks that the catalog declares.
    """
    label = request.task_type
    if label is not None:
        if label not in known:
            raise UnknownTaskError(label, known)
        return label, "caller"
    if request.parameters.get("tools") and "tool-use" in known:
        return "tool-use", "rule"
    if "code" in known:
        text = request.last_text()
        if any(mark in text for mark in CODE_MARKS):
            return "code", "rule"
    return DEFAULT_TASK, "default"
