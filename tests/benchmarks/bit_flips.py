"""How often a single flipped bit of a segment reads as a wrong value, without an error.

    python tests/benchmarks/bit_flips.py            300 flips
    python tests/benchmarks/bit_flips.py --smoke    30

A plain reader (DuckDB's `read_parquet`) against the load's own check of the same file.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.lake import reading
from router.config import Settings
from router.errors import SegmentError
from tests.pipelines.helpers import NOW, make_record, seal_records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    flips = 30 if parser.parse_args().smoke else 300
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load({}, home=Path(folder))
        seal_records(
            settings,
            [
                make_record(
                    NOW + timedelta(seconds=i), latency_ms=rng.lognormvariate(6, 1), user_id=f"u{i % 97}"
                )
                for i in range(3000)
            ],
        )
        (segment,) = reading.scan(settings.lake, "request_analytics").segments
        content = segment.path.read_bytes()
        truth = _plain(segment.path)
        plain: Counter[str] = Counter()
        checked: Counter[str] = Counter()
        for _ in range(flips):
            flipped = bytearray(content)
            flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            segment.path.write_bytes(bytes(flipped))
            try:
                plain["right" if _plain(segment.path) == truth else "WRONG, no error"] += 1
            except duckdb.Error:
                plain["error"] += 1
            try:
                reading.verify(segment)
                checked["WRONG, no error"] += 1
            except SegmentError:
                checked["error"] += 1
    print(f"{flips} single bit flips in a segment of {len(content):,} bytes, 3,000 rows")
    for name, found in (("plain reader", plain), ("the load", checked)):
        shares = ", ".join(f"{outcome} {count / flips:.0%}" for outcome, count in sorted(found.items()))
        print(f"{name:13} {shares}")
    if checked["WRONG, no error"]:
        raise SystemExit("a flipped bit passed the load's check")


def _plain(path: Path) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute("from read_parquet($path)", {"path": str(path)}).fetchall()


if __name__ == "__main__":
    main()
