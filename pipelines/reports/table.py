"""Lays an answer out for a person's terminal.

No number is ever broken over two lines. A table that is too wide first breaks the names of its columns
and shortens its texts. Then a short answer is printed with one value a line, and a long one with fewer
columns, and the names of the others.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from router.settings.printing import exact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipelines.reports.reports import Answer

UNKNOWN = "\N{EN DASH}"
"""The mark for NULL in a table. NULL means not known, which is not zero."""
TABLE_ROWS = 1000
"""At most this many rows are shown in a terminal table. The other formats hold all rows."""
VERTICAL_ROWS = 12
"""So many rows at most are printed one below the other where they are too wide."""
SHORTEST_TEXT = 14
"""Texts are shortened to this many cells, and no further."""
SIGNIFICANT_DIGITS = 6
MONEY_DIGITS = 4
"""Significant digits of the largest amount in a column whose amounts are all below a dollar."""
MOST_DECIMALS = 12
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of text."""
_MONEY = re.compile(r"(.*_)?(usd|cost)(_(?!per_mtok).*)?")
_ADDITIVE = re.compile(
    r"(requests|request_count|explorations|failures|tokens|errors|successes)(_(?!per|mean|share|p\d)\w+)?"
    r"|daily_cost|(cost|saved|exploration|baseline_cost|growth)_usd(_before)?"
    r"|(list_cost|contracted_cost|billed_cost|restated)_usd"
)
"""Columns whose sum over the rows means something."""


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

    @property
    def content_width(self) -> int:
        cells = self.cells if self.total is None else [*self.cells, self.total]
        widest = max((_width(text) for text in cells), default=0)
        return widest if self.most is None else min(widest, self.most)

    @property
    def header(self) -> list[str]:
        """The name, on one line, or broken to be no wider than it must."""
        if not self.is_folded:
            return [self.name]
        parts = re.findall(r"[^_]+_*|_+", self.name) or [""]
        room = max(self.content_width, *map(_width, parts))
        lines = [""]
        for part in parts:
            if _width(lines[-1] + part) <= room:
                lines[-1] += part
            else:
                lines.append(part)
        return lines

    @property
    def width(self) -> int:
        return max(self.content_width, *map(_width, self.header))


def is_additive(column: str) -> bool:
    """Whether the sum of a column over the rows means something."""
    return _ADDITIVE.fullmatch(column) is not None


def lines(answer: Answer, *, width: int, exact: bool = False, totals: bool = False) -> Iterator[str]:
    """The answer as lines of at most `width` cells, unless one of its texts cannot be shortened.

    Amounts are rounded to cents, and small ones to MONEY_DIGITS, unless `exact`. `totals` adds a last line
    with the sums over all rows.
    """
    columns = columns_of(answer, exact=exact, totals=totals)
    shown = min(answer.table.num_rows, TABLE_ROWS)
    if _table_width(columns) > width:
        for column in columns:
            column.is_folded = True
        _shorten(columns, width)
    if columns and not shown:
        yield f"no rows (columns: {', '.join(column.name for column in columns)})"
    elif _table_width(columns) <= width:
        yield from _table(columns, shown)
    elif shown <= VERTICAL_ROWS:
        for column in columns:
            column.most = None
        yield from _vertical(columns, shown)
    else:
        kept, left = _fitting(columns, width)
        yield from _table(kept, shown)
        names = ", ".join(column.name for column in left)
        yield f"left out: {names}; widen the terminal, or use --format csv"
    if shown < answer.table.num_rows:
        yield f"{shown} of {answer.table.num_rows} rows; --format csv prints all"


