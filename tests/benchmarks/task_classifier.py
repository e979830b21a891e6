"""How well the task classifier guesses, what a guess costs, and what wrong guesses cost routing.

    python tests/benchmarks/task_classifier.py [--data FOLDER] [--smoke]

Real prompts of `../shared/data`, one classifier a source, on random 70/30 splits. Prints accuracy
beside rules and default and beside the commonest task, the calibration error, the share of guesses
sure enough to be acted upon and how many of those are right, the file's size and the microseconds of
a guess. For outcomes_mix also the utility of choosing each task's best model (means shrunk to the
model's own, quality less 0, or 0.1 of the cost over the best single model's) by true labels, by
guesses, by rules alone and with the one best model for everything.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.tasks.classifier import _file
from pipelines.tasks.training import Sample, train
from router.tasks.classifier import TaskClassifier
from router.tasks.features import FeatureSpace, unpack
from router.tasks.tasks import CONFIDENCE_FLOOR, task_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

SOURCES = ("mix", "ulab_llmrouter", "bfcl", "zeroeval", "routellm", "routerarena")
SPACE = FeatureSpace(b"benchmark".ljust(32, b"."))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPEATS = 20
LATENCY_LENGTHS = (100, 400, 2_000, 100_000)

Prompt = tuple[str, str]
"""(text, true task)"""


CELL_WEIGHT = 10.0
"""Outcomes a model's overall mean counts for in a task of its own."""


def read_prompts(path: Path) -> list[tuple[str, Prompt]]:
    """(item id, prompt) of every item."""
    frame = pl.read_parquet(path, columns=["item_id", "prompt", "task_type"])
    frame = frame.unique("item_id", keep="first").sort("item_id").drop_nulls()
    return [(item, (text, task)) for item, text, task in frame.rows()]


def learn(prompts: list[Prompt]) -> tuple[TaskClassifier, int] | None:
    """The published classifier of the prompts, and its bytes."""
    samples = [
        Sample(task_type=task, features=unpack(SPACE.pack(SPACE.features(text, {})))[1])
        for text, task in prompts
    ]
    trained = train(samples)
    if trained is None:
        return None
    file = _file(trained, SPACE.id, NOW, NOW)
    return TaskClassifier(file, SPACE), len(file.to_bytes())


def examine(name: str, prompts: list[Prompt], seeds: int) -> TaskClassifier | None:
    """Print the figures of one source; the last split's classifier."""
    figures: list[tuple[float, ...]] = []
    classifier = None
    for seed in range(seeds):
        train_part, test_part = split(prompts, seed)
        learnt = learn(train_part)
        if learnt is None:
            continue
        classifier, size = learnt
        figures.append((*judge(classifier, test_part), size / 1024))
    if not figures:
        print(f"{name}: too few prompts of each task")
        return None
    means = [fmean(column) for column in zip(*figures, strict=True)]
    tasks = {task for _, task in prompts}
    print(
        f"{name}: {len(prompts)} prompts, {len(tasks)} tasks: accuracy {means[0]:.1%}"
        f" (sd {pstdev(item[0] for item in figures):.1%}), rules and default {means[1]:.1%},"
        f" commonest task {means[2]:.1%}; calibration error {means[3]:.3f};"
        f" sure of {means[4]:.1%}, of which right {means[5]:.1%}; {means[6]:.0f} KiB"
    )
    return classifier


def split(items: list[Any], seed: int) -> tuple[list[Any], list[Any]]:
    """70% and 30%, at random; a prompt that stands twice falls on one side."""
    shuffled = list(items)
    Random(seed).shuffle(shuffled)
    cut = int(0.7 * len(shuffled))
    return shuffled[:cut], shuffled[cut:]


def judge(classifier: TaskClassifier, prompts: list[Prompt]) -> tuple[float, ...]:
    """Accuracy, of rules, of habit; calibration error; share of sure guesses, how many are right."""
    known = {task for _, task in prompts} | set(classifier.header.tasks)
    guesses = [(*classifier.guess(text, {}, known), task) for text, task in prompts]
    right = [guess == task for guess, _, task in guesses]
    ruled = [task_of(None, {}, text, known)[0] == task for text, task in prompts]
    counts = [sum(task == name for _, task in prompts) for name in known]
    error = 0.0
    for index in range(10):
        inside = [
            n
            for n, (_, sure, _) in enumerate(guesses)
            if index <= sure * 10 < index + 1 or (sure == 1.0 and index == 9)
        ]
        if inside:
            gap = fmean(guesses[n][1] for n in inside) - fmean(right[n] for n in inside)
            error += len(inside) / len(guesses) * abs(gap)
    acted = [ok for ok, (_, sure, _) in zip(right, guesses, strict=True) if sure >= CONFIDENCE_FLOOR]
    return (
        fmean(right),
        fmean(ruled),
        max(counts) / len(prompts),
        error,
        len(acted) / len(guesses),
        fmean(acted) if acted else 0.0,
    )


