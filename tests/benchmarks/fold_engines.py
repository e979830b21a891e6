"""Do DuckDB and a Spark Connect server fold the same records into the same rollups, and at what cost?

    python tests/benchmarks/fold_engines.py [--rows 1000000] [--smoke] [--remote sc://localhost:15002 --pid 4]

Fills a data folder with requests of 30 days (8 tasks, 10 models, 3 in 10 judged, one judgement in ten days
late, one in twenty corrected, 2 in 10 requests in an experiment, 500 removed rows in each share), loads it,
and folds every hour on each engine in a fresh process. Sail is started here; `--remote` names another server,
and `--pid` its process. Prints for each engine the rows and values that differ from DuckDB's, CPU seconds and
peak memory of client and server together, and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.rollups import rollups
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import loading, sqlfiles
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import FeedbackRecord, RequestRecord
from tests.benchmarks import refresh_scale
from tests.benchmarks.refresh_scale import START
from tests.sail import SailServer

SHARE = 500
"""Rows of each removed share."""
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Fill, fold on each engine, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--smoke", action="store_true", help="20,000 rows, to see that it runs")
    parser.add_argument("--remote", help="the address of another server than Sail")
    parser.add_argument("--pid", type=int, help="the process of that server, if it is on this machine")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_fold(arguments.child, arguments.remote)))
        return
    rows, days = (20_000, 1) if arguments.smoke else (arguments.rows, 30)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        print(f"{_fill(home, rows, days * 24):,} requests in {days * 24} hours", flush=True)
        results = {"duckdb": _measured(home, "duckdb", None, None)}
        if arguments.remote:
            results["server"] = _measured(home, "server", arguments.remote, arguments.pid)
        if SailServer.program() is None:
            print("Sail is not installed (pip install pysail)")
        else:
            with SailServer() as server:
                results["sail"] = _measured(home, "sail", server.remote, server.pid)
        differing = 0
        for name, result in results.items():
            found = _differences(home, name)
            differing += sum(found)
            print(f"{name:<8} {_line(result, results['duckdb'], found)}")
    if differing:
        raise SystemExit("the engines differ")


def _fill(home: Path, rows: int, hours: int) -> int:
    settings = Settings.load({}, home=home)
    rng = np.random.default_rng(7)
    each = max(1, rows // hours)
    for hour in range(hours):
        _write_hour(settings, START + timedelta(hours=hour), each, rng)
    with Warehouse(settings) as warehouse:
        loading.load_all(warehouse)
        rollups.fold_stale_hours(warehouse)
        for table in HOURLY:
            warehouse.connection.execute(
                f"insert into pipeline.removed_{table} from {table} using sample {SHARE}"
            )
    return each * hours


def _write_hour(settings: Settings, hour: Any, rows: int, rng: np.random.Generator) -> None:
    offsets = np.sort(rng.integers(0, 3_600_000, rows))
    ids = refresh_scale._ids(hour, offsets, rng)
    moments = [hour + timedelta(milliseconds=int(offset)) for offset in offsets]
    requests = refresh_scale._requests(ids, moments, rng)
    in_experiment = rng.random(rows) < 0.2
    changed = {
        "session_id": [f"session-{index}" if index < 400 else None for index in rng.integers(0, 1000, rows)],
        "strategy": np.where(rng.random(rows) < 0.2, "sticky", "thompson"),
        "experiment_id": ["e1" if marked else None for marked in in_experiment],
        "variant": ["ab"[number % 2] if marked else None for number, marked in enumerate(in_experiment)],
        "ttft_ms": rng.lognormal(5, 0.5, rows),
        "tokens_input_estimated": rng.integers(20, 40_000, rows),
    }
    refresh_scale._write_segment(settings, RequestRecord, hour, _with(requests, changed), 1)
    judged = rows * 3 // 10
    chosen = [int(index) for index in np.sort(rng.choice(rows, judged, replace=False))]
    if not chosen:
        return
    judgements = refresh_scale._feedback(hour, ids, offsets, chosen, rng)
    late = [
        moment + timedelta(days=int(days)) if days <= 3 else moment
        for moment, days in zip(
            judgements.column("created_at").to_pylist(), rng.integers(1, 31, judged), strict=True
        )
    ]
    values = {
        "value": rng.random(judged),
        "source": rng.choice(["user", "judge"], judged),
        "created_at": late,
    }
    judgements = _with(judgements, values)
    corrected = judgements.slice(0, max(1, judged // 20))
    names = [f"{name[:-4]}c0de" for name in corrected.column("feedback_id").to_pylist()]
    corrected = _with(corrected, {"feedback_id": names, "value": rng.random(len(names))})
    both = pa.concat_tables([judgements, corrected])
    refresh_scale._write_segment(settings, FeedbackRecord, hour, both, 1)


def _with(table: pa.Table, changed: dict[str, Any]) -> pa.Table:
    for name, values in changed.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(list(values), type=field.type))
    return table


def _measured(home: Path, name: str, remote: str | None, pid: int | None) -> dict[str, float]:
    """Fold in a fresh process, and keep the rollups."""
    before = _cpu(pid)
    command = [sys.executable, __file__, "--child", str(home)]
    done = subprocess.run(
        command + (["--remote", remote] if remote else []), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    result["cpu"] += _cpu(pid) - before
    result["peak_mb"] += _peak_mb(pid)
    kept = _kept(home, name)
    kept.mkdir()
    with duckdb.connect(str(home / "warehouse" / "build" / "build.duckdb"), read_only=True) as connection:
        for table in HOURLY:
            connection.execute(f"copy {table} to '{kept / table}.parquet' (format parquet)")
    return result


def _fold(home: Path, remote: str | None) -> dict[str, float]:
    engine: Any = {"engine": "spark", "spark_remote": remote} if remote else {}
    with Warehouse(Settings.load({}, home=home, **engine)) as warehouse:
        hours = warehouse.rows("select min(quarter_hour), max(quarter_hour) from usage_quarter_hourly")[0]
        rollups.mark_stale(warehouse, hours[0], hours[1] + timedelta(hours=1))
        for table in HOURLY:
            warehouse.run(sqlfiles.load("tables/clear", table=table))
        started, used = time.perf_counter(), time.process_time()
        rollups.fold_stale_hours(warehouse)
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu": cpu, "peak_mb": peak}


def _cpu(pid: int | None) -> float:
    """CPU seconds of a process and of the children that it waited for."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def _peak_mb(pid: int | None) -> float:
    if pid is None:
        return 0.0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _kept(home: Path, name: str) -> Path:
    return home.with_name(f"rollups-{name}")


