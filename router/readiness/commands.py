"""`intellirouter config check`, from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from router.readiness.check import check as check_everything
from router.settings.environment import Variables
from router.settings.printing import RowOutput, row_options


@click.command("check", help="Print every setting in force, and check documents and data folder.")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder (INTELLIROUTER_HOME).")
@row_options
def check(home: Path | None, to: RowOutput) -> None:
    """Exit with 1 on a problem."""
    report = check_everything(Variables.read(), home)
    width = max((len(item.name) for item in report.settings), default=0)
    found = [
        *(("ok", text) for text in report.good),
        *(("notice", text) for text in report.notices),
        *(("PROBLEM", text) for text in report.problems),
    ]
    facts: list[dict[str, str | None]] = [
        {"kind": "setting", "name": item.name, "origin": item.origin, "text": str(item.value)}
        for item in report.settings
    ]
    facts += [{"kind": kind.lower(), "name": None, "origin": None, "text": text} for kind, text in found]
    lines = [f"{item.name:<{width}}  {item.origin:<11}  {item.value}".rstrip() for item in report.settings]
    to.write(facts, [*lines, "", *(f"{kind:<7}  {text}" for kind, text in found)])
    if report.problems:
        sys.exit(1)


COMMANDS = [check]