def time_guesses(classifier: TaskClassifier, prompts: list[Prompt], rounds: int) -> None:
    """Print p50 and p99 of a guess, of the source's own prompts and of long ones made of them.

    The best of each prompt's calls leaves out what else the machine did meanwhile.
    """
    known = set(classifier.header.tasks)
    joined = " ".join(text for text, _ in prompts)
    cases = {"own prompts": [text for text, _ in prompts]}
    for length in LATENCY_LENGTHS:
        starts = range(0, max(len(joined) - length, 1), max(len(joined) // 500, 1))
        cases[f"{length:,} characters"] = [joined[start : start + length] for start in starts]
    cases["400 kanji"] = ["数学の問題を解いてください。" * 30]
    cases["2,000 signs"] = ["(){}[]=+-*/!?" * 154]
    for label, texts in cases.items():
        times, best = [], []
        for text in texts[: max(rounds // REPEATS, 1)]:
            repeated = []
            for _ in range(REPEATS):
                started = time.perf_counter()
                classifier.guess(text, {}, known)
                repeated.append((time.perf_counter() - started) * 1e6)
            times += repeated
            best.append(min(repeated))
        print(
            f"  {label}: p50 {_rank(times, 0.5):.0f} µs, p99 {_rank(times, 0.99):.0f} µs;"
            f" of each prompt's best: p50 {_rank(best, 0.5):.0f} µs, p99 {_rank(best, 0.99):.0f} µs"
        )


def _rank(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def cost_to_routing(path: Path, seeds: int) -> None:
    """Print the utility of routing by true labels, by guesses, by rules, and without labels."""
    frame = pl.read_parquet(path, columns=["item_id", "model", "quality", "cost_usd"]).drop_nulls("quality")
    outcomes: dict[str, dict[str, tuple[float, float | None]]] = {}
    for item, model, quality, cost in frame.rows():
        outcomes.setdefault(item, {})[model] = (quality, cost)
    items = read_prompts(path)
    for weight in (0.0, 0.1):
        found: dict[str, list[float]] = {}
        for seed in range(seeds):
            train_part, test_part = split(items, seed)
            learnt = learn([prompt for _, prompt in train_part])
            assert learnt is not None
            known = {task for _, (_, task) in items}
            table = best_models(train_part, outcomes, weight)
            utility = utilities(outcomes, weight, reference_cost(train_part, outcomes))
            ways: dict[str, Callable[[Prompt], str]] = {
                "true labels": lambda prompt: prompt[1],
                "classifier": partial(_told, known=known, classifier=learnt[0]),
                "rules only": partial(_told, known=known, classifier=None),
                "one model": lambda _: "*",
            }
            for way, label in ways.items():
                picks = [utility(item, table.get(label(prompt), table["*"])) for item, prompt in test_part]
                found.setdefault(way, []).append(100 * fmean(picks))
        base = found["true labels"]
        print(f"routing, cost weight {weight}:")
        for way, values in found.items():
            loss = [value - true for value, true in zip(values, base, strict=True)]
            print(f"  {way}: utility {fmean(values):.2f} points ({fmean(loss):+.2f}, sd {pstdev(loss):.2f})")


def _told(prompt: Prompt, *, known: AbstractSet[str], classifier: TaskClassifier | None) -> str:
    """The task of a prompt that came without a label."""
    return task_of(None, {}, prompt[0], known, classifier).task_type


def reference_cost(part: list[tuple[str, Prompt]], outcomes: dict[str, Any]) -> float:
    """Mean cost of the model that is best over all."""
    totals: dict[str, list[tuple[float, float | None]]] = {}
    for item, _ in part:
        for model, outcome in outcomes.get(item, {}).items():
            totals.setdefault(model, []).append(outcome)
    best = max(totals, key=lambda model: fmean(quality for quality, _ in totals[model]))
    return fmean(cost for _, cost in totals[best] if cost is not None)


def utilities(outcomes: dict[str, Any], weight: float, reference: float) -> Any:
    """(item, model) to quality less weighted cost; an unknown cost counts as the reference."""

    def utility(item: str, model: str) -> float:
        quality, cost = outcomes[item].get(model, (0.0, None))
        return float(quality - weight * (1.0 if cost is None else cost / reference))

    return utility


def best_models(part: list[tuple[str, Prompt]], outcomes: dict[str, Any], weight: float) -> dict[str, str]:
    """Each task's best model on the training part; `*` for all tasks."""
    utility = utilities(outcomes, weight, reference_cost(part, outcomes))
    cells: dict[str, dict[str, list[float]]] = {}
    for item, (_, task) in part:
        for model in outcomes.get(item, {}):
            value = utility(item, model)
            cells.setdefault(task, {}).setdefault(model, []).append(value)
            cells.setdefault("*", {}).setdefault(model, []).append(value)
    overall = {model: fmean(values) for model, values in cells["*"].items()}
    return {
        task: max(
            models,
            key=lambda model: (
                (sum(models[model]) + CELL_WEIGHT * overall[model]) / (len(models[model]) + CELL_WEIGHT)
            ),
        )
        for task, models in cells.items()
    }


def main() -> int:
    """Print everything, or why not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--smoke", action="store_true", help="one split of one source")
    options = parser.parse_args()
    sources, seeds, rounds = (SOURCES[:1], 1, 500) if options.smoke else (SOURCES, 5, 20_000)
    everything: dict[str, str] = {}
    for source in sources:
        path = options.data / f"outcomes_{source}.parquet"
        if not path.exists():
            print(f"skipped: no file {path}")
            continue
        prompts = [prompt for _, prompt in read_prompts(path)]
        classifier = examine(source, prompts, seeds)
        if classifier is not None and source in ("mix", "ulab_llmrouter"):
            time_guesses(classifier, prompts, rounds)
        everything.update({text: task for text, task in prompts if text not in everything})
        if source == "mix":
            cost_to_routing(path, 1 if options.smoke else 10)
    if len(sources) > 1 and everything:
        examine("all sources together", list(everything.items()), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
