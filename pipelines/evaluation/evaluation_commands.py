"""`intellirouter evaluate` and `intellirouter savings`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.errors import EvaluationError
from pipelines.reports.output import Output, output_options, write, write_text
from pipelines.reports.period_options import period_options

if TYPE_CHECKING:
    from pipelines.reports.periods import Period
    from router.config import Settings
    from router.policies.policy import Policy


@click.command("evaluate")
@click.option("--policy", "named", help="A policy's id, or a file like policies.yaml.")
@click.option("--model", help="This model for every request, from sums that outlive the raw rows.")
@period_options
@click.option("--task", help="This task only.")
@click.option("--environment", help="Requests of this environment. Default: the one that the scores are of.")
@output_options
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
def evaluate_command(
    named: str | None,
    model: str | None,
    since: str,
    until: str | None,
    timezone: str | None,
    task: str | None,
    environment: str | None,
    home: Path | None,
    to: Output,
) -> None:
    """Estimate the cost and quality of another policy, or of one model, on the recorded traffic.

    A policy is estimated from the raw rows (SNIPS and doubly robust), a model from the hourly sums by
    inverse propensity, which are kept for years. Intervals are 95%. Estimates are refused where the traffic
    does not support them.
    """
    from pipelines.reports.periods import between, zone_of
    from router.config import Settings
    from router.settings.folder import existing

    if (named is None) == (model is None):
        raise click.UsageError("name either a --policy or a --model")
    settings = existing(Settings.load(home=home))
    period = between(zone_of(settings, named=timezone), since, until)
    if model is not None:
        _print_what_if(
            settings, model, period, is_open=until is None, task=task, environment=environment, to=to
        )
    elif named is not None:
        if until is not None:
            raise click.UsageError("--until goes with --model: a policy is evaluated up to now")
        _print_evaluations(settings, named, period, task=task, environment=environment, to=to)


def _print_what_if(
    settings: Settings,
    model: str,
    period: Period,
    *,
    is_open: bool,
    task: str | None,
    environment: str | None,
    to: Output,
) -> None:
    from pipelines.evaluation import estimate_tables
    from pipelines.evaluation.rollup_sums import what_ifs

    found = what_ifs(
        settings,
        model,
        since=period.since,
        until=None if is_open else period.until,
        task=task,
        environment=environment,
    )
    if not found:
        raise EvaluationError(f"chance made no decision of task `{task}` from {period}: take a longer time")
    title = (
        f"`{model}` for every request, {period}, whole hours; per decision that chance made, from the sums of"
        " `propensity_hourly`"
    )
    write(estimate_tables.what_if_answer(found), to, title=[title])


def _print_evaluations(
    settings: Settings, named: str, period: Period, *, task: str | None, environment: str | None, to: Output
) -> None:
    from pipelines.evaluation import estimate_tables
    from pipelines.evaluation.evaluate import evaluate
    from pipelines.evaluation.rollup_sums import raw_rows_begin

    done = [
        evaluate(settings, policy, since=period.since, task=task, environment=environment)
        for policy in policies(settings, named)
    ]
    if to.format == "json":
        text = json.dumps([estimate_tables.to_json(item) for item in done], indent=1) + "\n"
        write_text(text, to)
        return
    lines = [line for item in done for line in estimate_tables.notes(item)]
    first = raw_rows_begin(settings)
    if first is not None and first > period.since:
        lines.append(
            f"  from the raw rows, which begin at {first.astimezone(period.zone):%Y-%m-%d %H:%M}"
            f" {period.zone.key}: evaluate one --model to go further back"
        )
    write(estimate_tables.answer(done), to, title=[f"from the raw rows, {period}", *lines])


@click.command("savings")
@period_options
@click.option("--baseline", help="A model or a policy. Default: $BASELINE_MODEL.")
@click.option("--by", type=click.Choice(["organization", "task"]), help="A row for each of them too.")
@click.option("--environment", help="Requests of this environment. Default: the one that the scores are of.")
@click.option("--rollups", is_flag=True, help="From the hourly sums, as when raw rows have expired.")
@output_options
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
def savings_command(
    since: str,
    until: str | None,
    timezone: str | None,
    baseline: str | None,
    by: str | None,
    environment: str | None,
    home: Path | None,
    to: Output,
    *,
    rollups: bool,
) -> None:
    """Say what the router saved against a baseline, with a 95% interval.

    The baseline's cost and quality are estimated from the requests that chance gave to it. Where these are
    too few, the saving is not known, and the reason is printed. A period that begins before the raw rows is
    estimated from the hourly sums, if the baseline is one model.
    """
    from pipelines.evaluation import savings_tables
    from pipelines.evaluation.rollup_sums import savings_of_period
    from pipelines.reports.periods import between, zone_of
    from router.config import Settings

    settings = Settings.load(home=home)
    period = between(zone_of(settings, named=timezone), since, until)
    found = savings_of_period(
        settings,
        since=period.since,
        until=None if until is None else period.until,
        baseline=baseline,
        environment=environment,
        by=() if by is None else (by,),
        from_rollups=rollups,
    )
    if to.for_people() and to.file is None:
        click.echo(savings_tables.sentence(found[0]))
        click.echo(f"{savings_tables.coverage(found[0])}; {period}")
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
