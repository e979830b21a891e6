"""Seeded sequences of what people do to data folders: visitors, clocks, copies, permissions, upgrades.

    python -m tests.crash.people --sequences 300

Each sequence has two machines that record traffic. People visit the published file, set clocks wrong, copy
one lake into the other, close files, upgrade in the wrong order, run retention and compaction, and refresh
at once. Then every cause goes. The invariants: no record is lost or counted twice, each segment that is not
loaded is named while it is not, and no finding of the doctor is left. In some sequences the views read small
segments in their files too, as they read large ones.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

import router.records
from pipelines import flow
from pipelines.doctor import doctor
from pipelines.errors import RetentionError
from pipelines.lake import reading
from pipelines.lake.compaction import compact
from pipelines.warehouse import linked, publishing
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.config import Settings
from router.journal.places import EVERY_HOUR
from router.records import RequestRecord
from tests.crash.reporting import show
from tests.pipelines.helpers import make_feedback, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STEPS = (6, 12)
"""The least and the greatest number of actions of a sequence."""
HARMLESS = {
    "a build database was set aside",
    "there are no scores",
    "a segment holds records from the future",
}
"""Findings that say what was done, and need nothing."""
VISITOR = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
if sys.argv[2] != "read":
    connection.execute("create or replace view visited as select 1 as a")
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
connection.close()
"""


@dataclass(slots=True)
class Outcome:
    """The result of one sequence."""

    seed: int
    actions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Machine:
    """A data folder, and what its router recorded."""

    def __init__(self, home: Path, name: str, rng: random.Random) -> None:
        self.settings = Settings.load({}, home=home / name)
        self.name = name
        self.costs: dict[str, Decimal] = {}
        self._rng = rng

    def record(self, at: datetime) -> None:
        """Record some requests from a moment on, some of them judged."""
        records = [
            make_record(at + timedelta(seconds=index), cost_usd=Decimal(self._rng.randrange(1, 10**6)) / 1000)
            for index in range(self._rng.randrange(1, 6))
        ]
        self.costs |= {record.id: record.cost_usd or Decimal(0) for record in records}
        verdicts = [make_feedback(record, self._rng.random()) for record in records[::2]]
        seal_records(self.settings, [*records, *verdicts], writer_id=self.name)

    def refresh(self) -> None:
        """Bring the tables up to date and publish them."""
        with Warehouse(self.settings) as warehouse:
            flow.catch_up(warehouse)
            publishing.publish_warehouse(warehouse)


