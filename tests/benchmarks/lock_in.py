"""Whether the router locks itself in: made worlds of one strong, dear model among weak, cheap ones.

    python tests/benchmarks/lock_in.py [--worlds 200] [--first-world 0] [--seeds 2]

Each world draws its number of models and tasks, the gaps of quality and cost between the strong model
and the others, the share of requests that are judged and the requests between two refreshes. Prints the
runs that end above half of random's regret; exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from statistics import fmean

from pipelines.replay.reference import Yardstick
from router.policies.policy import Policy
from router.providers.fake.table import Outcome
from tests.benchmarks.online_regret import simulate
from tests.benchmarks.recorded import Source, source_of

COST_WEIGHT = 0.1
REQUESTS = 9_000
ITEMS = 200
TOKENS = (200, 300)
LIMIT = 50.0
"""Percent of random's regret over the last quarter of a run: before it, the router may still be learning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a world is made from."""

    models: int
    tasks: int
    quality: float
    """Of the weak models, about."""
    quality_gap: float
    """Between the strong model and the weak ones."""
    cost_ratio: float
    """Between the strong model and the weak ones."""
    feedback_share: float
    refresh_every: int

    @classmethod
    def drawn(cls, world: int) -> Shape:
        """The shape of a world by its number."""
        random = Random(world)
        return cls(
            models=random.randint(3, 12),
            tasks=random.randint(1, 3),
            quality=random.uniform(0.1, 0.5),
            quality_gap=random.uniform(0.0, 0.5),
            cost_ratio=2.0 ** random.uniform(0.0, 6.5),
            feedback_share=random.choice((1.0, 0.3, 0.1)),
            refresh_every=random.choice((50, 200, 500)),
        )


def made(shape: Shape, seed: int) -> Source:
    """The recorded outcomes of a made world, with the list prices that its costs follow."""
    random = Random(seed)
    outcomes: list[Outcome] = []
    prices = {}
    for model in range(shape.models):
        is_strong = model == shape.models - 1
        usd = Decimal(str(round((shape.cost_ratio if is_strong else random.uniform(0.5, 2.0)) * 0.2, 4)))
        name = f"model-{model}"
        prices[name] = (usd, usd)
        for task in range(shape.tasks):
            quality = shape.quality + random.uniform(-0.05, 0.05) + (shape.quality_gap if is_strong else 0.0)
            outcomes += [
                Outcome(
                    item_id=f"{task}-{item}",
                    model=name,
                    task_type=f"task-{task}",
                    quality=float(random.random() < quality),
                    tokens_input=TOKENS[0],
                    tokens_output=TOKENS[1],
                    cost_usd=usd * sum(TOKENS) / 1_000_000,
                    latency_ms=None,
                )
                for item in range(ITEMS)
            ]
    return source_of("made", outcomes, None, prices)


def shares_of_random(shape: Shape, *, world: int, seed: int, requests: int = REQUESTS) -> tuple[float, float]:
    """Percent of random's regret over a whole run, and over its last quarter."""
    source = made(shape, world)
    picks = simulate(
        source,
        Policy(id="made", cost_weight=COST_WEIGHT),
        seed=seed,
        requests=requests,
        feedback_share=shape.feedback_share,
        refresh_every=shape.refresh_every,
    )
    yardstick = Yardstick(source.world, cost_weight=COST_WEIGHT)
    whole, end = yardstick.line("router", picks), yardstick.line("router", picks[-len(picks) // 4 :])
    return 100 * (whole.share_of_random or 0.0), 100 * (end.share_of_random or 0.0)


def main() -> int:
    """Print every run above the limit, and a summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--first-world", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--smoke", action="store_true", help="one short run of one world")
    options = parser.parse_args()
    if options.smoke:
        options.worlds, options.seeds, options.requests = 1, 1, 1000
    ends, wholes = [], []
    for world in range(options.first_world, options.first_world + options.worlds):
        shape = Shape.drawn(world)
        for seed in range(options.seeds):
            whole, end = shares_of_random(shape, world=world, seed=seed, requests=options.requests)
            wholes.append(whole)
            ends.append(end)
            if end > LIMIT:
                sys.stdout.write(
                    f"world {world}, seed {seed}: {whole:.1f}%, at the end {end:.1f}%, {shape}\n"
                )
        if world % 20 == 19:
            sys.stdout.write(f"after world {world}: mean {fmean(ends):.1f}%, worst {max(ends):.1f}%\n")
        sys.stdout.flush()
    above = sum(end > LIMIT for end in ends)
    sys.stdout.write(
        f"{len(ends)} runs of {options.worlds} worlds: {above} end above {LIMIT:.0f}% of random's regret,"
        f" at the end mean {fmean(ends):.1f}%, worst {max(ends):.1f}%; over the whole run"
        f" mean {fmean(wholes):.1f}%, worst {max(wholes):.1f}%\n"
    )
    return 0 if options.smoke or not above else 1


if __name__ == "__main__":
    sys.exit(main())
