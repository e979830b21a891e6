"""What a safe record costs: append, sync and sealing, beside keeping records in memory.

    python tests/benchmarks/journal_cost.py [--smoke]

In one run, with records of ten candidates:
1. microseconds an append adds to a request (p50, p99) at a paced 2,000 records/s on an event loop,
   and records/s with 64 requests in flight, for a list in memory, `os` and `group`;
2. sealing 100,000 records: MB/s from journal to Parquet, bytes per record on both sides;
3. the longest stall of the event loop while those records are sealed and 2,000/s more come in.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from router.journal.journal import Journal
from router.journal.manifests import Manifest
from router.records import Candidate, Record, RequestRecord, new_id
from tests.factories import request_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Append = Callable[[Record], Awaitable[None]]

RATE = 2000
IN_FLIGHT = 64

TEMPLATE = request_record(
    organization_id="acme",
    user_id="user-17",
    model_selected="model-3",
    model_decided="model-3",
    provider="bench",
    reason="best of 10 eligible",
    candidates=[
        Candidate(
            model=f"model-{number}",
            is_eligible=True,
            quality=0.7 + number / 100,
            cost_usd=0.001234 * (number + 1),
            latency_ms=812.5,
            utility=0.65 - number / 100,
            probability=0.1,
        )
        for number in range(10)
    ],
    tokens_input=812,
    tokens_output=143,
    usage_source="provider",
    status_code=200,
    finish_reason="stop",
    latency_ms=912.25,
    overhead_ms=0.75,
)


NOISE = random.Random(1)
TABLES = [
    [replace(item, probability=NOISE.random(), utility=NOISE.random()) for item in TEMPLATE.candidates]
    for _ in range(64)
]
"""As of 64 tasks and refreshes: records of one refresh share their candidates' figures."""


def fresh() -> RequestRecord:
    """The template with an id, a moment, usage and a decision of its own."""
    request_id, moment = new_id()
    return replace(
        TEMPLATE,
        id=request_id,
        timestamp=moment,
        user_id=f"user-{NOISE.randrange(200)}",
        tokens_input=NOISE.randrange(10, 8000),
        tokens_output=NOISE.randrange(1, 1000),
        cost_usd=Decimal(NOISE.randrange(1, 10**9)).scaleb(-12),
        latency_ms=NOISE.expovariate(1 / 900),
        propensity=NOISE.random(),
        candidates=NOISE.choice(TABLES),
    )


async def paced(append: Append, count: int) -> list[float]:
    """Microseconds of each append at RATE a second."""
    took = []

    async def one() -> None:
        record = fresh()
        started = time.perf_counter()
        await append(record)
        took.append((time.perf_counter() - started) * 1e6)

    begun, tasks = time.perf_counter(), set()
    for number in range(count):
        delay = begun + number / RATE - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.add(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    return took


async def crowded(append: Append, count: int) -> float:
    """Records per second with IN_FLIGHT requests that each wait for their append."""

    async def worker() -> None:
        for _ in range(count // IN_FLIGHT):
            await append(fresh())

    begun = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return count // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - begun)


def measure(name: str, append: Append, count: int) -> None:
    """Print one line of part 1."""
    took = asyncio.run(paced(append, count))
    rate = asyncio.run(crowded(append, count))
    cuts = statistics.quantiles(took, n=100)
    print(f"{name:8} p50 {cuts[49]:8.1f} us   p99 {cuts[98]:8.1f} us   {rate:10,.0f} records/s")


def cost_of_appending(count: int) -> None:
    """Part 1."""
    kept: list[Record] = []

    async def remember(record: Record) -> None:
        kept.append(record)

    measure("memory", remember, count)
    names: tuple[Literal["os", "group"], ...] = ("os", "group")
    for sync in names:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            journal = Journal(Path(folder), seal_interval_s=3600, max_bytes=1 << 40, sync=sync)
            measure(sync, journal.append_async, count)
            journal.close()


async def stall_while(work: Callable[[], None], append: Append) -> float:
    """Longest gap (ms) between two turns of the loop while `work` runs in a thread, under load."""
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    thread = threading.Thread(target=run)
    longest, last = 0.0, time.perf_counter()
    thread.start()
    while not done.is_set():
        await append(fresh())
        await asyncio.sleep(1 / RATE)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    thread.join()
    return longest * 1000


def cost_of_sealing(count: int) -> None:
    """Parts 2 and 3."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        journal = Journal(Path(folder), seal_interval_s=3600, max_bytes=1 << 40)
        journal.append(fresh())
        journal.seal_now()  # pyarrow is loaded once, at the first sealing of a process
        for _ in range(count):
            journal.append(fresh())
        size = journal.backlog_bytes()
        begun = time.perf_counter()
        stall = asyncio.run(stall_while(journal.seal_now, journal.append_async))
        seconds = time.perf_counter() - begun
        manifests = map(Manifest.read, (Path(folder) / "lake" / "request_analytics").rglob("*.json"))
        sealed = [manifest for manifest in manifests if manifest.rows > 1]
        rows, written = sum(item.rows for item in sealed), sum(item.bytes for item in sealed)
        journal.close()
    print(f"sealing  {rows:,} records in {seconds:.2f} s: {size / seconds / 1e6:.1f} MB/s of journal")
    print(f"         {size / count:.0f} bytes a record in the journal, {written / rows:.0f} in Parquet")
    print(f"stall    {stall:.1f} ms, the loop's longest while sealing under {RATE:,} records/s")


def main() -> None:
    """Print all parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a tenth of a second of each")
    smoke = parser.parse_args().smoke
    cost_of_appending(500 if smoke else 10_000)
    cost_of_sealing(1_000 if smoke else 100_000)


if __name__ == "__main__":
    main()
