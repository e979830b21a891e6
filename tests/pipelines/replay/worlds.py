"""Small recorded worlds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def row(item: str, model: str, quality: float | None, cost: float | None, **members: Any) -> dict[str, Any]:
    """One line of an outcomes file."""
    return {
        "item_id": item,
        "task_type": "math",
        "model": model,
        "quality": quality,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_usd": cost,
        "latency_ms": 800.0,
        **members,
    }


ROWS = [
    row("item-1", "good", 1.0, 0.003),
    row("item-1", "bad", 0.0, 0.001),
    row("item-1", "unpriced", 1.0, 0.002),
    row("item-2", "good", 1.0, 0.004, task_type="code"),
    row("item-2", "bad", 1.0, 0.0011, task_type="code"),
    row(
        "item-2",
        "unpriced",
        1.0,
        None,
        task_type="code",
        input_tokens=None,
        output_tokens=None,
        latency_ms=None,
    ),
    row("item-3", "good", 0.5, 0.0035),
    row("item-3", "bad", None, 0.0012),
    row("item-4", "good", 1.0, 0.0031),
    row("item-4", "bad", 0.25, 0.00105),
]
"""`unpriced` has a null cost, item-3 is not known for `bad`."""


def write_outcomes(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows as a Parquet file."""
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def write_trace(path: Path, seconds: Sequence[float]) -> Path:
    """Arrival times as a Parquet file."""
    pq.write_table(pa.table({"t_s": list(seconds)}), path)
    return path
