"""How far offline estimates are from the truth.

    python tests/benchmarks/offline_evaluation_bias.py [--outcomes OUTCOMES.parquet] [--floors NAME …]

1. A confounded log: hard prompts go to the strong model, so the naive means rank the weak one first.
2. Real outcomes, every model on every item known: 18,000 requests are logged under Thompson sampling
   with some minimum exploration, five other policies are evaluated and compared with the truth: all
   answers judged, 10% of them, and 10% with complaints three times as likely.
3. Logs of `balanced` with an exploration floor, decided by the router's own code from its own scores:
   is an evaluation of `quality` refused, and how far is it from the truth? `--floors` names worlds of
   recorded.py.

2 and 3 are skipped where the outcomes are not there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import EvaluationError
from pipelines.evaluation.estimators import Sample, effective_size, estimate
from pipelines.evaluation.evaluate import DEPENDS, FLOOR, evaluation_of
from pipelines.evaluation.judging import judging_depends
from pipelines.replay.outcomes import load_world
from router.decision.plan import make_plan
from router.policies.policy import BUILT_IN, Policy
from router.scores.board import ScoreBoard
from router.scores.ranking import probabilities_of_best
from tests.benchmarks.online_regret import Learner
from tests.benchmarks.recorded import Source, load
from tests.simulations import STRONG, TRUTH, WEAK, confounded, drawn_log

if TYPE_CHECKING:
    from pipelines.evaluation.log import Floats, Ints, Log
    from pipelines.replay.outcomes import World

OUTCOMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "outcomes_mix.parquet"
NAMES = ("snips", "doubly_robust")
REFRESH_EVERY = 1000
MIN_EXPLORATION = 0.05
COST_WEIGHT = 0.1


def confounded_log(simulations: int, requests: int) -> None:
    """Bias of each estimator of each model's quality, and how often it picks the wrong model."""
    rng = np.random.default_rng(1)
    found: dict[str, list[list[float]]] = {name: [] for name in ("naive mean", *NAMES)}
    inside = dict.fromkeys(NAMES, 0)
    for _ in range(simulations):
        targets, quality = confounded(rng, requests)
        done = {model: estimate(sample, quality) for model, sample in targets.items()}
        action = targets[STRONG].action
        found["naive mean"].append([float(quality[action == model].mean()) for model in (STRONG, WEAK)])
        for name in NAMES:
            items = [getattr(done[model], name) for model in (STRONG, WEAK)]
            found[name].append([item.value for item in items])
            inside[name] += sum(item.low <= TRUTH[model] <= item.high for model, item in enumerate(items))
    print(f"confounded log: {simulations} simulations of {requests} requests")
    for name, values in found.items():
        table = np.array(values)
        bias = (table.mean(axis=0) - TRUTH) * 100
        wrong = (table[:, STRONG] < table[:, WEAK]).mean()
        covered = f", intervals hold {inside[name] / simulations / 2:.1%}" if name in inside else ""
        print(
            f"  {name:14} bias {bias[STRONG]:+6.2f} and {bias[WEAK]:+6.2f} points, wrong model first in"
            f" {wrong:.1%}{covered}"
        )


