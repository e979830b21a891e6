"""Do the costs of the warehouse follow what changed, or the history?

    python tests/benchmarks/refresh_scale.py [--rows 1000000] [--smoke]

Fills a data folder with a tenth of N records of 30 days (10 candidates each, 3 in 10 judged), and one with
N. Each loads them, refreshes with 10,000 new records while a second process queries in a loop, refreshes
with nothing new, and drops the oldest day. Each step runs in a fresh process. Prints seconds, CPU seconds,
bytes written and peak memory of each step, and bytes a request by place. N of 10,000,000 needs 25 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from router.config import Settings
from router.journal import segments
from router.journal.segments import arrow_schema
from router.records import FeedbackRecord, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = [f"model-{index}" for index in range(10)]
TASKS = ["chat", "classification", "code", "extraction", "math", "reasoning", "summarisation", "writing"]
DAYS = 30
START = datetime(2026, 10, 1, tzinfo=UTC)
NEW_ROWS = 10_000
QUESTIONS = (
    "select count(*), sum(cost_usd) from request_analytics",
    "select sum(requests) from usage_hourly",
    "select count(*) from feedback",
    "select candidates[1].model from request_analytics order by timestamp desc limit 1",
)
READER = """
import json, pathlib, sys, duckdb
done, problems = 0, []
while len(problems) < 5:
    try:
        with duckdb.connect(sys.argv[1], read_only=True) as connection:
            connection.execute("set enable_progress_bar = false")  # its output would break ours
            for question in json.loads(sys.argv[2]):
                connection.execute(question).fetchall()
                done += 1
    except duckdb.Error as error:
        problems.append(str(error)[:200])
    if pathlib.Path(sys.argv[3]).exists():
        break
