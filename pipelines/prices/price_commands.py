"""`intellirouter prices` shows prices, and lets you accept those that wait."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.reports.output import Output, output_options, write
from router.settings.printing import RowOutput, row_options

if TYPE_CHECKING:
    from pipelines.prices.refresh import PricesResult
    from pipelines.reports.reports import Answer
    from router.config import Settings

NONE_PENDING = "No price waits. `intellirouter prices refresh` compares the price book with its source."
NO_PRICES = (
    "No price is known. Run `intellirouter prices refresh`, or give the models `prices` in catalog.yaml."
)

_home = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder; default: $INTELLIROUTER_HOME."
)


@click.group("prices")
def prices_command() -> None:
    """Show the prices of the catalog's models, and review prices that look wrong."""


@prices_command.command("list")
@click.argument("model", required=False)
@_home
@output_options
def list_command(model: str | None, home: Path | None, to: Output) -> None:
    """List the dated prices of all catalog models, or of MODEL: an id, or part of a book name."""
    from pipelines.prices.listing import price_table

    write(_answer(price_table(_settings(home), model)), to, empty=NO_PRICES)


@prices_command.command("pending")
@_home
@output_options
def pending_command(home: Path | None, to: Output) -> None:
    """List prices that you must accept before they are in force, with the reason."""
    from pipelines.prices.listing import pending_table

    write(_answer(pending_table(_settings(home))), to, empty=NONE_PENDING)


@prices_command.command("accept")
@click.argument("ids", nargs=-1)
@click.option("--all", "accept_all", is_flag=True, help="Accept every pending price.")
@_home
@row_options
def accept_command(ids: tuple[str, ...], home: Path | None, to: RowOutput, *, accept_all: bool) -> None:
    """Put pending prices into force from now on."""
    from pipelines.prices.refresh import accept

    if bool(ids) == accept_all:
        raise click.UsageError("name the pending prices to accept, or give --all")
    taken = accept(_settings(home), None if accept_all else ids)
    lines = [f"{item.ref}: in force ({item.reason})" for item in taken]
    facts = [{"model": item.ref, "reason": item.reason} for item in taken]
    last = f"accepted {len(taken)}; running routers read them when they start or reload"
    to.write(facts, [*lines, last])


@prices_command.command("refresh")
@_home
@row_options
def refresh_command(home: Path | None, to: RowOutput) -> None:
    """Compare the price book with its source, as the daily Dagster job does."""
    from pipelines.prices.refresh import refresh_prices

    result = refresh_prices(_settings(home))
    facts = {
        "source": result.source,
        "models": result.models,
        "new_prices": result.applied,
        "pending": len(result.pending),
        "no_longer_listed": result.unlisted,
        "problem": result.problem,
    }
    to.write([facts], [summary(result)])


def summary(result: PricesResult) -> str:
    """The result of a refresh in one or two lines."""
    line = (
        f"{result.models} models from {result.source}: {result.applied} new prices in force,"
        f" {len(result.pending)} wait for `intellirouter prices accept`,"
        f" {result.unlisted} kept although no longer listed"
    )
    return line if result.problem is None else f"{line}\n{result.problem}"


def _answer(columns: dict[str, Any]) -> Answer:
    import pyarrow as pa

    from pipelines.reports.reports import Answer

    return Answer(table=pa.table(columns))


def _settings(home: Path | None) -> Settings:
    from router.config import Settings
    from router.settings.folder import existing

    return existing(Settings.load(home=home))


COMMANDS: list[click.Command] = [prices_command]
