"""False alarms of the watch on real traffic, and the share and delay of planted faults.

    python tests/benchmarks/anomalies.py [--trace FILE] [--seeds 3] [--smoke]

The trace has the rate of each tenant over 14 days (Alibaba ServeGen). The hourly requests of the tenants
are drawn from it, at 2,000 an hour and tenant at most, and so the series `requests` are as they are. The
trace has no cost, errors, latency or tokens. These are made on top: each with the sampling noise of the
hour's requests and a drift of its own (autocorrelation 0.8 an hour). The logarithm of a cost has a standard
deviation of 1, that of a latency 0.7, which makes 1.5 for the logarithm of its 95th percentile. Both means
have drifts of their own. The first
week is history. In the second, without a fault, each incident is a false alarm. A change of the tenant's
real traffic counts as one.

Then each tenant gets a fault at a random hour of the second week: cost x2, errors +5 points, latency x1.5,
half of the answers from another model, or answers 1.5 times as long. It is found if its own metric raises
an incident within 24 hours. Last, the watch's part of a refresh after one new hour is measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from pipelines import flow
from pipelines.anomalies.alerts import notice_anomalies
from pipelines.anomalies.detector import WEEK_HOURS, Watch, threshold_of
from pipelines.anomalies.metrics import BY_NAME, METRICS
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.anomalies.traffic import seal_hours

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACE = Path(__file__).resolve().parents[3] / "shared" / "data" / "trace_servegen_client_rates.parquet"
HOURS = 2 * WEEK_HOURS
MOST_PER_HOUR = 2_000
FEWEST_HOURS = 100
"""Hours with traffic that a tenant needs to be part of the measurement."""
FOUND_WITHIN = 24
ALARMS_PER_WEEK = 1.0
FAULTS = {
    "cost x2": ("cost_usd_mean", "cost_usd"),
    "errors +5 points": ("error_share",),
    "latency x1.5": ("latency_ms_p95", "latency_ms_geomean"),
    "silent redirect": ("redirected_share",),
    "answers x1.5": ("tokens_output_mean", "cut_share", "cost_usd_mean"),
}
"""Faults, and the metrics that may find them."""
RATES = """
select
    category || model || client_id as tenant,
    window_start_s // 3600 as hour,
    sum(rate_rps) * 600 as requests
