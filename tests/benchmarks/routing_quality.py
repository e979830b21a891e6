"""How good the choices are once outcomes are known: 70% of the items to learn from, 30% to choose on.

    python tests/benchmarks/routing_quality.py [mix ulab zeroeval bfcl] [--splits 20] [--write FOLDER]
    python tests/benchmarks/routing_quality.py --sparse

Every model's outcome on every training item goes through the pipelines' estimates into a snapshot,
a ScoreBoard and a greedy policy; a choice is the best model of the item's task. One point at cost
weight 0, and a curve over cost weights. The best single model is the one that is best by
the same outcomes. `--sparse` learns from 5, 10, 15 and 20 outcomes a cell instead.
`--write` puts each split's choices down for `../shared/score/score_router.py`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, stdev

from pipelines.scores.quality_model import Outcomes
from router.policies.policy import Policy
from router.scores.board import ScoreBoard
from tests.benchmarks.recorded import Source, Tally, load, snapshot

COST_WEIGHTS = (0.0, *(0.001 * 10 ** (step / 10) for step in range(41)))
NEAR_TIE = 0.01
BARS = {
    "mix": (2.11, 16.4, 72.2, 0.8527),
    "ulab": (6.92, 23.4, 77.9, None),
    "zeroeval": (1.13, 7.7, 11.2, None),
    "bfcl": (1.05, 13.0, 86.5, None),
}
"""Plain aggregates: gain over the best single at cost weight 0 (%), share of the oracle's gap closed
(%), cost saved at equal quality (%), area under the curve."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Figures of one split; percent but for the area."""

    gain: float
    gap_closed: float
    saved: float | None
    """None: no point of the curve is as good as the best single."""
    area: float
    cost: float
    """At cost weight 0, against the best single's."""
    tied_gain: float
    tied_cost: float
    """The same with near-ties to the cheaper."""


def learn(source: Source, rows: list[int], random: Random, limit: int | None) -> tuple[ScoreBoard, int]:
    """A board that knows the training rows, of each cell all or `limit` at random; and the model
    (column) that is the best single one by the same outcomes."""
    world = source.world
    tallies: dict[tuple[str, str], Tally] = {}
    outcomes: dict[tuple[str, str], Outcomes] = {}
    by_task: dict[int, list[int]] = {}
    for row in rows:
        by_task.setdefault(world.task_of[row], []).append(row)
    for task, members in by_task.items():
        for column, model in enumerate(world.models):
            taken = members if limit is None else random.sample(members, min(limit, len(members)))
            cell = (world.tasks[task], model)
            tally = tallies.setdefault(cell, Tally())
            for row in taken:
                tally.add(world.cost[row][column], source.tokens_of[row][column], is_judged=True)
            values = [world.quality[row][column] for row in taken]
            outcomes[cell] = Outcomes(len(values), sum(values), sum(value * value for value in values))
    singles = [
        sum(len(members) * outcomes[world.tasks[task], model].mean for task, members in by_task.items())
        for model in world.models
    ]
    board = ScoreBoard(snapshot(tallies, outcomes), source.catalog)
    return board, singles.index(max(singles))


Chooser = Callable[[float, float], list[int]]
"""(cost weight, near-tie) to the chosen model (column) of each task."""


def by_router(source: Source, board: ScoreBoard) -> Chooser:
    """The router's own choice."""
    column = {model: index for index, model in enumerate(source.world.models)}

    def choose(weight: float, near_tie: float) -> list[int]:
        policy = Policy(id=f"{weight}-{near_tie}", strategy="greedy", cost_weight=weight, near_tie=near_tie)
        return [column[board.table(policy, task).best or ""] for task in source.world.tasks]

    return choose


def by_plain_means(source: Source, rows: list[int], best: int) -> Chooser:
    """What the bars were made with: the means of the training rows as they are."""
    world = source.world
    members: list[list[int]] = [[] for _ in world.tasks]
    for row in rows:
        members[world.task_of[row]].append(row)
    reference = fmean(world.cost[row][best] for row in rows)
    means = [
        [
            (
                fmean(world.quality[row][column] for row in some),
                fmean(world.cost[row][column] for row in some),
            )
            for column in range(len(world.models))
        ]
        for some in (item or rows for item in members)
    ]

    def choose(weight: float, _near_tie: float) -> list[int]:
        utilities = [[q - weight * c / reference for q, c in row] for row in means]
        return [row.index(max(row)) for row in utilities]

    return choose


def figures(source: Source, rows: list[int], chosen: list[int]) -> tuple[float, float]:
    """Mean quality and cost of the choices."""
    world = source.world
    return (
        fmean(world.quality[row][column] for row, column in zip(rows, chosen, strict=True)),
        fmean(world.cost[row][column] for row, column in zip(rows, chosen, strict=True)),
    )


def run(source: Source, seed: int, limit: int | None, folder: Path | None) -> tuple[Score, Score]:
    """One split: the router's score, and that of plain means of everything."""
    random, world = Random(seed), source.world
    rows = list(range(len(world.items)))
    random.shuffle(rows)
    cut = int(0.7 * len(rows))
    train, test = rows[:cut], rows[cut:]
    board, best = learn(source, train, random, limit)
    router = by_router(source, board)
    if folder is not None:
        settings = {f"{weight:.4g}": _spread(source, test, router(weight, 0.0)) for weight in COST_WEIGHTS}
        write(folder / f"{source.name}-{seed}.parquet", source, test, settings)
    return (
        score(source, test, router, best),
        score(source, test, by_plain_means(source, train, best), best),
    )


