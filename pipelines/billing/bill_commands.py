"""`intellirouter bill`. `bill close` is in `pipelines.cli`, since it refreshes first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pipelines.errors import QueryError
from pipelines.reports.output import Output, output_options, write, write_text

if TYPE_CHECKING:
    from pipelines.billing.focus import Version
    from router.config import Settings

home_option = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME."
)
month_option = click.option("--month", metavar="YYYY-MM", help="The month, such as 2026-11.")
organization_option = click.option("--organization", help="Only this organisation.")
timezone_option = click.option(
    "--timezone",
    "zone",
    metavar="ZONE",
    help="A name of the IANA database. Default: the organisation's own.",
)


@click.group("bill", invoke_without_command=True)
@click.pass_context
@month_option
@organization_option
@timezone_option
@click.option("--currency", default="USD", show_default=True, help="Bills are in US dollars.")
@home_option
@output_options
def bill_group(
    context: click.Context,
    month: str | None,
    organization: str | None,
    zone: str | None,
    currency: str,
    home: Path | None,
    to: Output,
) -> None:
    """Print a month's bill: requests, tokens and costs by organisation, model, price and service tier.

    \b
    intellirouter bill --month 2026-11 --organization acme
    intellirouter bill --month 2026-11 --output november.csv
    intellirouter bill close --month 2026-11
    """
    if context.invoked_subcommand is not None:
        return
    from pipelines.billing.bill import monthly_bill

    if month is None:
        raise click.UsageError("name the month with --month, such as --month 2026-11")
    bill = monthly_bill(settings_of(home), month, organization=organization, zone=zone, currency=currency)
    write(bill.answer(for_people=to.for_people()), to, title=bill.title(), totals=True)


@bill_group.command("status")
@home_option
@output_options
def status_command(home: Path | None, to: Output) -> None:
    """List every bill: open or closed, its sums, and the lines that a refresh would restate."""
    from pipelines.billing.bill import status

    write(status(settings_of(home)), to, totals=True)


@click.command("focus")
@month_option
@organization_option
@timezone_option
@click.option(
    "--version", type=click.Choice(["1.2", "1.3"]), default="1.2", show_default=True, help="FOCUS version."
)
@click.option("--issuer", default="IntelliRouter", show_default=True, help="The InvoiceIssuerName.")
@home_option
@click.option("--format", "output_format", type=click.Choice(["csv", "parquet"]), help="Default: by suffix.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
def focus_command(
    month: str | None,
    organization: str | None,
    zone: str | None,
    version: Version,
    issuer: str,
    home: Path | None,
    output_format: Literal["csv", "parquet"] | None,
    output: Path | None,
) -> None:
    """Export a month's bill in the FinOps Open Cost and Usage Specification (FOCUS)."""
    from pipelines.billing.accounts import Accounts
    from pipelines.billing.bill import monthly_bill
    from pipelines.billing.focus import as_csv, focus, unknown_requests

    to = Output.of(output_format or (None if output else "csv"), output)
    if to.format not in ("csv", "parquet"):
        raise QueryError(f"FOCUS files are CSV or Parquet, not `{to.format}`: add --format csv or parquet")
    if month is None:
        raise click.UsageError("name the month with --month, such as --month 2026-11")
    settings = settings_of(home)
    bill = monthly_bill(settings, month, organization=organization, zone=zone)
    names = Accounts(settings).names()
    answer = focus(bill, names, version=version, issuer=issuer)
    if to.format == "csv":
        write_text(as_csv(answer), to)
    else:
        write(answer, to)
    if unknown := unknown_requests(bill):
        click.echo(f"the cost of {unknown} requests is not known: it is 0 in this format", err=True)


def settings_of(home: Path | None) -> Settings:
    """The settings of a data folder that exists."""
    from router.config import Settings
    from router.settings.folder import existing

    return existing(Settings.load(home=home))