def cell(value: Any) -> str:
    """Format a value for a terminal table. A character that would steer the terminal is shown by its code."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT_DIGITS}g}"
    return str(exact_text(value))


def columns_of(
    answer: Answer,
    *,
    exact: bool = False,
    totals: bool = True,
    rounded: bool = False,
    shown: int = TABLE_ROWS,
) -> list[Column]:
    """The columns, with the texts of the first `shown` rows.

    `totals` adds the sums of all rows. `rounded` writes shares as percentages, and other measures with few
    digits.
    """
    columns = []
    for item in answer.table.schema:
        values = answer.table.column(item.name).to_pylist()
        is_number = not any(word in str(item.type) for word in ("string", "date", "time", "list", "struct"))
        is_money = _MONEY.fullmatch(item.name) is not None and not _is_whole(item.type)
        show = _formatter(values, is_money=is_money) if is_number and not exact else _exactly
        if rounded and is_number and not is_money:
            show = _rounded(item.name)
        column = Column(item.name, is_number, [show(value) for value in values[:shown]])
        known = [value for value in values if value is not None]
        if totals and len(values) > 1 and is_number and is_additive(item.name):
            column.total = show(sum(known)) if known else UNKNOWN
            rest = [value for value in values[shown:] if value is not None]
            column.others = show(sum(rest)) if rest else UNKNOWN
        columns.append(column)
    if any(column.total is not None for column in columns) and columns[0].total is None:
        for column in columns:
            column.total = column.total or ""
        columns[0].total = "total"
    else:
        for column in columns:
            column.total = None
    return columns


def _exactly(value: Any) -> str:
    return repr(value) if isinstance(value, float) else cell(value)


def _rounded(name: str) -> Callable[[Any], str]:
    """How a page shows the measures of a column that are not money."""
    if name.endswith(("_share", "_rate")):
        form = ".1%"
    elif "latency" in name or "_ms" in name:
        form = ",.0f"
    else:
        form = ".3g"

    def show(value: Any) -> str:
        is_measured = isinstance(value, float) and _is_finite(value)
        return f"{value:{form}}" if is_measured else _number(value)

    return show


def _is_whole(kind: pa.DataType) -> bool:
    """Whether a column counts: integers, and sums of them, which are DECIMAL(38, 0)."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0))


def _formatter(values: Sequence[Any], *, is_money: bool) -> Any:
    """How the values of a column of numbers are shown."""
    largest = max((abs(value) for value in values if _is_finite(value)), default=0)
    if is_money:
        decimals = 2
        if 0 < largest < 1:
            decimals = min(MOST_DECIMALS, MONEY_DIGITS - 1 - math.floor(math.log10(largest)))
        return lambda value: _amount(value, decimals)
    return _number


def _amount(value: Any, decimals: int) -> str:
    if value is None or not _is_finite(value):
        return cell(value)
    text = f"{value:,.{decimals}f}"
    if value != 0 and not any(digit in text for digit in "123456789"):
        return f"{'<' if value > 0 else '>-'}{10.0**-decimals:.{decimals}f}"
    return text


def _number(value: Any) -> str:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}"
    return cell(value)


def _is_finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _shorten(columns: Sequence[Column], width: int) -> None:
    """Shorten the widest texts, one cell at a time, until the table fits or they are all short."""
    while (excess := _table_width(columns) - width) > 0:
        texts = [item for item in columns if not item.is_number and item.content_width > SHORTEST_TEXT]
        if not texts:
            return
        widest = max(texts, key=lambda item: item.content_width)
        widest.most = max(SHORTEST_TEXT, widest.content_width - excess)


def _table_width(columns: Sequence[Column]) -> int:
    return sum(column.width + 3 for column in columns) + 1


def _fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns from the left that fit, at least one, and the others."""
    number = len(columns)
    while number > 1 and _table_width(columns[:number]) > width:
        number -= 1
    return list(columns[:number]), list(columns[number:])


def _table(columns: Sequence[Column], shown: int) -> Iterator[str]:
    if not columns:
        return
    widths = [column.width for column in columns]
    headers = [column.header for column in columns]
    height = max(map(len, headers))
    yield _rule("┌┬┐", widths)
    for at in range(height):
        yield _line(columns, [head[at] if at < len(head) else "" for head in headers], widths)
    yield _rule("├┼┤", widths)
    for row in range(shown):
        yield _line(columns, [column.cells[row] for column in columns], widths)
    if columns[0].total is not None:
        yield _rule("├┼┤", widths)
        yield _line(columns, [column.total or "" for column in columns], widths)
    yield _rule("└┴┘", widths)


def _vertical(columns: Sequence[Column], shown: int) -> Iterator[str]:
    label = max(_width(column.name) for column in columns)
    for row in range(shown):
        yield f"── {row + 1} " + "─" * (label + 4)
        for column in columns:
            yield f"{column.name:<{label}}  {column.cells[row]}"
    if columns[0].total is not None:
        yield "── total " + "─" * label
        for column in columns[1:]:
            if column.total:
                yield f"{column.name:<{label}}  {column.total}"


def _rule(corners: str, widths: Sequence[int]) -> str:
    return corners[0] + corners[1].join("─" * (width + 2) for width in widths) + corners[2]


def _line(columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, text, width in zip(columns, texts, widths, strict=True):
        cut = _cut(text, width)
        space = " " * (width - _width(cut))
        parts.append(space + cut if column.is_number else cut + space)
    return "│ " + " │ ".join(parts) + " │"


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _width(text: str) -> int:
    """Terminal cells of a text: many characters of Asian scripts take two."""
    from rich.cells import cell_len

    return cell_len(text)
