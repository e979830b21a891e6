"""Lays an answer out for a person's terminal.

No number is ever broken over two lines. A table that is too wide first breaks the names of its columns
and shortens its texts. Then a short answer is printed with one value a line, and a long one with its
important columns, and the names of the others (`columns`).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.reports.columns import UNKNOWN, Column, cells_of, cut, fit, fitting
from router.settings.printing import exact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipelines.reports.reports import Answer

TABLE_ROWS = 1000
"""At most this many rows are shown in a terminal table. The other formats hold all rows."""
VERTICAL_ROWS = 12
"""So many rows at most are printed one below the other where they are too wide."""
VERTICAL_REPORT_ROWS = 3
"""The same for a report, which knows its important columns."""
SIGNIFICANT_DIGITS = 6
MONEY_DIGITS = 4
"""Significant digits of the largest amount in a column whose amounts are all below a dollar."""
MOST_DECIMALS = 12
MONTH = "month"
"""A column of the first days of months."""
TOTAL = "total"
"""The name of the row of sums."""
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of text."""
_MONEY = re.compile(r"(.*_)?(usd|cost)(_(?!per_mtok).*)?")
_ADDITIVE = re.compile(
    r"(requests|request_count|explorations|failures|tokens|errors|successes)(_(?!per|mean|share|p\d)\w+)?"
    r"|daily_cost|(cost|saved|exploration|baseline_cost|growth|same_tokens)_usd(_before)?"
    r"|(list_cost|contracted_cost|billed_cost|restated)_usd"
)
"""Columns whose sum over the rows means something."""


def is_additive(column: str) -> bool:
    """Whether the sum of a column over the rows means something."""
    return _ADDITIVE.fullmatch(column) is not None


def lines(
    answer: Answer,
    *,
    width: int,
    exact: bool = False,
    totals: bool = False,
    rounded: bool = False,
    vertical: bool = False,
    keep: Sequence[str] = (),
) -> Iterator[str]:
    """The answer as lines of at most `width` cells, unless one of its texts cannot be shortened.

    Amounts are rounded to cents, and small ones to MONEY_DIGITS, unless `exact`. `totals` adds a last line
    with the sums over all rows, `rounded` writes shares as percentages, `vertical` writes one value a line.
    Of a table that is too wide, the columns `keep` stay, the first longest.
    """
    columns = columns_of(answer, exact=exact, totals=totals, rounded=rounded and not exact)
    shown = min(answer.table.num_rows, TABLE_ROWS)
    if columns and not shown:
        yield f"no rows (columns: {', '.join(column.name for column in columns)})"
        return
    is_wide = not fit(columns, width)
    if vertical or (is_wide and shown <= (VERTICAL_REPORT_ROWS if keep else VERTICAL_ROWS)):
        for column in columns:
            column.most = None
        yield from _vertical(columns, shown)
    elif not is_wide:
        yield from _table(columns, shown)
    else:
        kept, left = fitting(columns, width, keep)
        yield from _table(kept, shown)
        names = ", ".join(column.name for column in left)
        if left:
            yield f"left out: {names}; see them in a wider terminal, with --vertical or with --format csv"
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
    if isinstance(value, datetime) and value.tzinfo is not None:
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
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
    sums = [item for item in answer.table.schema if _is_money(item) and is_additive(item.name)]
    largest = max((_largest(answer.table.column(item.name).to_pylist()) for item in sums), default=0)
    for item in answer.table.schema:
        values = answer.table.column(item.name).to_pylist()
        is_number = not any(word in str(item.type) for word in ("string", "date", "time", "list", "struct"))
        is_money = _is_money(item)
        known = [value for value in values if value is not None]
        of_column = largest if is_additive(item.name) else _largest(known) if is_number else 0
        show = _formatter(of_column, is_money=is_money) if is_number and not exact else _exactly
        if rounded and is_number and not is_money:
            show = _rounded(item.name)
        show = show if is_number or exact else _month if item.name == MONTH else cell
        column = Column(
            item.name,
            is_number,
            [show(value) for value in values[:shown]],
            is_text="string" in str(item.type),
        )
        known = [value for value in values if value is not None]
        if totals and len(values) > 1 and is_number and is_additive(item.name):
            column.total = show(sum(known)) if known else UNKNOWN
            rest = [value for value in values[shown:] if value is not None]
            column.others = show(sum(rest)) if rest else UNKNOWN
        columns.append(column)
    if any(column.total is not None for column in columns) and columns[0].total is None:
        for column in columns:
            column.total = column.total or ""
        columns[0].total = TOTAL
    else:
        for column in columns:
            column.total = None
    return columns


def _exactly(value: Any) -> str:
    if isinstance(value, datetime):
        return str(exact_text(value))
    return repr(value) if isinstance(value, float) else cell(value)


def _rounded(name: str) -> Callable[[Any], str]:
    """How a page shows the measures of a column that are not money."""
    if name.endswith(("_share", "_rate")):
        form = ".1%"
    elif "latency" in name or "_ms" in name:
        form = ",.0f"
    elif "quality" in name:
        form = ".3f"
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


def _is_money(item: pa.Field[Any]) -> bool:
    return _MONEY.fullmatch(item.name) is not None and not _is_whole(item.type)


def _largest(values: Sequence[Any]) -> Any:
    return max((abs(value) for value in values if _is_finite(value)), default=0)


def _month(value: Any) -> str:
    return f"{value:%Y-%m}" if isinstance(value, date) else cell(value)


def _formatter(largest: Any, *, is_money: bool) -> Any:
    """How the values of a column of numbers are shown. Sums of money in one table have the same decimals."""
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


def _table(columns: Sequence[Column], shown: int) -> Iterator[str]:
    if not columns:
        return
    widths = [column.width for column in columns]
    headers = [column.header for column in columns]
    height = max(map(len, headers))
    totals = [column.total or "" for column in columns]
    yield _rule("┌┬┐", widths)
    for at in range(height):
        yield _line(columns, [head[at] if at < len(head) else "" for head in headers], widths)
    yield _rule("├┼┤", widths)
    for row in range(shown):
        yield _line(columns, [column.cells[row] for column in columns], widths)
    if any(totals[1:]):
        yield _rule("├┼┤", widths)
        yield _line(columns, [totals[0] or TOTAL, *totals[1:]], widths)
    yield _rule("└┴┘", widths)


def _vertical(columns: Sequence[Column], shown: int) -> Iterator[str]:
    label = max(cells_of(column.name) for column in columns)
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
        shown = cut(text, width)
        space = " " * (width - cells_of(shown))
        parts.append(space + shown if column.is_number else shown + space)
    return "│ " + " │ ".join(parts) + " │"
