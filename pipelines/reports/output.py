"""Writes answers for a person, a spreadsheet or a program."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import QueryError
from router.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from rich.table import Table

    from pipelines.reports.reports import Answer

Format = Literal["table", "csv", "json", "parquet"]
UNKNOWN = "\N{EN DASH}"
"""The mark for NULL in a table. NULL means not known, which is not zero."""
TABLE_ROWS = 1000
"""At most this many rows are shown in a terminal table. The other formats hold all rows."""
PIPE_WIDTH = 2000
"""The width of a table without a terminal, in characters, so that nothing is cut or wrapped."""
SIGNIFICANT_DIGITS = 6
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that starts with one of these is a formula to a spreadsheet (CWE-1236)."""
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of text."""


def write(answer: Answer, *, output_format: Format, output: Path | None) -> None:
    """Print the answer, or write all of it to `output`."""
    if output_format == "parquet":
        if output is None:
            raise QueryError("Parquet cannot be printed: name a file with --output")
        write_atomically(output, _parquet(answer))
    elif output is not None:
        write_atomically(output, render(answer, output_format).encode())
    elif output_format == "table":
        _print_table(answer)
    else:
        import click

        click.echo(render(answer, output_format), nl=False)


def render(answer: Answer, output_format: Format) -> str:
    """The answer as text. NULL is an empty CSV field and a JSON null. Money is exact."""
    if output_format == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows([[_csv(value) for value in row] for row in answer.rows()])
        return buffer.getvalue()
    if output_format == "json":
        rows = [dict(zip(answer.columns, map(_jsonable, row), strict=True)) for row in answer.rows()]
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    import rich.console

    buffer = io.StringIO()
    rich.console.Console(file=buffer, width=PIPE_WIDTH).print(_table(answer))
    return buffer.getvalue()


def cell(value: Any) -> str:
    """Format a value for a terminal table. A character that would steer the terminal is shown by its code."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT_DIGITS}g}"
    return str(_exact(value))


def _print_table(answer: Answer) -> None:
    import rich.console

    console = rich.console.Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(_table(answer))
    if answer.table.num_rows > TABLE_ROWS:
        console.print(f"{TABLE_ROWS} of {answer.table.num_rows} rows; --format csv prints all")


def _table(answer: Answer) -> Table:
    import rich.table
    import rich.text

    table = rich.table.Table()
    for item in answer.table.schema:
        is_number = not any(word in str(item.type) for word in ("string", "date", "time", "list", "struct"))
        table.add_column(rich.text.Text(item.name), justify="right" if is_number else "left", overflow="fold")
    for index, row in enumerate(answer.rows()):
        if index == TABLE_ROWS:
            break
        table.add_row(*(rich.text.Text(cell(value)) for value in row))
    return table


def _csv(value: Any) -> Any:
    """A value for a CSV file. A spreadsheet must not run a name that a client chose as a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else _exact(value)


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        # Every significant digit, and no exponent.
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        if value.as_tuple().exponent == 0:
            return int(value)
        return _exact(value)  # as text: a JSON reader's double would round it
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return str(value)


def _parquet(answer: Answer) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(_plain(answer.table), buffer, compression="zstd")
    return buffer.getvalue()


def _plain(table: pa.Table) -> pa.Table:
    """The table with 64-bit integers in place of HUGEINT, which Arrow writes as DECIMAL(38, 0).

    pandas makes Python objects of a decimal. A column keeps its type if a value needs it.
    """
    import pyarrow as pa

    for index, item in enumerate(table.schema):
        if pa.types.is_decimal(item.type) and item.type.scale == 0:
            with contextlib.suppress(pa.ArrowInvalid):
                column = table.column(index).cast(pa.int64())
                table = table.set_column(index, item.with_type(pa.int64()), column)
    return table
