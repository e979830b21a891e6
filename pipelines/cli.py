"""The commands that need the pipelines: refresh, retention, sql, report.

dagster takes over a second to import, so the modules that need it are imported by their command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.output import Format
    from router.config import Settings

Command = TypeVar("Command", bound="Callable[..., Any]")

_home = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder; default: $INTELLIROUTER_HOME."
)


def _output(command: Command) -> Command:
    for option in (
        click.option(
            "--timeout", type=float, default=30.0, show_default=True, help="Seconds to run at most."
        ),
        click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."),
        click.option(
            "--format",
            "output_format",
            type=click.Choice(["table", "csv", "json", "parquet"]),
            default="table",
            show_default=True,
        ),
    ):
        command = option(command)
    return command


@click.command("refresh")
@_home
@click.option("--rebuild", is_flag=True, help="Set the build database aside and fill it again from the lake.")
def refresh_command(home: Path | None, *, rebuild: bool) -> None:
    """Load what is new, recompute what it touches, publish scores and warehouse."""
    from pipelines.errors import WarehouseError
    from pipelines.refresh import refresh

    result = refresh(_settings(home), rebuild=rebuild)
    if not result.success:
        raise WarehouseError(f"the refresh failed: {result.error}")
    loaded = ", ".join(f"{rows} rows of {dataset}" for dataset, rows in result.rows.items())
    what = f"loaded {result.segments} segments ({loaded})" if result.segments else "nothing new to load"
    scores = f"scores `{result.snapshot_id}`" if result.snapshot_id else "no scores yet"
    click.echo(f"{what}; {scores}; {result.seconds:.1f} s")
    _warn(result.failed_checks)


@click.command("retention")
@_home
@click.option("--dry-run", is_flag=True, help="List what would go, and change nothing.")
@click.option("--now", "now_text", metavar="MOMENT", help="Count from this moment instead of the clock's.")
def retention_command(home: Path | None, now_text: str | None, *, dry_run: bool) -> None:
    """Drop raw records older than ANALYTICS_RETENTION_DAYS; rollups and history stay."""
    from pipelines.errors import WarehouseError
    from pipelines.refresh import retain
    from pipelines.reports import parse_moment

    now = None if now_text is None else parse_moment(now_text)
    result = retain(_settings(home), now=now, dry_run=dry_run)
    if not result.success:
        raise WarehouseError(f"retention failed: {result.error}")
    verb = "would remove" if dry_run else "removed"
    rows = ", ".join(f"{count} rows of {dataset}" for dataset, count in result.rows.items())
    click.echo(
        f"{verb} {rows}, {len(result.partitions)} lake folders and {len(result.score_files)} score files"
        f" from before {result.expired_before}"
    )
    for partition in result.partitions:
        click.echo(f"  {partition}")
    _warn(result.failed_checks)


@click.command("sql")
@click.argument("statement")
@_home
@_output
def sql_command(
    statement: str, home: Path | None, output_format: Format, output: Path | None, timeout: float
) -> None:
    """Run SQL on the published warehouse, read-only."""
    from pipelines import reports
    from pipelines.output import write

    answer = reports.query(_settings(home), statement, timeout_s=timeout)
    write(answer, output_format=output_format, output=output)


@click.command("report")
@click.argument("name", required=False)
@click.option("--since", default="30d", show_default=True, help="7d, 24h, 2026-11-01 or an ISO moment.")
@click.option("--until", help="The same; default: now.")
@click.option("--organization", help="This organisation only.")
@_home
@_output
def report_command(
    name: str | None,
    since: str,
    until: str | None,
    organization: str | None,
    home: Path | None,
    output_format: Format,
    output: Path | None,
    timeout: float,
) -> None:
    """Print a report; without a name, list them."""
    from pipelines import reports, sqlfiles
    from pipelines.output import write

    if name is None:
        for known in reports.report_names():
            sentence = sqlfiles.load(f"reports/{known.replace('-', '_')}").sentence
            click.echo(f"{known:24}{sentence.split('. ')[0].split(' Variables')[0]}")
        return
    answer = reports.report(
        _settings(home),
        name,
        since=reports.parse_moment(since),
        until=None if until is None else reports.parse_moment(until),
        organization=organization,
        timeout_s=timeout,
    )
    write(answer, output_format=output_format, output=output)


COMMANDS: list[click.Command] = [refresh_command, retention_command, sql_command, report_command]


def _settings(home: Path | None) -> Settings:
    from router.config import Settings

    return Settings.load(home=home)


def _warn(failed_checks: Any) -> None:
    for name, description in failed_checks.items():
        click.echo(f"check {name} failed: {description}", err=True)
