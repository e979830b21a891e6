"""The recorded outcomes that the quality benchmarks run on, as the router would meet them.

Imported by routing_quality.py, online_regret.py and lock_in.py; on its own it does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from pipelines.replay.demo_world import load_figures, make_outcomes
from pipelines.replay.outcomes import World, world_of
from pipelines.scores.quality_model import Outcomes
from pipelines.scores.scoring import Totals, rows_of
from router.catalog.catalog import Catalog, Model
from router.catalog.prices import Price
from router.providers.fake.table import Outcome, read_columns, read_outcomes
from router.scores.snapshot import ALL_TASKS, ANY_MODEL, ScoreSnapshot

DATA = Path(__file__).parents[2].parent / "shared" / "data"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILES = {
    "mix": "outcomes_mix",
    "mix10": "outcomes_mix",
    "ulab": "outcomes_ulab_llmrouter",
    "zeroeval": "outcomes_zeroeval",
    "bfcl": "outcomes_bfcl",
    "bfcl12": "outcomes_bfcl",
    "gap": "outcomes_zeroeval",
}
GAP_POOL = (
    "Meta-Llama-3-8B-Instruct",
    "gemma-2-9b-it",
    "Qwen2-7B-Instruct",
    "gpt-3.5-turbo-0125",
    "Phi-3.5-mini-instruct",
    "claude-3-5-sonnet-20241022",
)
"""One frontier model among small ones: its quality is 2.5 times theirs, its cost 40 times."""
ULAB_USD_PER_MTOK = {
    "codegemma-7b": "0.2",
    "gemma-2-9b-it": "0.1",
    "llama-3.1-8b-instruct": "0.2",
    "llama-3.1-nemotron-51b-instruct": "0.9",
    "llama-3.3-nemotron-super-49b-v1": "0.9",
    "llama3-chatqa-1.5-70b": "0.9",
    "llama3-chatqa-1.5-8b": "0.2",
    "mistral-7b-instruct-v0.3": "0.2",
    "qwen2.5-7b-instruct": "0.2",
}
"""List prices, in and out, of the models in ULab's LLMRouter, which publishes no costs."""
ULAB_TOKENS = (75, 225)
"""Every answer of ulab is taken to have these: its cost is the list price times a constant."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One recorded world with its tokens and the catalog that a user would have written."""

    name: str
    world: World
    tokens: dict[tuple[str, str], tuple[int | None, int | None]]
    """(item, model) to (input, output)."""
    catalog: Catalog

    @cached_property
    def tokens_of(self) -> list[list[tuple[int | None, int | None]]]:
        """By row and column."""
        return [[self.tokens[item, model] for model in self.world.models] for item in self.world.items]


def load(name: str) -> Source | None:
    """A source by name, `demo` included; None when its file is not there."""
    if name == "demo":
        return source_of(name, make_outcomes(load_figures()), None, {})
    path = DATA / f"{FILES[name]}.parquet"
    if not path.exists():
        return None
    outcomes = read_outcomes(path)
    if name == "ulab":
        outcomes = [_at_list_price(item) for item in outcomes]
        prices = {model: (Decimal(usd), Decimal(usd)) for model, usd in ULAB_USD_PER_MTOK.items()}
        return source_of(name, outcomes, None, prices)
    pool = None  # the models whose every cost is known, as the scorer's default
    if name == "mix10":
        pool = sorted({item.model for item in outcomes})
    if name == "bfcl12":
        pool = (DATA / "pool_bfcl12.txt").read_text().split()
    if name == "gap":
        outcomes = [item for item in outcomes if item.task_type == "math-hard"]
        pool = sorted(GAP_POOL)
    if name == "zeroeval":  # no item is complete over all priced models: those known on every item
        counts: dict[str, int] = {}
        for item in outcomes:
            counts[item.model] = counts.get(item.model, 0) + (item.cost_usd is not None)
        full = max(counts.values())
        pool = sorted(model for model, count in counts.items() if count == full)
    return source_of(name, outcomes, pool, _list_prices())


def _at_list_price(item: Outcome) -> Outcome:
    usd = Decimal(ULAB_USD_PER_MTOK[item.model]) * sum(ULAB_TOKENS) / 1_000_000
    return Outcome(
        item_id=item.item_id,
        model=item.model,
        task_type=item.task_type,
        quality=item.quality,
        tokens_input=ULAB_TOKENS[0],
        tokens_output=ULAB_TOKENS[1],
        cost_usd=usd,
        latency_ms=None,
    )


