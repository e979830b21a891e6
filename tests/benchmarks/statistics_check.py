"""Whether the intervals of experiments hold what they promise, beside intervals that do not.

    python tests/benchmarks/statistics_check.py [--smoke]

1. A rate watched over 3,000 looks: how often the interval is right at every one of them.
2. Two equal variants, looked at 100 times: how often a winner is called. The same with requests of
   users who resemble each other, with costs that have a long tail, and with rare failures.
3. Two variants four points apart: how often it is found, and after how many requests.
4. Planned shares that are kept, and that are not: how often the sample-ratio check says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import lgamma, log, sqrt
from typing import Any

import numpy as np

from pipelines.experiments.results import Design, results_of
from pipelines.rollups.tables import EXPERIMENT_BUCKETS
from pipelines.statistics.sample_ratio import ALPHA, sample_ratio_p
from pipelines.statistics.sequences import ALPHA as SEQUENCE_ALPHA
from pipelines.statistics.sequences import rate_interval
from router.policies.experiments import Metric, Unit

Z_95 = 1.959964
LOOKS = 100
CHECKED_SERIES = 3
"""Series whose looks are also compared with the interval's own ends."""
RATE = 0.8
Draw = Callable[[np.random.Generator, int], tuple[Any, Any]]
"""Users and values of some requests of one variant."""


def coverage(rng: np.random.Generator, series: int, looks: int) -> None:
    """Share of series in which an interval is right at every look."""
    always, wilson_always = 0, 0
    looked = np.arange(1, looks + 1)
    # The interval holds p exactly where the likelihood ratio at p stays below 1/alpha: one formula for
    # all looks at once, compared with the interval's own ends below.
    log_gamma = np.array([lgamma(count + 1) for count in range(looks + 2)])
    for number in range(series):
        totals = np.cumsum(rng.random(looks) < RATE)
        ratio = log_gamma[totals] + log_gamma[looked - totals] - log_gamma[looked + 1]
        ratio -= totals * log(RATE) + (looked - totals) * log(1 - RATE)
        holds = ratio < -log(SEQUENCE_ALPHA)
        always += bool(holds.all())
        wilson_always += bool(np.all(_wilson_holds(totals, looked)))
        if number < CHECKED_SERIES:
            for look in range(0, looks, 7):
                assert _holds(int(totals[look]), look + 1) == holds[look], (totals[look], look + 1)
    width = rate_interval(RATE * looks, looks)
    print(f"coverage over {looks} looks, rate {RATE}, {series} series:")
    print(
        f"  beta-binomial confidence sequence {always / series:.1%} (aim: at least 95%), last width"
        f" {width.high - width.low:.3f}"
    )
    print(f"  Wilson 95% interval               {wilson_always / series:.1%}")


def _holds(total: int, observations: int) -> bool:
    found = rate_interval(total, observations)
    return found.low <= RATE <= found.high


def _wilson_holds(totals: Any, looked: Any) -> Any:
    # The score interval holds p exactly when the score test at p does not reject.
    return np.abs(totals / looked - RATE) <= Z_95 * np.sqrt(RATE * (1 - RATE) / looked)


