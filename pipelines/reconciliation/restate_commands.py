"""`intellirouter prices restate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.reports.output import Output, output_options, write

if TYPE_CHECKING:
    from router.config import Settings


@click.command("restate")
@click.argument("model")
@click.option("--from", "since", required=True, help="First day or moment, such as 2026-11-01.")
@click.option("--to", "until", help="Last day, or a moment. Default: now.")
@click.option("--price", required=True, help="input=1.25,output=10 per million tokens, or a price's id.")
@click.option("--reason", help="Why. Default: the price.")
@click.option("--dry-run", is_flag=True, help="Show the rows, and keep none of them.")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
@output_options
def restate_command(
    model: str,
    since: str,
    until: str | None,
    price: str,
    reason: str | None,
    home: Path | None,
    to: Output,
    *,
    dry_run: bool,
) -> None:
    """Restate what the requests of MODEL cost, at another price.

    The rows go to `billing_restatements` with the next refresh. `cost_usd` of the requests does not change.
    """
    from pipelines.billing.restatements import add
    from pipelines.reconciliation.restating import require_new, restate
    from pipelines.reconciliation.result_tables import restatements
    from pipelines.reports.periods import between, zone_of

    settings = _settings(home)
    period = between(zone_of(settings), since, until)
    rows = restate(settings, model, price, since=period.since, until=period.until, reason=reason)
    write(restatements(rows), to, title=[f"{model} at {price}, {period}; amounts in US dollars"], totals=True)
    if not dry_run:
        require_new(settings, rows)
        add(settings, rows)
        click.echo(f"kept {len(rows)} restatements; `intellirouter refresh` publishes them", err=True)


def _settings(home: Path | None) -> Settings:
    from router.config import Settings
    from router.settings.folder import existing

    return existing(Settings.load(home=home))


COMMANDS: list[click.Command] = [restate_command]
