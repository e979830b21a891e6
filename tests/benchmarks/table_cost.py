"""What one ranked table costs: the first request of a policy, a task and a size class pays for it.

    python tests/benchmarks/table_cost.py

Milliseconds of `ScoreBoard.table` (median of several tasks) with 10, 50 and 200 models: after much
traffic, and at a start where nothing can be ruled out; with and without near-ties.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from random import Random
from statistics import median

from pipelines.scores.quality_model import Outcomes
from router.policies.policy import Policy
from router.scores.board import ScoreBoard
from tests.benchmarks.recorded import Source, Tally, load, snapshot


def board(source: Source, models: int, outcomes: int) -> ScoreBoard:
    """A board that knows `outcomes` of each of `models` on each of ten tasks."""
    random = Random(3)
    template = next(iter(source.catalog.models.values()))
    names = [f"m{index}" for index in range(models)]
    catalog = replace(source.catalog, models={name: replace(template, id=name) for name in names})
    tallies, judged = {}, {}
    for task in range(10):
        for name in names:
            tally = tallies[f"t{task}", name] = Tally()
            share = random.betavariate(6, 3)
            for _ in range(outcomes):
                tally.add(0.001 * random.random(), (500, 250), is_judged=True)
            judged[f"t{task}", name] = Outcomes(outcomes, outcomes * share, outcomes * share)
    return ScoreBoard(snapshot(tallies, judged), catalog)


def main() -> int:
    """Print one line per number of models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    source = load("demo")
    assert source is not None
    for models in (10, 50) if options.smoke else (10, 50, 200):
        parts = []
        for what, outcomes in (("1 outcome", 1), ("20 outcomes", 20), ("400 outcomes", 400)):
            for near_tie in (0.0, 0.01):
                ready = board(source, models, outcomes)
                policy = Policy(id="p", near_tie=near_tie)
                ready.table(policy, "t9")  # the reference cost is computed once per board
                spent = []
                for task in range(9):
                    started = time.perf_counter()
                    ready.table(policy, f"t{task}")
                    spent.append(1000 * (time.perf_counter() - started))
                parts.append(f"{what}{', near-ties' if near_tie else ''} {median(spent):.1f} ms")
        sys.stdout.write(f"{models} models: {'; '.join(parts)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