def _differences(home: Path, name: str) -> tuple[int, int]:
    """Rows that only one engine has, and values that differ in rows that both have."""
    rows = values = 0
    with duckdb.connect() as connection:
        for table in HOURLY:
            for view, engine in (("expected", "duckdb"), ("found", name)):
                connection.execute(
                    f"create or replace temp view {view} as from '{_kept(home, engine) / table}.parquet'"
                )
            columns = [column for (column, *_) in connection.execute("describe expected").fetchall()]
            keys = [key.strip() for key in sqlfiles.load(f"rollups/{table}").header["unique"].split(",")]
            same = " and ".join(f"expected.{key} is not distinct from found.{key}" for key in keys)
            differ = " + ".join(
                f"cast(expected.{column} is distinct from found.{column} as bigint)" for column in columns
            )
            is_alone = f"expected.{keys[0]} is null or found.{keys[0]} is null"
            # Names of our own columns: no text of others gets into the statement.
            query = (
                f"select count(*) filter (where {is_alone}), sum({differ}) filter (where not ({is_alone}))"  # noqa: S608
                f" from expected full join found on {same}"
            )
            alone, unequal = connection.execute(query).fetchone() or (0, 0)
            rows, values = rows + alone, values + (unequal or 0)
    return rows, int(values)


def _line(result: dict[str, float], reference: dict[str, float], differing: tuple[int, int]) -> str:
    return (
        f"{differing[0]} rows and {differing[1]} values differ,"
        f" {result['cpu']:6.1f} CPU s ({result['cpu'] / reference['cpu']:.1f} times),"
        f" {result['seconds']:6.1f} s ({result['seconds'] / reference['seconds']:.1f} times),"
        f" peak {result['peak_mb']:,.0f} MB"
    )


if __name__ == "__main__":
    main()
