"""Alerts under kill -9: every one is on disk once and at the webhook at least once.

    python -m tests.crash.alerts [--power]

Two alerts are raised and sent to a receiver in this process. The run is stopped before, within and after
every file-system call. The next run raises the same incidents again, as a refresh does, and sends the rest.
With `--power`, all that was not synced is gone too: the next refresh finds the incidents again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.anomalies import alert_log, webhook
from pipelines.anomalies.alert_log import Alert
from router.config import Settings
from tests.crash import forks, power, preload
from tests.crash.points import Point
from tests.crash.preload import Action, Control
from tests.pipelines.anomalies.receiver import receiving

if TYPE_CHECKING:
    from tests.pipelines.anomalies.receiver import Receiver

NOW = datetime(2026, 6, 19, 12, tzinfo=UTC)
IDS = ("al_1", "al_2")


@dataclass(kw_only=True)
class Outcome:
    """The findings at all points."""

    points: int = 0
    lost: int = 0
    """Alerts that the file or the receiver does not have in the end."""
    doubled: int = 0
    """Alerts that the file has twice."""
    sent_again: int = 0
    """Copies that the receiver got of an alert that it had: each has the same id."""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The figures in a line."""
        return (
            f"alerts: {self.points} points, lost {self.lost}, doubled {self.doubled},"
            f" sent again {self.sent_again}; {self.seconds:.1f} s"
        )


def explore(scratch: Path, *, with_power_cut: bool = False) -> Outcome:
    """Stop the run at each of its points, and judge the files and the receiver after the next run."""
    started, outcome = time.perf_counter(), Outcome()
    with receiving() as receiver:
        counted = _prepared(scratch / "count")
        with Control(counted / "control") as control:
            log = counted / "log"
            forks.run_to_death(control.path, _run, counted, receiver.url, Action.COUNT, 0, log, False)
        every = [
            Point(call, action)
            for call in preload.calls_of(log)
            for action in (Action.BEFORE, Action.TORN, Action.AFTER)
            if action != Action.TORN or call.can_be_torn
        ]
        outcome.points = len(every)
        for index, point in enumerate(every):
            receiver.got.clear()
            place = _prepared(scratch / str(index))
            with Control(place / "control") as control:
                arguments = (place, receiver.url, point.action, point.call.number, None, with_power_cut)
                was_killed = forks.run_to_death(control.path, _run, *arguments)
            if with_power_cut:
                power.cut(place / "disk", place / "notes")
            if not was_killed:
                outcome.problems.append(f"{point}: was not killed")
            _judge(outcome, point, place / "disk" / "home", receiver)
    outcome.seconds = time.perf_counter() - started
    return outcome


def _prepared(place: Path) -> Path:
    (place / "disk" / "home").mkdir(parents=True)
    return place


def _refresh(home: Path, url: str) -> None:
    """The part of a refresh that raises and sends."""
    settings = Settings.load({}, home=home, alert_webhook_url=url, alert_webhook_allow_private=True)
    alerts = [Alert(id=name, at=NOW, kind="budget", text=name, facts={}, to_webhook=True) for name in IDS]
    with alert_log.opened(settings) as log:
        log.add(alerts)
    with alert_log.opened(settings) as log:
        webhook.deliver(settings, log, now=NOW)


def _run(
    scratch: Path, url: str, action: Action, target: int, log: Path | None, with_power_cut: bool
) -> None:
    """In the child: the refresh under an armed interposer."""
    disk = scratch / "disk"
    with Control(scratch / "control", is_new=False) as control:
        if with_power_cut:
            power.watch(control, disk, scratch / "notes")
        control.arm(disk, action, target=target, log=log)
        _refresh(disk / "home", url)
        control.disarm()
    os._exit(0)


def _judge(outcome: Outcome, point: Point, home: Path, receiver: Receiver) -> None:
    _refresh(home, receiver.url)
    lines = (home / "alerts" / "alerts.jsonl").read_text().splitlines()
    on_disk = Counter(name for line in lines for name in IDS if f'"id": "{name}"' in line)
    received = Counter(receiver.ids)
    lost = [name for name in IDS if not on_disk[name] or not received[name]]
    doubled = [name for name in IDS if on_disk[name] > 1]
    outcome.lost += len(lost)
    outcome.doubled += len(doubled)
    outcome.sent_again += sum(count - 1 for count in received.values())
    if lost or doubled or len(lines) != len(IDS):
        outcome.problems.append(f"{point}: lost {lost}, doubled {doubled}, {len(lines)} lines")


def main() -> None:
    """Print the figures. Exit code 1 if an alert is lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--power", action="store_true", help="lose what was not synced")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="crash-alerts-"))
    outcome = explore(scratch, with_power_cut=options.power)
    sys.stdout.write(f"{outcome}\n" + "".join(f"    {problem}\n" for problem in outcome.problems[:20]))
    if outcome.problems:
        sys.exit(1)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
