"""The arrival times of requests: a recorded trace, compressed in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import ConfigError
from router.providers.fake.table import read_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def load_trace(path: Path) -> list[float]:
    """Arrival times (`t_s`, seconds) of a Parquet trace, in order, from 0."""
    arrivals = read_columns(path, ("t_s",))["t_s"]
    if not arrivals or None in arrivals:
        raise ConfigError(f"`{path}` is not a trace: its `t_s` is empty or has nulls")
    return [moment - min(arrivals) for moment in sorted(arrivals)]


def schedule(arrivals: Sequence[float], *, requests: int, speed: float) -> list[float]:
    """Due times of `requests` arrivals, `speed` times as fast. A trace that is too short is repeated."""
    # Laps are one mean gap apart, so that the last and the first arrival do not coincide.
    lap = arrivals[-1] * (1 + 1 / len(arrivals))
    return [
        (arrivals[step % len(arrivals)] + lap * (step // len(arrivals))) / speed for step in range(requests)
    ]
