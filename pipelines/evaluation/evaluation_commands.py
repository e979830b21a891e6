"""`intellirouter evaluate` and `intellirouter savings`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.reports.output import Output, output_options, write, write_text

if TYPE_CHECKING:
    from router.config import Settings
    from router.policies.policy import Policy


@click.command("evaluate")
@click.option("--policy", "named", required=True, help="A policy's id, or a file like policies.yaml.")
@click.option("--since", default="30d", show_default=True, help="7d, 24h, 2026-11-01 or an ISO moment.")
@click.option("--task", help="This task only.")
@click.option("--environment", help="Requests of this environment. Default: the one that the scores are of.")
@output_options
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
def evaluate_command(
    named: str,
    since: str,
    task: str | None,
    environment: str | None,
    home: Path | None,
    to: Output,
) -> None:
    """Estimate the cost and quality of another policy on the recorded traffic.

    The estimates are SNIPS and doubly robust, from the recorded probabilities, with 95% intervals. They
    are refused where the traffic does not support them.
    """
    from pipelines.evaluation import estimate_tables
    from pipelines.evaluation.evaluate import evaluate
    from pipelines.reports.reports import parse_moment
    from router.config import Settings
    from router.settings.folder import existing

    settings = existing(Settings.load(home=home))
    moment = parse_moment(since)
    done = [
        evaluate(settings, policy, since=moment, task=task, environment=environment)
        for policy in policies(settings, named)
    ]
    if to.format == "json":
        text = json.dumps([estimate_tables.to_json(item) for item in done], indent=1) + "\n"
        write_text(text, to)
        return
    notes = [line for item in done for line in estimate_tables.notes(item)]
    write(estimate_tables.answer(done), to, title=notes)


@click.command("savings")
@click.option("--since", default="30d", show_default=True, help="7d, 24h, 2026-11-01 or an ISO moment.")
@click.option("--until", help="As --since. Default: now.")
@click.option("--baseline", help="A model or a policy. Default: $BASELINE_MODEL.")
@click.option("--by", type=click.Choice(["organization", "task"]), help="A row for each of them too.")
@click.option("--environment", help="Requests of this environment. Default: the one that the scores are of.")
@output_options
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
def savings_command(
    since: str,
    until: str | None,
    baseline: str | None,
    by: str | None,
    environment: str | None,
    home: Path | None,
    to: Output,
) -> None:
    """Say what the router saved against a baseline, with a 95% interval.

    The baseline's cost and quality are estimated from the requests that chance gave to it. Where these are
    too few, the saving is not known, and the reason is printed.
    """
    from pipelines.evaluation import savings_tables
    from pipelines.evaluation.savings import savings
    from pipelines.reports.reports import parse_moment
    from router.config import Settings

    found = savings(
        Settings.load(home=home),
        since=parse_moment(since),
        until=None if until is None else parse_moment(until),
        baseline=baseline,
        environment=environment,
        by=() if by is None else (by,),
    )
    if to.for_people() and to.file is None:
        click.echo(savings_tables.sentence(found[0]))
        click.echo(savings_tables.coverage(found[0]))
        if by is None:
            return
    write(savings_tables.answer(found), to)


def policies(settings: Settings, named: str) -> list[Policy]:
    """The policies of a file, or the one in force with this id."""
    from router.errors import ConfigError, UnknownPolicyError
    from router.policies.policy import BUILT_IN, Policies

    path = Path(named)
    if path.suffix in (".yaml", ".yml"):
        if not path.exists():
            raise ConfigError(f"no policies at `{path}`: name a file like policies.yaml, or a policy's id")
        own = [policy for policy in Policies.load(path).by_id.values() if policy not in BUILT_IN]
        if not own:
            raise ConfigError(f"`{path}` defines no policy: list one under `policies`")
        return own
    known = Policies.load(settings.policies_file).by_id
    if named not in known:
        raise UnknownPolicyError(named, known)
    return [known[named]]


COMMANDS: list[click.Command] = [evaluate_command, savings_command]