def score(source: Source, test: list[int], choose: Chooser, best: int) -> Score:
    """The figures of one way of choosing."""
    world = source.world
    quality, cost = figures(source, test, [best] * len(test))
    oracle = fmean(max(world.quality[row]) for row in test)
    curve = [figures(source, test, _spread(source, test, choose(weight, 0.0))) for weight in COST_WEIGHTS]
    tied_quality, tied_cost = figures(source, test, _spread(source, test, choose(0.0, NEAR_TIE)))
    equal = [point_cost for point_quality, point_cost in curve if point_quality >= quality]
    singles = [fmean(world.cost[row][column] for row in test) for column in range(len(world.models))]
    return Score(
        gain=100 * (curve[0][0] / quality - 1),
        gap_closed=100 * (curve[0][0] - quality) / (oracle - quality),
        saved=100 * (1 - min(equal) / cost) if equal else None,
        area=area([(c, q) for q, c in curve], min(singles), max(singles)),
        cost=100 * (curve[0][1] / cost - 1),
        tied_gain=100 * (tied_quality / quality - 1),
        tied_cost=100 * (tied_cost / cost - 1),
    )


def _spread(source: Source, rows: list[int], by_task: list[int]) -> list[int]:
    return [by_task[source.world.task_of[row]] for row in rows]


def area(points: list[tuple[float, float]], low: float, high: float) -> float:
    """Mean height of the non-decreasing upper hull over log cost; 0 left of it, flat right of it."""
    hull: list[tuple[float, float]] = []
    for cost, quality in sorted(set(points)):
        if hull and quality <= hull[-1][1]:
            continue
        while len(hull) >= 2 and (hull[-1][1] - hull[-2][1]) * (cost - hull[-2][0]) <= (
            quality - hull[-2][1]
        ) * (hull[-1][0] - hull[-2][0]):
            hull.pop()
        hull.append((cost, quality))
    logs = [(math.log10(max(cost, 1e-12)), quality) for cost, quality in hull]
    steps = 400
    first, last = math.log10(low), math.log10(high)
    heights = [_height(logs, first + (last - first) * step / (steps - 1)) for step in range(steps)]
    return (sum(heights) - (heights[0] + heights[-1]) / 2) / (steps - 1)


def _height(hull: list[tuple[float, float]], x: float) -> float:
    if x < hull[0][0] - 1e-9:
        return 0.0
    for (left, low), (right, high) in pairwise(hull):
        if x <= right:
            return low + (high - low) * max(x - left, 0.0) / (right - left)
    return hull[-1][1]


def write(path: Path, source: Source, rows: list[int], written: dict[str, list[int]]) -> None:
    """item_id, model, setting."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    world = source.world
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        (world.items[row], world.models[column], setting)
        for setting, chosen in written.items()
        for row, column in zip(rows, chosen, strict=True)
    ]
    items, models, settings = zip(*lines, strict=True)
    pq.write_table(pa.table({"item_id": items, "model": models, "setting": settings}), path)


def report(name: str, scores: list[Score], what: str, *, is_sparse: bool = False) -> str:
    """One line: mean (sd) of each figure beside its bar."""
    bar = (None,) * 4 if is_sparse else BARS.get(name, (None,) * 4)
    saved = [score.saved for score in scores if score.saved is not None]
    parts = []
    for label, values, aim in (
        ("gain", [score.gain for score in scores], bar[0]),
        ("gap closed", [score.gap_closed for score in scores], bar[1]),
        ("saved", saved, bar[2]),
    ):
        if values:
            spread = stdev(values) if len(values) > 1 else 0.0
            parts.append(f"{label} {fmean(values):+.2f}% ({spread:.2f}{_bar(aim)})")
    area_mean = fmean(score.area for score in scores)
    return (
        f"{name} {what}: {', '.join(parts)} in {len(saved)} of {len(scores)},"
        f" area {area_mean:.4f}{'' if bar[3] is None else f' (bar {bar[3]})'},"
        f" cost at weight 0 {fmean(s.cost for s in scores):+.0f}%;"
        f" near-ties of {NEAR_TIE}: gain {fmean(s.tied_gain for s in scores):+.2f}%,"
        f" cost {fmean(s.tied_cost for s in scores):+.0f}%\n"
    )


def _bar(aim: float | None) -> str:
    return "" if aim is None else f", bar {aim}"


def main() -> int:
    """Print one line per source."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", default=["mix", "ulab", "zeroeval", "bfcl"])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--first-split", type=int, default=0)
    parser.add_argument("--sparse", action="store_true", help="few outcomes a cell")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--smoke", action="store_true", help="two splits of the demo's world")
    options = parser.parse_args()
    if options.smoke:
        options.sources, options.splits = ["demo"], 2
    for name in options.sources:
        source = load(name)
        if source is None:
            sys.stdout.write(f"{name}: skipped, its file is not in ../shared/data\n")
            continue
        for limit in (5, 10, 15, 20) if options.sparse else (None,):
            splits = range(options.first_split, options.first_split + options.splits)
            pairs = [run(source, seed, limit, options.write) for seed in splits]
            what = "all outcomes" if limit is None else f"{limit} outcomes a cell"
            for who, scores in zip(("router", "plain means"), zip(*pairs, strict=True), strict=True):
                if who == "router" or limit is None:
                    models = f"({len(source.world.models)} models, {what}), {who}"
                    sys.stdout.write(report(name, list(scores), models, is_sparse=limit is not None))
            differences = [ours.gain - plain.gain for ours, plain in pairs]
            if limit is None:
                sys.stdout.write(
                    f"{name} gain over plain means on the same splits: {fmean(differences):+.2f}%"
                    f" (standard error {stdev(differences) / math.sqrt(len(differences)):.2f})\n"
                )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
