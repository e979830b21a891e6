"""How long do the pages of reports take, and how large do they get?

    python tests/benchmarks/report_pages.py [--requests 10000000] [--smoke]

Publishes a warehouse whose rollups count N requests of 30 days (20 organisations, 5 tasks, 5 models), writes
a page for each report that reads rollups, and prints its seconds, its bytes and the addresses that it loads.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.reports import reports
from pipelines.reports.pages.building import RAW_ROWS, write_page
from pipelines.reports.pages.window import Window
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings

UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=30)
QUARTERS = 30 * 96
GROUPS = 100
SIZES = {"quarters": QUARTERS, "groups": GROUPS}
FILL = """
insert into usage_quarter_hourly by name
select
    cast($since as timestamptz) + interval 15 minutes * (number // $groups) as quarter_hour,
    false as is_whole_hour,
    'production' as environment,
    'organisation-' || number % 20 as organization_id,
    'task-' || number % 5 as task_type,
    'model-' || number // 20 % 5 as model_selected,
    'provider' as provider,
    $each as requests,
    $each as successes,
    1 as explorations,
    $each - 1 as requests_with_cost,
    cast(0.001234567891 * ($each - 1) as decimal(38, 12)) as cost_usd,
    $each as requests_with_tokens,
    1000 * $each as tokens_input,
    100 * $each as tokens_output,
    0 as requests_with_cost_and_tokens,
    0 as requests_with_baseline,
    1 as requests_with_quality,
    800000 as quality_micro,
    640000 as quality_squared_micro,
    900000 * $each as latency_us,
    quarter_hour as last_request_at
from range($quarters * $groups) as numbers (number)
"""
ADDRESS = re.compile(r"(?:src|href)=\"(?!#)|url\((?!#)|@import")


def main() -> None:
    """Write each page, and print its figures and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--smoke", action="store_true", help="as many requests as rollup rows")
    arguments = parser.parse_args()
    each = 1 if arguments.smoke else -(-arguments.requests // (QUARTERS * GROUPS))
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load({}, home=Path(folder) / "data")
        settings.home.mkdir()
        with Warehouse(settings) as warehouse:
            warehouse.connection.execute(FILL, {"since": SINCE, "each": each, **SIZES})
            publish_warehouse(warehouse)
        print(f"{each * QUARTERS * GROUPS:,} requests in {QUARTERS * GROUPS:,} rows of rollups", flush=True)
        seconds = size = addresses = 0.0
        names = [name for name in reports.report_names() if RAW_ROWS not in reports.file_of(name).reads]
        for name in names:
            file = Path(folder) / f"{name}.html"
            started = time.perf_counter()
            size += write_page(settings, name, Window(since=SINCE, until=UNTIL), file, timeout_s=300)
            took = time.perf_counter() - started
            seconds += took
            found = len(ADDRESS.findall(file.read_text()))
            addresses += found
            print(f"{name:24}{took:8.2f} s{file.stat().st_size:12,} bytes{found:4} addresses", flush=True)
        print(f"{'all':24}{seconds:8.2f} s{size:12,.0f} bytes{addresses:4.0f} addresses")


if __name__ == "__main__":
    main()
