"""What ejection saves when a provider fails, and what the breaker costs a request.

    python tests/benchmarks/ejection.py [--smoke]

A simulation on a clock of its own: ten models at four providers, 20 requests/s, answers after half a
second, 1% of all calls fail anyway. The favourite provider (three models, 60% of the traffic) is
healthy for a minute, fails always for five minutes, then 30% of the time for five, then is healthy
again. A failed call falls back to the next model. Prints, for each phase, the share of requests that
called a failing model and the calls each request took, with ejection and without, then the share of
healthy time in which a healthy provider was out.
"""

from __future__ import annotations

import argparse
import heapq
import time
from dataclasses import dataclass
from random import Random

from router.catalog.catalog import Model
from router.health.breaker import Breaker, BreakerRules

RATE = 20.0
LATENCY_S = 0.5
NOISE = 0.01
MAX_ATTEMPTS = 3
SIZES = {"favourite": 3, "second": 3, "third": 2, "fourth": 2}
TRAFFIC = {"favourite": 0.6, "second": 0.2, "third": 0.1, "fourth": 0.1}
PHASES = (
    ("healthy", 60.0, NOISE),
    ("fails always", 300.0, 1.0),
    ("fails 30%", 300.0, 0.3),
    ("again", 240.0, NOISE),
)


@dataclass(slots=True)
class Phase:
    """Sums of one phase."""

    requests: int = 0
    hits: int = 0
    """Requests that called a model of the failing provider."""
    calls: int = 0
    unanswered: int = 0
    healthy_out: int = 0
    """Requests decided while a model of a healthy provider was out."""


def models() -> list[Model]:
    """The catalog."""
    return [
        Model(
            id=f"{provider}-{index}",
            provider=provider,
            provider_model="",
            context_window=None,
            capabilities=None,
            availability_status="available",
            cost_source="prices",
            prices=(),
        )
        for provider, count in SIZES.items()
        for index in range(count)
    ]


def simulate(rules: BreakerRules, *, seed: int, speed: float) -> list[Phase]:
    """One run; phases are `speed` times shorter than stated."""
    random = Random(seed)
    clock = 0.0
    catalog = models()
    breaker = Breaker(catalog, rules, clock=lambda: clock)
    weights = {model.id: TRAFFIC[model.provider] / SIZES[model.provider] for model in catalog}
    provider_of = {model.id: model.provider for model in catalog}
    done = [Phase() for _ in PHASES]
    events: list[tuple[float, int, int, tuple[str, ...], str | None]] = []
    """(when, order, phase it belongs to, models called so far, the last of which answers now)"""
    order = 0
    start = 0.0
    for number, (_, length, _) in enumerate(PHASES):
        moment = start
        while (moment := moment + random.expovariate(RATE)) < start + length / speed:
            heapq.heappush(events, (moment, order, number, (), None))
            order += 1
        start += length / speed
    while events:
        clock, _, number, called, waiting = heapq.heappop(events)
        phase = done[number]
        if waiting is not None:
            share = PHASES[_phase_at(clock * speed)][2] if provider_of[waiting] == "favourite" else NOISE
            failed = random.random() < share
            breaker.record(waiting, success=not failed, error_type="server_error" if failed else None)
            if not failed:
                continue
            if len(called) == MAX_ATTEMPTS:
                phase.unanswered += 1
                continue
        out = breaker.view().models
        if not called:
            phase.requests += 1
            phase.healthy_out += any(provider_of[name] != "favourite" for name in out)
        choices = [name for name in weights if name not in out and name not in called]
        while choices:
            name = random.choices(choices, [weights[choice] for choice in choices])[0]
            if breaker.begin(name):
                break
            choices.remove(name)
        phase.calls += 1
        is_first_hit = not any(provider_of[item] == "favourite" for item in called)
        phase.hits += is_first_hit and provider_of[name] == "favourite"
        heapq.heappush(events, (clock + LATENCY_S, order, number, (*called, name), name))
        order += 1
    return done


def _phase_at(moment: float) -> int:
    for number, (_, length, _) in enumerate(PHASES):
        moment -= length
        if moment < 0:
            return number
    return len(PHASES) - 1


def costs_us(count: int) -> dict[str, float]:
    """Microseconds of each call on a healthy breaker of 50 models."""
    catalog = [model for _ in range(5) for model in models()]
    breaker = Breaker(catalog)
    name = catalog[0].id
    timed = {}
    for what, call in (
        ("view", breaker.view),
        ("begin", lambda: breaker.begin(name)),
        ("record", lambda: breaker.record(name, success=True)),
    ):
        started = time.perf_counter()
        for _ in range(count):
            call()
        timed[what] = (time.perf_counter() - started) / count * 1e6
    return timed


def main() -> None:
    """Print the table, then the cost of a call."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="one run of a tenth of the length")
    options = parser.parse_args()
    seeds, speed = (1, 10.0) if options.smoke else (5, 1.0)
    variants = {
        "without": BreakerRules(max_ejected_share=0.0),
        "with": BreakerRules(),
        "with, share 0.5": BreakerRules(failure_share=0.5),
    }
    for label, rules in variants.items():
        runs = [simulate(rules, seed=seed, speed=speed) for seed in range(seeds)]
        healthy = total = 0
        for number, (name, _, _) in enumerate(PHASES):
            phases = [run[number] for run in runs]
            requests = sum(phase.requests for phase in phases)
            healthy += sum(phase.healthy_out for phase in phases)
            total += requests
            print(
                f"{label:16} {name:13} {requests:7} requests,"
                f" called the favourite {sum(phase.hits for phase in phases) / requests:6.1%},"
                f" calls a request {sum(phase.calls for phase in phases) / requests:.3f},"
                f" unanswered {sum(phase.unanswered for phase in phases) / requests:.2%}"
            )
        print(f"{label:16} a healthy provider's model was out for {healthy / total:.2%} of the requests")
    timed = costs_us(2_000 if options.smoke else 200_000)
    print(", ".join(f"{what} {value:.2f} µs" for what, value in timed.items()))


if __name__ == "__main__":
    main()
