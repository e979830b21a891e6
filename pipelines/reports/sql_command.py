"""`intellirouter sql`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from pipelines.errors import QueryError
from pipelines.reports.output import Output, output_options, write


class SqlCommand(click.Command):
    """A command whose statement may start with a comment, which click would read as an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        statements = [item for item in args if re.match(r"--(\s|[^\n=]*\n)", item)]
        if statements and "--" not in args:
            args = [*(item for item in args if item not in statements), "--", *statements]
        return super().parse_args(ctx, args)


@click.command("sql", cls=SqlCommand)
@click.argument("statement", required=False)
@click.option(
    "-f", "--file", "file", type=click.Path(path_type=Path), help="Read the statements from a file."
)
@click.option(
    "--param",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value of `$NAME`. Repeat it for each. Put quotes ('7') around a text that looks like a number.",
)
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
@output_options
@click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds for each at most.")
def sql_command(
    statement: str | None,
    file: Path | None,
    given: tuple[str, ...],
    home: Path | None,
    timeout: float,
    to: Output,
) -> None:
    """Run SQL on the published warehouse, read-only, and print each statement's rows.

    STATEMENT may hold several statements and comments. `-` reads them from standard input.

    \b
    intellirouter sql "select count(*) from request_analytics"
    intellirouter sql -f questions.sql --param organization=acme --output answers.csv
    """
    from pipelines.reports import reports
    from pipelines.reports.statements import read_parameters
    from router.config import Settings
    from router.settings.folder import existing

    settings = existing(Settings.load(home=home))
    text = _text(statement, file)
    answers = reports.answers(settings, text, parameters=read_parameters(given), timeout_s=timeout)
    if to.file is not None:
        found = list(answers)
        if len(found) > 1:
            raise QueryError(
                f"{len(found)} statements have rows, and `{to.file}` takes one answer: run them one by one"
            )
        answers = iter(found)
    for answer in answers:
        write(answer, to)


def _text(statement: str | None, file: Path | None) -> str:
    if (statement is None) == (file is None):
        raise click.UsageError("give one of a STATEMENT, `-` for standard input, or -f FILE")
    if file is not None and str(file) != "-":
        try:
            return file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise QueryError(f"`{file}` cannot be read as text: {error}; name a file of SQL") from error
    return sys.stdin.read() if statement in (None, "-") else str(statement)


COMMANDS: list[Any] = [sql_command]
