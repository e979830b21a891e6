"""How much regret the router has while it learns, without HTTP, files or Dagster.

    python tests/benchmarks/online_regret.py [mix ulab bfcl bfcl12 gap …] [--scenario stationary drop sparse]

Recorded outcomes, a refresh every 200 requests by the pipelines' own estimates and change detector,
the router's own ScoreBoard and `choose`; the router sees only the outcome of the model it picked.
Regret is pseudo-regret at cost weight 0.1, as a share of what choosing at random would have.
Scenarios: nothing changes; the best model drops to the quality of the worst at half time (`drop`:
the best by quality, `drop-used`: by utility); an outcome is known for 10% of requests (`sparse`).
`--picks FOLDER` writes each run for `../shared/score/score_online.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

from pipelines.replay.reference import Change, Pick, Yardstick
from pipelines.rollups.tables import BLOCK
from pipelines.scores.change_detection import Block, detect
from pipelines.scores.quality_model import Outcomes
from router.decision.plan import Plan, make_plan
from router.policies.policy import Policy
from router.scores.board import ScoreBoard, tokens_bucket
from tests.benchmarks.recorded import NOW, Source, Tally, load, snapshot

REFRESH_EVERY = 200
COST_WEIGHT = 0.1
REQUESTS = {"bfcl": 10_000, "bfcl12": 10_000, "gap": 9_000}
SCENARIOS = ("stationary", "drop", "drop-used", "sparse")
BARS = {
    ("mix", "stationary"): 10.9,
    ("mix", "drop"): 10.4,
    ("mix", "sparse"): 18.7,
    ("ulab", "stationary"): 14.8,
    ("ulab", "drop"): 14.3,
    ("ulab", "sparse"): 39.7,
    ("bfcl", "stationary"): 11.4,
    ("bfcl", "drop"): 11.2,
    ("bfcl", "sparse"): 21.2,
    ("bfcl12", "stationary"): 5.7,
    ("bfcl12", "drop"): 6.7,
    ("bfcl12", "sparse"): 13.6,
}
"""Percent of random's regret that Thompson sampling on utilities has, change detector included: the lower
figure of one that is given the true unit of cost and one whose unit is its present leader's cost."""


class Learner:
    """What the pipelines would know after the requests so far."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.blocks: dict[tuple[str, str], list[Block]] = {}
        self._outcomes: dict[tuple[str, str], Outcomes] = {}
        self._judged: set[tuple[str, str]] = set()
        """The cells with outcomes since the last board."""

    def add(
        self, cell: tuple[str, str], cost: float, tokens: tuple[int | None, int | None], quality: float | None
    ) -> None:
        """One answered request."""
        self.tallies.setdefault(cell, Tally()).add(cost, tokens, is_judged=quality is not None)
        if quality is None:
            return
        self._judged.add(cell)
        blocks = self.blocks.setdefault(cell, [])
        if not blocks or blocks[-1].count >= BLOCK:
            blocks.append(Block(NOW, 0, 0.0, 0.0))
        last = blocks[-1]
        blocks[-1] = replace(
            last,
            count=last.count + 1,
            quality=last.quality + quality,
            quality_squared=last.quality_squared + quality * quality,
        )

    def board(self, source: Source) -> ScoreBoard:
        """What the router holds after a refresh."""
        self._outcomes |= {cell: detect(self.blocks[cell])[1] for cell in self._judged}
        self._judged.clear()
        return ScoreBoard(snapshot(self.tallies, self._outcomes), source.catalog)


def simulate(
    source: Source,
    policy: Policy,
    *,
    seed: int,
    requests: int,
    feedback_share: float = 1.0,
    change: Change | None = None,
    with_buckets: bool = False,
    refresh_every: int = REFRESH_EVERY,
) -> list[Pick]:
    """One run of the loop; the picks."""
    random, world = Random(seed), source.world
    yardstick = Yardstick(world, cost_weight=policy.cost_weight, change=change)
    column = {model: index for index, model in enumerate(world.models)}
    learner = Learner()
    board = ScoreBoard(None, source.catalog)
    plans: dict[tuple[str, int | None], Plan] = {}
    picks: list[Pick] = []
    for step in range(requests):
        if step and step % refresh_every == 0:
            board = learner.board(source)
            plans.clear()
        item = random.randrange(len(world.items))
        task = world.tasks[world.task_of[item]]
        size = source.tokens_of[item][0][0] if with_buckets else None
        kind = task, None if size is None else tokens_bucket(size)
        plan = plans.get(kind)
        if plan is None:
            plan = plans[kind] = make_plan(board.table(policy, *kind), {}, policy=policy)
        choice = plan.draw(random.random())
        assert choice is not None
        pick = Pick(step=step, item=item, model=column[choice.model])
        picks.append(pick)
        quality = yardstick.quality(pick) if random.random() < feedback_share else None
        learner.add(
            (task, choice.model), world.cost[item][pick.model], source.tokens_of[item][pick.model], quality
        )
    return picks


def drop_of(source: Source, requests: int, *, is_by_utility: bool) -> Change:
    """The best model takes the quality of the worst at half time."""
    world = source.world
    yardstick = Yardstick(world, cost_weight=COST_WEIGHT)
    quality = [fmean(row[index] for row in world.quality) for index in range(len(world.models))]
    cost = [fmean(row[index] for row in world.cost) for index in range(len(world.models))]
    utility = [q - COST_WEIGHT * c / yardstick.reference_cost_usd for q, c in zip(quality, cost, strict=True)]
    by = utility if is_by_utility else quality
    return Change(
        step=requests // 2,
        model=world.models[by.index(max(by))],
        like=world.models[quality.index(min(quality))],
    )


def write_picks(folder: Path, source: Source, scenario: str, seed: int, picks: list[Pick]) -> None:
    """For the scorer: step, item_id, model."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    world = source.world
    table = pa.table(
        {
            "step": [pick.step for pick in picks],
            "item_id": [world.items[pick.item] for pick in picks],
            "model": [world.models[pick.model] for pick in picks],
        }
    )
    pq.write_table(table, folder / f"{source.name}-{scenario}-{seed}.parquet")


