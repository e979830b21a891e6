"""How much regret the decision rule has, without HTTP, files or Dagster.

    python tests/benchmarks/offline_regret.py OUTCOMES.parquet … [--requests 18000] [--seeds 6]

Real outcomes, the router's own ScoreBoard and `choose`, and the aggregates of the score mart in
plain Python: each refresh the cells' means shrunk to the model's overall mean. A run takes seconds,
so a change of the rule can be judged before the whole loop is run with `intellirouter replay`.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

from pipelines.replay.demo_world import load_figures, make_outcomes
from pipelines.replay.outcomes import World, world_of
from pipelines.replay.reference import Change, Pick, Yardstick
from router.catalog import Catalog, Model
from router.decide import choose
from router.policy import Policy
from router.providers.fake.table import read_outcomes
from router.scores import (
    ALL_TASKS,
    CELL_WEIGHT,
    PRIOR_QUALITY,
    PRIOR_WEIGHT,
    ScoreBoard,
    ScoreRow,
    ScoreSnapshot,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Tally:
    """Sums of one cell."""

    def __init__(self) -> None:
        self.requests = 0
        self.judged = 0
        self.quality = 0.0
        self.cost = 0.0

    def add(self, cost: float, quality: float | None) -> None:
        self.requests += 1
        self.cost += cost
        if quality is not None:
            self.judged += 1
            self.quality += quality


def simulate(
    world: World,
    *,
    seed: int,
    requests: int,
    refresh_every: int,
    cost_weight: float,
    feedback_share: float = 1.0,
    change: Change | None = None,
) -> list[Pick]:
    """One run of the loop; the picks."""
    random = Random(seed)
    catalog = _catalog(world)
    policy = Policy(id="offline", cost_weight=cost_weight)
    yardstick = Yardstick(world, cost_weight=cost_weight, change=change)
    tallies: dict[tuple[str, str], Tally] = {}
    board = ScoreBoard(None, catalog)
    picks: list[Pick] = []
    for step in range(requests):
        if step and step % refresh_every == 0:
            board = ScoreBoard(_snapshot(tallies), catalog)
        item = random.randrange(len(world.items))
        task = world.tasks[world.task_of[item]]
        choice = choose(board.table(policy, task), {}, policy=policy, random=random.random())
        assert choice is not None
        pick = Pick(step=step, item=item, model=world.models.index(choice.model))
        picks.append(pick)
        quality = yardstick.quality(pick) if random.random() < feedback_share else None
        for cell in ((task, choice.model), (ALL_TASKS, choice.model)):
            tallies.setdefault(cell, Tally()).add(world.cost[item][pick.model], quality)
    return picks


def _snapshot(tallies: dict[tuple[str, str], Tally]) -> ScoreSnapshot:
    """The mart `task_model_scores`: cells shrunk to the model's standardised mean over all tasks."""
    cells = {cell: tally for cell, tally in tallies.items() if cell[0] != ALL_TASKS}
    requests: dict[str, int] = {}
    for (task, _), tally in cells.items():
        requests[task] = requests.get(task, 0) + tally.requests
    judged = sum(tally.judged for tally in cells.values())
    everyone = sum(tally.quality for tally in cells.values()) / judged if judged else PRIOR_QUALITY
    rows = []
    for (overall_task, model), overall in tallies.items():
        if overall_task != ALL_TASKS:
            continue
        own = {task: tally for (task, name), tally in cells.items() if name == model}
        seen = {task: tally for task, tally in own.items() if tally.judged}
        standard = _standardised(
            {task: tally.quality / tally.judged for task, tally in seen.items()}, requests
        )
        mean = (overall.judged * standard + PRIOR_WEIGHT * everyone) / (overall.judged + PRIOR_WEIGHT)
        cost = _standardised({task: tally.cost / tally.requests for task, tally in own.items()}, requests)
        rows.append(_row(ALL_TASKS, model, overall, mean, overall.judged + PRIOR_WEIGHT, cost))
        for task, tally in own.items():
            weight = tally.judged + CELL_WEIGHT
            shrunk = (tally.quality + CELL_WEIGHT * mean) / weight
            rows.append(_row(task, model, tally, shrunk, weight, tally.cost / tally.requests))
    return ScoreSnapshot.of(rows, as_of=NOW, published_at=NOW)


