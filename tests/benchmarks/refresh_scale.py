"""Does the cost of a refresh follow the new rows, or the history?

    python tests/benchmarks/refresh_scale.py [--rows 1000000] [--smoke]

Fills a data folder with N records of the last 30 days (10 candidates each, 3 in 10 judged), loads
them, then runs ONE refresh with 10,000 new records in a fresh process, and prints its seconds and
peak memory for a tenth of N and for N.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from router.config import Settings
from router.journal import segments
from router.journal.segments import arrow_schema
from router.records import FeedbackRecord, RequestRecord

MODELS = [f"model-{index}" for index in range(10)]
TASKS = ["chat", "classification", "code", "extraction", "math", "reasoning", "summarisation", "writing"]
HOURS = 30 * 24
START = datetime(2026, 10, 1, tzinfo=UTC)
NEW_ROWS = 10_000


def main() -> None:
    """Measure a tenth of the rows and all of them, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--smoke", action="store_true", help="20,000 rows, to see that it runs")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _refresh_here(arguments.child)
        return
    rows = 20_000 if arguments.smoke else arguments.rows
    results = {}
    for loaded in (rows // 10, rows):
        with tempfile.TemporaryDirectory() as folder:
            results[loaded] = _measure(Path(folder), loaded)
            print(f"{loaded:>10,} loaded, {NEW_ROWS:,} new: {_line(results[loaded])}", flush=True)
    small, large = results.values()
    print(f"ratio: {large['seconds'] / small['seconds']:.2f} in time, ", end="")
    print(f"{large['peak_mb'] / small['peak_mb']:.2f} in memory, for 10 times the history")


def _measure(home: Path, loaded: int) -> dict[str, Any]:
    settings = Settings.load({}, home=home)
    rng = np.random.default_rng(7)
    per_hour = max(1, loaded // HOURS)
    for hour in range(HOURS):
        _write_hour(settings, START + timedelta(hours=hour), per_hour, rng, sequence=1)
    bulk = _refresh_in_child(home)
    print(f"{'':>10} bulk load of {bulk['rows']:,} rows: {_line(bulk)}", flush=True)
    new_hours = [START + timedelta(hours=HOURS - 1), START + timedelta(hours=HOURS)]
    for sequence in range(2, 12):
        for moment in new_hours:
            _write_hour(settings, moment, NEW_ROWS // 20, rng, sequence=sequence)
    result = _refresh_in_child(home)
    if result["rows"] != NEW_ROWS + NEW_ROWS * 3 // 10:
        raise SystemExit(f"loaded {result['rows']} rows")
    return result


def _refresh_in_child(home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(home)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _refresh_here(home: Path) -> None:
    import resource

    import dagster as dg

    from pipelines.refresh import open_instance, refresh

    settings = Settings.load({}, home=home)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_instance(settings) as instance:
        result = refresh(settings, instance=instance)
        run = instance.get_run_records(limit=1)[0].dagster_run.run_id
        steps = {
            step.step_key: round((step.end_time or 0) - (step.start_time or 0), 3)
            for step in instance.get_run_step_stats(run)
        }
        assert isinstance(instance, dg.DagsterInstance)
    if not result.success or result.failed_checks:
        raise SystemExit(f"{result.error} {result.failed_checks}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "seconds": round(result.seconds, 3),
                "peak_mb": round(peak / 1024, 1),
                "imports_mb": round(before / 1024, 1),
                "rows": sum(result.rows.values()),
                "file_mb": round(settings.warehouse_file.stat().st_size / 1e6, 1),
                "steps": steps,
            }
        )
    )


def _line(result: dict[str, Any]) -> str:
    steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result["steps"].items())
    return (
        f"{result['seconds']:.2f} s, peak {result['peak_mb']:.0f} MB"
        f" (before the refresh {result['imports_mb']:.0f} MB), warehouse {result['file_mb']:.0f} MB; {steps}"
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
