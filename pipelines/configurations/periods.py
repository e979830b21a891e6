"""Rows that last from one version to another: a row ends when its content changes or is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from router.configuration.source import Version

Row = dict[str, Any]
Entries = dict["Hashable", Row]
"""The content of the rows of one version, by what a row is about."""


def extended(
    rows: Sequence[Row],
    versions: Sequence[tuple[Version, Entries | None]],
    *,
    key: Callable[[Mapping[str, Any]], Hashable],
    of_version: Callable[[Row, Version], Row],
    content: Sequence[str],
) -> list[Row]:
    """The rows with those of later versions. Entries of None keep the rows that are open.

    `of_version` completes a new row, all but its `valid_to`. `content` are the columns that are compared.
    """
    closed = [row for row in rows if row["valid_to"] is not None]
    is_open = {key(row): row for row in rows if row["valid_to"] is None}
    for version, entries in versions:
        if entries is None:
            continue
        gone = [name for name in is_open if name not in entries]
        closed += [{**is_open.pop(name), "valid_to": version.created_at} for name in gone]
        for name, entry in entries.items():
            old = is_open.get(name)
            if old is not None and all(old[column] == entry[column] for column in content):
                continue
            if old is not None:
                closed.append({**old, "valid_to": version.created_at})
            is_open[name] = {**of_version(entry, version), "valid_to": None}
    return [*closed, *is_open.values()]
