"""The recorded world of a replay: a pool of models, with the outcome of each model on each item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from router.errors import ConfigError, nearest
from router.providers.fake.table import Outcome, read_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class World:
    """Outcomes as matrices: row = item, column = model."""

    items: tuple[str, ...]
    models: tuple[str, ...]
    """Sorted."""
    tasks: tuple[str, ...]
    """Sorted. `task_of` holds positions in it."""
    task_of: tuple[int, ...]
    quality: tuple[tuple[float, ...], ...]
    cost_usd: tuple[tuple[Decimal, ...], ...]
    left_out: tuple[str, ...] = ()
    """Models of the file that are not in the pool."""
    items_dropped: int = 0
    """Items for which a model of the pool has no quality or cost."""

    @cached_property
    def cost(self) -> tuple[tuple[float, ...], ...]:
        """`cost_usd` as floats, for means and utilities. The books use `cost_usd`."""
        return tuple(tuple(map(float, row)) for row in self.cost_usd)

    @cached_property
    def position(self) -> dict[str, int]:
        """The row of each item."""
        return {item: row for row, item in enumerate(self.items)}

    def column(self, model: str) -> int:
        """The model's column. ConfigError if it is not in the pool."""
        try:
            return self.models.index(model)
        except ValueError:
            raise ConfigError(
                f"model `{model}` is not in the pool: the pool is {', '.join(self.models)}"
            ) from None


def load_world(path: Path, pool: Sequence[str] | None = None) -> World:
    """The world of an outcomes file, with the models of `pool`, or with all models that have every cost."""
    return world_of(read_outcomes(path), pool, source=str(path))


def world_of(outcomes: Iterable[Outcome], pool: Sequence[str] | None = None, *, source: str) -> World:
    """See `load_world`. `source` names the outcomes in errors."""
    outcomes = list(outcomes)
    known = {outcome.model for outcome in outcomes}
    models = _pool(outcomes, known, pool, source)
    column = {model: index for index, model in enumerate(models)}
    rows: dict[str, dict[int, Outcome]] = {}
    for outcome in outcomes:
        if outcome.model in column and outcome.quality is not None and outcome.cost_usd is not None:
            row = rows.setdefault(outcome.item_id, {})
            if column[outcome.model] in row:
                raise ConfigError(
                    f"`{source}` holds item `{outcome.item_id}` twice for model `{outcome.model}`"
                )
            row[column[outcome.model]] = outcome
    complete = {item: row for item, row in sorted(rows.items()) if len(row) == len(models)}
    if not complete:
        raise ConfigError(f"`{source}` has no item with quality and cost for all of {', '.join(models)}")
    task_of_item = {item: row[0].task_type for item, row in complete.items()}
    tasks = sorted(set(task_of_item.values()))
    columns = range(len(models))
    return World(
        items=tuple(complete),
        models=models,
        tasks=tuple(tasks),
        task_of=tuple(tasks.index(task) for task in task_of_item.values()),
        quality=tuple(tuple(row[index].quality or 0.0 for index in columns) for row in complete.values()),
        cost_usd=tuple(
            tuple(cost for index in columns if (cost := row[index].cost_usd) is not None)
            for row in complete.values()
        ),
        left_out=tuple(sorted(known - set(models))),
        items_dropped=len({outcome.item_id for outcome in outcomes}) - len(complete),
    )


def _pool(
    outcomes: Iterable[Outcome], known: set[str], pool: Sequence[str] | None, source: str
) -> tuple[str, ...]:
    if pool is None:
        unpriced = {outcome.model for outcome in outcomes if outcome.cost_usd is None}
        if known and known == unpriced:
            raise ConfigError(
                f"every model of `{source}` has an outcome without `cost_usd`: name the models with --pool"
            )
        return tuple(sorted(known - unpriced))
    unknown = sorted(set(pool) - known)
    if unknown:
        raise ConfigError(
            f"`{source}` has no model {', '.join(f'`{name}`' for name in unknown)}:"
            f" {nearest(unknown[0], known)}"
        )
    return tuple(sorted(set(pool)))
