"""The options of a command that takes a period: `--since`, `--until` and `--timezone`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

Command = TypeVar("Command", bound="Callable[..., Any]")
SINCE = "7d, 24h, 2026-11, 2026-11-01 (its local midnight) or an ISO moment."


def period_options(command: Command) -> Command:
    """Give a command the options `since`, `until` and `timezone`, which `periods.between` reads."""
    since = click.option("--since", default="30d", show_default=True, help=SINCE)
    return since(ending_options(command))


def ending_options(command: Command) -> Command:
    """Give a command the options `until` and `timezone`."""
    zone = click.option(
        "--timezone",
        metavar="ZONE",
        help="Zone of the days, as Europe/Vienna. Default: the organisation's, or $REPORT_TIMEZONE.",
    )
    until = click.option("--until", help="As --since; a date is in the period. Default: now.")
    return until(zone(command))
