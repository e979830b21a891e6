"""Writes the picks of a run as a Parquet file, so that another program can score them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.replay.outcomes import World
    from pipelines.replay.report import Report


def write_picks(path: Path, report: Report, world: World) -> None:
    """Write step, item_id, model and propensity: one row per request, in order of arrival."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "step": pa.array([item.step for item in report.sent], pa.int64()),
            "item_id": pa.array([world.items[item.item] for item in report.sent], pa.string()),
            "model": pa.array([world.models[item.model] for item in report.sent], pa.string()),
            "propensity": pa.array([report.propensity[item.step] for item in report.sent], pa.float64()),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
