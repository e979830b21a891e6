"""What shared state costs and survives: two machines on one PostgreSQL and one Redis.

    python tests/benchmarks/shared_state.py [--smoke]

Prints how soon a key and a version hold on the other machine; how many of 1,000 sessions keep their model
on another machine and through `kill -9`; failed requests while PostgreSQL, and then Redis, are stopped
under load; and the time of a decision without PostgreSQL, with it, and with it stopped, in one run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx

from router import Request, Router
from router.config import Settings
from tests.machines import Machines, names, seconds_until

ROUNDS = 100
BATCH = 100


def show(name: str, value: str) -> None:
    """One line."""
    print(f"{name:<62} {value}", flush=True)


def activation(machines: Machines, repeats: int) -> None:
    """Keys and versions, from their change to the other machine."""
    times: dict[str, list[float]] = {"made": [], "revoked": [], "applied": []}
    with httpx.Client(timeout=30) as client:

        def answers(token: str, status: int) -> bool:
            return machines.ask(1, client, token=token).status_code == status

        def has_applied(config_hash: str) -> bool:
            return bool(machines.health(1, client)["configuration"]["config_hash"] == config_hash)

        for repeat in range(repeats):
            key_id, token = machines.make_key("ci", on=0)
            times["made"].append(seconds_until(partial(answers, token, 200)))
            machines.revoke(key_id, on=0)
            times["revoked"].append(seconds_until(partial(answers, token, 401)))
            content = f"policies: [{{id: support, version: {repeat + 1}, cost_weight: {repeat + 1}}}]\n"
            applied = machines.apply({"policies.yaml": content.encode()}, on=0)
            times["applied"].append(seconds_until(partial(has_applied, applied)))
    for name, found in times.items():
        thing = "version applied" if name == "applied" else f"key {name}"
        show(f"{thing}, until it holds on the other machine", f"max {max(found):.2f} s of {len(found)}")


def sessions(machines: Machines, count: int) -> None:
    """Sessions that keep their model."""
    ids = names(count)
    before = machines.answers(ids, 0)

    def stay(what: str, number: int) -> None:
        after = machines.answers(ids, number)
        kept = sum(old == new for old, new in zip(before, after, strict=True))
        show(f"sessions that stay {what}", f"{kept} of {count}, {len(set(before))} models")

    stay("on the other machine", 1)
    machines.kill_and_restart()
    stay("through kill -9 of both servers", 0)
    stay("through it, on the other machine", 1)


def absence(machines: Machines, server: Any, name: str, stopped_s: float) -> None:
    """Requests while a server is stopped."""

    def stop_and_start() -> None:
        time.sleep(2)
        server.stop()
        time.sleep(stopped_s)
        server.start()
        time.sleep(3)

    requests, failures = machines.load(stop_and_start)
    show(f"{name} stopped for {stopped_s:.0f} s under load", f"{len(failures)} of {requests} requests failed")
    for failure in failures[:3]:
        print(f"    {failure}")


def decisions(machines: Machines, rounds: int) -> None:
    """The time of a decision on the data folder, on PostgreSQL, and while it is stopped.

    The least time of many batches counts, since other work on the machine only adds to it.
    """
    shared = machines.settings[0]
    folder = Settings.load({}, home=shared.home)
    request = Request(messages=[{"role": "user", "content": "go on"}])

    def batch(router: Router) -> float:
        started = time.perf_counter_ns()
        for _ in range(BATCH):
            router.route(request)
        return (time.perf_counter_ns() - started) / BATCH / 1000

    times: dict[str, list[float]] = {"without": [], "with": [], "stopped": []}
    with Router.open(folder, seed=1) as alone, Router.open(shared, seed=1) as joined:
        for _ in range(rounds):
            times["without"].append(batch(alone))
            times["with"].append(batch(joined))
        machines.postgres.stop()
        seconds_until(lambda: joined.health()["configuration"]["error"] is not None)
        again: list[float] = []
        for _ in range(rounds):
            again.append(batch(alone))
            times["stopped"].append(batch(joined))
        machines.postgres.start()
    without, middle = min(times["without"]), min(again)
    present, stopped = min(times["with"]), min(times["stopped"])
    show("decision without PostgreSQL", f"{without:.1f} us")
    show("decision with PostgreSQL", f"{present:.1f} us, ratio {present / without:.2f}")
    show("decision with PostgreSQL stopped", f"{stopped:.1f} us, ratio {stopped / middle:.2f}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small numbers: does it run at all?")
    is_smoke = parser.parse_args().smoke
    if reason := Machines.missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder, Machines(Path(folder)) as machines:
        activation(machines, 1 if is_smoke else 5)
        sessions(machines, 20 if is_smoke else 1000)
        decisions(machines, 20 if is_smoke else ROUNDS)
        absence(machines, machines.postgres, "PostgreSQL", 2 if is_smoke else 60)
        absence(machines, machines.redis, "Redis", 2 if is_smoke else 20)


if __name__ == "__main__":
    main()
