"""A change of the configuration, killed at every file-system call: the old set or the new one, whole.

    python -m tests.crash.configuration [--power]

`apply` changes three documents at once and removes a fourth. `edit` is a look at documents that a person
changed. Each is stopped before, within and after every call. With `--power`, all that was not synced is
gone too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from router.config import Settings
from router.configuration.changing import apply
from router.configuration.documents import EDITED, digests_of
from router.configuration.folder import StateFolder
from router.configuration.watching import look
from tests.crash import forks, power, preload
from tests.crash.points import Point
from tests.crash.preload import Action, Control
from tests.factories import write_catalog

OPERATIONS = ("apply", "edit")
OLD = {"policies.yaml": b"policies: [{id: p}]\n", "limits.yaml": b"limits: []\n"}
NEW: dict[str, bytes | None] = {
    "policies.yaml": b"policies: [{id: p, version: 2, cost_weight: 0.5}]\n",
    "limits.yaml": None,
    "organizations.yaml": b"organizations: [{id: acme}]\n",
}


@dataclass(kw_only=True)
class Outcome:
    """What the points of one operation showed."""

    operation: str
    points: int = 0
    old: int = 0
    new: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The figures in a line."""
        return (
            f"{self.operation}: {self.points} points, old {self.old}, new {self.new},"
            f" mixed or broken {len(self.problems)}; {self.seconds:.1f} s"
        )


def explore(operation: str, scratch: Path, *, with_power_cut: bool = False) -> Outcome:
    """Stop the operation at each of its points, and judge what is there."""
    started = time.perf_counter()
    prepared = scratch / "prepared"
    old, new = _prepare(prepared / "disk" / "home")
    counted = scratch / "count"
    shutil.copytree(prepared, counted)
    with Control(counted / "control") as control:
        log = counted / "log"
        forks.run_to_death(control.path, _run, operation, counted, Action.COUNT, 0, log, False)
    every = [
        Point(call, action)
        for call in preload.calls_of(log)
        for action in (Action.BEFORE, Action.TORN, Action.AFTER)
        if action != Action.TORN or call.can_be_torn
    ]
    outcome = Outcome(operation=operation, points=len(every))
    for index, point in enumerate(every):
        place = scratch / str(index)
        shutil.copytree(prepared, place)
        with Control(place / "control") as control:
            arguments = (operation, place, point.action, point.call.number, None, with_power_cut)
            was_killed = forks.run_to_death(control.path, _run, *arguments)
        if with_power_cut:
            power.cut(place / "disk", place / "notes")
        found = _judge(operation, place / "disk" / "home", old, new)
        outcome.old += found == "old"
        outcome.new += found == "new"
        if found not in ("old", "new") or not was_killed:
            outcome.problems.append(f"{point}: {found if was_killed else 'was not killed'}")
        else:
            shutil.rmtree(place)
    outcome.seconds = time.perf_counter() - started
    return outcome


def _settings(home: Path) -> Settings:
    return Settings.load({}, home=home)


def _prepare(home: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The folder that each point starts from, and its two sets of documents."""
    path = write_catalog(home)
    for name, content in OLD.items():
        (home / name).write_bytes(content)
    look(StateFolder(home), _settings(home))
    old = StateFolder(home).read()
    changed = {**old, "catalog.yaml": path.read_bytes() + b"# changed\n", **NEW}
    return old, {name: content for name, content in changed.items() if content is not None}


def _run(
    operation: str, scratch: Path, action: Action, target: int, log: Path | None, with_power_cut: bool
) -> None:
    """In the child: the operation under an armed interposer."""
    disk = scratch / "disk"
    home = disk / "home"
    source, settings = StateFolder(home), _settings(home)
    catalog = (home / "catalog.yaml").read_bytes() + b"# changed\n"
    if operation == "edit":
        (home / "catalog.yaml").write_bytes(catalog)
    with Control(scratch / "control", is_new=False) as control:
        if with_power_cut:
            power.watch(control, disk, scratch / "notes")
        control.arm(disk, action, target=target, log=log)
        if operation == "edit":
            look(source, settings)
        else:
            apply(source, settings, {**NEW, "catalog.yaml": catalog})
        control.disarm()
    os._exit(0)


def _judge(operation: str, home: Path, old: dict[str, bytes], new: dict[str, bytes]) -> str:
    """`old`, `new`, or what is wrong. A reader comes first, then a writer, then the change again."""
    source, settings = StateFolder(home), _settings(home)
    versions = source.versions()
    documents = source.read()
    if operation == "apply":
        state = {1: "old", 2: "new"}.get(len(versions), "another history")
        if documents != {"old": old, "new": new}.get(state):
            return f"the history is {state}, and a reader gets {sorted(documents)} of another set"
    else:
        state = "new" if len(versions) == 2 else "old"
    source.settle()
    seen = look(source, settings)
    if operation == "apply" and (len(source.versions()) != len(versions) or seen.version != versions[-1]):
        return "the next look adds a version"
    if {name: _read(home / name) for name in EDITED} != {name: source.read().get(name) for name in EDITED}:
        return "the files differ from the documents in force"
    assert seen.version is not None
    kept = {name: source.document(digest) for name, digest in seen.version.documents.items()}
    if digests_of(kept) != dict(seen.version.documents):
        return "a document of the newest version is damaged"
    again = apply(source, settings, {name: new.get(name) for name in EDITED})
    if operation == "apply" and (again.number != 2 or source.read() != new):
        return "the change cannot be made again"
    left = [path.name for path in home.rglob("applying.json")]
    return f"{left} is left" if left else state


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main() -> None:
    """Print a line for each operation; exit code 1 when a set is mixed or broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--power", action="store_true", help="lose what was not synced")
    options = parser.parse_args()
    is_good = True
    for operation in OPERATIONS:
        scratch = Path(tempfile.mkdtemp(prefix=f"crash-{operation}-"))
        outcome = explore(operation, scratch, with_power_cut=options.power)
        sys.stdout.write(f"{outcome}\n" + "".join(f"    {problem}\n" for problem in outcome.problems[:20]))
        is_good &= not outcome.problems
        if not outcome.problems:
            shutil.rmtree(scratch)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
