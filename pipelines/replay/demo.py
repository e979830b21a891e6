"""`intellirouter demo` runs the whole loop on a world made from published figures."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from pipelines.evaluation.savings import savings
from pipelines.evaluation.savings_tables import sentence
from pipelines.evaluation.wording import COST, compared, compared_points, money
from pipelines.replay.demo_world import load_figures, make_outcomes, prices_of, write_outcomes
from pipelines.replay.driver import Caller
from pipelines.replay.errors import BooksError
from pipelines.replay.outcomes import world_of
from pipelines.replay.plan import Plan
from pipelines.replay.progress_display import Live, books_lines, speed_line
from pipelines.replay.report import Report
from pipelines.replay.run import replay_settings, run
from pipelines.replay.workspace import label

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS = 9000
REFRESHES = 15
SMOKE_REQUESTS = 300
SMOKE_REFRESHES = 2
REQUESTS_PER_S = 1000.0
"""Pace of the arrivals. It is faster than the shim answers on two cores, so the demo runs at full speed."""
LATENCY_SPEED = 1000.0
FEEDBACK_SHARE = 0.7
COST_WEIGHT = 0.05
ORGANIZATIONS = {"acme": 10, "globex": 6, "initech": 4}
"""Organisation to its number of users."""
LAST_ROUNDS = 3
"""Batches in the comparison after learning: one has too few requests to show a point of quality."""
BEFORE = "GPT-5"
"""The best single model, which a user without the router would use for everything."""

BASELINE_EXPLORATION = 0.02
"""Least share of the requests for BEFORE, so that the saving can be estimated."""


def demo(folder: Path, *, requests: int = REQUESTS, refreshes: int = REFRESHES, seed: int = 0) -> Report:
    """Run the demo and show it. BooksError if the recorded requests are not those that were sent."""
    console = Console()
    outcomes_file = folder / "outcomes.parquet"
    figures = [replace(figure, task_type=f"{figure.task_type}/{figure.dataset}") for figure in load_figures()]
    outcomes = make_outcomes(figures)
    world = world_of(outcomes, source="LLMRouterBench")
    plan = Plan(
        world=world,
        outcomes_file=outcomes_file,
        arrivals_s=[step / REQUESTS_PER_S for step in range(requests)],
        folder=folder,
        refresh_every=-(-requests // refreshes),
        cost_weight=COST_WEIGHT,
        seed=seed,
        speed=LATENCY_SPEED,
        feedback_share=FEEDBACK_SHARE,
        callers=[
            Caller(user=f"{organization}-user-{number}", organization=organization)
            for organization, users in ORGANIZATIONS.items()
            for number in range(1, users + 1)
        ],
        prices={model: price for model, price in prices_of(figures).items() if model in world.models},
        baseline_model=BEFORE,
        baseline_exploration=BASELINE_EXPLORATION,
        prepare=lambda: write_outcomes(outcomes_file, outcomes),
    )
    console.print(_introduction(plan))
    with Live(console, plan) as live:
        report = run(plan, live)
    console.print(_before_and_after(report))
    for line in (*_saving(folder, report), *books_lines(report.books), speed_line(report)):
        console.print(line)
    _print_next_commands(console, folder)
    if not report.books.is_equal:
        raise BooksError("the warehouse does not hold the requests that were sent: see the lines above")
    return report


def _introduction(plan: Plan) -> Panel:
    world = plan.world
    return Panel(
        f"{len(world.models)} models on {len(world.tasks)} tasks, with the accuracy and cost that"
        " LLMRouterBench publishes (arXiv:2601.07206, tables 9 and 10); its single answers are made up to"
        f" match. {', '.join(world.left_out)} is left out: no figure is published for one of the tasks.\n"
        f"{len(plan.arrivals_s):,} requests of {len(plan.callers)} users in {len(ORGANIZATIONS)}"
        f" organisations go through the HTTP shim; {plan.feedback_share:.0%} of the answers are judged. The"
        " router knows nothing at first. After each batch the real Dagster job refreshes its scores.",
        title="IntelliRouter demo",
    )


def _before_and_after(report: Report) -> Table:
    """The first batch and the last ones, compared with the best single model on the same requests."""
    last = report.rounds[-LAST_ROUNDS:]
    table = Table(title="what the router learnt")
    for heading in ("", "quality", "$ per 1k requests"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = (
        (f"always {BEFORE}, the best single model", [done.best_single for done in report.rounds]),
        ("router before its first refresh", [report.rounds[0].router]),
        (f"router in the last {len(last)} batches", [done.router for done in last]),
        (f"always {BEFORE} in the last {len(last)} batches", [done.best_single for done in last]),
    )
    for name, lines in rows:
        quality = fmean(line.quality for line in lines)
        cost = fmean(line.cost_usd_per_1k for line in lines)
        table.add_row(name, f"{quality:.3f}", f"{cost:.2f}")
    return table


def _saving(folder: Path, report: Report) -> list[str]:
    """The saving as a user would read it, and the truth that only the demo knows."""
    settings = replay_settings(folder)
    found = savings(settings, since=datetime.fromtimestamp(0, UTC), baseline=label(BEFORE))
    router, *references = report.lines
    always = next(line for line in references if line.name == f"best single ({BEFORE})")
    saved = (always.cost_usd_per_1k - router.cost_usd_per_1k) * report.books.sent / 1000
    cost = compared(-saved, words=COST, show=money)
    scored = compared_points(router.quality - always.quality)
    return [
        sentence(found[0]),
        f"The truth, from the outcomes of both on every request: it cost {cost}, and scored {scored}.",
    ]


def _print_next_commands(console: Console, folder: Path) -> None:
    """Print the commands without a frame and unwrapped, so that they can be copied."""
    settings = replay_settings(folder)
    home = shlex.quote(str(settings.home))
    query = "select task_type, model_selected, count(*) as requests from request_analytics group by all"
    commands = {
        "open the Dagster UI (http://127.0.0.1:3000)": (f"intellirouter dagster --home {home}"),
        "query the warehouse": f'intellirouter sql --home {home} "{query}"',
        "print the report": f"intellirouter report cost-per-task --home {home} --since 7d",
        "print the saving": f"intellirouter savings --home {home} --baseline {label(BEFORE)} --by task",
    }
    console.rule("next")
    for purpose, command in commands.items():
        console.print(f"{purpose}:", style="bold", highlight=False)
        console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)
