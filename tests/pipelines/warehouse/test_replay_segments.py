"""Segments that arrive again, out of order or a week late change no figure."""

from __future__ import annotations

import os
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.helpers import NOW, make_feedback, make_record, run_steps, seal_records

if TYPE_CHECKING:
    from pathlib import Path

    from router.records import Record

BATCHES = 400 if os.environ.get("INTELLIROUTER_LONG") == "1" else 60
DAYS = 10
TABLES = (
    "usage_hourly",
    "latency_buckets_hourly",
    "task_cost_daily",
    "usage_by_org_daily",
    "task_model_scores",
)


def _batches(rng: random.Random) -> list[tuple[datetime, list[Record]]]:
    """What a router seals over ten days: a few requests, and judgements of some of them."""
    found = []
    for index in range(BATCHES):
        at = NOW + timedelta(days=DAYS) * index / BATCHES
        records: list[Record] = []
        for _ in range(rng.randrange(1, 12)):
            record = make_record(
                at + timedelta(milliseconds=rng.randrange(60_000)),
                task_type=rng.choice(["math", "code"]),
                model_selected=rng.choice(["small", "large"]),
                cost_usd=Decimal(rng.randrange(10**9)).scaleb(-12) if rng.random() < 0.8 else None,
                latency_ms=rng.lognormvariate(6, 1),
            )
            records.append(record)
            if rng.random() < 0.5:
                records.append(make_feedback(record, rng.randrange(5) / 4))
        found.append((at, records))
    return found


@pytest.mark.slow
def test_three_times_shuffled_and_late_is_once_in_order(tmp_path: Path) -> None:
    """Segments delivered three times, shuffled, 10% up to 7 days late, give the figures of once in order."""
    rng = random.Random(8)
    batches = _batches(rng)
    once = Settings.load({}, home=tmp_path / "once")
    for _, records in batches:
        seal_records(once, records)
    with Warehouse(once) as warehouse:
        run_steps(warehouse)

    deliveries = []
    for at, records in batches:
        for copy in range(3):  # under another writer's name each: the same records in another file
            late = timedelta(days=7) * rng.random() if rng.random() < 0.1 else timedelta(0)
            shuffle = timedelta(hours=6) * rng.random()
            deliveries.append((at + late + shuffle, copy, records))
    deliveries.sort(key=lambda item: item[0])
    replayed = Settings.load({}, home=tmp_path / "replayed")
    with Warehouse(replayed) as warehouse:
        refreshed = NOW
        for at, copy, records in deliveries:
            if at - refreshed > timedelta(days=1):
                for _ in range(3):  # and the files that stand are offered three times
                    run_steps(warehouse)
                refreshed = at
            seal_records(replayed, records, writer_id=f"copy{copy}")
        for _ in range(3):
            run_steps(warehouse)
        warehouse.connection.execute(f"attach '{once.build_file}' as once (read_only)")
        for table in TABLES:
            for left, right in ((table, f"once.{table}"), (f"once.{table}", table)):
                assert warehouse.rows(f"from {left} except all from {right}") == [], table
        for table in ("request_analytics", "feedback"):
            both = [f"from {name} select * exclude (segment)" for name in (table, f"once.{table}")]
            assert warehouse.rows(f"{both[0]} except all {both[1]}") == []
            assert warehouse.rows(f"{both[1]} except all {both[0]}") == []
        warehouse.connection.execute("detach once")
