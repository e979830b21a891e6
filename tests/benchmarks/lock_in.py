"""Whether the router locks itself in: made worlds of one strong, dear model among weak, cheap ones.

    python tests/benchmarks/lock_in.py [--worlds 200] [--first-world 0] [--seeds 2] [--requests 9000]
        [--known-unit] [--exploration 1]

Each world draws its number of models and tasks, the gaps of quality and cost between the strong model
and the others, the share of requests that are judged and the requests between two refreshes. Prints the
runs that end above half of random's regret, and exits with 1 if one is locked in.

The first is not the second: 900 judged outcomes do not show which of nine weak models is the best for
each of three tasks. A run is locked in if in its last quarter it chooses wrongly between the strong
model and the best weak one for more than half of the requests, weighted by the gap of their utilities,
in a world where this gap matters.

`--known-unit` states the true unit of cost in the policy, so that it need not be learnt. With
`--exploration 1` too, it is plain Thompson sampling: a reference for what so few outcomes can show.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from statistics import fmean

from pipelines.replay.reference import Yardstick
from router.policies.policy import Policy
from router.providers.fake.table import Outcome
from router.scores import board
from tests.benchmarks.online_regret import simulate
from tests.benchmarks.recorded import Source, source_of

COST_WEIGHT = 0.1
REQUESTS = 9_000
ITEMS = 200
TOKENS = (200, 300)
LIMIT = 50.0
"""Percent of random's regret over the last quarter of a run: before it, the router may still be learning."""
MATTERS = 0.05
"""Gap of utility between the strong model and the best weak one, as a mean over the requests, from which a
wrong choice counts: half of what COST_WEIGHT gives for the best model's cost."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The result of one run."""

    whole: float
    """Percent of random's regret."""
    end: float
    """The same over the last quarter."""
    wrong: float
    """Percent of the gaps in the last quarter that were lost by a wrong choice between strong and weak."""
    gap: float
    """Mean gap between the strong model and the best weak one, on the scale of quality."""

    @property
    def is_locked_in(self) -> bool:
        """Whether the wrong choice between strong and weak stays, and matters."""
        return self.wrong > LIMIT and self.gap > MATTERS


def run(shape: Shape, *, world: int, seed: int, requests: int = REQUESTS, knows_unit: bool = False) -> Run:
    """One run of a made world."""
    source = made(shape, world)
    yardstick = Yardstick(source.world, cost_weight=COST_WEIGHT)
    policy = Policy(id="made", cost_weight=COST_WEIGHT)
    if knows_unit:
        usd_per_point = yardstick.reference_cost_usd / COST_WEIGHT / 100
        policy = Policy(id="made", usd_per_quality_point=round(Decimal(usd_per_point), 12))
    picks = simulate(
        source,
        policy,
        seed=seed,
        requests=requests,
        feedback_share=shape.feedback_share,
        refresh_every=shape.refresh_every,
    )
    last = picks[-len(picks) // 4 :]
    whole, end = yardstick.line("router", picks), yardstick.line("router", last)
    strong = source.world.models.index(f"model-{shape.models - 1}")
    gaps = lost = 0.0
    for pick in last:
        regrets = [yardstick.regret(replace(pick, model=model)) for model in range(shape.models)]
        of_strong = regrets.pop(strong)
        gap = of_strong or min(regrets)  # the best model, which has no regret, is one of the two
        gaps += gap
        lost += gap if (pick.model == strong) == (of_strong > 0) else 0.0
    return Run(
        whole=100 * (whole.share_of_random or 0.0),
        end=100 * (end.share_of_random or 0.0),
        wrong=100 * lost / gaps if gaps else 0.0,
        gap=gaps / len(last),
    )


def main() -> int:
    """Print every run above the limit, and a summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--first-world", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--known-unit", action="store_true", help="state the true unit of cost")
    parser.add_argument("--exploration", type=float, default=board.EXPLORATION, help="of all uncertainty")
    parser.add_argument("--smoke", action="store_true", help="one short run of one world")
    options = parser.parse_args()
    board.EXPLORATION = options.exploration
    if options.smoke:
        options.worlds, options.seeds, options.requests = 1, 1, 1000
    runs: list[Run] = []
    for world in range(options.first_world, options.first_world + options.worlds):
        shape = Shape.drawn(world)
        for seed in range(options.seeds):
            found = run(
                shape, world=world, seed=seed, requests=options.requests, knows_unit=options.known_unit
            )
            runs.append(found)
            if found.end > LIMIT or found.is_locked_in:
                sys.stdout.write(
                    f"world {world}, seed {seed}: {found.whole:.1f}%, at the end {found.end:.1f}%,"
                    f" wrong between strong and weak {found.wrong:.1f}% of a gap of {found.gap:.3f}"
                    f"{', LOCKED IN' if found.is_locked_in else ''}, {shape}\n"
                )
        if world % 20 == 19:
            sys.stdout.write(f"after world {world}: {_summary(runs)}\n")
        sys.stdout.flush()
    locked = sum(found.is_locked_in for found in runs)
    sys.stdout.write(f"{len(runs)} runs of {options.worlds} worlds: {_summary(runs)}\n")
    return 0 if options.smoke or not locked else 1


def _summary(runs: list[Run]) -> str:
    ends, wholes = [found.end for found in runs], [found.whole for found in runs]
    return (
        f"{sum(found.is_locked_in for found in runs)} locked in; {sum(end > LIMIT for end in ends)} above"
        f" {LIMIT:.0f}% of random's regret;"
        f" at the end mean {fmean(ends):.1f}%, worst {max(ends):.1f}%; over the whole run"
        f" mean {fmean(wholes):.1f}%, worst {max(wholes):.1f}%"
    )


if __name__ == "__main__":
    sys.exit(main())
