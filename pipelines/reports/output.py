"""Writes answers for a person, a spreadsheet or a program."""

from __future__ import annotations

import contextlib
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

from pipelines.errors import QueryError
from pipelines.reports.table import exact_text, lines
from router.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from pipelines.reports.reports import Answer

Command = TypeVar("Command", bound="Callable[..., Any]")
Format = Literal["table", "csv", "json", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "table",
}
"""The format of a file by the end of its name."""
PIPE_WIDTH = 2000
"""The width of a table without a terminal, in characters, so that nothing is cut or wrapped."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that starts with one of these is a formula to a spreadsheet (CWE-1236)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where an answer goes, and how it looks there."""

    format: Format = "table"
    file: Path | None = None
    exact: bool = False
    """Whether a table shows every digit."""
    text_decimals: bool = False
    """Whether JSON holds decimals as texts, for readers that would make doubles of numbers."""

    def __post_init__(self) -> None:
        """QueryError for Parquet on a terminal."""
        if self.format == "parquet" and self.file is None:
            raise QueryError("Parquet cannot be printed: name a file with --output")

    @classmethod
    def of(
        cls, named: Format | None, file: Path | None, *, exact: bool = False, text_decimals: bool = False
    ) -> Output:
        """The output that the options of a command ask for. The file's suffix names a format, too."""
        if named is None and file is not None:
            named = SUFFIXES.get(file.suffix.lower())
            if named is None:
                known = ", ".join(f"`{suffix}`" for suffix in SUFFIXES)
                raise QueryError(
                    f"the format of `{file}` is not clear: add --format, or end the name with one of {known}"
                )
        return cls(format=named or "table", file=file, exact=exact, text_decimals=text_decimals)

    def for_people(self) -> bool:
        """Whether a person reads it, so that titles and notes belong to it."""
        return self.format == "table"


def output_options(command: Command) -> Command:
    """Give a command the options of its output. It gets them as one argument, `to`."""

    @functools.wraps(command)
    def packed(
        *arguments: Any,
        output_format: Format | None,
        output: Path | None,
        exact: bool,
        text_decimals: bool,
        **others: Any,
    ) -> Any:
        to = Output.of(output_format, output, exact=exact, text_decimals=text_decimals)
        return command(*arguments, to=to, **others)

    wrapped: Any = packed
    for option in (
        click.option("--text-decimals", is_flag=True, help="In JSON, write decimals as texts."),
        click.option("--exact", is_flag=True, help="In tables, show every digit of every amount."),
        click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."),
        click.option(
            "--format",
            "output_format",
            type=click.Choice(get_args(Format)),
            help="Default: by the suffix of --output, else table.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def write(answer: Answer, to: Output, *, title: Sequence[str] = (), totals: bool = False) -> None:
    """Print the answer, or write all of it to a file. A table gets the title's lines before it."""
    if to.format == "parquet" and to.file is not None:
        write_atomically(to.file, _parquet(answer))
        return
    if to.format == "table":
        width = PIPE_WIDTH if to.file is not None else _terminal_width()
        text = "\n".join([*title, *lines(answer, width=width, exact=to.exact, totals=totals)]) + "\n"
    else:
        text = render(answer, to.format, text_decimals=to.text_decimals)
    write_text(text, to)


def write_text(text: str, to: Output) -> None:
    """Print a text that is in its format already, or write it to the file."""
    if to.file is not None:
        write_atomically(to.file, text.encode())
    else:
        click.echo(text, nl=False)


def render(answer: Answer, output_format: Format, *, text_decimals: bool = False) -> str:
    """The answer as text. NULL is an empty CSV field and a JSON null. Money is exact."""
    if output_format == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows([[_csv(value) for value in row] for row in answer.rows()])
        return buffer.getvalue()
    if output_format == "json":
        rows = [
            "{"
            + ", ".join(
                f"{_string(name)}: {_json(value, text_decimals=text_decimals)}"
                for name, value in zip(answer.columns, row, strict=True)
            )
            + "}"
            for row in answer.rows()
        ]
        return "[\n " + ",\n ".join(rows) + "\n]\n" if rows else "[]\n"
    return "\n".join(lines(answer, width=PIPE_WIDTH)) + "\n"


def _terminal_width() -> int:
    import rich.console

    console = rich.console.Console()
    return console.width if console.is_terminal else PIPE_WIDTH


def _csv(value: Any) -> Any:
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