def _list_prices() -> dict[str, tuple[Decimal, Decimal]]:
    path = DATA / "model_price_map.parquet"
    if not path.exists():
        return {}
    columns = read_columns(path, ("model", "input_usd_per_mtok", "output_usd_per_mtok"))
    return {
        model: (Decimal(str(first)), Decimal(str(second)))
        for model, first, second in zip(*columns.values(), strict=True)
        if first is not None and second is not None
    }


def source_of(
    name: str, outcomes: list[Outcome], pool: list[str] | None, prices: dict[str, tuple[Decimal, Decimal]]
) -> Source:
    """The source of recorded outcomes, over `pool` or every model whose costs are all known.

    `prices` are the list prices of the models, in and out, in dollars per million tokens.
    """
    world = world_of(outcomes, pool, source=name)
    wanted, items = set(world.models), set(world.items)
    return Source(
        name=name,
        world=world,
        tokens={
            (item.item_id, item.model): (item.tokens_input, item.tokens_output)
            for item in outcomes
            if item.model in wanted and item.item_id in items
        },
        catalog=Catalog(
            providers={},
            models={model: _model(model, prices.get(model)) for model in world.models},
            tasks=frozenset(world.tasks),
            digest=name,
        ),
    )


def _model(name: str, usd_per_mtok: tuple[Decimal, Decimal] | None) -> Model:
    prices: tuple[Price, ...] = ()
    if usd_per_mtok is not None:
        prices = (
            Price(
                price_id=name,
                start=datetime(2000, 1, 1, tzinfo=UTC),
                input_usd_per_mtok=usd_per_mtok[0],
                output_usd_per_mtok=usd_per_mtok[1],
            ),
        )
    return Model(
        id=name,
        provider="fake",
        provider_model=name,
        context_window=None,
        capabilities=None,
        availability_status="available",
        cost_source="prices",
        prices=prices,
    )


@dataclass
class Tally:
    """Sums of one cell's requests."""

    requests: int = 0
    judged: int = 0
    cost: float = 0.0
    requests_with_tokens: int = 0
    tokens_input: int = 0
    tokens_output: int = 0

    def add(self, cost: float, tokens: tuple[int | None, int | None], *, is_judged: bool) -> None:
        """Count one request."""
        self.requests += 1
        self.judged += is_judged
        self.cost += cost
        if tokens[0] is not None and tokens[1] is not None:
            self.requests_with_tokens += 1
            self.tokens_input += tokens[0]
            self.tokens_output += tokens[1]

    def merge(self, other: Tally) -> None:
        """Add another cell's sums."""
        self.requests += other.requests
        self.judged += other.judged
        self.cost += other.cost
        self.requests_with_tokens += other.requests_with_tokens
        self.tokens_input += other.tokens_input
        self.tokens_output += other.tokens_output


def snapshot(
    tallies: dict[tuple[str, str], Tally], outcomes: dict[tuple[str, str], Outcomes]
) -> ScoreSnapshot:
    """What a refresh would publish, by the pipelines' own functions."""
    sums: dict[tuple[str, str], Tally] = {}
    for (task, model), tally in tallies.items():
        for cell in ((task, model), (task, ANY_MODEL), (ALL_TASKS, model), (ALL_TASKS, ANY_MODEL)):
            sums.setdefault(cell, Tally()).merge(tally)
    totals = [_totals(task, model, tally) for (task, model), tally in sums.items()]
    return ScoreSnapshot.of(rows_of(totals, outcomes, {}), as_of=NOW, published_at=NOW)


def _totals(task: str, model: str, tally: Tally) -> Totals:
    known = tally.requests_with_tokens > 0
    return Totals(
        task_type=task,
        model=model,
        requests=tally.requests,
        successes=tally.requests,
        requests_with_quality=tally.judged,
        requests_with_cost=tally.requests,
        cost_usd=tally.cost,
        requests_with_tokens=tally.requests_with_tokens,
        tokens_input=tally.tokens_input if known else None,
        tokens_output=tally.tokens_output if known else None,
        cost_usd_with_tokens=None,
        tokens_input_with_cost=None,
        tokens_output_with_cost=None,
    )
