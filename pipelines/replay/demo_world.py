"""The demo's world: outcomes with the accuracy and cost that LLMRouterBench publishes.

The benchmark's tables give a share of right answers and a total cost for each model and data set.
This module makes single outcomes from them, deterministically:

- right answers: exactly the published share of a data set's items. Each item has a difficulty that
  all models share and a chance of its own with each model, so that models tend to fail together.
- cost: log-normal around the published mean. The tokens follow from it by the model's list prices, and
  the exact cost follows from the tokens.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from math import exp
from random import Random
from typing import TYPE_CHECKING

from router.catalog.prices import Price, Usage, cost
from router.providers.fake.table import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ITEMS_PER_DATASET = 150
SHARED_DIFFICULTY = 0.6
"""Weight of the difficulty that all models share, against each model's own chance."""
COST_SPREAD = 0.5
"""Standard deviation of the logarithm of cost."""
INPUT_SHARE = 0.15
"""Share of a request's cost that is input."""
LATENCY_MS_PER_OUTPUT_TOKEN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One model on one data set, as published."""

    task_type: str
    dataset: str
    items: int
    model: str
    accuracy: float | None
    """0..1. None if it is not published."""
    cost_usd: float | None
    """Mean per item."""
    prices: tuple[str, str]
    """Input and output, dollars per million tokens."""


def load_figures() -> list[Figure]:
    """The published figures."""
    text = files("pipelines.replay").joinpath("llmrouterbench.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return [
        Figure(
            task_type=row["task_type"],
            dataset=row["dataset"],
            items=int(row["items"]),
            model=row["model"],
            accuracy=float(row["accuracy_pct"]) / 100 if row["accuracy_pct"] else None,
            cost_usd=float(row["cost_usd_total"]) / int(row["items"]) if row["cost_usd_total"] else None,
            prices=(row["input_usd_per_mtok"], row["output_usd_per_mtok"]),
        )
        for row in rows
    ]


def prices_of(figures: Sequence[Figure]) -> Mapping[str, tuple[str, str]]:
    """Each model's list prices."""
    return {figure.model: figure.prices for figure in figures}


def make_outcomes(figures: Sequence[Figure], *, items: int = ITEMS_PER_DATASET) -> list[Outcome]:
    """`items` outcomes for every figure. A figure that is not published stays unknown (None)."""
    return [outcome for figure in figures for outcome in _outcomes(figure, items)]


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the Parquet file that the fake provider and a replay read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "item_id": [outcome.item_id for outcome in outcomes],
        "task_type": [outcome.task_type for outcome in outcomes],
        "model": [outcome.model for outcome in outcomes],
        "quality": [outcome.quality for outcome in outcomes],
        "input_tokens": [outcome.tokens_input for outcome in outcomes],
        "output_tokens": [outcome.tokens_output for outcome in outcomes],
        "cost_usd": [outcome.cost_usd for outcome in outcomes],
        "latency_ms": [outcome.latency_ms for outcome in outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd")


def _outcomes(figure: Figure, items: int) -> list[Outcome]:
    shared = Random(f"difficulty:{figure.dataset}")  # noqa: S311 - the same for every model
    own = Random(f"chance:{figure.dataset}:{figure.model}")  # noqa: S311
    ease = [
        SHARED_DIFFICULTY * shared.gauss(0, 1) + (1 - SHARED_DIFFICULTY) * own.gauss(0, 1)
        for _ in range(items)
    ]
    right = _easiest(ease, figure.accuracy)
    usages = [_usage(figure, own) for _ in range(items)]
    price = _price(figure)
    return [
        Outcome(
            item_id=f"{figure.dataset}/{number:04d}",
            model=figure.model,
            task_type=figure.task_type,
            quality=None if right is None else float(number in right),
            tokens_input=None if usage is None else usage.tokens_input,
            tokens_output=None if usage is None else usage.tokens_output,
            cost_usd=None if usage is None else cost(usage, price, price.start),
            latency_ms=None
            if usage is None or usage.tokens_output is None
            else LATENCY_MS_PER_OUTPUT_TOKEN * usage.tokens_output,
        )
        for number, usage in enumerate(usages)
    ]


def _easiest(ease: Sequence[float], accuracy: float | None) -> set[int] | None:
    """The items that are answered right: the easiest share of them."""
    if accuracy is None:
        return None
    order = sorted(range(len(ease)), key=ease.__getitem__, reverse=True)
    return set(order[: round(accuracy * len(ease))])


def _usage(figure: Figure, random: Random) -> Usage | None:
    """Tokens for a cost at list prices that is log-normal around the published mean."""
    if figure.cost_usd is None:
        return None
    # The mean of exp(N(m, s²)) is exp(m + s²/2): the second term keeps the published mean.
    micro_usd = 1e6 * figure.cost_usd * exp(random.gauss(0, COST_SPREAD) - COST_SPREAD**2 / 2)
    given, written = map(float, figure.prices)
    return Usage(
        tokens_input=max(1, round(INPUT_SHARE * micro_usd / given)),
        tokens_output=max(1, round((1 - INPUT_SHARE) * micro_usd / written)),
    )


def _price(figure: Figure) -> Price:
    from datetime import UTC, datetime

    return Price(
        price_id=figure.model,
        start=datetime(2020, 1, 1, tzinfo=UTC),
        input_usd_per_mtok=Decimal(figure.prices[0]),
        output_usd_per_mtok=Decimal(figure.prices[1]),
    )