def real_outcomes(path: Path, repeats: int, requests: int, judged: float, complaints: float = 1.0) -> None:
    """Errors and interval coverage of five policies on a real world.

    A share of `judged` answers is judged; those of quality below 0.5 `complaints` times as often.
    """
    world = load_world(path)
    quality, cost = np.array(world.quality), np.array(world.cost)
    task_of = np.array(world.task_of)
    targets = policies(world, quality, cost, task_of)
    print(
        f"{path.name}: {repeats} logs of {requests} requests, {len(world.models)} models, {judged:.0%} judged"
        + (f", bad answers {complaints:g} times as often" if complaints != 1 else "")
    )
    warned = 0
    errors: dict[tuple[str, str, str], list[float]] = {}
    inside: dict[tuple[str, str, str], list[bool]] = {}
    sizes: dict[str, list[float]] = {}
    paired: dict[tuple[str, str], list[bool]] = {}
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        items = rng.integers(0, len(quality), requests)
        action, odds = logged(quality, cost, task_of, items, rng)
        rows = np.arange(requests)
        for name, target in targets.items():
            wanted = target[task_of[items]]
            sample = Sample(
                task=task_of[items],
                action=action,
                cluster=rows,
                weights=wanted[rows, action] / odds[rows, action],
                target=wanted,
            )
            sizes.setdefault(name, []).append(effective_size(sample.weights, sample.cluster))
            for metric, table in (("quality", quality), ("cost_usd", cost)):
                truth = float((target[task_of] * table).sum(axis=1).mean())
                outcome = table[items, action]
                if metric == "quality":
                    odds_judged = judged * np.where(outcome < 0.5, complaints, 1.0)
                    outcome = np.where(rng.random(requests) < odds_judged, outcome, np.nan)
                    if name == "best single model":
                        looks = cost[items, action][:, None]
                        warned += abs(judging_depends(task_of[items], action, outcome, looks)) > DEPENDS
                    done = estimate(sample, outcome)
                else:
                    done = estimate(sample, outcome, scale=float(outcome.max()))
                difference = float(((wanted - odds) * table[items]).sum(axis=1).mean())
                for estimator in NAMES:
                    item = getattr(done, estimator)
                    key = (name, metric, estimator)
                    errors.setdefault(key, []).append(
                        (item.value - truth) / (1 if metric == "quality" else truth)
                    )
                    inside.setdefault(key, []).append(item.low <= truth <= item.high)
                    if estimator == "doubly_robust":
                        paired.setdefault((name, metric), []).append(
                            item.difference_low <= difference <= item.difference_high
                        )
    for key, values in errors.items():
        name, metric, estimator = key
        unit = "points" if metric == "quality" else "% of the cost"
        print(
            f"  {name:22} {metric:8} {estimator:14} bias {np.mean(values) * 100:+6.2f} {unit},"
            f" RMSE {np.sqrt(np.mean(np.square(values))) * 100:5.2f}, intervals hold"
            f" {np.mean(inside[key]):.1%}, effective {np.mean(sizes[name]):.0f}"
            + (f", paired {np.mean(paired[name, metric]):.1%}" if estimator == "doubly_robust" else "")
        )
    print(f"  warned that judging depends on the answer: {warned} of {repeats} logs")


def policies(world: World, quality: Floats, cost: Floats, task_of: Ints) -> dict[str, Floats]:
    """Five policies as task by model odds; none follows the log."""
    tasks, models = len(world.tasks), len(world.models)
    means = np.array([quality[task_of == task].mean(axis=0) for task in range(tasks)])
    costs = np.array([cost[task_of == task].mean(axis=0) for task in range(tasks)])
    single = np.zeros((tasks, models))
    single[:, quality.mean(axis=0).argmax()] = 1.0
    frugal = np.zeros((tasks, models))
    for task in range(tasks):
        good = means[task] >= means[task].max() - 0.05
        frugal[task, np.where(good, costs[task], np.inf).argmin()] = 1.0
    utility = means - 0.3 * costs / costs.mean(axis=0)[quality.mean(axis=0).argmax()]
    soft = np.exp((utility - utility.max(axis=1, keepdims=True)) / 0.05)
    best = np.zeros((tasks, models))
    best[np.arange(tasks), means.argmax(axis=1)] = 1.0
    return {
        "best model of each task": best,
        "random": np.full((tasks, models), 1 / models),
        "best single model": single,
        "cheapest within 5 points": frugal,
        "softmax, cost matters": soft / soft.sum(axis=1, keepdims=True),
    }


