"""What one decision costs: `Router.route` with everything on, at 10, 50 and 200 models.

    python tests/benchmarks/decision_latency.py [--smoke] [--peer PYTHON]

Sessions, tasks, users and prompts of several sizes take turns; every user has a hard budget and
every model is checked against it. Prints p50 and p99 in microseconds
and decisions a second on one core. `--peer` names the interpreter of an environment that holds
LiteLLM: its `Router.async_get_available_deployment` is measured beside, in the same run.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datetime import UTC, datetime

from router import Request, Router
from router.scores.board import ALL_TASKS, ScoreRow, ScoreSnapshot
from tests.factories import write_catalog

TASKS = ("chat", "code", "math")
PEER = """
import asyncio, json, sys, time
from litellm import Router
count, rounds = int(sys.argv[1]), int(sys.argv[2])
router = Router(model_list=[
    {"model_name": "auto", "litellm_params": {"model": f"openai/m{i}", "api_key": "x"}}
    for i in range(count)
])
async def main():
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        await router.async_get_available_deployment(
            model="auto", messages=[{"role": "user", "content": "hello"}], request_kwargs={})
        times.append(time.perf_counter_ns() - started)
    print(json.dumps(sorted(times)))
asyncio.run(main())
"""


def snapshot(models: list[str], random_source: random.Random) -> ScoreSnapshot:
    """Scores of every model on every task."""
    now = datetime.now(UTC)
    rows = []
    for task in (*TASKS, ALL_TASKS):
        for model in models:
            quality = random_source.uniform(0.5, 0.9)
            rows.append(
                ScoreRow(
                    task_type=task,
                    model=model,
                    requests=1000,
                    requests_with_quality=300,
                    requests_with_cost=1000,
                    effective_sample_size=300.0,
                    quality_mean=quality,
                    quality_variance=quality * (1 - quality) / 300,
                    quality_low=quality - 0.05,
                    quality_high=quality + 0.05,
                    cost_usd_mean=random_source.uniform(0.0001, 0.01),
                    cost_usd_per_input_token=1e-6,
                    cost_usd_per_output_token=4e-6,
                    tokens_input_mean=500.0,
                    tokens_output_mean=250.0,
                    success_rate=0.99,
                    latency_ms_p50=random_source.uniform(200, 2000),
                    latency_ms_p95=3000.0,
                    latency_ms_p99=5000.0,
                    ttft_ms_p50=None,
                    ttft_ms_p95=None,
                    ttft_ms_p99=None,
                )
            )
    return ScoreSnapshot.of(rows, as_of=now, published_at=now)


def measure(count: int, rounds: int) -> list[int]:
    """Nanoseconds of each decision, sorted."""
    source = random.Random(count)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        names = [f"m{index}" for index in range(count)]
        price = {"start": "2026-01-01", "input_usd_per_mtok": 1, "output_usd_per_mtok": 4}
        write_catalog(
            home,
            [
                {
                    "id": name,
                    "context_window": 8192 << index % 5,
                    "capabilities": ["tools", "json"],
                    "prices": [price],
                }
                for index, name in enumerate(names)
            ],
            tasks=TASKS,
        )
        (home / "policies.yaml").write_text(
            "policies: [{id: bot, cost_weight: 0.3, min_quality: 0.55, denied_models: [m1]}]\n"
            "assignments: {organizations: {acme: bot}}\n"
        )
        (home / "limits.yaml").write_text(
            "limits: [{scope: user, subject: '*', requests: 1000000, tokens: 1000000000, per: minute}]\n"
            "budgets:\n"
            "  - {id: user, scope: user, subject: '*', usd: 1000, period: day, mode: hard}\n"
            "  - {id: acme, scope: organization, subject: acme, usd: 9000, period: month, mode: soft}\n"
        )
        (home / "scores").mkdir()
        (home / "scores" / "current.json").write_bytes(snapshot(names, source).to_json())
        with Router.open(home=home, seed=1) as router:
            router.open_session("s-sticky", organization_id="acme", policy="bot")
            requests = [
                Request(
                    messages=[{"role": "user", "content": "x" * source.randrange(20, 4000)}],
                    parameters={"max_tokens": source.choice([256, 1024])},
                    task_type=source.choice(TASKS),
                    organization_id=source.choice(["acme", "other"]),
                    user_id=f"u{source.randrange(1000)}",
                    session_id=source.choice([None, f"s{source.randrange(1000)}", "s-sticky"]),
                )
                for _ in range(1000)
            ]
            for request in requests:
                router.route(request)
            times = []
            for step in range(rounds):
                request = requests[step % len(requests)]
                started = time.perf_counter_ns()
                router.route(request)
                times.append(time.perf_counter_ns() - started)
    return sorted(times)


def line(name: str, times: list[int]) -> str:
    """p50, p99 and the rate."""
    p50, p99 = (times[int(len(times) * share)] / 1000 for share in (0.5, 0.99))
    return (
        f"{name:28} p50 {p50:8.1f} us   p99 {p99:8.1f} us   {1e9 * len(times) / sum(times):9.0f} decisions/s"
    )


def main() -> None:
    """A line per number of models, the peer's beside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="2,000 decisions instead of 100,000")
    parser.add_argument("--peer", help="interpreter of an environment that holds LiteLLM")
    arguments = parser.parse_args()
    rounds = 2_000 if arguments.smoke else 100_000
    for count in (10, 50, 200):
        ours = measure(count, rounds)
        print(line(f"route, {count} models", ours))
        if arguments.peer:
            output = subprocess.run(
                [arguments.peer, "-c", PEER, str(count), str(max(rounds // 50, 200))],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            theirs = json.loads(output.splitlines()[-1])
            print(line(f"LiteLLM, {count} models", theirs))
            print(f"{'':28} ratio of the medians {theirs[len(theirs) // 2] / ours[len(ours) // 2]:.0f}")


if __name__ == "__main__":
    main()
