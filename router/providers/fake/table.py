"""Recorded outcomes of each model and item: quality, cost and latency.

The Parquet file has the columns item_id, model, quality and cost_usd. It can also have task_type,
input_tokens, output_tokens and latency_ms. A null means unknown and stays null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.catalog.prices import money
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal
    from pathlib import Path

REQUIRED = ("item_id", "model", "quality", "cost_usd")
OPTIONAL = ("task_type", "input_tokens", "output_tokens", "latency_ms")
ONE_TASK = "all"
"""The task of every item in a file without a `task_type` column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one model on one item."""

    item_id: str
    model: str
    task_type: str
    quality: float | None
    """0..1."""
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: Decimal | None
    """Exact: the file's float as printed, to 12 decimals, rounded half-even."""
    latency_ms: float | None


def read_outcomes(path: Path, *, models: Collection[str] | None = None) -> list[Outcome]:
    """Every outcome of `path`, in the file's order. If `models` is given, only theirs."""
    columns = read_columns(path, REQUIRED, OPTIONAL)
    count = len(columns["item_id"])
    absent: list[Any] = [None] * count
    rows = zip(
        columns["item_id"],
        columns["model"],
        columns.get("task_type", [ONE_TASK] * count),
        columns["quality"],
        columns.get("input_tokens", absent),
        columns.get("output_tokens", absent),
        columns["cost_usd"],
        columns.get("latency_ms", absent),
        strict=True,
    )
    return [
        Outcome(
            item_id=item_id,
            model=model,
            task_type=task_type,
            quality=quality,
            tokens_input=tokens_input,
            tokens_output=tokens_output,
            cost_usd=money(cost_usd),
            latency_ms=latency_ms,
        )
        for item_id, model, task_type, quality, tokens_input, tokens_output, cost_usd, latency_ms in rows
        if models is None or model in models
    ]


def read_columns(
    path: Path, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, list[Any]]:
    """Read named columns of a Parquet file. ConfigError names the file and any missing column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = [name for name in required if name not in names]
            if missing:
                raise ConfigError(
                    f"`{path}` has no column {', '.join(f'`{name}`' for name in missing)};"
                    f" its columns are {', '.join(names)}"
                )
            table = file.read(columns=[name for name in (*required, *optional) if name in names])
    except FileNotFoundError:
        raise ConfigError(f"no file `{path}`: give the path of a Parquet file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"`{path}` cannot be read as Parquet: {error}") from error
    return {name: table.column(name).to_pylist() for name in table.column_names}
