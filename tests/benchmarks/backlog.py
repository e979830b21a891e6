"""Compares the cost of a backlog of small segments that is merged before the load, and after it.

    python tests/benchmarks/backlog.py [--segments 2400] [--smoke]

Writes segments of 100 requests, 100 in each finished hour, as routers leave them while no refresh runs.
Prints CPU seconds of the load and of the compaction after it, with and without merging first, and the ratio.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.lake import compaction
from pipelines.warehouse import loading
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import RequestRecord
from tests.benchmarks import refresh_scale
from tests.benchmarks.refresh_scale import START

A_HOUR = 100
ROWS = 100


def main() -> None:
    """Measure both ways in folders of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--segments", type=int, default=2400)
    parser.add_argument("--smoke", action="store_true", help="one hour, to see that it runs")
    arguments = parser.parse_args()
    hours = 1 if arguments.smoke else arguments.segments // A_HOUR
    seconds = {}
    for name, least in (("as they are", sys.maxsize), ("merged first", compaction.BACKLOG_FILES)):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(compaction, "BACKLOG_FILES", least):
            seconds[name] = _measured(Path(folder), hours, name)
    print(f"merged first: {seconds['merged first'] / seconds['as they are']:.2f} times the CPU")


def _measured(folder: Path, hours: int, name: str) -> float:
    settings = Settings.load({}, home=folder / "data")
    rng = np.random.default_rng(1)
    for number in range(hours * A_HOUR):
        hour = START + timedelta(hours=number // A_HOUR)
        offsets = np.sort(rng.integers(0, 3_600_000, ROWS))
        ids = refresh_scale._ids(hour, offsets, rng)
        moments = [hour + timedelta(milliseconds=int(offset)) for offset in offsets]
        requests = refresh_scale._requests(ids, moments, rng)
        refresh_scale._write_segment(settings, RequestRecord, hour, requests, number + 1)
    started = _cpu()
    rows = _load(settings)
    loaded = _cpu()
    compaction.compact(settings.lake, now=datetime.now(UTC))
    _load(settings)
    done = _cpu()
    if rows != hours * A_HOUR * ROWS:
        raise SystemExit(f"{rows} rows loaded")
    print(
        f"{hours * A_HOUR:,} segments {name:12}: load {loaded - started:5.2f} CPU s,"
        f" compaction and the load of its segments {done - loaded:5.2f}"
    )
    return done - started


def _load(settings: Settings) -> int:
    with Warehouse(settings) as warehouse:
        return sum(result.rows for result in loading.load_all(warehouse).values())


def _cpu() -> float:
    used = os.times()
    return used.user + used.system


if __name__ == "__main__":
    main()
