"""How often the change detector errs, how soon it notes a drop, and what it adds to a refresh.

    python tests/benchmarks/change_detector.py [--requests 100000 1000000 10000000] [--trials 200]
        [--series 20000] [--refresh]

False alarms: stationary requests, all judged, in 80 series of qualities from 0.3 to 0.98; then many short
series (2,000 outcomes each), which are enough to see a rate of one in a thousand. The stated rate is
ALPHA a series, in its whole life and so in a year. Drops: outcomes from a drop to its note.
`--refresh`: the seconds of `scoring.score` in a warehouse of as many blocks, at first and with nothing
new, and the share of the detector. Outcomes come as the pipelines see them, in blocks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np

from pipelines.rollups.tables import BLOCK
from pipelines.scores import changes, scoring
from pipelines.scores.change_detection import ALPHA, Block, Series
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERIES = 80
DAYS = 30


def alarms(sums: list[int]) -> list[int]:
    """Blocks after which a change was noted."""
    series = Series()
    return [
        place + 1
        for place, right in enumerate(sums)
        if series.add(Block(NOW, BLOCK, float(right), float(right))) is not None
    ]


def stationary(requests: int, series: int, rng: np.random.Generator) -> None:
    """Print the false alarms of a deployment whose qualities never move."""
    found = [
        len(alarms(rng.binomial(BLOCK, rng.uniform(0.3, 0.98), requests // series // BLOCK).tolist()))
        for _ in range(series)
    ]
    print(
        f"{requests:>10,} stationary requests: {sum(found)} false alarms in {series:,} series"
        f" (stated: {ALPHA * series:g} expected at most, in their whole life)",
        flush=True,
    )


def drop(before: float, after: float, known: int, trials: int, rng: np.random.Generator) -> None:
    """Print how many outcomes pass from a drop to its note."""
    delays, missed, early, length = [], 0, 0, 6000
    for _ in range(trials):
        sums = [*rng.binomial(BLOCK, before, known // BLOCK), *rng.binomial(BLOCK, after, length // BLOCK)]
        noted = [place * BLOCK - known for place in alarms([int(right) for right in sums])]
        later = [delay for delay in noted if delay > 0]
        early += len(later) < len(noted)
        missed += not later
        delays += later[:1]
    print(
        f"{before} to {after} after {known:,}: noted after {median(delays or [length]):.0f} outcomes"
        f" (median), {missed / trials:.1%} not within {length:,}, {early / trials:.1%} noted before the drop",
        flush=True,
    )


def refresh(requests: int) -> None:
    """Print what a refresh spends on scores, and of it on the detector."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load({}, home=Path(folder))
        with Warehouse(settings) as warehouse:
            _fill(warehouse, requests)
            last_hour = NOW + timedelta(days=DAYS, hours=-1)
            for name in ("first", "with nothing new"):
                times = [time.perf_counter()]
                changes.find_changes(warehouse, environment="production", start=NOW, last_hour=last_hour)
                times.append(time.perf_counter())
                scoring.score(warehouse)
                times.append(time.perf_counter())
                print(
                    f"{requests:>10,} requests, {name}: the detector takes {times[1] - times[0]:.2f} s,"
                    f" scores then {times[2] - times[1]:.2f} s",
                    flush=True,
                )


def _fill(warehouse: Warehouse, requests: int) -> None:
    """Blocks and usage of 8 tasks and 10 models in each hour of 30 days."""
    blocks = max(requests // SERIES // BLOCK // (24 * DAYS), 1)
    warehouse.connection.execute(
        "insert into quality_blocks_hourly by name select"
        " $now + to_hours(hour) as hour, 'task-' || task as task_type, 'model-' || model as model_selected,"
        " block, $now + to_hours(hour) + to_seconds(block) as first_at, $size as outcomes,"
        " 14 + hash(hour, task, model, block) % 5 as quality, quality as quality_squared,"
        " 'production' as environment,"
        " true as is_drawn, 'user' as source, $size as weight, $size as weight_squared,"
        " quality as quality_weighted, quality as quality_squared_weighted"
        " from range($hours) hours(hour), range(8) tasks(task), range(10) models(model),"
        " range($blocks) blocks(block)",
        {"now": NOW, "hours": 24 * DAYS, "size": BLOCK, "blocks": blocks},
    )
    warehouse.connection.execute(
        "insert into usage_quarter_hourly by name select hour as quarter_hour, false as is_whole_hour,"
        " environment, task_type, model_selected,"
        " sum(outcomes) as requests, sum(outcomes) as successes, 0 as explorations, 0 as requests_with_cost,"
        " 0 as requests_with_tokens, 0 as requests_with_cost_and_tokens, 0 as requests_with_baseline,"
        " sum(outcomes) as requests_with_quality, cast(1000000 * sum(quality) as bigint) as quality_micro,"
        " cast(1000000 * sum(quality_squared) as bigint) as quality_squared_micro, 0 as latency_us,"
        " hour as last_request_at"
        " from quality_blocks_hourly group by hour, environment, task_type, model_selected"
    )


def main() -> int:
    """Print alarms, delays and seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--series", type=int, default=20_000, help="short series")
    parser.add_argument("--refresh", action="store_true", help="measure refreshes too")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    sizes = [20_000] if options.smoke else options.requests
    trials, series = (5, 100) if options.smoke else (options.trials, options.series)
    for requests in sizes:
        stationary(requests, SERIES, rng)
    stationary(2000 * series, series, rng)
    for before, after, known in ((0.85, 0.70, 500), (0.85, 0.70, 1000), (0.85, 0.80, 5000)):
        drop(before, after, known, trials, rng)
    if options.refresh or options.smoke:
        refresh(sizes[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