def main() -> int:
    """Print one line per source and scenario: mean and spread over the seeds beside the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", default=["mix", "ulab", "bfcl"])
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=["stationary", "drop", "sparse"])
    parser.add_argument("--requests", type=int, help="default: 18,000; bfcl and bfcl12 10,000; gap 9,000")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--buckets", action="store_true", help="rank by the size of each request")
    parser.add_argument("--min-exploration", type=float, default=0.0)
    parser.add_argument("--cold-start-share", type=float)
    parser.add_argument("--near-tie", type=float, default=0.0)
    parser.add_argument("--picks", type=Path)
    parser.add_argument("--smoke", action="store_true", help="one short run on the demo's world")
    options = parser.parse_args()
    if options.smoke:
        options.sources, options.requests, options.seeds = ["demo"], 1000, 1
    policy = Policy(
        id="online",
        cost_weight=COST_WEIGHT,
        min_exploration=options.min_exploration,
        near_tie=options.near_tie,
    )
    if options.cold_start_share is not None:
        policy = policy.model_copy(update={"cold_start_share": options.cold_start_share})
    for name in options.sources:
        source = load(name)
        if source is None:
            sys.stdout.write(f"{name}: skipped, its file is not in ../shared/data\n")
            continue
        requests = options.requests or REQUESTS.get(name, 18_000)
        for scenario in options.scenario:
            change = None
            if scenario.startswith("drop"):
                change = drop_of(source, requests, is_by_utility=scenario == "drop-used")
            yardstick = Yardstick(source.world, cost_weight=COST_WEIGHT, change=change)
            shares, started = [], time.monotonic()
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                picks = simulate(
                    source,
                    policy,
                    seed=seed,
                    requests=requests,
                    feedback_share=0.1 if scenario == "sparse" else 1.0,
                    change=change,
                    with_buckets=options.buckets,
                )
                shares.append(100 * (yardstick.line("router", picks).share_of_random or 0.0))
                if options.picks:
                    write_picks(options.picks, source, scenario, seed, picks)
            bar = BARS.get((name, scenario))
            what = f" ({change.model} as {change.like} from {change.step})" if change else ""
            sys.stdout.write(
                f"{name} {scenario}: {len(source.world.models)} models, {len(source.world.tasks)} tasks,"
                f" regret {fmean(shares):.1f}% of random's (sd {pstdev(shares):.1f}, worst {max(shares):.1f})"
                f"{'' if bar is None else f', bar {bar}%'}{what};"
                f" {(time.monotonic() - started) / options.seeds:.1f} s a run\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
