"""`intellirouter experiments`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipelines.reports.output import Format


@click.command("experiments")
@click.argument("experiment_id", metavar="[ID]", required=False)
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
def experiments_command(
    experiment_id: str | None, home: Path | None, output_format: Format, output: Path | None
) -> None:
    """Show which variant is better so far. You can read it, and act on it, as often as you like.

    Differences are to the first variant, with intervals that hold at every look at once.
    """
    from pipelines.experiments.result_tables import results
    from pipelines.reports.output import write
    from router.config import Settings
    from router.settings.folder import existing

    answer = results(existing(Settings.load(home=home)), experiment_id)
    if not answer.table.num_rows and output_format == "table" and output is None:
        click.echo(
            "no experiment has results: list one in experiments.yaml. Results come with the refresh after its"
            " first requests"
        )
        return
    write(answer, output_format=output_format, output=output)


COMMANDS: list[click.Command] = [experiments_command]
