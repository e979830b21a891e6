"""Whether two names mean the same model: providers answer with dates, folders and versions in their names."""

from __future__ import annotations

import re

_DATE = re.compile(
    r"(?:[-@_:.](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{4}|\d{3}|\d{2}-\d{4}|\d{2}-\d{2}|v\d+(?::\d+)?))+$"
)
"""The dates and versions at the end of a name."""
_LATEST = re.compile(r"[-:@](?:latest|free|beta)$")
_REGION = re.compile(r"^(?:us|eu|apac|global|jp|au|ca)\.(?=[a-z])")
PLACEHOLDERS = frozenset({"model", "default", "unknown", "none", "null", "custom", "string"})
"""Names that servers write that have none to give."""


def is_placeholder(name: str | None) -> bool:
    """Whether a name says nothing about the model that answered."""
    return name is None or len(name) < 2 or name.lower() in PLACEHOLDERS


def is_same_model(asked: str, answered: str) -> bool:
    """Whether a model that answers as `answered` is the one asked for as `asked`.

    A name without a date means any of its dated versions. Two different dates are two models.
    """
    one, other = _bare(asked), _bare(answered)
    if one == other:
        return True
    return other == _DATE.sub("", one) or one == _DATE.sub("", other)


def _bare(name: str) -> str:
    """The name without its folders, its region and its word for the newest version."""
    tail = name.strip().lower().rstrip("/").rpartition("/")[2]
    return _LATEST.sub("", _REGION.sub("", tail))
