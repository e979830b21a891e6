"""Crash points: every file-system call of every operation, stopped before, within and after it.

    python -m tests.crash.points [--long] [--power] [operation …]

Each point starts from a copy of the operation's data folder, runs the operation until the kill,
recovers as the product would, and compares what is there with what was acknowledged. With
`--power` the kill is a power cut: what was not synced is gone before the recovery.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.crash import forks, operations, power, preload, recovery, reporting
from tests.crash.preload import Action, Call, Control, Kind
from tests.crash.recovery import Findings

SHORT_POINTS = 14
"""Points of one operation in the short form."""
LANDMARKS = {
    "refresh": (r"/warehouse/segments/request_analytics/[^/]+\.parquet$", r"/intellirouter\.duckdb$"),
    "retain": (r"/lake/chains/[^/]+/expired/", r"/warehouse/build/build\.duckdb$"),
    "erase": (
        r"/lake/removals/.+\.json$",
        r"/warehouse/build/build\.duckdb$",
        r"/erasures/(?!.*\.tombstone\.json$).+\.json$",
        r"/erasures/.+\.tombstone\.json$",
    ),
}
"""Files whose last rename is a point of every sample: linked segments, the published copy, drop notes, the
database made again, what removed rows had added to the rollups, certificates and tombstones.
"""
WORKERS = 2
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run is stopped."""

    call: Call
    action: Action

    def __str__(self) -> str:
        """For a failure message."""
        return f"{self.action.name.lower()} call {self.call.number} ({self.call.name} {self.call.path})"


@dataclass(kw_only=True)
class Outcome:
    """What the points of one operation showed."""

    operation: str
    calls: int = 0
    all_points: int = 0
    points: int = 0
    lost: int = 0
    twice: int = 0
    unopenable: int = 0
    rebuilt: int = 0
    records: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def add(self, point: Point, findings: Findings) -> None:
        """Count one point."""
        self.points += 1
        self.lost += findings.lost
        self.twice += findings.twice
        self.unopenable += findings.unopenable
        self.rebuilt += findings.rebuilt
        self.records += findings.records
        self.problems += [f"{point}: {problem}" for problem in findings.problems]
        if findings.lost or findings.twice:
            self.problems.append(f"{point}: lost {findings.lost}, twice {findings.twice}")

    def __str__(self) -> str:
        """A line of the table."""
        return (
            f"{self.operation:18} {self.calls:6} {self.points:6} of {self.all_points:5} {self.records:9}"
            f" {self.lost:5} {self.twice:6} {self.unopenable:11} {self.rebuilt:8} {len(self.problems):9}"
            f" {self.seconds:7.1f}"
        )


HEADER = (
    "operation           calls points of   all   records  lost  twice  unopenable  rebuilt  problems seconds"
)


def explore(
    operation: str,
    scratch: Path,
    *,
    limit: int | None,
    with_power_cut: bool = False,
    runs_again: bool = False,
) -> Outcome:
    """Stop one operation at its points: all of them, or a fixed sample of `limit`.

    With `runs_again` the power goes only after the operation has run again, to its end.
    """
    started = time.perf_counter()
    prepared = prepare(operation, scratch / "prepared")
    calls = count(operation, prepared, scratch / "count")
    every = [
        Point(call, action)
        for call in calls
        for action in (Action.BEFORE, Action.TORN, Action.AFTER)
        if action != Action.TORN or call.can_be_torn
    ]
    wanted = {*sample(every, operation, limit), *landmarks(operation, every)}
    chosen = [point for point in every if point in wanted]
    outcome = Outcome(operation=operation, calls=len(calls), all_points=len(every))
    rebuilds: dict[str, str] = {}
    with ThreadPoolExecutor(WORKERS) as workers:
        jobs = [
            workers.submit(
                _examine,
                operation,
                prepared,
                scratch / str(index),
                point,
                rebuilds,
                with_power_cut,
                runs_again,
            )
            for index, point in enumerate(chosen)
        ]
        for point, job in zip(chosen, jobs, strict=True):
            outcome.add(point, job.result())
    outcome.seconds = time.perf_counter() - started
    return outcome


def sample(items: list[Item], seed: str, limit: int | None) -> list[Item]:
    """At most `limit` of the items, the same ones each time, in their order."""
    if limit is None or len(items) <= limit:
        return items
    return [items[index] for index in sorted(random.Random(seed).sample(range(len(items)), limit))]


def landmarks(operation: str, points: list[Point]) -> list[Point]:
    """Before and after the last rename to each of the operation's landmarks, all of which it must reach."""
    found = []
    for pattern in LANDMARKS.get(operation, ()):
        of_it = [
            point for point in points if point.call.name == "rename" and re.search(pattern, point.call.path)
        ]
        if not of_it:
            raise RuntimeError(f"`{operation}` renames nothing to `{pattern}`")
        found += [point for point in of_it if point.call == of_it[-1].call]
    return found


