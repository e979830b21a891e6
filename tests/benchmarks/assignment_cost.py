"""What assigning a request to an experiment costs.

    python tests/benchmarks/assignment_cost.py [--smoke]

Prints microseconds a request: with no experiment, with one that takes it, and with twenty of which
the last one does.
"""

from __future__ import annotations

import argparse
import timeit
from datetime import UTC, datetime
from typing import Any

from router.policies.assignment import Experiment, assign
from router.policies.experiments import ExperimentEntry
from router.records import new_id

AT = datetime(2026, 12, 5, tzinfo=UTC)


def experiments(count: int) -> list[Experiment]:
    """Experiments on tasks of their own; the requests are of the last one's."""
    return [
        Experiment.of(
            ExperimentEntry.model_validate(
                {
                    "id": f"experiment-{index}",
                    "unit": "session",
                    "variants": [
                        {"name": "control", "share": 0.5, "policy": "balanced"},
                        {"name": "cheap", "share": 0.5, "policy": "cheapest"},
                    ],
                    "start": "2026-12-01",
                    "stop": "2026-12-31",
                    "task_types": [f"task-{index}"],
                }
            )
        )
        for index in range(count)
    ]


def microseconds(count: int, repeats: int) -> float:
    """The best of five rounds over different sessions."""
    standing = experiments(count)
    facts: list[dict[str, Any]] = [
        {
            "request_id": "r",
            "session_id": new_id()[0],
            "user_id": "u",
            "organization_id": "acme",
            "environment": "production",
            "task_type": f"task-{count - 1}",
            "at": AT,
        }
        for _ in range(1000)
    ]

    def work() -> None:
        for item in facts:
            assign(standing, **item)

    return min(timeit.repeat(work, number=repeats, repeat=5)) / repeats / len(facts) * 1e6


def main() -> None:
    """Print a line for each number of experiments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one repeat instead of fifty")
    repeats = 1 if parser.parse_args().smoke else 50
    for count in (0, 1, 20):
        print(f"{microseconds(count, repeats):6.2f} us a request with {count} experiments (aim: 1 under 2)")


if __name__ == "__main__":
    main()
