"""A person who watches a refresh sees how far its long parts are."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.flow import run_refresh
from pipelines.warehouse import advance
from tests.pipelines.helpers import NOW, make_record, seal_records
from tests.places import ROOT

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings


def test_each_part_ends_with_all_of_it(settings: Settings, warehouse: Warehouse) -> None:
    """Segments, hours and days count up to their number, and never down."""
    for day in range(3):
        seal_records(settings, [make_record(NOW + timedelta(days=day))])
    seen: dict[str, list[tuple[int, int]]] = {}
    with advance.watched(lambda part, done, total: seen.setdefault(part, []).append((done, total))):
        run_refresh(warehouse)
    assert seen["segments of request_analytics"][-1] == (3, 3)
    assert seen["hours of rollups"][-1] == (3, 3)
    assert seen["days of task_cost_daily"][-1] == (3, 3)
    for steps in seen.values():
        assert steps == sorted(steps)


def test_nothing_new_shows_nothing(settings: Settings, warehouse: Warehouse) -> None:
    """Nor does a refresh without a listener."""
    seal_records(settings, [make_record(NOW)])
    run_refresh(warehouse)
    seen: list[str] = []
    with advance.watched(lambda part, _done, _total: seen.append(part)):
        run_refresh(warehouse)
    assert seen == []


def test_bars_are_for_terminals() -> None:
    """A log gets no bar, and the answer stays alone on the standard output."""
    code = "from pipelines.warehouse import advance as a\nwith a.on_terminal(): a.report('some hours', 1, 2)"
    command = [sys.executable, "-c", code]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    quiet = subprocess.run(command, check=True, capture_output=True, env=environment)
    assert (quiet.stdout, quiet.stderr) == (b"", b"")
    ours, theirs = pty.openpty()
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    drawn = os.read(ours, 100_000)
    os.close(ours)
    assert b"some hours" in drawn
    assert b"1/2" in drawn
    assert shown.stdout == b""