def prepare(operation: str, folder: Path) -> Path:
    """The state that each point starts from: `disk`, which is interposed, and what lies outside."""
    folder.mkdir(parents=True)
    forks.call(operations.prepare, operation, folder / "disk" / "home", folder / "acknowledged")
    return folder


def count(operation: str, prepared: Path, scratch: Path, kinds: Kind = Kind.ALL) -> list[Call]:
    """The calls of an undisturbed run, which must itself hold every promise."""
    shutil.copytree(prepared, scratch)
    log = scratch / "log"
    with Control(scratch / "control") as control:
        was_killed = forks.run_to_death(
            control.path, _run, operation, scratch, Action.COUNT, 0, log, False, kinds
        )
    if was_killed:
        raise RuntimeError(f"`{operation}` was killed without being told to")
    findings = forks.call(recovery.recover, scratch / "disk" / "home", scratch / "acknowledged", operation)
    if not findings.is_good:
        raise RuntimeError(f"`{operation}` breaks a promise without a crash: {findings}")
    calls = preload.calls_of(log)
    shutil.rmtree(scratch)
    return calls


def _examine(
    operation: str,
    prepared: Path,
    scratch: Path,
    point: Point,
    rebuilds: dict[str, str],
    with_power_cut: bool,
    runs_again: bool,
) -> Findings:
    shutil.copytree(prepared, scratch)
    home, acknowledged = scratch / "disk" / "home", scratch / "acknowledged"
    with Control(scratch / "control") as control:
        was_killed = forks.run_to_death(
            control.path, _run, operation, scratch, point.action, point.call.number, None, with_power_cut
        )
        if runs_again:
            forks.run_to_death(control.path, _run, operation, scratch, Action.COUNT, 0, None, False)
    if with_power_cut:
        power.cut(scratch / "disk", scratch / "notes")
    try:
        findings: Findings = forks.call(recovery.recover, home, acknowledged, operation)
        if findings.lake_key not in rebuilds:
            rebuilds[findings.lake_key] = forks.call(recovery.rebuilt_aggregates, home, scratch / "rebuilt")
        if rebuilds[findings.lake_key] != findings.aggregates:
            findings.problems.append("a rebuild gives other aggregates")
    except RuntimeError as error:
        return Findings(problems=[f"recovery failed: {error}"])
    if not was_killed:
        findings.problems.append("the run was not killed")
    if findings.is_good:
        shutil.rmtree(scratch)  # else kept for a person
    return findings


def _run(
    operation: str,
    scratch: Path,
    action: Action,
    target: int,
    log: Path | None,
    with_power_cut: bool,
    kinds: Kind = Kind.ALL,
) -> None:
    """In the child: the operation under an armed interposer."""
    disk = scratch / "disk"
    with Control(scratch / "control", is_new=False) as control:

        def begin() -> None:
            if with_power_cut:
                power.watch(control, disk, scratch / "notes")
            control.arm(disk, action, target=target, log=log, kinds=kinds)

        operations.run(operation, disk / "home", scratch / "acknowledged", begin)
        control.disarm()
    os._exit(0)  # what the interpreter does at its end is no part of the operation


def check(outcome: Outcome) -> None:
    """Fail unless every promise held at every point that was tried."""
    reporting.show(f"{HEADER}\n{outcome}")
    assert outcome.problems == []
    assert (outcome.lost, outcome.twice, outcome.unopenable) == (0, 0, 0)
    assert outcome.points > 0


def show(outcome: Outcome, scratch: Path) -> bool:
    """Print a line of the table, and what is wrong; whether nothing is."""
    sys.stdout.write(f"{outcome}\n")
    for problem in outcome.problems[:20]:
        sys.stdout.write(f"    {problem}\n")
    if outcome.problems:
        sys.stdout.write(f"    kept in {scratch}\n")
    else:
        shutil.rmtree(scratch)
    sys.stdout.flush()
    return not outcome.problems


def main() -> None:
    """Print a table; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("operations", nargs="*", default=list(operations.OPERATIONS))
    parser.add_argument("--long", action="store_true", help="every point instead of a sample")
    parser.add_argument("--power", action="store_true", help="lose what was not synced")
    options = parser.parse_args()
    is_good, limit = True, None if options.long else SHORT_POINTS
    sys.stdout.write(f"{HEADER}\n")
    for name in options.operations:
        scratch = Path(tempfile.mkdtemp(prefix=f"crash-{name}-"))
        outcome = explore(name, scratch, limit=limit, with_power_cut=options.power)
        is_good &= show(outcome, scratch)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