def _standardised(means: dict[str, float], requests: dict[str, int]) -> float:
    """Means by task, each weighted by the task's share of everyone's requests."""
    total = sum(requests[task] for task in means)
    return sum(requests[task] * mean for task, mean in means.items()) / total if total else 0.0


def _row(task: str, model: str, tally: Tally, mean: float, weight: float, cost: float) -> ScoreRow:
    return ScoreRow(
        task_type=task,
        model=model,
        requests=tally.requests,
        requests_with_quality=tally.judged,
        requests_with_cost=tally.requests,
        effective_sample_size=tally.judged,
        quality_mean=mean,
        quality_variance=max(mean * (1 - mean), 0.01) / (weight + 1),
        quality_low=None,
        quality_high=None,
        cost_usd_mean=cost,
        cost_usd_per_input_token=None,
        cost_usd_per_output_token=None,
        tokens_input_mean=None,
        tokens_output_mean=None,
        success_rate=1.0,
        latency_ms_p50=None,
        latency_ms_p95=None,
        latency_ms_p99=None,
        ttft_ms_p50=None,
        ttft_ms_p95=None,
        ttft_ms_p99=None,
    )


def _catalog(world: World) -> Catalog:
    models = {
        name: Model(
            id=name,
            provider="fake",
            provider_model=name,
            cost_source="provider",
        )
        for name in world.models
    }
    return Catalog(providers={}, models=models, tasks=frozenset(world.tasks), digest="offline")


def _load(path: Path) -> World:
    """The file's world; where it knows no cost at all, every cost is 0 and only quality counts."""
    outcomes = read_outcomes(path)
    if all(outcome.cost_usd is None for outcome in outcomes):
        from dataclasses import replace

        outcomes = [replace(outcome, cost_usd=Decimal(0)) for outcome in outcomes]
    return world_of(outcomes, source=str(path))


def main() -> int:
    """Print one line a file: mean and spread of the regret's share of random's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("outcomes", nargs="*", type=Path, help="default: the world of the demo")
    parser.add_argument("--requests", type=int, default=18_000)
    parser.add_argument("--refresh-every", type=int, default=200)
    parser.add_argument("--cost-weight", type=float, default=0.1)
    parser.add_argument("--feedback-share", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--change-step", type=int)
    parser.add_argument("--set", dest="swap", metavar="A=B")
    parser.add_argument("--smoke", action="store_true", help="one short run")
    options = parser.parse_args()
    if options.smoke:
        options.requests, options.seeds = 600, 1
    missing = [path for path in options.outcomes if not path.exists()]
    if missing:
        sys.stdout.write(f"skipped: no file {', '.join(map(str, missing))}\n")
        return 0
    change = None
    if options.swap:
        model, like = options.swap.split("=")
        change = Change(step=options.change_step or 0, model=model, like=like)
    worlds = [(path.stem, _load(path)) for path in options.outcomes]
    for name, world in worlds or [("demo", world_of(make_outcomes(load_figures()), source="demo"))]:
        yardstick = Yardstick(world, cost_weight=options.cost_weight, change=change)
        shares, second_half = [], []
        for seed in range(options.seeds):
            picks = simulate(
                world,
                seed=seed,
                requests=options.requests,
                refresh_every=options.refresh_every,
                cost_weight=options.cost_weight,
                feedback_share=options.feedback_share,
                change=change,
            )
            shares.append(yardstick.line("router", picks).share_of_random or 0.0)
            late = picks[len(picks) // 2 :]
            router, best = yardstick.line("router", late), yardstick.references(late)[2]
            relative = router.cost_usd_per_1k / best.cost_usd_per_1k if best.cost_usd_per_1k else 0.0
            second_half.append((router.quality - best.quality, relative))
        sys.stdout.write(
            f"{name}: {len(world.models)} models, {len(world.tasks)} tasks,"
            f" regret {fmean(shares):.1%} of random's (sd {pstdev(shares):.1%});"
            f" second half: quality {fmean(q for q, _ in second_half):+.4f},"
            f" cost {fmean(c for _, c in second_half):.1%} of the best single's\n"
        )
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
