"""What the doctor says: one finding a thing, errors apart from what the next run completes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHOWN = 20
"""Findings of one kind that are named; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Literal["error", "warning"]
    what: str
    value: str
    """The file, segment or figure."""
    advice: str
    """What to do."""


def error(what: str, value: object, advice: str) -> Finding:
    """Something is wrong and a person must look."""
    return Finding(severity="error", what=what, value=str(value), advice=advice)


def warning(what: str, value: object, advice: str) -> Finding:
    """Something waits for the next run, or costs nothing."""
    return Finding(severity="warning", what=what, value=str(value), advice=advice)


def bounded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings, the first few of a kind; the rest of the kind in one line."""
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
