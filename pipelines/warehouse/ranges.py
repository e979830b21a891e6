"""Grouping of hours and days into ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta


def runs(
    moments: Iterable[datetime], step: timedelta, *, longest: int
) -> Iterator[tuple[datetime, datetime]]:
    """[start, end) ranges of sorted moments that follow each other by `step`, `longest` steps at most.

    A range reads only its own part of a table. A single range from a late row's hour to now would
    read all of it.
    """
    start = end = None
    for moment in moments:
        if start is not None and end == moment and moment - start < step * longest:
            end = moment + step
            continue
        if start is not None and end is not None:
            yield start, end
        start, end = moment, moment + step
    if start is not None and end is not None:
        yield start, end
