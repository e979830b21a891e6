"""Task types: the caller's label, else a rule, else the classifier's guess, else the default."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.errors import UnknownTaskError
from router.tasks.features import has_code

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from router.records import TaskTypeSource
    from router.request.request import Request
    from router.tasks.classifier import TaskClassifier

DEFAULT_TASK = "chat"
TOOLS_TASK = "tool-use"
CODE_TASK = "code"
EMBEDDING_TASK = "embedding"
CONFIDENCE_FLOOR = 0.5
"""A guess with less confidence is not used."""


class TaskType(NamedTuple):
    """The task type of a request, and its source."""

    task_type: str
    source: TaskTypeSource
    confidence: float | None
    """The classifier's probability of its likeliest task; None if it was not asked."""


def task_of(
    label: str | None,
    body: Mapping[str, object],
    text: str,
    known: AbstractSet[str],
    classifier: TaskClassifier | None = None,
) -> TaskType:
    """The task type of a request and its source; UnknownTaskError for an undeclared label.

    `text` is the last user message. Rules and classifier name only tasks that the catalog declares.
    """
    if label is not None:
        if label not in known:
            raise UnknownTaskError(label, known)
        return TaskType(label, "caller", None)
    if body.get("tools") and TOOLS_TASK in known:
        return TaskType(TOOLS_TASK, "rule", None)
    if CODE_TASK in known and has_code(text):
        return TaskType(CODE_TASK, "rule", None)
    if classifier is None:
        return TaskType(DEFAULT_TASK, "default", None)
    task, confidence = classifier.guess(text, body, known)
    if task is None or confidence < CONFIDENCE_FLOOR:
        return TaskType(DEFAULT_TASK, "default", confidence)
    return TaskType(task, "classifier", confidence)


def classify(request: Request, known: AbstractSet[str], classifier: TaskClassifier | None = None) -> TaskType:
    """`task_of` a request. The text of a labelled request is not read."""
    if request.operation == "embeddings" and request.task_type is None:
        return TaskType(EMBEDDING_TASK, "rule", None)
    text = "" if request.task_type is not None else request.last_text()
    return task_of(request.task_type, request.parameters, text, known, classifier)
