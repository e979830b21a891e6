"""The doctor's findings: errors, and warnings that the next run resolves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHOWN = 20
"""This many findings of one kind are shown. The rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem of the data folder."""

    severity: Literal["error", "warning"]
    what: str
    value: str
    """The file, segment or figure."""
    advice: str
    """The remedy."""


def error(what: str, value: object, advice: str) -> Finding:
    """A finding that a person must act on."""
    return Finding(severity="error", what=what, value=str(value), advice=advice)


def warning(what: str, value: object, advice: str) -> Finding:
    """A finding that the next run resolves, or that does no harm."""
    return Finding(severity="warning", what=what, value=str(value), advice=advice)


def bounded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The first SHOWN findings of each kind, and the number of the rest in one line."""
    counts: dict[tuple[str, str], int] = {}
    for finding in findings:
        key = finding.severity, finding.what
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= SHOWN:
            yield finding
    for (severity, what), count in counts.items():
        if count > SHOWN:
            more = f"and {count - SHOWN} more"
            yield Finding(
                severity="error" if severity == "error" else "warning", what=what, value=more, advice=""
            )
