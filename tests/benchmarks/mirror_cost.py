"""What the copies cost: nothing new and new rows, against copying everything.

    python tests/benchmarks/mirror_cost.py [--smoke]

Prints the seconds of a full mirror, of one without news and of one after new rows, with their ratios to the
full one, and the same for documents in a file. At the end both sides must be equal to the last digit.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.copies.documents import export_documents
from tests.pipelines.copies.conftest import Mirrored
from tests.pipelines.copies.test_mirror import traffic
from tests.pipelines.helpers import NOW, seal_records
from tests.postgres import PostgresServer

ROWS, NEW_ROWS, SEGMENTS = 200_000, 10_000, 40
SMOKE_ROWS, SMOKE_NEW_ROWS, SMOKE_SEGMENTS = 2_000, 200, 4


def main() -> None:
    """Measure, and print one line a run."""
    is_smoke = "--smoke" in sys.argv[1:]
    rows, new, segments = (
        (SMOKE_ROWS, SMOKE_NEW_ROWS, SMOKE_SEGMENTS) if is_smoke else (ROWS, NEW_ROWS, SEGMENTS)
    )
    if (reason := PostgresServer.missing()) is not None:
        print(f"left out: {reason}")
        return
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        mirrored = Mirrored(Path(folder) / "data", server.create_database())
        for number in range(segments):
            seal_records(mirrored.settings, traffic(rows // segments, NOW + timedelta(hours=2 * number)))
        mirrored.refresh()
        full = timed(mirrored, "everything", None)
        timed(mirrored, "nothing new", full)
        seal_records(mirrored.settings, traffic(new, NOW + timedelta(hours=2 * segments)))
        mirrored.refresh()
        timed(mirrored, f"{new:,} new requests", full)
        started = time.perf_counter()
        file = Path(folder) / "documents.jsonl"
        export_documents(mirrored.settings, str(file))
        print(f"documents to a file: {time.perf_counter() - started:.2f} s, {file.stat().st_size:,} bytes")
        differences = mirrored.differences()
        assert differences == {}, differences
        print(
            f"{rows + new:,} requests, {len(mirrored.totals_of_tables())} tables: counts and sums are equal"
        )


def timed(mirrored: Mirrored, name: str, full_s: float | None) -> float:
    """Mirror once, and print seconds, rows and the ratio to a full copy."""
    started = time.perf_counter()
    result = mirrored.mirror()
    seconds = time.perf_counter() - started
    ratio = "" if full_s is None else f", {seconds / full_s:.3f} of a full copy"
    print(f"{name}: {seconds:.2f} s, {sum(result.rows.values()):,} rows{ratio}")
    return seconds


if __name__ == "__main__":
    main()
