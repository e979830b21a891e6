"""How often the interval of a saving holds the true saving, and how wide it is.

    python tests/benchmarks/savings_coverage.py [--worlds 200] [--requests 50000] [--outcomes FILE] [--smoke]

A learning router serves random traffic of a world where the outcome of every model on every request is
known: Thompson sampling on judged outcomes, learnt anew at each refresh, with 2% of the requests for the
baseline. The saving is estimated from the outcomes that the router saw, and compared with the truth.
Worlds: made ones (1 to 6 tasks, 2 to 8 models, costs of random spread), the demo's, and recorded ones.
The share of judged answers and the mix of tasks are random. The baseline is the best single model, or
in a third of the worlds any other.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.evaluation.savings import saving
from pipelines.replay.demo_world import load_figures, make_outcomes
from pipelines.replay.outcomes import load_world, world_of
from router.scores.ranking import probabilities_of_best
from tests.simulations import drawn_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.evaluation.log import Floats, Ints
    from pipelines.replay.outcomes import World

OUTCOMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "outcomes_mix.parquet"
EXPLORATION = 0.02
REFRESHES = 20
COST_WEIGHT = 0.1
GOAL = 0.95


class Known(NamedTuple):
    """Item by model: quality and cost; and the task of each item."""

    quality: Floats
    cost: Floats
    task_of: Ints


class Result(NamedTuple):
    """One world's saving as shares of the baseline's cost, and differences of quality."""

    is_known: bool
    truth: float = 0.0
    naive: float = 0.0
    """The chosen models' tokens at the baseline's price, were its answers as long as theirs."""
    estimate: float = 0.0
    width: float = 0.0
    is_held: bool = False
    is_quality_held: bool | None = None


def made(rng: np.random.Generator) -> Known:
    """A world with difficulty in common, and costs that follow it in part."""
    tasks, models, items = int(rng.integers(1, 7)), int(rng.integers(2, 9)), 600
    task_of = rng.integers(0, tasks, items)
    ease = rng.normal(0, 1, (items, 1))
    skill = rng.normal(0.5, 0.7, (tasks, models))
    quality = (skill[task_of] + ease + rng.normal(0, 0.7, (items, models)) > 0).astype(float)
    dear = np.exp(rng.normal(0, 1.5, models) - 7)
    spread = rng.uniform(0.2, 1.3)
    own = np.exp(rng.normal(0, spread, (items, models)) - 0.3 * spread * ease)
    return Known(quality, dear * np.exp(rng.normal(0, 0.5, (tasks, models)))[task_of] * own, task_of)


def known(world: World) -> Callable[[np.random.Generator], Known]:
    """A recorded world."""
    found = Known(np.array(world.quality), np.array(world.cost), np.array(world.task_of))
    return lambda _: found


def played(world: Known, rng: np.random.Generator, requests: int) -> Result:
    """Serve traffic, estimate the saving and compare it with the truth."""
    quality, cost, task_of = world
    tasks, models = int(task_of.max()) + 1, quality.shape[1]
    mix = rng.dirichlet(np.ones(tasks))[task_of]
    items = rng.choice(len(task_of), requests, p=mix / mix.sum())
    judged = rng.random(requests) < rng.choice([0.1, 0.3, 1.0])
    best = int(quality.mean(axis=0).argmax())
    baseline = best if rng.random() < 2 / 3 else int(rng.integers(models))
    action, odds = served(world, items, judged, baseline, rng)
    log = drawn_log(
        tuple(map(str, range(models))),
        tuple(map(str, range(tasks))),
        task=task_of[items],
        action=action,
        odds=odds,
        cost_usd=cost[items, action],
        quality=np.where(judged, quality[items, action], np.nan),
        looks=np.zeros((requests, 0)),
    )
    wanted = np.zeros(odds.shape)
    wanted[:, baseline] = 1.0
    found = saving(log, wanted, np.ones(requests, dtype=bool), "baseline")
    if found.saved_usd is None or found.saved_usd_low is None or found.saved_usd_high is None:
        return Result(is_known=False)
    whole = float(cost[items, baseline].sum())
    truth = whole - float(cost[items, action].sum())
    # Tokens are as the cost over the price: the mean cost is the price where answers are equally long.
    rates = cost.mean(axis=0)
    naive = float((cost[items, action] / rates[action] * rates[baseline] - cost[items, action]).sum())
    better = float((quality[items, action] - quality[items, baseline]).mean())
    low, high = found.quality_difference_low, found.quality_difference_high
    return Result(
        is_known=True,
        truth=truth / whole,
        naive=naive / whole,
        estimate=found.saved_usd / whole,
        width=(found.saved_usd_high - found.saved_usd_low) / whole,
        is_held=found.saved_usd_low <= truth <= found.saved_usd_high,
        is_quality_held=None if low is None or high is None else low <= better <= high,
    )


def served(
    world: Known, items: Ints, judged: Floats, baseline: int, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    """The choices for `items` in order, and the odds of each draw."""
    quality, cost, task_of = world
    tasks, models = int(task_of.max()) + 1, quality.shape[1]
    counts, good = np.full((tasks, models), 2.0), np.full((tasks, models), 1.0)
    relative = cost.mean(axis=0) / cost.mean(axis=0)[quality.mean(axis=0).argmax()]
    action, odds = np.zeros(len(items), dtype=np.int64), np.zeros((len(items), models))
    for part in np.array_split(np.arange(len(items)), REFRESHES):
        means = good / counts
        spread = 0.5 * np.maximum(means * (1 - means), 0.01) / (counts + 1)
        table = np.array(
            [
                probabilities_of_best(list(means[task] - COST_WEIGHT * relative), list(spread[task]))
                for task in range(tasks)
            ]
        )
        least = np.maximum(table[:, baseline], EXPLORATION)
        table[:, baseline] = 0.0
        table *= ((1 - least) / np.maximum(table.sum(axis=1), 1e-12))[:, None]
        table[:, baseline] = 1 - table.sum(axis=1)
        task = task_of[items[part]]
        odds[part] = table[task]
        passed = odds[part].cumsum(axis=1) < rng.random((len(task), 1))
        action[part] = np.minimum(passed.sum(axis=1), models - 1)
        seen = part[judged[part]]
        np.add.at(counts, (task_of[items[seen]], action[seen]), 1.0)
        np.add.at(good, (task_of[items[seen]], action[seen]), quality[items[seen], action[seen]])
    return action, odds


def show(name: str, results: list[Result]) -> float:
    """Print a line, and return the share of intervals that hold the truth."""
    found = [item for item in results if item.is_known]
    held = sum(item.is_held for item in found) / max(len(found), 1)
    better = [item.is_quality_held for item in found if item.is_quality_held is not None]
    error = np.array([item.estimate - item.truth for item in found])
    naive = np.array([abs(item.naive - item.truth) for item in found])
    widths = np.array([item.width for item in found])
    print(
        f"{name}: {len(results)} worlds, {len(results) - len(found)} refused; {held:.1%} of the savings'"
        f" intervals hold, {sum(better) / max(len(better), 1):.1%} of the qualities'; error"
        f" {np.abs(error).mean():.1%} of the baseline's cost (bias {error.mean():+.2%}), width median"
        f" {np.median(widths):.1%}, 90th {np.quantile(widths, 0.9):.1%}; same tokens at another price"
        f" {np.median(naive):.1%} off"
    )
    return held


def main() -> int:
    """Print coverage and width by kind of world; 1 if all together are below the goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--outcomes", type=Path, default=OUTCOMES)
    parser.add_argument("--smoke", action="store_true", help="12 worlds of 10,000 requests")
    options = parser.parse_args()
    worlds, requests = (12, 10_000) if options.smoke else (options.worlds, options.requests)
    kinds = {"made": made, "demo": known(world_of(make_outcomes(load_figures()), source="demo"))}
    if options.outcomes.exists():
        kinds[options.outcomes.stem] = known(load_world(options.outcomes))
    else:
        print(f"skipped: no outcomes at {options.outcomes}")
    results: dict[str, list[Result]] = {name: [] for name in kinds}
    for number in range(worlds):
        rng = np.random.default_rng(number)
        name = list(kinds)[number % len(kinds)]
        results[name].append(played(kinds[name](rng), rng, requests))
    for name, found in results.items():
        show(name, found)
    everything = [item for found in results.values() for item in found]
    held = show(f"all, {requests:,} requests, {EXPLORATION:.0%} exploration", everything)
    return 0 if options.smoke or held >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
