"""`intellirouter demo` and `intellirouter replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipelines.replay.reference import Change

# Heavy imports are inside the functions, so that `intellirouter --help` answers at once.


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("intellirouter-demo"),
    show_default=True,
    help="Folder for the demo's files. The next run deletes them.",
)
@click.option("--requests", type=click.IntRange(min=20), help="Requests to send.")
@click.option("--seed", type=int, default=0, show_default=True, help="Repeats a run's random choices.")
@click.option("--smoke", is_flag=True, help="A short run, to see that everything works.")
def demo(data_dir: Path, requests: int | None, seed: int, smoke: bool) -> None:
    """Watch the whole loop on simulated models with published figures, in a few minutes."""
    from pipelines.replay import demo as scenes

    scenes.demo(
        data_dir,
        requests=requests or (scenes.SMOKE_REQUESTS if smoke else scenes.REQUESTS),
        refreshes=scenes.SMOKE_REFRESHES if smoke else scenes.REFRESHES,
        seed=seed,
    )


@click.command()
@click.option(
    "--outcomes",
    "outcomes_file",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Parquet: item_id, task_type, model, quality, cost_usd, input_tokens, output_tokens, latency_ms.",
)
@click.option(
    "--trace",
    "trace_file",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Parquet with arrival times in seconds, `t_s`. Other columns are not used.",
)
@click.option("--requests", type=click.IntRange(min=1), help="Requests to send [default: the trace's].")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("intellirouter-replay"),
    show_default=True,
    help="Folder for the replay's files. The next run deletes them.",
)
@click.option(
    "--picks",
    "picks_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the chosen models to this file.",
)
@click.option(
    "--refresh-every",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Requests between two refreshes of the scores.",
)
@click.option(
    "--cost-weight",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="How much quality a model may lack that costs less, as in a policy.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Repeats a run's random choices.")
@click.option("--change-step", type=click.IntRange(min=0), help="Apply --set from this request on.")
@click.option("--set", "swap", metavar="A=B", help="Model A answers with B's quality and keeps its own cost.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="Requests arrive and models answer this many times faster than recorded. The clock of the"
    " arrivals stops while scores are refreshed.",
)
@click.option("--pool", metavar="A,B,…", help="Models [default: those with all costs known].")
@click.option(
    "--feedback-share",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of the answers that are judged.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the summary to this file.",
)
def replay(
    outcomes_file: Path,
    trace_file: Path,
    requests: int | None,
    data_dir: Path,
    picks_file: Path | None,
    refresh_every: int,
    cost_weight: float,
    seed: int,
    change_step: int | None,
    swap: str | None,
    speed: float,
    pool: str | None,
    feedback_share: float,
    json_file: Path | None,
) -> None:
    """Replay recorded outcomes at a recorded pace through the whole loop.

    The router learns only the outcome of the model it chose. The command exits with 1 if a request was
    lost or counted twice, or if costs differ in the last digit.
    """
    import json

    from rich.console import Console

    from pipelines.replay.errors import BooksError
    from pipelines.replay.outcomes import load_world
    from pipelines.replay.picks import write_picks
    from pipelines.replay.plan import Plan
    from pipelines.replay.progress_display import Live, books_lines, results_table, speed_line, summary
    from pipelines.replay.run import run
    from pipelines.replay.trace import load_trace, schedule

    world = load_world(outcomes_file, None if pool is None else [name.strip() for name in pool.split(",")])
    arrivals = load_trace(trace_file)
    plan = Plan(
        world=world,
        outcomes_file=outcomes_file,
        arrivals_s=schedule(arrivals, requests=requests or len(arrivals), speed=speed),
        folder=data_dir,
        refresh_every=refresh_every,
        cost_weight=cost_weight,
        seed=seed,
        speed=speed,
        change=_change(change_step, swap, world.models),
        feedback_share=feedback_share,
    )
    console = Console()
    console.print(
        f"{len(world.models)} models, {len(world.tasks)} tasks, {len(world.items):,} items"
        f" ({world.items_dropped} dropped: not known for every model;"
        f" models left out: {', '.join(world.left_out) or 'none'})"
    )
    with Live(console, plan) as live:
        report = run(plan, live)
    if picks_file is not None:
        write_picks(picks_file, report, world)
    if json_file is not None:
        json_file.write_text(json.dumps(summary(report), indent=1))
    console.print(results_table(report))
    for line in (*books_lines(report.books), speed_line(report)):
        console.print(line)
    if not report.books.is_equal:
        raise BooksError("the warehouse does not hold the requests that were sent: see the lines above")


def _change(step: int | None, swap: str | None, models: tuple[str, ...]) -> Change | None:
    """The change that the two options describe. None without them."""
    from pipelines.replay.reference import Change

    if step is None and swap is None:
        return None
    if step is None or swap is None:
        raise click.UsageError("--change-step and --set must be given together")
    model, separator, like = swap.partition("=")
    for name in (model, like):
        if not separator or name not in models:
            raise click.UsageError(
                f"--set `{swap}`: `{name}` is not in the pool. Write A=B with models of {', '.join(models)}"
            )
    return Change(step=step, model=model, like=like)


COMMANDS: list[click.Command] = [demo, replay]
