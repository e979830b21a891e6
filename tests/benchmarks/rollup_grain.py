"""What do quarters of an hour and inverse-propensity sums cost, and what do they answer?

    python tests/benchmarks/rollup_grain.py [--requests 10000000] [--smoke]

Fills `request_analytics` with requests of 30 days (4 organisations, 8 tasks, 6 models, 3 in 10 judged, hard
requests drawn to the strong model), folds every rollup, and prints for each its CPU seconds, rows and bytes,
and the ratios to the rollups by whole hours, without those of bills and propensities.
Then it asks what model 0 would have cost for every request of a task, from the rollup and by one group-by
over the raw rows, and prints both times and their ratio, with the truth beside the naive mean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.evaluation.what_if import what_if
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 30
REPEATS = 5
BASE_USD = 0.002
HARD_USD = 0.004
FILL = """
create or replace temp table request_analytics as
with drawn as (
    select
        i,
        hash(i, 1) % 2 = 0 as is_hard,
        (hash(i, 2) % 1000000) / 1e6 as u,
        hash(i, 3) % 8 as task
    from range($requests) as requests(i)
), chosen as (
    select
        *,
        case when is_hard then 0.75 else 0.05 end as odds,
        case when u < odds then 0 else 1 + hash(i, 4) % 5 end as model
    from drawn
)
select
    lpad(cast(i as varchar), 12, '0') as id,
    $start + to_microseconds(cast(i * $step as bigint)) as timestamp,
    'production' as environment,
    'org-' || hash(i, 5) % 4 as organization_id,
    cast(null as varchar) as user_id,
    cast(null as varchar) as session_id,
    'task-' || task as task_type,
    'model-' || model as model_selected,
    'model-' || model as model_decided,
    'provider-' || model // 2 as provider,
    'thompson' as strategy,
    case when model = 0 then odds else (1 - odds) / 5 end as propensity,
    model > 2 as is_exploration,
    cast($base + is_hard::int * $hard + model * 0.0001 as decimal(38, 12)) as cost_usd,
    cast(null as decimal(38, 12)) as baseline_cost_usd,
    100 + hash(i, 6) % 4000 as tokens_input_estimated,
    100 + hash(i, 6) % 4000 as tokens_input,
    hash(i, 7) % 900 as tokens_output,
    0 as tokens_cached_input,
    0 as tokens_reasoning,
    200.0 + hash(i, 8) % 3000 as latency_ms,
    cast(null as double) as ttft_ms,
    true as success,
    cast(null as varchar) as model_answered,
    cast(null as varchar) as price_id,
    cast(null as varchar) as service_tier,
    0 as tokens_cache_write,
    cast(null as varchar) as experiment_id,
    cast(null as varchar) as variant,
    cast(null as varchar) as config_hash,
    cast(null as varchar) as user_id,
    cast(null as varchar) as session_id
from chosen
"""
JUDGE = """
create or replace temp table feedback as
select
    id as request_id,
    id as feedback_id,
    (hash(id) % 101) / 100 as value,
    'judge' as source,
    'quality' as metric,
    timestamp as created_at,
    date_trunc('hour', timestamp) as request_hour
from request_analytics
where hash(id, 9) % 10 < 3
"""
RAW = """
select
    task_type,
    model_decided,
    count(*) as decisions,
    sum(1 / propensity) as weight,
    sum(1 / (propensity * propensity)) as weight_squared,
    sum(cast(cost_usd as double) / propensity) as cost_weighted,
    sum(pow(cast(cost_usd as double) / propensity, 2)) as cost_weighted_squared,
    sum(cast(cost_usd as double) / (propensity * propensity)) as cost_weight_squared
from request_analytics
where
    strategy = 'thompson'
    and timestamp >= $since
    and timestamp < $until
