"""`intellirouter config push` and `pull`: between the data folder and PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.config import Settings
from router.configuration.moving import pull, push

if TYPE_CHECKING:
    from router.configuration.moving import Moved

home_option = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder (INTELLIROUTER_HOME)."
)


@click.command("push", help="Copy documents, history and keys of the data folder to DATABASE_URL.")
@click.option("--force", is_flag=True, help="Also over a version that the data folder never had.")
@home_option
def push_command(home: Path | None, *, force: bool) -> None:
    """Say what is in force there."""
    settings = Settings.load(home=home)
    _report(push(settings, is_forced=force), "DATABASE_URL", settings.keys_file)


@click.command("pull", help="Copy documents, history and keys of DATABASE_URL to the data folder.")
@home_option
def pull_command(home: Path | None) -> None:
    """Say what is in force there."""
    settings = Settings.load(home=home)
    _report(pull(settings), str(settings.home), None)


def _report(moved: Moved, place: str, keys_file: Path | None) -> None:
    version = moved.version
    click.echo(f"version {version.number}, config_hash {version.config_hash}, is in force in {place}")
    click.echo(f"  versions copied: {moved.versions}; keys added or changed: {moved.keys}")
    if keys_file is not None and moved.keys:
        click.echo(f"  the keys of {keys_file} are no longer read while DATABASE_URL is set")


MOVING: list[click.Command] = [push_command, pull_command]
"""Subcommands of `intellirouter config`."""
