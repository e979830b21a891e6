"""Processes that rush at one budget, note what they were granted, and are killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.config import Settings
from router.journal.journal import Journal
from router.limits.counters import Subjects
from router.limits.limits import Limits
from router.limits.periods import to_usd
from router.records import moment_of, new_id
from tests.factories import request_record

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

USD = 10**12
BUDGET_USD = 10
AT_ONCE = 100
LONGEST_CALL_S = 0.05
BUDGETS = f"""
budgets:
  - {{id: each, scope: user, subject: "*", usd: {BUDGET_USD}, period: month, mode: hard}}
  - {{id: all, scope: organization, subject: "*", usd: 1000000, period: week, mode: hard}}
"""


@dataclass(slots=True, kw_only=True)
class Report:
    """What a test prints and checks."""

    budgets: int = 0
    kills: int = 0
    granted: int = 0
    most: int = 0
    """Pico-dollars that the fullest budget was charged at any moment, worst cases included."""
    least_at_end: int = BUDGET_USD * USD
    """Pico-dollars that the emptiest budget was charged when nobody was granted anything more."""

    def __str__(self) -> str:
        return (
            f"{self.budgets} budgets of ${BUDGET_USD}, {self.kills} kills, {self.granted} granted;"
            f" most charged at any moment ${to_usd(self.most):.6f},"
            f" least at the end ${to_usd(self.least_at_end):.6f}"
        )


async def ask(limits: Limits, user: str, events: int, journal: Journal | None, rng: random.Random) -> bool:
    """One request of a worst case of about a dollar; whether it was granted."""
    request_id, at = new_id()
    worst = rng.randrange(USD // 2, USD)
    admission = await limits.admit(Subjects(user=user, organization="acme"), at=at)
    if not await limits.reserve(admission, request_id, worst):
        return False
    os.write(events, f"granted {request_id} {user} {worst}\n".encode())
    await asyncio.sleep(rng.random() * LONGEST_CALL_S)
    cost = rng.randrange(worst // 4, worst + 1)
    # Noted first: what a kill leaves between here and the settlement is charged too much, never too little.
    os.write(events, f"cost {request_id} {user} {cost}\n".encode())
    if journal is not None:
        journal.append(record(request_id, user, cost))
    await limits.settle(admission, cost)
    return True


def record(request_id: str, user: str, cost: int) -> Any:
    return request_record(
        id=request_id,
        timestamp=moment_of(request_id),
        user_id=user,
        organization_id="acme",
        cost_usd=to_usd(cost),
        candidates=[],
    )


def serve(home: str, settings: dict[str, str], user: str, at_once: int, seed: int) -> None:
    """Ask, many at once, until nobody is granted anything."""
    folder, rng = Path(home), random.Random(seed)
    journal = Journal(folder, seal_interval_s=0.05, max_bytes=1 << 20)
    limits = Limits.open(Settings.load({}, home=folder, **settings))
    limits.watch(journal.writer_id)
    events = os.open(folder / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def work() -> None:
        while any(await asyncio.gather(*(ask(limits, user, events, journal, rng) for _ in range(at_once)))):
            pass
        await limits.aclose_connections()

    asyncio.run(work())
    limits.close()
    journal.close()


def start(home: Path, settings: dict[str, str], user: str, at_once: int, seed: int) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(str(home), settings, user, at_once, seed)
    )
    process.start()
    return process


def loop(home: Path, *, kills: int, processes: int, settings: dict[str, str], seed: int) -> Report:
    """One budget after the other: rush, kill in the middle, start again, until it is used up."""
    rng = random.Random(seed)
    report = Report()
    home.mkdir(parents=True, exist_ok=True)
    (home / "limits.yaml").write_text(BUDGETS)
    events = home / "events"
    events.touch()
    while report.kills < kills:
        user = f"user-{seed}-{report.budgets}"
        report.budgets += 1
        running = [
            start(home, settings, user, AT_ONCE // processes, rng.randrange(10**9)) for _ in range(processes)
        ]
        for _ in range(3):
            victim = rng.randrange(processes)
            _wait_for(events, running)
            time.sleep(rng.random() * LONGEST_CALL_S)
            if running[victim].is_alive():
                report.kills += 1
                os.kill(running[victim].pid or 0, signal.SIGKILL)
            running[victim].join()
            running[victim] = start(home, settings, user, AT_ONCE // processes, rng.randrange(10**9))
        for process in running:
            process.join(60)
            if process.exitcode not in (0, -signal.SIGKILL):
                raise RuntimeError(f"a router ended with {process.exitcode}")
        replay(events, user, report)
    return report


def _wait_for(events: Path, running: list[BaseProcess]) -> None:
    """Until somebody was granted something, or all are done."""
    before = events.stat().st_size
    deadline = time.monotonic() + 10
    while events.stat().st_size == before and time.monotonic() < deadline:
        if not any(process.is_alive() for process in running):
            return
        time.sleep(0.002)


def replay(events: Path, user: str, report: Report) -> None:
    """Worst cases of what is in flight and costs of what is done, at every moment."""
    charged: dict[str, int] = {}
    total = 0
    for line in events.read_text().splitlines():
        kind, request_id, whose, amount = line.split()
        if whose != user:
            continue
        report.granted += kind == "granted"
        total += int(amount) - charged.get(request_id, 0)
        charged[request_id] = int(amount)
        report.most = max(report.most, total)
    report.least_at_end = min(report.least_at_end, total)
