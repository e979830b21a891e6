"""`intellirouter experiments`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.reports.output import Output, output_options, write


@click.command("experiments")
@click.argument("experiment_id", metavar="[ID]", required=False)
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
@click.option("--phases", is_flag=True, help="List the phases: a change of shares or variants starts one.")
@output_options
def experiments_command(experiment_id: str | None, home: Path | None, to: Output, *, phases: bool) -> None:
    """Show which variant is better so far. You can read it, and act on it, as often as you like.

    Differences are to the first variant, with intervals that hold at every look at once. They are joined
    over the phases of the experiment, so that a change of the shares moves no figure.
    """
    from pipelines.experiments.result_tables import results
    from router.config import Settings
    from router.settings.folder import existing

    answer = results(existing(Settings.load(home=home)), experiment_id, phases=phases)
    if not answer.table.num_rows and to.for_people() and to.file is None:
        click.echo(
            "no experiment has results: list one in experiments.yaml. Results come with the refresh after its"
            " first requests"
        )
        return
    write(answer, to)


COMMANDS: list[click.Command] = [experiments_command]
