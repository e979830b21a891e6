"""The columns of a table, and those that stay where the terminal is too narrow for all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = "\N{EN DASH}"
"""The mark for NULL in a table. NULL means not known, which is not zero."""
SHORTEST_TEXT = 14
"""Texts are shortened to this many cells while columns can be left out."""
TIGHTEST_TEXT = 8
"""Texts and names of columns are shortened to this many cells, and no further."""
KEPT = 3
"""The rank of the columns that stay."""
_COVERAGE = re.compile(r"\w+_with(out)?_\w+")
"""Counts of the requests behind another column."""


@dataclass(slots=True)
class Column:
    """A column of an answer, its values as texts."""

    name: str
    is_number: bool
    cells: list[str]
    total: str | None = None
    """The sum, formatted as the cells are."""
    others: str | None = None
    """The sum of the rows that are not shown, formatted as the cells are. None if it means nothing."""
    is_folded: bool = False
    """Whether its name is broken at underscores."""
    most: int | None = None
    """The widest that its texts may be, in terminal cells."""
    is_text: bool = False
    """Whether its values may be shortened."""
    is_tight: bool = False
    """Whether its name may be shortened too."""

    @property
    def content_width(self) -> int:
        cells = self.cells if self.total is None else [*self.cells, self.total]
        widest = max((cells_of(text) for text in cells), default=0)
        return widest if self.most is None else min(widest, self.most)

    @property
    def header(self) -> list[str]:
        """The name, on one line, or broken to be no wider than it must."""
        if not self.is_folded:
            return [self.name]
        parts = re.findall(r"[^_]+_*|_+", self.name) or [""]
        if self.is_tight:
            parts = [cut(part, max(self.content_width, TIGHTEST_TEXT)) for part in parts]
        room = max(self.content_width, *map(cells_of, parts))
        lines = [""]
        for part in parts:
            if cells_of(lines[-1] + part) <= room:
                lines[-1] += part
            else:
                lines.append(part)
        return lines

    @property
    def is_unknown(self) -> bool:
        """Whether no shown row has a value."""
        return all(text == UNKNOWN for text in self.cells)

    @property
    def width(self) -> int:
        return max(self.content_width, *map(cells_of, self.header))


def fit(columns: Sequence[Column], width: int) -> bool:
    """Break the names and shorten the texts of columns that are too wide. Whether the table fits then."""
    if table_width(columns) > width:
        for column in columns:
            column.is_folded = True
        _shorten(columns, width, SHORTEST_TEXT)
    return table_width(columns) <= width


def fitting(columns: Sequence[Column], width: int, keep: Sequence[str]) -> tuple[list[Column], list[Column]]:
    """The columns that fit, at least one, and the others, both in order.

    Columns leave one at a time: texts without a value, counts behind other columns, then the others from the
    right. If those to `keep` do not fit, their texts and names get shorter. Then the last of them leave.
    """
    shown, leaving = list(columns), sorted(columns, key=lambda item: _rank(columns, item, keep))
    while not _fit_again(shown, width) and leaving and _rank(columns, leaving[0], keep)[0] < KEPT:
        shown.remove(leaving.pop(0))
    for is_text in (True, False):
        if table_width(shown) > width:
            for column in shown:
                column.is_tight = column.is_tight or column.is_text is is_text
            _shorten(shown, width, TIGHTEST_TEXT)
    while len(shown) > 1 and table_width(shown) > width:
        shown.remove(leaving.pop(0))
    return shown, [column for column in columns if column not in shown]


def _rank(columns: Sequence[Column], column: Column, keep: Sequence[str]) -> tuple[int, int]:
    """The place of a column among those that leave: the smallest first."""
    if column.name in keep:
        return (0, 0) if column.is_text and column.is_unknown else (KEPT, -keep.index(column.name))
    place = -[item.name for item in columns].index(column.name)
    return (0 if column.is_unknown else 1 if _COVERAGE.fullmatch(column.name) else 2), place


def _fit_again(columns: Sequence[Column], width: int) -> bool:
    for column in columns:
        column.most = None
    return fit(columns, width)


def _shorten(columns: Sequence[Column], width: int, least: int) -> None:
    """Shorten the widest texts until the table fits or they are all short."""
    while (excess := table_width(columns) - width) > 0:
        texts = [item for item in columns if item.is_text and item.content_width > least]
        if not texts:
            return
        widest = max(texts, key=lambda item: item.content_width)
        second = max((item.content_width for item in texts if item is not widest), default=least)
        widest.most = max(least, widest.content_width - excess, min(second, widest.content_width - 1))


def table_width(columns: Sequence[Column]) -> int:
    """The cells that a table of these columns takes."""
    return sum(column.width + 3 for column in columns) + 1


def cut(text: str, width: int) -> str:
    """A text of at most `width` cells."""
    if cells_of(text) <= width:
        return text
    while cells_of(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def cells_of(text: str) -> int:
    """Terminal cells of a text: many characters of Asian scripts take two."""
    from rich.cells import cell_len

    return cell_len(text)