from read_parquet($path)
where window_start_s < $hours * 3600
group by all
"""


def load_rates(path: Path) -> Any:
    """Expected requests by tenant and hour."""
    found = duckdb.connect().execute(RATES, {"path": str(path), "hours": HOURS}).fetchnumpy()
    names, rows = np.unique(found["tenant"], return_inverse=True)
    rates = np.zeros((len(names), HOURS))
    rates[rows, found["hour"].astype(int)] = found["requests"]
    return rates[(rates > 0).sum(axis=1) >= FEWEST_HOURS]


def made_rates(rng: np.random.Generator) -> Any:
    """A made trace: days and weekends, for the short form."""
    hours = np.arange(HOURS)
    shape = 1 + 0.5 * np.sin(2 * np.pi * hours / 24) - 0.3 * (hours % WEEK_HOURS >= 120)
    return rng.uniform(50, 500, (16, 1)) * shape


def drawn(rates: Any, rng: np.random.Generator) -> Any:
    """Requests by series and hour: the tenants, and all of them."""
    mean = np.maximum(rates.mean(axis=1, keepdims=True), 1e-9)
    requests = rng.poisson(rates * np.minimum(1, MOST_PER_HOUR / mean))
    return np.vstack([requests, requests.sum(axis=0)])


def hours_of(requests: Any, rng: np.random.Generator, fault: str = "", since: Any = None) -> dict[str, Any]:
    """The columns of the watched hours. `since` is the hour of each series from which the fault holds."""
    shape = requests.shape
    known = np.maximum(requests, 1)
    has = np.arange(shape[1]) >= since[:, None] if since is not None else np.zeros(shape, dtype=bool)

    def drifting(size: float) -> Any:
        steps = rng.standard_normal(shape) * size * np.sqrt(1 - 0.8**2)
        values = np.zeros(shape)
        for hour in range(1, shape[1]):
            values[:, hour] = 0.8 * values[:, hour - 1] + steps[:, hour]
        return values

    def mean(drift: float, spread: float) -> Any:
        return np.exp(drifting(drift) + rng.standard_normal(shape) * spread / np.sqrt(known))

    def times(name: str, factor: float) -> Any:
        return np.where(has & (fault == name), factor, 1.0)

    def share(base: float, drift: float, name: str = "", more: float = 0.0) -> Any:
        chance = base * np.exp(drifting(drift)) + np.where(has & (fault == name), more, 0.0)
        return rng.binomial(requests, np.clip(chance, 0, 1)).astype(float)

    cost = mean(0.08, 1.0) * times("cost x2", 2.0) * times("answers x1.5", 1.4)
    daily = np.exp(0.2 * np.sin(2 * np.pi * np.arange(shape[1]) / 24))
    count = requests.astype(float)
    return {
        "requests": count,
        "successes": count,
        "requests_with_cost": count,
        "requests_with_tokens": count,
        "requests_with_finish": count,
        "requests_with_price": count,
        "cost_usd": 0.002 * cost * count,
        "tokens_output": 200 * mean(0.05, 0.8) * times("answers x1.5", 1.5) * count,
        "latency_ms_p95": 900 * daily * mean(0.08, 1.5) * times("latency x1.5", 1.5),
        "latency_ms_geomean": 400 * daily * mean(0.08, 0.7) * times("latency x1.5", 1.5),
        "errors": share(0.01, 0.5, "errors +5 points", 0.05),
        "refusals": share(0.01, 0.2),
        "requests_cut": share(0.05, 0.2, "answers x1.5", 0.1),
        "requests_redirected": share(0.0, 0.0, "silent redirect", 0.5),
        "requests_without_cost": share(0.002, 0.0),
        "requests_dear": share(0.3, 0.1),
    }


def incidents(columns: Mapping[str, Any], names: tuple[str, ...], series: int) -> list[tuple[str, int, int]]:
    """Metric, series and hour of each incident."""
    count = len(columns["requests"])
    watch = Watch()
    measured = [BY_NAME[name].of_hours(columns) for name in names]
    for name in names:
        watch.add(kinds=[BY_NAME[name].kind] * count, floor=[BY_NAME[name].floor] * count)
    values = np.concatenate([value for value, _ in measured])
    noise = np.concatenate([variance for _, variance in measured])
    found = []
    for hour in range(values.shape[1]):
        openings, _ = watch.step(hour, values[:, hour], noise[:, hour], threshold_of(series, ALARMS_PER_WEEK))
        found += [(names[item.row // count], item.row % count, hour) for item in openings]
    return found


def measure(rates: Any, seed: int) -> tuple[int, int, dict[str, tuple[int, list[int]]]]:
    """False alarms of the second week, those of real series, and for each fault series and delays."""
    rng = np.random.default_rng(seed)
    requests = drawn(rates, rng)
    count, names = len(requests), tuple(metric.name for metric in METRICS)
    series = count * len(names)
    usual = incidents(hours_of(requests, rng), names, series)
    alarms = [name for name, _, hour in usual if hour >= WEEK_HOURS]
    faults = {}
    for fault, looked_at in FAULTS.items():
        since = rng.integers(WEEK_HOURS + 20, HOURS - FOUND_WITHIN, count)
        found: dict[int, int] = {}
        for _, row, hour in incidents(hours_of(requests, rng, fault, since), looked_at, series):
            delay = hour - int(since[row]) + 1
            if 0 < delay <= FOUND_WITHIN:
                found[row] = min(found.get(row, HOURS), delay)
        busy = [
            row
            for row in range(count)
            if np.median(requests[row, since[row] : since[row] + FOUND_WITHIN]) >= 100
        ]
        faults[fault] = len(busy), [found[row] for row in busy if row in found]
    return len(alarms), sum(name == "requests" for name in alarms), faults


def share_of_refresh(hours: int, per_hour: int, rounds: int) -> tuple[float, float]:
    """Milliseconds of a refresh after one new hour, and of the watch in it. Medians of the rounds."""
    whole, watch = [], []
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load({}, home=Path(home))
        seal_hours(settings, 0, hours, per_hour=per_hour)
        with Warehouse(settings) as warehouse:
            flow.run_refresh(warehouse)
            for number in range(rounds):
                seal_hours(settings, hours + number, hours + number + 1, per_hour=per_hour)
                spent = {step: _milliseconds(step, warehouse) for step in flow.REFRESH}
                whole.append(sum(spent.values()))
                watch.append(spent[notice_anomalies])
    return float(np.median(whole)), float(np.median(watch))


def _milliseconds(step: Any, warehouse: Warehouse) -> float:
    started = time.perf_counter()
    step(warehouse)
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trace", type=Path, default=TRACE)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a made trace, one seed")
    options = parser.parse_args()
    if not options.smoke and not options.trace.exists():
        sys.stdout.write(f"skipped: no trace at `{options.trace}`. Name one with --trace, or use --smoke\n")
        return
    rates = made_rates(np.random.default_rng(0)) if options.smoke else load_rates(options.trace)
    seeds = 1 if options.smoke else options.seeds
    results = [measure(rates, seed) for seed in range(seeds)]
    write = sys.stdout.write
    write(f"{len(rates)} tenants, {(len(rates) + 1) * len(METRICS)} series, {seeds} draws\n")
    alarms = [item[0] for item in results]
    write(
        f"false alarms in the second week: mean {np.mean(alarms):.2f}, worst {max(alarms)}"
        f" (accepted: {ALARMS_PER_WEEK:g}); of the real series `requests`: mean"
        f" {np.mean([item[1] for item in results]):.2f}\n"
    )
    for fault in FAULTS:
        busy = sum(item[2][fault][0] for item in results)
        delays = [delay for item in results for delay in item[2][fault][1]]
        median = f"{np.median(delays):.0f} h" if delays else "-"
        write(f"{fault:18} found {len(delays) / max(busy, 1):6.1%} of {busy}, median delay {median}\n")
    whole, watch = share_of_refresh(*((80, 6, 1) if options.smoke else (200, 40, 5)))
    write(f"watch after one new hour: {watch:.0f} ms of a refresh of {whole:.0f} ms ({watch / whole:.0%})\n")


if __name__ == "__main__":
    main()
