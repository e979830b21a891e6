"""`intellirouter config check`, from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from router.readiness.check import check as check_everything
from router.settings.environment import Variables


@click.command("check", help="Print every setting in force, and check documents and data folder.")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder (INTELLIROUTER_HOME).")
def check(home: Path | None) -> None:
    """Exit with 1 on a problem."""
    report = check_everything(Variables.read(), home)
    width = max((len(item.name) for item in report.settings), default=0)
    for item in report.settings:
        click.echo(f"{item.name:<{width}}  {item.origin:<11}  {item.value}".rstrip())
    click.echo()
    for line in report.good:
        click.echo(f"ok       {line}")
    for notice in report.notices:
        click.echo(f"notice   {notice}")
    for problem in report.problems:
        click.echo(f"PROBLEM  {problem}")
    if report.problems:
        sys.exit(1)


COMMANDS = [check]
