"""Failing file-system calls: a full disk and I/O errors at every call of every operation.

    python -m tests.crash.faults [--long] [operation …]

The operation may fail, with an error that says so; the next run in the same process, once there is
space again, must catch up, and the published files stay readable all through.
"""

from __future__ import annotations

import argparse
import errno
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb

from router.errors import IntelliRouterError
from tests.crash import forks, operations, points, preload, recovery
from tests.crash.points import HEADER, Outcome, Point
from tests.crash.preload import Action, Control, Kind
from tests.crash.recovery import Findings

CLEAN_FAILURES = (IntelliRouterError, OSError, duckdb.Error)
SHORT_CALLS = 5
"""Calls of one operation and error in the short form."""
FULL = (Action.FAIL_FROM, Kind.GROWS, errno.ENOSPC)
BROKEN = (Action.FAIL_ONCE, Kind.ALL, errno.EIO)


def explore(operation: str, scratch: Path, error: int, *, limit: int | None) -> Outcome:
    """Let one operation's calls fail: from one on (ENOSPC) or one alone (EIO)."""
    started = time.perf_counter()
    action, kinds, _ = FULL if error == errno.ENOSPC else BROKEN
    prepared = points.prepare(operation, scratch / "prepared")
    calls = points.count(operation, prepared, scratch / "count", kinds)
    chosen = points.sample(calls, operation, limit)
    outcome = Outcome(
        operation=f"{operation} {errno.errorcode[error]}", calls=len(calls), all_points=len(calls)
    )
    with ThreadPoolExecutor(points.WORKERS) as workers:
        jobs = [
            workers.submit(_examine, operation, prepared, scratch / str(call.number), call.number, error)
            for call in chosen
        ]
        for call, job in zip(chosen, jobs, strict=True):
            outcome.add(Point(call, action), job.result())
    outcome.seconds = time.perf_counter() - started
    return outcome


def _examine(operation: str, prepared: Path, scratch: Path, target: int, error: int) -> Findings:
    shutil.copytree(prepared, scratch)
    try:
        ended = forks.call(_run, operation, scratch, target, error)
        findings: Findings = forks.call(
            recovery.recover, scratch / "disk" / "home", scratch / "acknowledged", operation
        )
    except RuntimeError as failure:
        return Findings(problems=[f"{failure}"])
    if ended:
        findings.problems.append(ended)
    if findings.is_good:
        shutil.rmtree(scratch)
    return findings


def _run(operation: str, scratch: Path, target: int, error: int) -> str:
    """In the child: what is wrong with how the operation ended; empty when nothing is."""
    disk = scratch / "disk"
    action, kinds, _ = FULL if error == errno.ENOSPC else BROKEN
    with Control(scratch / "control") as control:
        preload.use(control.path)
        try:
            operations.run(
                operation,
                disk / "home",
                scratch / "acknowledged",
                lambda: control.arm(disk, action, target=target, kinds=kinds, error=error),
            )
        except CLEAN_FAILURES:
            pass
        except Exception as unclean:  # what it is goes into the table
            return f"fails with {unclean!r}, which does not say what is wrong"
        finally:
            failures = control.failures
            control.disarm()
        if operation not in {"append", "append-group", "seal", "adopt-and-seal"}:
            operations.refresh(operations.settings_of(disk / "home"))
    return "" if failures else "no call failed"


def main() -> None:
    """Print a table; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("operations", nargs="*", default=list(operations.OPERATIONS))
    parser.add_argument("--long", action="store_true", help="every call instead of a sample")
    options = parser.parse_args()
    is_good, limit = True, None if options.long else SHORT_CALLS
    sys.stdout.write(f"{HEADER}\n")
    for name in options.operations:
        for error in (errno.ENOSPC, errno.EIO):
            scratch = Path(tempfile.mkdtemp(prefix=f"crash-{name}-"))
            is_good &= points.show(explore(name, scratch, error, limit=limit), scratch)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
