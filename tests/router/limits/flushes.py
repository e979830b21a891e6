"""A budget while Redis loses its data at random: `python -m tests.router.limits.flushes`.

1,000 requests on a budget for 10, from several processes on hosts with data folders of their own. Meanwhile
Redis is emptied, started again without its data, or started again from an old snapshot, and processes are
killed. The figure is the most that the budget was charged at any moment, by the providers' count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from router.config import Settings
from router.errors import LimitsUnavailableError
from router.journal.journal import Journal
from router.limits import epochs
from router.limits.limits import Limits
from router.limits.periods import to_usd
from tests.router.limits import rush
from tests.router.limits.servers import RedisServer

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

Loss = Literal["flush", "empty restart", "old snapshot"]
REQUESTS = 1000
CONTACT_S = 0.1
RECOVERY_S = 0.6
"""Shorter than in production, so that a run has many losses."""
USER = "ada"
AT_ONCE = 10


@dataclass(slots=True, kw_only=True)
class Report(rush.Report):
    """The figures of one run."""

    losses: int = 0
    refused: int = 0
    """Requests that the budget had no room for."""
    waited: int = 0
    """Answers "try again", while hosts reported."""

    def __str__(self) -> str:
        return (
            f"{self.granted} of {self.granted + self.refused} requests granted, {self.losses} losses of"
            f" Redis's data, {self.kills} kills, {self.waited} answers to try again; most charged at any"
            f" moment ${to_usd(self.most):.6f} of ${rush.BUDGET_USD}, at the end"
            f" ${to_usd(self.least_at_end):.6f}"
        )


def serve(home: str, events_path: str, url: str, requests: int, lasts_s: float, seed: int) -> None:
    """Ask so many requests, spread over a time. Each is asked again until the budget decides."""
    epochs.CONTACT_S = CONTACT_S
    folder, rng = Path(home), random.Random(seed)
    journal = Journal(folder, seal_interval_s=0.1, max_bytes=1 << 20)
    limits = Limits.open(Settings.load({}, home=folder, redis_url=url, limits_recovery_s=RECOVERY_S))
    limits.watch(journal.writer_id)
    events = os.open(events_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(at_s: float) -> None:
        await asyncio.sleep(at_s)
        async with room:
            for _ in range(400):
                try:
                    if not await rush.ask(limits, USER, events, journal, rng):
                        os.write(events, f"refused - {USER} 0\n".encode())
                    return
                except LimitsUnavailableError:
                    os.write(events, f"waited - {USER} 0\n".encode())
                    await asyncio.sleep(0.05)

    async def work() -> None:
        await asyncio.gather(*(one(rng.random() * lasts_s) for _ in range(requests)))
        await limits.aclose_connections()

    asyncio.run(work())
    limits.close()
    journal.close()


def run(
    folder: Path,
    *,
    hosts: int = 2,
    processes: int = 2,
    losses: int = 3,
    kills: int = 1,
    loss: Loss | None = None,
    seed: int = 0,
) -> Report:
    """One budget through some losses of a kind, or of every kind."""
    rng, report = random.Random(seed), Report(budgets=1)
    homes = [folder / f"host-{number}" for number in range(hosts)]
    for home in homes:
        home.mkdir(parents=True)
        (home / "limits.yaml").write_text(rush.BUDGETS)
    events, lasts_s = folder / "events", 1.5 + 1.5 * losses
    each = -(-REQUESTS // (hosts * processes))
    with RedisServer(folder) as server:

        def start(home: Path, requests: int, lasts_s: float) -> BaseProcess:
            process = multiprocessing.get_context("spawn").Process(
                target=serve,
                args=(str(home), str(events), server.url, requests, lasts_s, rng.randrange(10**9)),
            )
            process.start()
            return process

        running = [(home, start(home, each, lasts_s)) for home in homes for _ in range(processes)]
        began = time.monotonic()
        deeds = ["lose"] * losses + ["kill"] * kills
        rng.shuffle(deeds)
        while not events.exists() and time.monotonic() < began + 20:
            time.sleep(0.02)
        for number, deed in enumerate(deeds):
            _save(server, rng)
            time.sleep(rng.random() * 2 * lasts_s / len(deeds) * 0.6)
            if deed == "lose":
                kinds: tuple[Loss, ...] = get_args(Loss)
                lose(server, folder, rng.choice(kinds) if loss is None else loss)
                report.losses += 1
                continue
            victim = rng.randrange(len(running))
            home, process = running[victim]
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
                report.kills += 1
                running[victim] = home, start(home, each // 2, lasts_s * (1 - number / len(deeds)))
        for _, process in running:
            process.join(120)
            if process.exitcode != 0:
                raise RuntimeError(f"a router ended with {process.exitcode}")
    lines = events.read_text().splitlines()
    report.refused = sum(line.startswith("refused") for line in lines)
    report.waited = sum(line.startswith("waited") for line in lines)
    (folder / "charges").write_text(
        "".join(f"{line}\n" for line in lines if line.startswith(("granted", "cost")))
    )
    rush.replay(folder / "charges", USER, report)
    return report


def _save(server: RedisServer, rng: random.Random) -> None:
    """Sometimes keep a snapshot for a later restart."""
    if rng.random() < 0.7:
        with contextlib.suppress(Exception), client(server) as opened:
            opened.save()


def lose(server: RedisServer, folder: Path, loss: Loss) -> None:
    """Make Redis lose its data, in one of the ways in which it does."""
    if loss == "flush":
        with client(server) as opened:
            opened.flushall()
    elif loss == "empty restart":
        server.stop()
        (folder / "dump.rdb").unlink(missing_ok=True)
        server.start()
    elif loss == "old snapshot":
        server.stop()
        server.start()


def client(server: RedisServer) -> Any:
    """A client of the server. Close it."""
    import redis

    return redis.Redis.from_url(server.url)


def main() -> None:
    """Print the figures of many runs. Exit with 1 if a budget was passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    most = 0
    for seed in range(options.first, options.first + options.runs):
        hosts, processes = ((1, 4), (2, 2), (3, 1))[seed % 3]
        with tempfile.TemporaryDirectory() as folder:
            report = run(Path(folder), hosts=hosts, processes=processes, seed=seed)
        sys.stdout.write(f"seed {seed}, {hosts} hosts with {processes} processes: {report}\n")
        sys.stdout.flush()
        most = max(most, report.most)
    sys.stdout.write(
        f"{options.runs} runs: charged at most {most / (rush.BUDGET_USD * rush.USD):.6f} of a budget\n"
    )
    raise SystemExit(most > rush.BUDGET_USD * rush.USD)


if __name__ == "__main__":
    main()
