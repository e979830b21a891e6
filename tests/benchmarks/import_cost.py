"""What `import router` costs beside importing httpx and pydantic.

    python tests/benchmarks/import_cost.py [--smoke]

Run it in an environment with the base install. Prints the median over fresh processes and the
ratio; the processes take turns, so that the machine's drift hits both alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

STATEMENTS = ("pass", "import httpx, pydantic", "import router", "from router import Router")


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs the statement."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print a line per statement, then the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="two rounds instead of fifteen")
    rounds = 2 if parser.parse_args().smoke else 15
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for _ in range(rounds):
        for statement in STATEMENTS:
            times[statement].append(seconds(statement))
    medians = {statement: statistics.median(values) for statement, values in times.items()}
    for statement, median in medians.items():
        print(f"{median * 1000:8.1f} ms  {statement}")
    ratio = medians["import router"] / medians["import httpx, pydantic"]
    print(f"ratio {ratio:.2f} (import router / import httpx, pydantic; limit 1.3)")


if __name__ == "__main__":
    main()
