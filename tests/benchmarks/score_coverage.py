"""How often the interval of a score row holds the true quality, by its number of outcomes.

    python tests/benchmarks/score_coverage.py [--worlds 400] [--outcomes OUTCOMES.parquet] [--smoke]

Made worlds (1 to 6 tasks, 2 to 8 models, leads and own parts of random spread), and a real one with
every model on every item, of which random outcomes are known: 0 to 150 in each cell.
"""

from __future__ import annotations

import argparse
import sys
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.replay.outcomes import load_world
from pipelines.scores.quality_model import Outcomes, estimate
from pipelines.scores.scoring import Z_95, interval_z

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.evaluation.log import Floats

OUTCOMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "outcomes_mix.parquet"
COUNTS = (0, 1, 2, 3, 5, 8, 12, 17, 25, 50, 150)
SIZES = ((0, 0), (1, 4), (5, 19), (20, 99), (100, 999))


def made(rng: np.random.Generator) -> tuple[Floats, Callable[[int, int, int], Floats]]:
    """A world's true qualities, task by model, and how to draw outcomes of a cell."""
    tasks, models = int(rng.integers(1, 7)), int(rng.integers(2, 9))
    lead = rng.normal(0, rng.uniform(0.02, 0.2), models)
    own = rng.normal(0, rng.uniform(0.01, 0.12), (tasks, models))
    truth = np.clip(rng.uniform(0.2, 0.9, tasks)[:, None] + lead + own, 0.01, 0.99)
    return truth, lambda task, model, count: (rng.random(count) < truth[task, model]).astype(float)


def real(path: Path, rng: np.random.Generator) -> tuple[Floats, Callable[[int, int, int], Floats]]:
    """The same of recorded outcomes."""
    world = load_world(path)
    quality, task_of = np.array(world.quality), np.array(world.task_of)
    cells = [quality[task_of == task] for task in range(len(world.tasks))]
    truth = np.array([cell.mean(axis=0) for cell in cells])
    return truth, lambda task, model, count: rng.choice(cells[task][:, model], count)


def held(
    truth: Floats, draw: Callable[[int, int, int], Floats], rng: np.random.Generator
) -> list[tuple[int, bool, bool]]:
    """Of each row: its outcomes, whether its interval holds the truth, and whether a plain one would."""
    outcomes, counts = {}, {}
    for task in range(truth.shape[0]):
        for model in range(truth.shape[1]):
            count = counts[str(task), str(model)] = int(rng.choice(COUNTS))
            if count:
                values = draw(task, model, count)
                sums = float(values.sum()), float(np.square(values).sum())
                outcomes[str(task), str(model)] = Outcomes(count, *sums)
    beliefs = estimate(outcomes, {str(task): 1.0 for task in range(truth.shape[0])}, {})
    rows = []
    for (task_type, name), count in counts.items():
        belief = beliefs.get((task_type, name))
        if belief is not None:
            error = abs(belief.mean - truth[int(task_type), int(name)])
            deviation = sqrt(belief.variance)
            rows.append((count, error <= interval_z(count) * deviation, error <= Z_95 * deviation))
    return rows


def show(name: str, rows: Sequence[tuple[int, bool, bool]]) -> None:
    """A line for each size."""
    for low, high in SIZES:
        found = [row for row in rows if low <= row[0] <= high]
        if found:
            shares = [sum(row[place] for row in found) / len(found) for place in (1, 2)]
            print(
                f"{name}: {low:>3} to {high:>3} outcomes, {len(found):>5} rows: {shares[0]:.1%} hold"
                f" (plain interval {shares[1]:.1%})"
            )


def main() -> int:
    """Print the coverage by size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--outcomes", type=Path, default=OUTCOMES)
    parser.add_argument("--smoke", action="store_true", help="20 worlds")
    options = parser.parse_args()
    worlds = 20 if options.smoke else options.worlds
    rng = np.random.default_rng(1)
    show("made worlds", [row for _ in range(worlds) for row in held(*made(rng), rng)])
    if options.outcomes.exists():
        truth, draw = real(options.outcomes, rng)
        show(
            options.outcomes.stem, [row for _ in range(max(worlds // 8, 1)) for row in held(truth, draw, rng)]
        )
    else:
        print(f"skipped: no outcomes at {options.outcomes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
