"""The list of commands that `intellirouter` prints, by what a person wants, and the line for a wrong word."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from router.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Begin": ("init", "serve", "demo", "import"),
    "Ask": ("report", "sql", "explain", "evaluate", "savings", "experiments", "budgets", "anomalies"),
    "Bill": ("bill", "reconcile", "prices"),
    "Run the jobs": ("refresh", "dagster", "retention", "compact", "rebuild", "admit", "publish-reports"),
    "Configure": ("config", "keys", "schema"),
    "Keep in order": ("doctor", "erase", "backup", "restore", "alerts"),
    "Share and move": ("sync", "mirror", "export", "replay"),
}
"""Every command, by what it is for. Within a section the most used comes first."""


class CommandList(click.Group):
    """A group whose help has sections, and whole sentences."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click. A command that no section names is listed at the end."""
        named = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        width = max(map(len, self.commands))
        for title, names in {**SECTIONS, "Others": others}.items():
            rows = [(f"{name:{width}}", first_sentence(self.commands[name])) for name in names]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def first_sentence(command: click.Command) -> str:
    """The sentence that the list shows of a command's help."""
    paragraph, *_ = re.split(r"\n\s*\n|\b\n?\x08", command.help or "")
    text = " ".join(paragraph.split())
    return re.split(r"(?<=\.) (?=[A-Z])", text, maxsplit=1)[0]


def usage_fault(error: click.UsageError) -> str:
    """The line for a wrong command or option, with the nearest known ones."""
    if error.ctx is not None and isinstance(error, click.NoSuchOption):
        known = [name for item in error.ctx.command.get_params(error.ctx) for name in item.opts]
        return f"unknown option `{error.option_name}`: {nearest(error.option_name, known)}"
    name = getattr(error, "command_name", None)  # of a class that is new in click 8.4
    if error.ctx is not None and isinstance(name, str) and isinstance(error.ctx.command, click.Group):
        return f"unknown command `{name}`: {nearest(name, error.ctx.command.list_commands(error.ctx))}"
    return error.format_message()
