"""The one dialect of commands for programs: rows as CSV, JSON or Parquet.

A command prints a sentence or a table for a person, and the same facts as rows for a program. JSON is an
array of objects, with numbers as numbers. NULL is an empty CSV field and a JSON null. Money keeps all digits.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import math
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import click

from router.errors import ConfigError, IntelliRouterError
from router.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Command = TypeVar("Command", bound="Callable[..., Any]")
RowFormat = Literal["table", "csv", "json", "parquet"]
SUFFIXES: Mapping[str, RowFormat] = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "table",
}
"""The format of a file by the end of its name."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A text that starts with one of these is a formula to a spreadsheet (CWE-1236). The last four are the wide
signs of Chinese and Japanese keyboards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutput:
    """The place and the form of a command's answer."""

    format: RowFormat = "table"
    file: Path | None = None

    def __post_init__(self) -> None:
        """ConfigError for a format that a terminal cannot show."""
        if self.format == "parquet" and self.file is None:
            raise ConfigError("Parquet cannot be printed: name a file with --output")

    def write(self, rows: Sequence[Mapping[str, Any]], lines: Iterable[str]) -> None:
        """Write the rows for a program, or the lines for a person. All rows have the same columns."""
        if self.format == "table":
            data = "".join(f"{line}\n" for line in lines).encode()
        else:
            data = encode(rows, self.format)
        if self.file is None:
            click.echo(data, nl=False)
        else:
            write_atomically(self.file, data)


def row_options(command: Command) -> Command:
    """Give a command the options of its output. It gets them as one argument, `to`."""

    @functools.wraps(command)
    def packed(*arguments: Any, output_format: RowFormat | None, output: Path | None, **others: Any) -> Any:
        chosen = choose_format(output_format, output, SUFFIXES, ConfigError)
        return command(*arguments, to=RowOutput(format=chosen, file=output), **others)

    wrapped: Any = file_options(packed, get_args(RowFormat))
    return wrapped  # type: ignore[no-any-return]


def file_options(command: Any, formats: Sequence[str]) -> Any:
    """Give a command `--format` and `--output`, as its arguments `output_format` and `output`."""
    command = click.option(
        "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
    )(command)
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats),
        help="Default: by the suffix of --output, else table.",
    )(command)


def choose_format(
    named: str | None, file: Path | None, suffixes: Mapping[str, str], error: type[IntelliRouterError]
) -> Any:
    """The named format, else that of the file's suffix, else a table. `error` if the suffix names none."""
    if named is not None or file is None:
        return named or "table"
    found = suffixes.get(file.suffix.lower())
    if found is None:
        known = ", ".join(f"`{suffix}`" for suffix in suffixes)
        raise error(f"the format of `{file}` is not clear: add --format, or end the name with one of {known}")
    return found


def encode(rows: Sequence[Mapping[str, Any]], output_format: RowFormat) -> bytes:
    """The rows as the bytes of a file."""
    columns = list(rows[0]) if rows else []
    values = [list(row.values()) for row in rows]
    if output_format == "csv":
        return csv_text(columns, values).encode()
    if output_format == "json":
        return json_text(columns, values).encode()
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), buffer, compression="zstd")
    return buffer.getvalue()


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file with a header."""
    return written_csv(columns, ([csv_value(value) for value in row] for row in rows))


def written_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Values as CSV. A value with a carriage return is quoted, or a spreadsheet would begin a row at it."""
    written = _Rows()
    writer = csv.writer(written)  # before Python 3.13, it quotes the characters of its own end of a row
    writer.writerow(columns)
    writer.writerows(rows)
    return "".join(written)


class _Rows(list[str]):
    """The rows of a CSV file, each with a line feed at its end."""

    def write(self, row: str) -> None:
        self.append(row.removesuffix("\r\n") + "\n")


def json_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, text_decimals: bool = False) -> str:
    """An array of objects, one a line."""
    objects = [
        "{"
        + ", ".join(
            f"{_string(name)}: {_json(value, text_decimals=text_decimals)}"
            for name, value in zip(columns, row, strict=True)
        )
        + "}"
        for row in rows
    ]
    return "[\n " + ",\n ".join(objects) + "\n]\n" if objects else "[]\n"


def exact_text(value: Any) -> Any:
    """A value with every digit: a Decimal as text without an exponent, a moment as ISO 8601."""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value


def csv_value(value: Any) -> Any:
    """A value for a CSV file. A spreadsheet must not run a name that a client chose as a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else exact_text(value)


def _json(value: Any, *, text_decimals: bool) -> str:
    """A value as JSON. A decimal is a number with all of its digits, which `json` cannot write."""
    if isinstance(value, Decimal) and value.is_finite():
        text = str(exact_text(value))
        return _string(text) if text_decimals and value != value.to_integral_value() else text
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "null"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, datetime | date):
        return _string(value.isoformat())
    if isinstance(value, dict):
        members = (
            f"{_string(str(name))}: {_json(item, text_decimals=text_decimals)}"
            for name, item in value.items()
        )
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_json(item, text_decimals=text_decimals) for item in value) + "]"
    return _string(str(value))


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
