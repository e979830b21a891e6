"""`intellirouter reconcile`."""

from __future__ import annotations

import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.reports.output import Output, output_options, write

if TYPE_CHECKING:
    from datetime import date

    from pipelines.reconciliation.exports.reading import Shape
    from router.config import Settings

CENT = "0.01"
DAYS = 30
"""Days that are compared without a file, unless --since says otherwise."""


def _usd(_: click.Context, param: click.Parameter, value: str) -> Decimal:
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise click.BadParameter(f"`{value}` is not an amount: give dollars such as 0.50", param=param)
    return amount


@click.command("reconcile")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--provider",
    type=click.Choice(["openai", "anthropic", "openrouter", "focus"]),
    help="The shape of the file.",
)
@click.option("--columns", "mapping", help="Columns of any other file: day=Date,model=Model,cost=Amount")
@click.option("--catalog-provider", multiple=True, help="Provider of the catalog that the bill is of.")
@click.option("--timezone", help="Zone of the bill's days, such as Europe/Berlin.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day. Default: the file's first.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day. Default: the file's last.")
@click.option("--all", "show_all", is_flag=True, help="In tables, show the rows that agree too.")
@click.option(
    "--max-unexplained-usd",
    callback=_usd,
    default=CENT,
    show_default=True,
    help="Exit with 1 if more dollars have no cause.",
)
@click.option("--dry-run", is_flag=True, help="Compare, and do not keep the result.")
@output_options
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
def reconcile_command(
    file: Path | None,
    provider: Shape | None,
    mapping: str | None,
    catalog_provider: tuple[str, ...],
    timezone: str | None,
    since: date | None,
    until: date | None,
    home: Path | None,
    max_unexplained_usd: Decimal,
    to: Output,
    *,
    show_all: bool,
    dry_run: bool,
) -> None:
    """Compare a provider's usage or cost export with the recorded requests.

    Without FILE, compare our cost with the one that providers report in their answers, by model.

    Each difference gets one cause: missing_here, missing_there, served_model, served_tier, price, tokens,
    tools, cut_stream, day_boundary, credits, or unexplained; or two of them with "or", if the file cannot
    show which. The result is kept in the lake and published.
    """
    from pipelines.reconciliation.exports.columns import Columns
    from pipelines.reconciliation.reconcile import reconcile
    from pipelines.reconciliation.result_tables import answer, differences, head
    from pipelines.reconciliation.store import keep
    from pipelines.reports.periods import zone_of
    from pipelines.warehouse.publishing import publish_warehouse
    from pipelines.warehouse.warehouse import Warehouse

    settings = _settings(home)
    if file is None:
        _reported(settings, to, since=_day(since), until=_day(until), timezone=timezone)
        return
    found = reconcile(
        settings,
        file,
        provider,
        columns=None if mapping is None else Columns.parse(mapping),
        timezone=None if timezone is None else zone_of(settings, named=timezone),
        since=_day(since),
        until=_day(until),
        catalog_providers=catalog_provider,
    )
    lines = list(head(found))
    if not dry_run:
        with Warehouse(settings) as warehouse:
            lines += [f"note: {note}" for note in keep(warehouse, found)]
            publish_warehouse(warehouse)
    is_table = to.for_people()
    rows = found.rows if show_all or not is_table else tuple(differences(found))
    if is_table and len(rows) < len(found.rows):
        lines.append(f"{len(found.rows) - len(rows)} rows that agree are not shown: add --all")
    write(answer(rows), to, title=lines, totals=bool(rows))
    if not is_table or to.file is not None:
        click.echo("\n".join(lines), err=True)
    if found.unexplained_usd > max_unexplained_usd:
        click.echo(f"{found.unexplained_usd} US dollars have no cause", err=True)
        sys.exit(1)


def _reported(
    settings: Settings, to: Output, *, since: date | None, until: date | None, timezone: str | None
) -> None:
    from datetime import UTC, datetime, timedelta

    from pipelines.reconciliation.provider_costs import provider_costs
    from pipelines.reports.periods import day, zone_of

    zone = zone_of(settings, named=timezone)
    now = datetime.now(UTC)
    start = now - timedelta(days=DAYS) if since is None else day(zone, since).since
    end = now if until is None else day(zone, until).until
    title = f"our cost and the cost that providers report, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    found = provider_costs(settings, since=start, until=end)
    write(found, to, title=[f"{title}; amounts in US dollars"], totals=True)


def _day(moment: Any) -> date | None:
    return None if moment is None else moment.date()


def _settings(home: Path | None) -> Settings:
    from router.config import Settings
    from router.settings.folder import existing

    return existing(Settings.load(home=home))


COMMANDS: list[click.Command] = [reconcile_command]
