"""`intellirouter budgets`, `anomalies` and `alerts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.reports.output import Output, output_options, write

if TYPE_CHECKING:
    from router.config import Settings

_home = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME."
)


@click.command("budgets")
@click.option("--organization", help="Only the budgets of this organisation.")
@_home
@output_options
def budgets_command(organization: str | None, home: Path | None, to: Output) -> None:
    """Show how much of each budget is spent, and where its period will end at the present pace.

    The figures are those of the last refresh.
    """
    from pipelines.anomalies import tables

    answer = tables.budgets(_settings(home), organization)
    if not answer.table.num_rows and to.for_people() and to.file is None:
        click.echo("no budget has a row: list one in limits.yaml, then run `intellirouter refresh`")
        return
    write(answer, to)


@click.command("anomalies")
@click.option("--since", default="30d", show_default=True, help="7d, 24h, 2026-11-01 or an ISO moment.")
@click.option("--open", "is_open", is_flag=True, help="Only those that go on.")
@_home
@output_options
def anomalies_command(since: str, home: Path | None, to: Output, *, is_open: bool) -> None:
    """Show which series left their usual course: expected and seen values, since when, and who contributes.

    Rows of one fault share their `incident_id`. The figures are those of the last refresh.
    """
    from pipelines.anomalies import tables
    from pipelines.reports.periods import parse_moment

    answer = tables.anomalies(_settings(home), since=parse_moment(since), is_open=is_open)
    if not answer.table.num_rows and to.for_people() and to.file is None:
        click.echo("no anomaly: a series is watched after three days of traffic")
        return
    write(answer, to)


@click.command("alerts")
@click.option("--send", "is_sending", is_flag=True, help="Send those that wait, and dead letters, now.")
@_home
@output_options
def alerts_command(home: Path | None, to: Output, *, is_sending: bool) -> None:
    """Show the alerts, and whether the webhook has them.

    An alert that the webhook did not take is tried again by each refresh, after growing waits. After
    half a day it is a dead letter, which only --send sends.
    """
    from pipelines.anomalies import alert_log, tables, webhook
    from router.errors import ConfigError

    settings = _settings(home)
    if is_sending:
        if settings.alert_webhook_url is None:
            raise ConfigError("ALERT_WEBHOOK_URL is not set: alerts are in alerts/alerts.jsonl only")
        with alert_log.opened(settings) as log:
            result = webhook.deliver(settings, log, with_dead=True)
        click.echo(
            f"delivered {result.delivered}, waiting {result.waiting}, dead letters {result.dead}", err=True
        )
        if result.problem is not None:
            raise ConfigError(result.problem)
        return
    answer = tables.alerts(settings)
    if not answer.table.num_rows and to.for_people() and to.file is None:
        click.echo("no alert")
        return
    write(answer, to)


def _settings(home: Path | None) -> Settings:
    from router.config import Settings
    from router.settings.folder import existing

    return existing(Settings.load(home=home))


COMMANDS: list[click.Command] = [budgets_command, anomalies_command, alerts_command]