print(json.dumps([done, problems]))
"""


def main() -> None:
    """Measure a tenth of the rows and all of them, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--smoke", action="store_true", help="20,000 rows, to see that it runs")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", choices=("refresh", "retain"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _run_here(arguments.child, arguments.step)
        return
    rows, days = (20_000, 3) if arguments.smoke else (arguments.rows, DAYS)
    results = {}
    for loaded in (rows // 10, rows):
        with tempfile.TemporaryDirectory() as folder:
            print(f"{loaded:,} loaded")
            results[loaded] = _measure(Path(folder), loaded, days * 24)
    small, large = (item["new"] for item in results.values())
    print(f"10 times the history: {large['seconds'] / small['seconds']:.2f} times the seconds, ", end="")
    print(f"{large['cpu'] / small['cpu']:.2f} times the CPU, ", end="")
    print(f"{large['written_mb'] / small['written_mb']:.2f} times the bytes written of a refresh")


def _measure(home: Path, loaded: int, hours: int) -> dict[str, Any]:
    settings = Settings.load({}, home=home)
    rng = np.random.default_rng(7)
    per_hour = max(1, loaded // hours)
    for hour in range(hours):
        _write_hour(settings, START + timedelta(hours=hour), per_hour, rng, sequence=1)
    results = {"load": _in_child(home, "refresh")}
    new_hours = [START + timedelta(hours=hours - 1), START + timedelta(hours=hours)]
    for sequence in range(2, 12):
        for moment in new_hours:
            _write_hour(settings, moment, NEW_ROWS // 20, rng, sequence=sequence)
    with _reading(settings) as read:
        results["new"] = _in_child(home, "refresh")
    if results["new"]["rows"] != NEW_ROWS + NEW_ROWS * 3 // 10:
        raise SystemExit(f"loaded {results['new']['rows']} rows")
    results["nothing"] = _in_child(home, "refresh")
    places = _places(settings)
    results["retention"] = _in_child(home, "retain")
    names = {
        "load": f"load of {per_hour * hours:,}",
        "new": f"refresh with {NEW_ROWS:,} new",
        "nothing": "refresh with nothing new",
        "retention": "retention of a day",
    }
    for name, what in names.items():
        print(f"  {what:<28} {_line(results[name])}")
    total = per_hour * hours + NEW_ROWS
    shown = ", ".join(f"{place} {size / total:.0f}" for place, size in places.items())
    print(f"  bytes a request: {shown}, all {sum(places.values()) / total:.0f}")
    print(f"  {read[0]:,} queries meanwhile, {len(read[1])} failed {read[1][:1]}", flush=True)
    return results


@contextlib.contextmanager
def _reading(settings: Settings) -> Iterator[list[Any]]:
    """Query the published warehouse in another process until the end. Yields a list for [queries, errors]."""
    stop = settings.home / "stop"
    command = [sys.executable, "-c", READER, str(settings.warehouse_file), json.dumps(QUESTIONS), str(stop)]
    found: list[Any] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        yield found
        stop.touch()
        output, _ = reader.communicate()
    stop.unlink()
    found += json.loads(output.splitlines()[-1])


def _places(settings: Settings) -> dict[str, int]:
    """Bytes on disk by place. A file with two names counts under the first."""
    seen: set[int] = set()
    found: dict[str, int] = {}
    for name in ("lake", "warehouse/build", "warehouse", "usage", "dagster"):
        for path in sorted((settings.home / name).rglob("*")):
            status = path.lstat()
            if path.is_file() and status.st_ino not in seen:
                seen.add(status.st_ino)
                found[name] = found.get(name, 0) + status.st_size
    return {name.replace("warehouse/", ""): size for name, size in found.items()}


def _in_child(home: Path, step: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(home), "--step", step],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _run_here(home: Path, step: str) -> None:
    from pipelines.refresh import RefreshResult, RetainResult, open_instance, refresh, retain

    result: RefreshResult | RetainResult
    settings = Settings.load({}, home=home)
    with open_instance(settings) as instance:
        used, written = resource.getrusage(resource.RUSAGE_SELF), _written()
        if step == "refresh":
            result = refresh(settings, instance=instance)
        else:
            day_gone = START + timedelta(days=settings.retention_days + 1)
            result = retain(settings, now=day_gone, instance=instance)
        after, written = resource.getrusage(resource.RUSAGE_SELF), _written() - written
        run = instance.get_run_records(limit=1)[0].dagster_run.run_id
        steps = {
            item.step_key: round((item.end_time or 0) - (item.start_time or 0), 3)
            for item in instance.get_run_step_stats(run)
        }
    if not result.success or result.failed_checks:
        raise SystemExit(f"{result.error} {result.failed_checks}")
    print(
        json.dumps(
            {
                "seconds": round(result.seconds, 3),
                "cpu": round(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, 3),
                "written_mb": round(written / 1e6, 1),
                "peak_mb": round(after.ru_maxrss / 1024, 1),
                "rows": sum(result.rows.values()),
                "file_mb": round(settings.warehouse_file.stat().st_size / 1e6, 1),
                "steps": steps,
            }
        )
    )


def _written() -> int:
    """Bytes that this process has had written to disk."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def _line(result: dict[str, Any]) -> str:
    slow = sorted(result["steps"].items(), key=lambda item: -item[1])[:4]
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in slow)
    return (
        f"{result['seconds']:6.1f} s, {result['cpu']:6.1f} CPU s, {result['written_mb']:7.1f} MB written,"
        f" peak {result['peak_mb']:5.0f} MB, published {result['file_mb']:5.0f} MB; {steps}"
    )


def _write_hour(
    settings: Settings, hour: datetime, rows: int, rng: np.random.Generator, *, sequence: int
) -> None:
    offsets = np.sort(rng.integers(0, 3_600_000, rows))
    moments = [hour + timedelta(milliseconds=int(offset)) for offset in offsets]
    ids = _ids(hour, offsets, rng)
    _write_segment(settings, RequestRecord, hour, _requests(ids, moments, rng), sequence)
    judged = rows * 3 // 10
    chosen = [int(index) for index in np.sort(rng.choice(rows, judged, replace=False))]
    if chosen:
        _write_segment(settings, FeedbackRecord, hour, _feedback(hour, ids, offsets, chosen, rng), sequence)


def _requests(ids: list[str], moments: list[datetime], rng: np.random.Generator) -> pa.Table:
    rows = len(ids)
    schema = arrow_schema(RequestRecord)
    chosen = rng.integers(0, len(MODELS), rows)
    tokens_input, tokens_output = rng.integers(20, 4000, rows), rng.integers(5, 1500, rows)
    values: dict[str, Any] = {
        "id": ids,
        "schema_version": np.ones(rows, dtype="int64"),
        "timestamp": moments,
        "environment": ["production"] * rows,
        "organization_id": [f"org-{index}" for index in rng.integers(0, 5, rows)],
        "user_id": [f"user-{index}" for index in rng.integers(0, 500, rows)],
        "tags": [[]] * rows,
        "operation": ["chat"] * rows,
        "task_type": [TASKS[index] for index in rng.integers(0, len(TASKS), rows)],
        "task_type_source": ["caller"] * rows,
        "model_requested": ["auto"] * rows,
        "is_streaming": [False] * rows,
        "model_selected": [MODELS[index] for index in chosen],
        "provider": ["fake"] * rows,
        "policy_id": ["balanced"] * rows,
        "policy_version": np.ones(rows, dtype="int64"),
        "config_hash": ["0123456789abcdef"] * rows,
        "strategy": ["thompson"] * rows,
        "propensity": rng.random(rows),
        "is_exploration": rng.random(rows) < 0.1,
        "reason": ["drawn by its probability of being best"] * rows,
        "candidates": _candidates(rows, rng),
        "tokens_input": tokens_input,
        "tokens_output": tokens_output,
        "usage_source": ["provider"] * rows,
        "cost_usd": pa.array(tokens_input * 3 + tokens_output * 12).cast(pa.decimal128(19, 0)),
        "success": rng.random(rows) < 0.98,
        "status_code": np.full(rows, 200),
        "latency_ms": rng.lognormal(6.5, 0.6, rows),
        "overhead_ms": rng.lognormal(0, 0.3, rows),
        "attempts": [[]] * rows,
        "model_decided": [MODELS[index] for index in chosen],
    }
    # Cents of a millionth of a dollar, shifted to the money type's twelve decimals.
    amounts = [value.as_py() / 1_000_000 for value in values["cost_usd"]]
    values["cost_usd"] = pa.array(amounts, type=schema.field("cost_usd").type)
    columns = [
        pa.array(values[item.name], type=item.type) if item.name in values else pa.nulls(rows, type=item.type)
        for item in schema
    ]
    return pa.table(columns, schema=schema)


def _candidates(rows: int, rng: np.random.Generator) -> pa.Array:
    kind = arrow_schema(RequestRecord).field("candidates").type
    count = rows * len(MODELS)
    floats = {
        name: pa.array(rng.integers(0, 1000, count) / 1000)
        for name in ("quality", "cost_usd", "latency_ms", "utility", "probability")
    }
    columns = []
    for item in kind.value_type:
        if item.name == "model":
            columns.append(pa.array(MODELS * rows))
        elif item.name == "is_eligible":
            columns.append(pa.array([True] * count))
        else:
            columns.append(floats.get(item.name, pa.nulls(count, type=item.type)))
    structs = pa.StructArray.from_arrays(columns, fields=list(kind.value_type))
    offsets = pa.array(np.arange(0, count + 1, len(MODELS), dtype="int32"))
    return pa.ListArray.from_arrays(offsets, structs, type=kind)


def _feedback(
    hour: datetime, ids: list[str], offsets: Any, chosen: list[int], rng: np.random.Generator
) -> pa.Table:
    schema = arrow_schema(FeedbackRecord)
    given = [min(int(offsets[index]) + 20_000, 3_599_999) for index in chosen]
    rows = len(chosen)
    values: dict[str, Any] = {
        "feedback_id": _ids(hour, np.array(given), rng),
        "schema_version": np.ones(rows, dtype="int64"),
        "request_id": [ids[index] for index in chosen],
        "metric": ["quality"] * rows,
        "value": rng.integers(0, 2, rows).astype("float64"),
        "source": ["user"] * rows,
        "created_at": [hour + timedelta(milliseconds=offset) for offset in given],
    }
    columns = [
        pa.array(values[item.name], type=item.type) if item.name in values else pa.nulls(rows, type=item.type)
        for item in schema
    ]
    return pa.table(columns, schema=schema)


def _ids(hour: datetime, offsets: Any, rng: np.random.Generator) -> list[str]:
    start = int(hour.timestamp() * 1000)
    tails = rng.integers(0, 1 << 62, len(offsets))
    found = []
    for offset, tail in zip(offsets, tails, strict=True):
        text = f"{start + int(offset):012x}"
        rest = f"{int(tail):016x}"
        found.append(f"{text[:8]}-{text[8:]}-7{rest[1:4]}-8{rest[4:7]}-{rest[7:]}{int(tail) % 4096:03x}")
    return found


def _write_segment(settings: Settings, record: Any, hour: datetime, table: pa.Table, sequence: int) -> None:
    segments.write_segment(
        table, dataset=record.DATASET, writer_id="bench", sequence=sequence, hour=hour, lake=settings.lake
    )


if __name__ == "__main__":
    main()
