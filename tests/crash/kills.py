"""The kill loop: a router and a loader on one folder, both killed at random moments.

    python -m tests.crash.kills [--long] [--sync os|group|memory] [--power] [--seed N]

With `--power` each kill is a power cut: both processes end and what was not synced is gone
(`tests.crash.power`). `--sync memory` is the control that must lose records.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash import forks, power, recovery, workers
from tests.crash.preload import Action, Control
from tests.crash.recovery import Findings

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

KILLS = {"short": 200, "long": 600}
CUTS = {"short": 40, "long": 200}
LIFE_S = (0.05, 0.6)
"""How long a router lives, from the least to the most; a start takes some 0.03 s."""
LOADER_KILL_SHARE = 0.3
"""Of the router's kills, how many take the loader too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a loop showed."""

    kills: int
    loader_kills: int
    acknowledged: int
    findings: Findings
    seconds: float

    def __str__(self) -> str:
        """The figures in a line."""
        found = self.findings
        return (
            f"{self.kills} router kills, {self.loader_kills} loader kills,"
            f" {self.acknowledged} acknowledged records ({self.acknowledged / self.seconds:.0f}/s over"
            f" {self.seconds:.0f} s): lost {found.lost},"
            f" twice {found.twice}, unopenable {found.unopenable}, other problems {len(found.problems)},"
            f" builds replaced {found.rebuilt}"
        )


def kill_loop(scratch: Path, *, kills: int, sync: workers.Sync, seed: int) -> Report:
    """Kill the router `kills` times, the loader now and then; judge what is left at the end."""
    rng = random.Random(seed)
    home, acknowledged = scratch / "home", scratch / "acknowledged"
    home.mkdir(parents=True)
    acknowledged.touch()
    started = time.perf_counter()
    loader_kills = 0
    loader = forks.start(workers.refresh_forever, home, None)
    for _ in range(kills):
        router = forks.start(workers.serve_forever, home, acknowledged, sync, None)
        time.sleep(rng.uniform(*LIFE_S))
        _kill(router)
        if rng.random() < LOADER_KILL_SHARE:
            _kill(loader)
            loader_kills += 1
            loader = forks.start(workers.refresh_forever, home, None)
    _kill(loader)
    seconds = time.perf_counter() - started
    return _judged(home, acknowledged, kills, loader_kills, seconds)


def power_loop(scratch: Path, *, cuts: int, sync: workers.Sync, seed: int) -> Report:
    """Cut the power `cuts` times under a router and a loader; judge what is left at the end.

    Every other cut loses all that was not synced, the others keep a random part of it.
    """
    rng = random.Random(seed)
    disk, acknowledged = scratch / "disk", scratch / "acknowledged"
    (disk / "home").mkdir(parents=True)
    acknowledged.touch()
    started = time.perf_counter()
    for cut in range(cuts):
        notes = scratch / f"notes-{cut}"
        notes.mkdir()
        with Control(scratch / "control") as control:
            power.watch(control, disk, notes)
            control.arm(disk, Action.COUNT)
            router = forks.start(workers.serve_forever, disk / "home", acknowledged, sync, control.path)
            loader = forks.start(workers.refresh_forever, disk / "home", control.path)
            time.sleep(rng.uniform(*LIFE_S) + LIFE_S[0])
            _kill(router)
            _kill(loader)
        power.cut(disk, notes, rng if cut % 2 else None)
    seconds = time.perf_counter() - started
    return _judged(disk / "home", acknowledged, cuts, cuts, seconds)


def _kill(process: ForkServerProcess) -> None:
    process.kill()
    process.join()
    process.close()


def _judged(home: Path, acknowledged: Path, kills: int, loader_kills: int, seconds: float) -> Report:
    findings: Findings = forks.call(recovery.recover, home, acknowledged, timeout_s=300)
    rebuilt = forks.call(recovery.rebuilt_aggregates, home, home.parent / "rebuilt", timeout_s=300)
    if rebuilt != findings.aggregates:
        findings.problems.append("a rebuild gives other aggregates")
    return Report(
        kills=kills,
        loader_kills=loader_kills,
        acknowledged=sum(len(ids) for ids in recovery.acknowledged_in(acknowledged).values()),
        findings=findings,
        seconds=seconds,
    )


def main() -> None:
    """Print the figures; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--long", action="store_true", help="600 kills, or 200 power cuts")
    parser.add_argument("--kills", type=int, help="another number")
    parser.add_argument("--sync", choices=["os", "group", "memory"], default="os")
    parser.add_argument("--power", action="store_true", help="lose what was not synced")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    form = "long" if options.long else "short"
    scratch = Path(tempfile.mkdtemp(prefix="crash-kills-"))
    sys.stdout.write(f"seed {options.seed}, sync {options.sync}, power cuts: {options.power}\n")
    if options.power:
        cuts = options.kills or CUTS[form]
        report = power_loop(scratch, cuts=cuts, sync=options.sync, seed=options.seed)
    else:
        kills = options.kills or KILLS[form]
        report = kill_loop(scratch, kills=kills, sync=options.sync, seed=options.seed)
    sys.stdout.write(f"{report}\n")
    for problem in report.findings.problems[:20]:
        sys.stdout.write(f"    {problem}\n")
    if not report.findings.is_good:
        sys.stdout.write(f"    kept in {scratch}\n")
        sys.exit(1)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
