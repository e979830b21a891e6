"""The hourly rollups, and the constants that their statements and every reader of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.warehouse import archive

if TYPE_CHECKING:
    from collections.abc import Mapping

ALPHA = 0.01
"""Relative error of a percentile read from the latency buckets."""
GAMMA = (1 + ALPHA) / (1 - ALPHA)
"""Each latency bucket ends this much higher than the one before."""
BLOCK = 20
"""Outcomes in a quality block. The last block of an hour has fewer."""
MIN_PROPENSITY = 0.01
"""A rarer draw counts as one of this chance: a single outcome never counts more than a hundredfold."""
EXPERIMENT_BUCKETS = 64
"""Groups of users and of sessions that an experiment's spread is taken over."""
ODDS_FLOOR = 0.001
"""A model drawn less often than this is not supported: its few outcomes would count a thousandfold."""
HOURLY: Mapping[str, Mapping[str, Any]] = {
    "usage_quarter_hourly": {},
    "latency_buckets_hourly": {"gamma": GAMMA},
    "quality_blocks_hourly": {"block_size": BLOCK, "min_propensity": MIN_PROPENSITY},
    "experiment_hourly": {"buckets": EXPERIMENT_BUCKETS},
    "billing_usage": {},
    "propensity_hourly": {"odds_floor": ODDS_FLOOR},
}
"""The rollups that raw rows add to, and the parameters of their statements besides the hours."""
MOMENTS: Mapping[str, str] = {table: archive.TABLES[table] for table in HOURLY}
"""The column of each rollup with a row's hour, or quarter of an hour."""
