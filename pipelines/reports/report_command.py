"""`intellirouter report`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.errors import QueryError
from pipelines.reports.output import Output, output_options, write
from pipelines.reports.period_options import SINCE, ending_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.reports.pages.window import Window
    from router.config import Settings

CHART = ("svg", "png")
OTHERS: dict[str, tuple[str, Callable[[Settings, Window, Output], None]]] = {}
"""Reports that are no single statement, by name: a sentence, and how to print one. Their rooms add them."""


@click.command("report")
@click.argument("name", required=False)
@click.option("--since", help=f"{SINCE} Default: 30d, and for `month` its first day.")
@ending_options
@click.option("--organization", help="Only this organisation. An empty name is the requests without one.")
@click.option("--environment", help="Only this environment. Default: all together.")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with charts to this file."
)
@output_options
@click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds for each at most.")
def report_command(
    name: str | None,
    since: str | None,
    until: str | None,
    timezone: str | None,
    organization: str | None,
    environment: str | None,
    home: Path | None,
    html: Path | None,
    timeout: float,
    to: Output,
) -> None:
    """Print a report, or draw it. Without a name, list all reports. `month` is all of them.

    \b
    intellirouter report cost-per-task --since 7d
    intellirouter report cost-per-task --output chart.svg
    intellirouter report month --organization acme --html acme.html
    """
    from pipelines.reports import periods, reports
    from pipelines.reports.pages import building
    from pipelines.reports.pages.window import Window
    from router.config import Settings
    from router.settings.folder import existing

    if name is None:
        for known in reports.report_names():
            sentence = reports.file_of(known).sentence
            click.echo(f"{known:24}{sentence.split('. ')[0].split(' Variables')[0]}")
        for other, (sentence, _) in OTHERS.items():
            click.echo(f"{other:24}{sentence}")
        click.echo(f"{building.MONTH:24}All of these; by default since the first day of this month")
        return
    if name not in (building.MONTH, *OTHERS):
        reports.file_of(name)
    if html is not None:
        if to.file is not None:
            raise QueryError(f"`{html}` and `{to.file}` are asked for: give one of --html and --output")
        to = Output(format="html", file=html)
    settings = existing(Settings.load(home=home))
    now = datetime.now(UTC)
    zone = periods.zone_of(settings, organization or None, named=timezone)
    if name == building.MONTH and since is None:
        since = f"{now.astimezone(zone):%Y-%m-01}"
    period = None if since is None else periods.between(zone, since, until, now=now)
    window = Window(
        since=None if period is None else period.since,
        until=now if until is None else periods.bound(zone, until, now=now, is_end=True),
        zone=zone,
        organization=organization,
        environment=environment,
    )
    if name in OTHERS:
        if environment is not None:
            raise QueryError(f"the report `{name}` is not kept by environment: leave --environment out")
        OTHERS[name][1](settings, window, to)
    else:
        _write(settings, name, window, to, timeout)


def _write(settings: Settings, name: str, window: Window, to: Output, timeout_s: float) -> None:
    from pipelines.reports import reports
    from pipelines.reports.pages import building
    from pipelines.reports.pages.nothing import nothing
    from pipelines.reports.pages.questions import question_of

    is_month = name == building.MONTH
    if to.format == "html" and to.file is not None:
        size = building.write_page(settings, name, window, to.file, timeout_s=timeout_s)
        click.echo(f"wrote {to.file}, {size:,} bytes")
        return
    if is_month and not to.for_people():
        raise QueryError("`month` is many reports: write it with --html, or ask for one report")
    if to.format in CHART and to.file is not None:
        for path in building.write_charts(settings, name, window, to.file, timeout_s=timeout_s):
            click.echo(f"wrote {path}")
        return
    for item in building.names_for(window.organization, window.environment) if is_month else [name]:
        own = window.of(item)
        with building.opened(settings, own) as connection:
            answer = reports.run(connection, item, building.variables(own), timeout_s=timeout_s)
            notes = building.notes_of(settings, connection, item, own)
            empty = "" if answer.table.num_rows else nothing(connection, item, own)
        if (unknown := building.note_on_costs(item, answer)) is not None:
            notes.append(unknown)
        if not to.for_people():
            for note in notes:
                click.echo(f"note: {note}", err=True)
        period = building.period_of(item, window)
        title = f"{item}, {period}{building.whose_of(own)}; {building.CURRENCY}"
        question = question_of(item)
        write(
            answer,
            to,
            title=[title, *notes],
            totals=question.has_totals,
            rounded=True,
            keep=question.keep,
            empty=empty,
        )


@click.command("publish-reports")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
def publish_reports_command(home: Path | None) -> None:
    """Draw the pages of `GET /reports` whose figures changed, as the job `reports` does each hour."""
    from pipelines.reports.pages.publishing import publish_reports
    from router.config import Settings
    from router.settings.folder import existing

    result = publish_reports(existing(Settings.load(home=home)))
    waiting = f"; {result.waiting} wait for the next run" if result.waiting else ""
    click.echo(f"wrote the pages of {result.written} organisations, removed {result.removed}{waiting}")


COMMANDS: list[click.Command] = [report_command, publish_reports_command]