def logged(
    quality: Floats, cost: Floats, task_of: Ints, items: Ints, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    """A learning router's choices for `items` in order, and the odds it drew them with.

    Thompson sampling on task by model means that are taken anew every `REFRESH_EVERY` requests.
    """
    tasks, models = int(task_of.max()) + 1, quality.shape[1]
    counts, good = np.full((tasks, models), 2.0), np.full((tasks, models), 1.0)
    relative = cost.mean(axis=0) / cost.mean(axis=0)[quality.mean(axis=0).argmax()]
    action = np.zeros(len(items), dtype=np.int64)
    odds = np.zeros((len(items), models))
    for start in range(0, len(items), REFRESH_EVERY):
        means = good / counts
        table = np.array(
            [
                probabilities_of_best(
                    list(means[task] - COST_WEIGHT * relative),
                    list(0.5 * np.maximum(means[task] * (1 - means[task]), 0.01) / (counts[task] + 1)),
                )
                for task in range(tasks)
            ]
        )
        table = (1 - MIN_EXPLORATION) * table + MIN_EXPLORATION / models
        part = slice(start, min(start + REFRESH_EVERY, len(items)))
        task = task_of[items[part]]
        odds[part] = table[task]
        passed = odds[part].cumsum(axis=1) < rng.random((len(task), 1))
        action[part] = np.minimum(passed.sum(axis=1), models - 1)
        np.add.at(counts, (task, action[part]), 1.0)
        np.add.at(good, (task, action[part]), quality[items[part], action[part]])
    return action, odds


def balanced_logs(name: str, *, seeds: int, requests: int, judged: float, floor: float) -> None:
    """Whether `quality` is refused on logs of `balanced` with a floor, and the error where it is not."""
    source = load(name)
    if source is None:
        print(f"skipped: no outcomes of {name}")
        return
    policies = {policy.id: policy for policy in BUILT_IN}
    serving = policies["balanced"].model_copy(update={"exploration_floor": floor})
    refused, errors, inside = [], [], 0
    for seed in range(seeds):
        log, wanted, truth = served(source, serving, policies["quality"], seed, requests, judged)
        try:
            done = evaluation_of(log, wanted, np.ones(requests, dtype=bool), policies["quality"])
        except EvaluationError as error:
            refused.append(str(error))
            continue
        if done.quality is None:
            refused.append("quality: too few judged")
            continue
        found = done.quality.doubly_robust
        errors.append(found.value - truth)
        inside += found.low <= truth <= found.high
    print(
        f"{name}: {seeds} logs of {requests} requests under `balanced` with a floor of {floor:.0%},"
        f" {len(source.world.models)} models, {judged:.0%} judged: `quality` refused in {len(refused)}"
        + (f", RMSE {np.sqrt(np.mean(np.square(errors))) * 100:.2f} points, {inside} hold" if errors else "")
        + (f"; {refused[0]}" if refused else ""),
        flush=True,
    )


def served(
    source: Source, serving: Policy, target: Policy, seed: int, requests: int, judged: float
) -> tuple[Log, Floats, float]:
    """A log that `serving` decided, the target's odds on each request, and its true mean quality."""
    random, world, learner = Random(seed), source.world, Learner()
    column = {model: index for index, model in enumerate(world.models)}
    task, action = np.zeros(requests, dtype=np.int64), np.zeros(requests, dtype=np.int64)
    odds, wanted = np.zeros((requests, len(column))), np.zeros((requests, len(column)))
    cost, quality, truth = np.zeros(requests), np.full(requests, np.nan), 0.0
    board = ScoreBoard(None, source.catalog)
    for step in range(requests):
        if step and step % REFRESH_EVERY == 0:
            board = learner.board(source)
        item = random.randrange(len(world.items))
        task[step] = world.task_of[item]
        plans = []
        for policy, row in ((serving, odds[step]), (target, wanted[step])):
            plan = make_plan(board.table(policy, world.tasks[task[step]]), {}, policy=policy)
            for candidate in plan.candidates:
                row[column[candidate.model]] = candidate.probability or 0.0
            plans.append(plan)
        choice = plans[0].draw(random.random())
        assert choice is not None
        model = action[step] = column[choice.model]
        cost[step] = world.cost[item][model]
        truth += float(wanted[step] @ np.array(world.quality[item])) / requests
        is_judged = random.random() < judged
        if is_judged:
            quality[step] = world.quality[item][model]
        known = world.quality[item][model] if is_judged else None
        learner.add((world.tasks[task[step]], choice.model), cost[step], source.tokens_of[item][model], known)
    log = drawn_log(
        world.models,
        world.tasks,
        task=task,
        action=action,
        odds=odds,
        cost_usd=cost,
        quality=quality,
        looks=cost[:, None],
    )
    return log, wanted, truth


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--outcomes", type=Path, default=OUTCOMES)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--requests", type=int, default=18_000)
    parser.add_argument("--floors", nargs="*", default=["mix", "gap", "bfcl12", "bfcl"])
    parser.add_argument("--smoke", action="store_true", help="20 simulations and 1 log")
    options = parser.parse_args()
    confounded_log(20 if options.smoke else 400, 2000)
    for name in ["demo"] if options.smoke else options.floors:
        for judged in (1.0, 0.1):
            repeats, requests = (1, 1500) if options.smoke else (12, 9000)
            balanced_logs(name, seeds=repeats, requests=requests, judged=judged, floor=FLOOR)
    if options.outcomes.exists():
        repeats = 1 if options.smoke else options.repeats
        for judged, complaints in ((1.0, 1.0), (0.1, 1.0), (0.1, 3.0)):
            real_outcomes(options.outcomes, repeats, options.requests, judged, complaints)
    else:
        print(f"skipped: no outcomes at {options.outcomes}")


if __name__ == "__main__":
    main()