group by all
"""


def main() -> None:
    """Print the cost of each rollup, and the what-if's time against that of the raw rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--smoke", action="store_true", help="20,000 requests, to see that it runs")
    arguments = parser.parse_args()
    requests = 20_000 if arguments.smoke else arguments.requests
    with (
        tempfile.TemporaryDirectory() as folder,
        Warehouse(Settings.load({}, home=Path(folder))) as warehouse,
    ):
        step = DAYS * 86_400_000_000 / requests
        values = {"requests": requests, "start": START, "step": step, "base": BASE_USD, "hard": HARD_USD}
        warehouse.rows(FILL, **values)
        warehouse.rows(JUDGE)
        seconds, sizes = {}, {}
        for table in HOURLY:
            seconds[table], sizes[table] = _fold(warehouse, table), _bytes(warehouse, table)
            print(
                f"{table:24} {seconds[table]:8.2f} s CPU {warehouse.count(table):>12,} rows"
                f" {sizes[table] / 1e6:8.2f} MB",
                flush=True,
            )
        _against_before(warehouse, seconds, sizes)
        _ask(warehouse)


def _against_before(warehouse: Warehouse, seconds: dict[str, float], sizes: dict[str, int]) -> None:
    """Print the ratios to the rollups without quarters of an hour, bills and propensities."""
    warehouse.connection.execute("create table usage_by_hours as from usage_quarter_hourly limit 0")
    statement = sqlfiles.load("rollups/usage_quarter_hourly").text.replace("15 minutes", "1 hour")
    statement = statement.replace("insert into usage_quarter_hourly", "insert into usage_by_hours")
    started = time.process_time()
    for start, end in _weeks():
        warehouse.connection.execute(statement, {"start": start, "end": end})
    before_s, before = time.process_time() - started, _bytes(warehouse, "usage_by_hours")
    for table in ("latency_buckets_hourly", "quality_blocks_hourly", "experiment_hourly"):
        before_s, before = before_s + seconds[table], before + sizes[table]
    now_s, now = sum(seconds.values()), sum(sizes.values())
    print(
        f"all {now_s:.2f} s CPU and {now / 1e6:.2f} MB; by whole hours, without bills and propensities"
        f" {before_s:.2f} s and {before / 1e6:.2f} MB: ratios {now_s / before_s:.2f} and {now / before:.2f}"
    )


def _weeks() -> Iterator[tuple[datetime, datetime]]:
    for week in range(0, DAYS, 7):
        start = START + timedelta(days=week)
        yield start, min(start + timedelta(days=7), START + timedelta(days=DAYS))


def _fold(warehouse: Warehouse, table: str) -> float:
    """CPU seconds of folding the 30 days, in weeks as a rebuild does."""
    started = time.process_time()
    for start, end in _weeks():
        warehouse.run(f"rollups/{table}", start=start, end=end, **HOURLY[table])
    return time.process_time() - started


def _bytes(warehouse: Warehouse, table: str) -> int:
    """Bytes of the table as Parquet, which is how archives keep it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        warehouse.rows(f"copy (from {table} order by all) to '{path}' (format parquet, compression zstd)")
        return path.stat().st_size


def _ask(warehouse: Warehouse) -> None:
    window = {"since": START, "until": START + timedelta(days=DAYS)}
    sums = sqlfiles.load("evaluation/propensity_sums").text
    asked = {**window, "environment": "production", "task": None, "by_organization": False}
    rolled, raw = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        found = warehouse.connection.execute(sums, asked)
        names = [name for name, *_ in found.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        answer = what_if(rows, "model-0", environment="production")
        rolled.append(time.perf_counter() - started)
        started = time.perf_counter()
        warehouse.connection.execute(RAW, window).fetchall()
        raw.append(time.perf_counter() - started)
    quick, slow = sorted(rolled)[REPEATS // 2], sorted(raw)[REPEATS // 2]
    naive = warehouse.value("select avg(cost_usd) from request_analytics where model_decided = 'model-0'")
    cost = answer.cost_usd
    print(
        f"what-if from the rollup {quick:.3f} s, one group-by of the raw rows {slow:.3f} s,"
        f" ratio {quick / slow:.2f}"
    )
    print(f"truth ${BASE_USD + HARD_USD / 2:.6f}, naive ${float(naive or 0):.6f}, ", end="")
    print("not known" if cost is None else f"rollup ${cost.value:.6f} ({cost.low:.6f} to {cost.high:.6f})")


if __name__ == "__main__":
    main()
