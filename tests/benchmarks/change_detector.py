"""How often the change detector errs, and how soon it tells.

    python tests/benchmarks/change_detector.py [--trials 2000]

A stable cell of quality 0.85 for 2,000 outcomes: the share of cells in which a change is noted. A
cell that drops from 0.85 to 0.70: outcomes from the drop to its note, and the share not noted
within 400. Outcomes come as the pipelines see them, in blocks and with an unfinished one at the end,
and the detector runs at every refresh.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from random import Random
from statistics import median

from pipelines.rollups.tables import BLOCK
from pipelines.scores.change_detection import Block, detect

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def blocks_of(outcomes: list[bool]) -> list[Block]:
    """Outcomes in blocks, the last one unfinished."""
    parts = [outcomes[start : start + BLOCK] for start in range(0, len(outcomes), BLOCK)]
    return [Block(NOW, len(part), sum(part), sum(part)) for part in parts]


def first_note(outcomes: list[bool], start: int, step: int) -> int | None:
    """Outcomes seen when a refresh first notes a change; None: never."""
    for end in range(start, len(outcomes) + 1, step):
        if detect(blocks_of(outcomes[:end]))[0]:
            return end
    return None


def main() -> int:
    """Print the shares and delays."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--refresh-every", type=int, default=10, help="outcomes of the cell")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    trials = 30 if options.smoke else options.trials
    random = Random(1)
    for quality in (0.85, 0.5, 0.97):
        stable = [[random.random() < quality for _ in range(2000)] for _ in range(trials)]
        false = sum(bool(detect(blocks_of(outcomes))[0]) for outcomes in stable) / trials
        sys.stdout.write(f"stable at {quality}: a change noted in {false:.1%} of cells in 2,000 outcomes\n")
    for before in (200, 500, 1000):
        delays, missed, early = [], 0, 0
        for _ in range(trials // 4):
            outcomes = [random.random() < 0.85 for _ in range(before)]
            outcomes += [random.random() < 0.70 for _ in range(400)]
            told = first_note(outcomes, before // 2, options.refresh_every)
            if told is None:
                missed += 1
            elif told <= before:
                early += 1
            else:
                delays.append(told - before)
        sys.stdout.write(
            f"0.85 to 0.70 after {before}: noted after {median(delays):.0f} outcomes (median),"
            f" {missed / (trials // 4):.1%} not within 400, {early / (trials // 4):.1%} before the drop\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
