"""What limits and budgets cost: microseconds a request, and seconds at the start.

    python tests/benchmarks/limits_cost.py [--smoke]

In one run:
1. admit + reserve + settle with two rate limits and two hard budgets, p50 and p99: in memory, in
   memory with the reservation log, in the shared file, and on a redis-server of its own where one is
   installed; beside it a request that no limit binds;
2. the same in the file and on Redis while three other processes do nothing else: the worst case, as
   servers spend most of their time elsewhere;
3. opening a router's budgets (day, week and month, of users and organisations) over a lake of
   1,000,000 records in 31 days, one segment an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.journal.segments import arrow_schema, write_segment
from router.limits.book import LimitBook, LimitsFile
from router.limits.counters import Subjects
from router.limits.limits import Limits
from router.limits.memory import MemoryStore
from router.limits.reservations import ReservationLog
from router.limits.shared import FileStore
from router.limits.spend import read_spend
from router.records import RequestRecord, new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.limits.counters import LimitStore, Scope
    from router.limits.periods import Period

BOOK = LimitBook(
    LimitsFile.model_validate(
        {
            "limits": [
                {"scope": "key", "subject": "*", "requests": 10**9, "per": "minute"},
                {"scope": "user", "subject": "*", "tokens": 10**12, "per": "hour"},
            ],
            "budgets": [
                {
                    "id": "users",
                    "scope": "user",
                    "subject": "*",
                    "usd": 10**6,
                    "period": "day",
                    "mode": "hard",
                },
                {
                    "id": "acme",
                    "scope": "organization",
                    "subject": "acme",
                    "usd": 10**6,
                    "period": "month",
                    "mode": "hard",
                },
            ],
        }
    )
)
WANTED: list[tuple[Scope, Period]] = [
    ("user", "day"),
    ("user", "week"),
    ("user", "month"),
    ("organization", "day"),
    ("organization", "month"),
]
USERS = 200


async def measure(limits: Limits, requests: int, *, is_bound: bool = True) -> tuple[float, float]:
    """Microseconds of one request's three calls, p50 and p99."""
    subjects = [Subjects(f"k{n}", f"u{n}", "acme", f"s{n}") if is_bound else Subjects() for n in range(USERS)]
    ids = [new_id()[0] for _ in range(requests)]
    taken = []
    for number, request_id in enumerate(ids):
        moment = datetime.now(UTC)
        started = time.perf_counter()
        admission = await limits.admit(subjects[number % USERS], tokens=900, at=moment)
        await limits.reserve(admission, request_id, 2_000_000_000)
        await limits.settle(admission, 900_000_000, tokens=700)
        taken.append((time.perf_counter() - started) * 1e6)
    await limits.aclose_connections()
    taken = sorted(taken[USERS:])
    return taken[len(taken) // 2], taken[len(taken) * 99 // 100]


def show(
    name: str, requests: int, store: LimitStore, *, log: ReservationLog | None = None, **how: bool
) -> None:
    p50, p99 = asyncio.run(measure(Limits(book=BOOK, store=store, log=log), requests, **how))
    if log is not None:
        log.close()
    print(f"{name:<28} p50 {p50:7.1f} µs   p99 {p99:7.1f} µs   ({requests:,} requests)")


def fill_lake(home: Path, records: int, now: datetime) -> None:
    """One segment an hour of the last 31 days."""
    import pyarrow as pa

    schema = arrow_schema(RequestRecord)
    hours = [now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=n) for n in range(31 * 24)]
    per_hour = -(-records // len(hours))
    rng = random.Random(1)
    for sequence, hour in enumerate(reversed(hours), 1):
        columns: dict[str, Any] = {
            "id": [new_id()[0] for _ in range(per_hour)],
            "timestamp": [hour] * per_hour,
            "organization_id": [f"org-{rng.randrange(50)}" for _ in range(per_hour)],
            "user_id": [f"user-{rng.randrange(20_000)}" for _ in range(per_hour)],
            "cost_usd": [Decimal(rng.randrange(10**10)).scaleb(-12) for _ in range(per_hour)],
        }
        table = pa.table(
            [
                pa.array(columns[item.name], item.type) if item.name in columns else _blank(item, per_hour)
                for item in schema
            ],
            schema=schema,
        )
        write_segment(
            table,
            dataset="request_analytics",
            writer_id="bench",
            sequence=sequence,
            hour=hour,
            lake=home / "lake",
        )


def _blank(item: Any, rows: int) -> Any:
    import pyarrow as pa

    if item.nullable:
        return pa.nulls(rows, item.type)
    value: Any = {"string": "x", "bool": True, "int64": 1, "double": 1.0}.get(str(item.type), [])
    return pa.array([value] * rows, item.type)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run at all")
    is_smoke = parser.parse_args().smoke
    requests, records = (2_000, 5_000) if is_smoke else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        show("no limit binds", requests, MemoryStore(), is_bound=False)
        show("memory", requests, MemoryStore())
        show("memory, reservation log", requests, MemoryStore(), log=ReservationLog(home / "budgets"))
        with file_store(home) as store:
            show("file, reservation log", requests, store, log=ReservationLog(home / "budgets"))
        contended(home, "file", str(home), requests // 4, others=1 if is_smoke else 3)
        show_redis(home, max(requests // 20, 2 * USERS), others=0 if is_smoke else 3)
        fill_lake(home, records, datetime.now(UTC))
        started = time.perf_counter()
        spend = read_spend(home, WANTED)
        seconds = time.perf_counter() - started
        print(f"opening budgets over {records:,} records: {seconds:.2f} s, {len(spend.amounts):,} amounts")


def show_redis(home: Path, requests: int, *, others: int) -> None:
    """The same on a redis-server, one request after the other, where one is installed."""
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent.parent))
    from tests.router.limits.servers import RedisServer

    reason = RedisServer.missing()
    if reason is not None:
        print(f"redis: skipped, {reason}")
        return
    from router.limits.hosts import HostFolder
    from router.limits.remote import RedisStore

    with RedisServer(home) as server:
        store = RedisStore(server.url, host=HostFolder(home / "redis"))
        show("redis, one at a time", requests, store, log=ReservationLog(home / "redis", counts_soft=True))
        if others:
            contended(home, "redis", server.url, requests, others=others)


@contextlib.contextmanager
def file_store(home: Path) -> Iterator[LimitStore]:
    store = FileStore(home / "shared")
    yield store
    store.close()


def contended(home: Path, name: str, place: str, requests: int, *, others: int) -> None:
    """Several processes at once on one store; the figures of one of them."""
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Barrier(others + 1), context.Event()
    running = [context.Process(target=contend, args=(name, place, ready, stop)) for _ in range(others)]
    for process in running:
        process.start()
    store = open_store(name, place)
    ready.wait()
    show(f"{name}, of {others + 1} processes", requests, store, log=ReservationLog(home / "budgets"))
    stop.set()
    for process in running:
        process.join()
    store.close()


def contend(name: str, place: str, ready: Any, stop: Any) -> None:
    store = open_store(name, place)
    limits = Limits(book=BOOK, store=store)

    async def work() -> None:
        while not stop.is_set():
            await measure(limits, 2 * USERS)

    ready.wait()
    asyncio.run(work())


def open_store(name: str, place: str) -> LimitStore:
    if name == "file":
        return FileStore(Path(place) / "shared")
    from router.limits.remote import RedisStore

    return RedisStore(place)


if __name__ == "__main__":
    main()
