"""Writes answers for a person, a spreadsheet or a program."""

from __future__ import annotations

import contextlib
import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import click

from pipelines.errors import QueryError
from pipelines.reports.table import lines
from router.files import write_atomically
from router.settings.printing import SUFFIXES as ROW_SUFFIXES
from router.settings.printing import choose_format, csv_text, file_options, json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pyarrow as pa

    from pipelines.reports.reports import Answer

Command = TypeVar("Command", bound="Callable[..., Any]")
Format = Literal["table", "csv", "json", "parquet", "html", "svg", "png"]
DRAWN = ("html", "svg", "png")
"""The formats that only reports have."""
SUFFIXES: dict[str, Format] = {**ROW_SUFFIXES, ".html": "html", ".svg": "svg", ".png": "png"}
"""The format of a file by the end of its name."""
PIPE_WIDTH = 2000
"""The width of a table without a terminal, in characters, so that nothing is cut or wrapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where an answer goes, and how it looks there."""

    format: Format = "table"
    file: Path | None = None
    exact: bool = False
    """Whether a table shows every digit."""
    vertical: bool = False
    """Whether a table shows one value a line."""
    text_decimals: bool = False
    """Whether JSON holds decimals as texts, for readers that would make doubles of numbers."""

    def __post_init__(self) -> None:
        """QueryError for a format that a terminal cannot show."""
        if self.format == "parquet" and self.file is None:
            raise QueryError("Parquet cannot be printed: name a file with --output")
        if self.is_drawn and self.file is None:
            raise QueryError(f"`{self.format}` is not printed: name a file with --output")

    @classmethod
    def of(
        cls,
        named: Format | None,
        file: Path | None,
        *,
        exact: bool = False,
        vertical: bool = False,
        text_decimals: bool = False,
    ) -> Output:
        """The output that the options of a command ask for. The file's suffix names a format, too."""
        chosen = choose_format(named, file, SUFFIXES, QueryError)
        return cls(format=chosen, file=file, exact=exact, vertical=vertical, text_decimals=text_decimals)

    @property
    def is_drawn(self) -> bool:
        """Whether the format is that of a page or a picture."""
        return self.format in DRAWN

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
        vertical: bool,
        text_decimals: bool,
        **others: Any,
    ) -> Any:
        to = Output.of(output_format, output, exact=exact, vertical=vertical, text_decimals=text_decimals)
        return command(*arguments, to=to, **others)

    wrapped: Any = packed
    for option in (
        click.option("--text-decimals", is_flag=True, help="In JSON, write decimals as texts."),
        click.option("--vertical", is_flag=True, help="In tables, show one value a line."),
        click.option("--exact", is_flag=True, help="In tables, show every digit of every amount."),
    ):
        wrapped = option(wrapped)
    return file_options(wrapped, get_args(Format))  # type: ignore[no-any-return]


def write(
    answer: Answer,
    to: Output,
    *,
    title: Sequence[str] = (),
    totals: bool = False,
    rounded: bool = False,
    keep: Sequence[str] = (),
    empty: str = "",
) -> None:
    """Print the answer, or write all of it to a file. A table gets the title's lines before it.

    `empty` is the sentence in the place of a table without rows. The others are those of `table.lines`.
    """
    if to.is_drawn:
        raise QueryError(
            f"only a report is written as `{to.format}`: use `intellirouter report NAME --output {to.file}`"
        )
    if to.format == "parquet" and to.file is not None:
        write_atomically(to.file, _parquet(answer))
        return
    if to.format == "table":
        width = PIPE_WIDTH if to.file is not None else _terminal_width()
        if empty and not answer.table.num_rows:
            rows: Iterable[str] = [empty]
        else:
            rows = lines(
                answer,
                width=width,
                exact=to.exact,
                totals=totals,
                rounded=rounded,
                vertical=to.vertical,
                keep=keep,
            )
        text = "\n".join([*title, *rows]) + "\n"
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
        return csv_text(answer.columns, answer.rows())
    if output_format == "json":
        return json_text(answer.columns, answer.rows(), text_decimals=text_decimals)
    return "\n".join(lines(answer, width=PIPE_WIDTH)) + "\n"


def _terminal_width() -> int:
    import rich.console

    console = rich.console.Console()
    return console.width if console.is_terminal else PIPE_WIDTH


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