def winners(
    rng: np.random.Generator,
    series: int,
    requests: int,
    draws: tuple[Draw, Draw],
    *,
    metric: Metric = "quality",
    unit: Unit = "request",
) -> tuple[float, float, float]:
    """Shares of series with a verdict at some of 100 looks, with a z-test's, and the median requests."""
    called, tested, needed = 0, 0, []
    for _ in range(series):
        arms = [draw(rng, requests // 2) for draw in draws]
        steps = np.linspace(0, requests // 2, LOOKS + 1).astype(int)[1:]
        verdict, is_tested = None, False
        for step in steps:
            groups = [
                group
                for name, (users, values) in zip(("control", "treated"), arms, strict=True)
                for group in _groups(name, users[:step], values[:step], metric, unit)
            ]
            design = Design(
                unit=unit,
                shares={"control": 0.5, "treated": 0.5},
                metrics={metric: "higher"},
                is_shadow=False,
            )
            rows = results_of("e", groups, design)
            if verdict is None and rows[-1].verdict in ("better", "worse"):
                verdict = rows[-1].verdict
                needed.append(2 * step)
            is_tested |= step >= 100 and _z_test([values[:step] for _, values in arms])
        called += verdict is not None
        tested += is_tested
    median = float(np.median(needed)) if needed else float("nan")
    return called / series, tested / series, median


def _groups(name: str, users: Any, values: Any, metric: str, unit: str) -> Iterator[dict[str, Any]]:
    """The fold's sums by groups of users, as the mart's query gives them."""
    buckets = users % EXPERIMENT_BUCKETS if unit == "user" else np.zeros(len(users), dtype=int)
    counts = np.bincount(buckets)
    sums, squares = np.bincount(buckets, values), np.bincount(buckets, np.square(values))
    column = "latency" if metric == "latency_ms" else metric.removesuffix("_usd")
    for bucket in np.flatnonzero(counts):
        count = int(counts[bucket])
        yield {
            "unit": unit,
            "variant": name,
            "cluster": str(bucket),
            "requests": count,
            "successes": int(sums[bucket]) if metric == "success" else 0,
            f"requests_with_{column}": count,
            metric: Decimal(float(sums[bucket])),
            f"{metric}_squared": Decimal(float(squares[bucket])),
        }


def _z_test(arms: list[Any]) -> bool:
    means = [values.mean() for values in arms]
    error = sqrt(sum(values.var(ddof=1) / len(values) for values in arms))
    return bool(error > 0 and abs(means[1] - means[0]) > Z_95 * error)


def rate(chance: float) -> Draw:
    """Judgements that are good with a chance."""
    return lambda rng, count: (np.arange(count), (rng.random(count) < chance).astype(float))


def alike(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Requests of 300 users, each with a taste of their own."""
    taste = rng.beta(4, 1, 300)
    users = rng.integers(0, 300, count)
    return users, (rng.random(count) < taste[users]).astype(float)


def long_tail(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Costs whose logarithm has a deviation of 1.5."""
    return np.arange(count), rng.lognormal(-7, 1.5, count)


def sample_ratio(rng: np.random.Generator, series: int) -> None:
    """Alarms over 100 looks at 20,000 requests, with the plan kept and with 5% of a variant lost."""
    for name, chance in (("kept", 0.5), ("5% of one variant lost", 0.95 / 1.95)):
        alarms = 0
        for _ in range(series):
            counts = np.cumsum(rng.binomial(200, chance, LOOKS))
            alarms += any(
                sample_ratio_p([int(count), 200 * (look + 1) - int(count)], [0.5, 0.5]) < ALPHA
                for look, count in enumerate(counts)
            )
        print(f"  shares {name}: alarm in {alarms / series:.1%}")


def main() -> None:
    """Print all four."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a few series of each")
    parser.add_argument("--series", type=int, default=400)
    options = parser.parse_args()
    smoke = options.smoke
    rng = np.random.default_rng(7)
    coverage(rng, *((5, 300) if smoke else (20 * options.series, 3000)))
    series, requests = (3, 2000) if smoke else (options.series, 20_000)
    print(f"false winners, {LOOKS} looks at {requests} requests, {series} series (aim: at most 5%):")
    cases: tuple[tuple[str, Draw, Metric, Unit], ...] = (
        ("judgements", rate(RATE), "quality", "request"),
        ("users who are alike", alike, "quality", "user"),
        ("the same, taken one by one", alike, "quality", "request"),
        ("costs with a long tail", long_tail, "cost_usd", "request"),
        ("success, 2% failures", rate(0.98), "success", "request"),
    )
    for what, draw, metric, unit in cases:
        called, tested, _ = winners(rng, series, requests, (draw, draw), metric=metric, unit=unit)
        print(f"  {what:28} {called:.1%}, a z-test at each look {tested:.1%}")
    found, _, needed = winners(rng, series, requests, (rate(RATE), rate(RATE + 0.04)))
    print(f"power: {RATE} against {RATE + 0.04:.2f} found in {found:.1%}, median after {needed:.0f} requests")
    print("sample ratio, 100 looks at 20000 requests:")
    sample_ratio(rng, 5 if smoke else 500)


if __name__ == "__main__":
    main()
