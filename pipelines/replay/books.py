"""Compares the requests sent with the published warehouse, to the last digit of their cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.replay.workspace import label

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipelines.replay.driver import Sent
    from pipelines.replay.outcomes import World

SHOWN = 3
"""The number of differences that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Both sides of the account."""

    sent: int
    rows: int
    distinct_ids: int
    feedback_sent: int
    feedback_rows: int
    cost_of_picks: Decimal
    """Sum of the recorded costs of the chosen models."""
    cost_in_warehouse: Decimal | None
    """None if a row has no cost."""
    differences: tuple[str, ...]
    """The first few requests with a missing or different row."""

    @property
    def is_equal(self) -> bool:
        """Whether every figure agrees."""
        return (
            self.sent == self.rows == self.distinct_ids
            and self.feedback_sent == self.feedback_rows
            and self.cost_of_picks == self.cost_in_warehouse
            and not self.differences
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The row of one request in the warehouse."""

    model: str | None
    cost_usd: Decimal | None
    propensity: float | None


def read_rows(warehouse: Path) -> tuple[list[tuple[str, Row]], int]:
    """Every request of the published warehouse by id, and the number of quality judgements in it."""
    import duckdb

    with duckdb.connect(str(warehouse), read_only=True) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            "select id, model_selected, cost_usd, propensity from request_analytics"
        ).fetchall()
        (judgements,) = connection.execute(
            "select count(*) from feedback where metric = 'quality'"
        ).fetchone() or (0,)
    return [
        (request_id, Row(model=model, cost_usd=cost, propensity=propensity))
        for request_id, model, cost, propensity in rows
    ], int(judgements)


def compare(sent: Sequence[Sent], world: World, rows: Sequence[tuple[str, Row]], feedback_rows: int) -> Books:
    """Account for every request that was sent."""
    by_id = dict(rows)
    costs = [world.cost_usd[item.item][item.model] for item in sent]
    recorded = [row.cost_usd for _, row in rows]
    differences = (
        difference
        for item, cost in zip(sent, costs, strict=True)
        if (
            difference := _difference(item, cost, label(world.models[item.model]), by_id.get(item.request_id))
        )
    )
    return Books(
        sent=len(sent),
        rows=len(rows),
        distinct_ids=len(by_id),
        feedback_sent=sum(item.has_feedback for item in sent),
        feedback_rows=feedback_rows,
        cost_of_picks=sum(costs, Decimal(0)),
        cost_in_warehouse=None
        if None in recorded
        else sum((cost for cost in recorded if cost is not None), Decimal(0)),
        differences=tuple(difference for difference, _ in zip(differences, range(SHOWN), strict=False)),
    )


def _difference(item: Sent, cost: Decimal, model: str, row: Row | None) -> str | None:
    if row is None:
        return f"request `{item.request_id}` (step {item.step}) has no row"
    if row.model != model:
        return f"request `{item.request_id}` was answered by `{model}`, its row says `{row.model}`"
    if row.cost_usd != cost:
        return f"request `{item.request_id}` cost {cost}, its row says {row.cost_usd}"
    return None