class Story:
    """One sequence of actions, and the causes that are to go at its end."""

    def __init__(self, home: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = datetime.now(UTC)
        self.outcome = Outcome(seed)
        self.main, self.other = Machine(home, "main", self.rng), Machine(home, "other", self.rng)
        self.backup = home / "backup"
        self.merged: dict[str, Decimal] = {}
        """Records of the other machine that are in the main folder."""
        self.causes: list[Callable[[], None]] = []
        self._home = home

    def run(self) -> Outcome:
        """Act, let every cause go, and compare."""
        for machine in (self.main, self.other):
            machine.record(self.now - timedelta(hours=2))
            machine.refresh()
        actions = [getattr(type(self), name) for name in sorted(vars(type(self))) if name.startswith("do_")]
        for _ in range(self.rng.randint(*STEPS)):
            action = self.rng.choice(actions)
            self.outcome.actions.append(action.__name__.removeprefix("do_"))
            try:
                action(self)
                self.check_named()
            except Exception as error:
                self.outcome.problems.append(f"{self.outcome.actions[-1]}: {type(error).__name__}: {error}")
        for heal in self.causes:
            heal()
        self.check_healed()
        return self.outcome

    def check_named(self) -> None:
        """Every segment that is not in the tables has a finding, or waits for the next refresh."""
        settings = self.main.settings
        if not settings.warehouse_file.exists():
            return
        with Warehouse(settings) as warehouse:
            flow.catch_up(warehouse)
            known = {name for (name,) in warehouse.run("erasure/loaded_segments").fetchall()}
            held = {path for path, _ in warehouse.run("checks/unread_files").fetchall()}
        for segment in reading.scan(settings.lake, RequestRecord.DATASET).segments:
            path = str(segment.path.relative_to(settings.lake))
            if segment.manifest.name not in known and path not in held:
                self.outcome.problems.append(f"`{path}` is neither loaded nor named")

    def check_healed(self) -> None:
        """The figures are those of all records, before and after a rebuild, and nothing is wrong."""
        settings = self.main.settings
        expected = self.main.costs | self.merged
        for is_rebuilt in (False, True):
            if is_rebuilt:
                with Warehouse(settings):
                    set_aside(settings.build_file)
            with Warehouse(settings) as warehouse:
                flow.catch_up(warehouse)
                flow.admit(warehouse)
                publishing.publish_warehouse(warehouse)
                found = warehouse.rows("select sum(requests), sum(cost_usd) from usage_hourly")[0]
            if found != (len(expected), sum(expected.values(), Decimal(0))):
                self.outcome.problems.append(
                    f"usage is {found}, recorded were {len(expected)} of {sum(expected.values())}"
                    + (", after a rebuild" if is_rebuilt else "")
                )
            with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
                connection.execute("select count(*) from request_analytics").fetchall()
        compact(settings.lake, now=self.now)  # removes sources that a restored copy brought back
        self.main.refresh()
        report = doctor.inspect(settings)
        self.outcome.problems += [
            f"doctor: {item.what}: {item.value}" for item in report.findings if item.what not in HARMLESS
        ]

    def do_traffic(self) -> None:
        """Both machines record."""
        for machine in (self.main, self.other):
            machine.record(self.now - timedelta(minutes=self.rng.randrange(600)))

    def do_old_traffic(self) -> None:
        """A router that was off for long delivers records past their period."""
        self.rng.choice((self.main, self.other)).record(
            self.now - timedelta(days=self.rng.randrange(95, 110))
        )

    def do_clock_ahead(self) -> None:
        """A router's clock is wrong once."""
        self.main.record(self.now + timedelta(days=self.rng.choice((1, 40, 365))))

    def do_clock_back(self) -> None:
        """A router's clock steps back."""
        self.main.record(self.now - timedelta(hours=self.rng.randrange(3, 80)))

    def do_refresh(self) -> None:
        """One refresh of each."""
        self.main.refresh()
        self.other.refresh()

    def do_refresh_at_once(self) -> None:
        """Two refreshes of one folder at once."""
        problems: list[str] = []

        def work() -> None:
            try:
                self.main.refresh()
            except Exception as error:
                problems.append(f"a refresh beside another: {error}")

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.outcome.problems += problems

    def do_visit(self) -> None:
        """Somebody opens the published file, writes, or dies in it."""
        way = self.rng.choice(("read", "write", "killed"))
        subprocess.run(
            [sys.executable, "-c", VISITOR, str(self.main.settings.warehouse_file), way],
            check=False,
            capture_output=True,
        )
        self.main.record(self.now - timedelta(minutes=5))
        self.main.refresh()

    def do_merge(self) -> None:
        """The other lake is copied into the main one, with its times or without."""
        self.other.refresh()
        keep_times = self.rng.random() < 0.5
        copy = shutil.copy2 if keep_times else shutil.copyfile
        shutil.copytree(
            self.other.settings.lake, self.main.settings.lake, dirs_exist_ok=True, copy_function=copy
        )
        self.merged |= self.other.costs
        self.main.refresh()

    def do_back_up(self) -> None:
        """The main lake is copied away."""
        shutil.rmtree(self.backup, ignore_errors=True)
        shutil.copytree(self.main.settings.lake, self.backup)

    def do_restore(self) -> None:
        """Segments of an earlier copy come back beside the present ones."""
        if self.backup.exists():
            shutil.copytree(
                self.backup / RequestRecord.DATASET,
                self.main.settings.lake / RequestRecord.DATASET,
                dirs_exist_ok=True,
            )

    def do_close_a_file(self) -> None:
        """A segment or its manifest cannot be read for a while: a folder stands in its place."""
        files = sorted((self.main.settings.lake / RequestRecord.DATASET).glob(f"{EVERY_HOUR}/*.*"))
        if not files:
            return
        file = self.rng.choice(files)
        kept = self._home / f"closed-{len(self.causes)}"
        file.rename(kept)
        file.mkdir()

        def heal() -> None:
            if file.is_dir():
                file.rmdir()
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                kept.rename(file)

        self.main.refresh()
        heal()

    def do_upgrade_routers_first(self) -> None:
        """The main machine's pipelines are of the release before."""
        newest = RequestRecord.SCHEMA_VERSION
        self.main.record(self.now - timedelta(minutes=30))
        router.records.RequestRecord.SCHEMA_VERSION = newest - 1
        try:
            self.main.refresh()
        finally:
            router.records.RequestRecord.SCHEMA_VERSION = newest

    def do_retain(self) -> None:
        """Retention runs, sometimes in the other folder."""
        machine = self.rng.choice((self.main, self.other))
        with Warehouse(machine.settings) as warehouse:
            flow.retain(warehouse, now=self.now)
            publishing.publish_warehouse(warehouse)

    def do_retain_under_a_wrong_clock(self) -> None:
        """Retention runs once under a clock of another decade, and refuses."""
        with Warehouse(self.main.settings) as warehouse, contextlib.suppress(RetentionError):
            flow.retain(warehouse, now=self.now + timedelta(days=3650))
            self.outcome.problems.append("retention believed a clock of another decade")

    def do_compact(self) -> None:
        """Small segments are merged."""
        compact(self.main.settings.lake, now=self.now)

    def do_rebuild(self) -> None:
        """Somebody removes the build database."""
        with Warehouse(self.main.settings):
            set_aside(self.main.settings.build_file)
        self.main.refresh()


def run(sequences: int, *, seed: int = 1, until: float | None = None) -> Iterator[Outcome]:
    """Run sequences, each of its own seed, at most until a moment of `time.monotonic`."""
    for index in range(sequences):
        if until is not None and time.monotonic() > until:
            return
        home = Path(tempfile.mkdtemp())
        fewest = linked.FEWEST_ROWS
        linked.FEWEST_ROWS = random.Random(seed + index).choice((1, 4, fewest))
        try:
            yield Story(home, seed + index).run()
        finally:
            linked.FEWEST_ROWS = fewest
            shutil.rmtree(home, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns 1 if an invariant broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sequences", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first sequence")
    parser.add_argument("--seconds", type=float, help="begin no sequence after this time")
    options = parser.parse_args(arguments)
    until = None if options.seconds is None else time.monotonic() + options.seconds
    done = failed = 0
    counts: Counter[str] = Counter()
    for outcome in run(options.sequences, seed=options.seed, until=until):
        done += 1
        counts.update(outcome.actions)
        if outcome.problems:
            failed += 1
            show(f"seed {outcome.seed}: {', '.join(outcome.actions)}")
            for problem in dict.fromkeys(outcome.problems):
                show(f"    {problem}")
    listed: Any = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    show(f"{done} sequences, {counts.total()} actions ({listed}): {failed} broke an invariant")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
