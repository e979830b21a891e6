"""Kill loops and power cuts under load: every acknowledged id exactly once, in lake and warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import kills
from tests.crash.reporting import is_long, show

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]
SEED = 20261123
FORM = "long" if is_long() else "short"


def _check(report: kills.Report) -> None:
    show(report)
    assert report.findings.problems == []
    assert (report.findings.lost, report.findings.twice, report.findings.unopenable) == (0, 0, 0)
    assert report.acknowledged > 0


def test_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """A router at 2,000 records/s and a loader beside it, killed at random moments."""
    _check(kills.kill_loop(tmp_path, kills=kills.KILLS[FORM], sync="os", seed=SEED))


def test_the_kill_loop_sees_what_a_memory_buffer_loses(tmp_path: Path) -> None:
    """The control: records that are acknowledged from memory are missing afterwards."""
    report = kills.kill_loop(tmp_path, kills=5, sync="memory", seed=SEED)
    show(f"memory buffer: {report}")
    assert report.findings.lost > 0


def test_power_cuts_lose_nothing_with_group(tmp_path: Path) -> None:
    """What `group` acknowledged was synced: it outlives the page cache."""
    _check(kills.power_loop(tmp_path, cuts=kills.CUTS[FORM], sync="group", seed=SEED))


def test_power_cuts_lose_records_with_os(tmp_path: Path) -> None:
    """The control: `os` does not promise it, and the simulation shows that."""
    report = kills.power_loop(tmp_path, cuts=6, sync="os", seed=SEED)
    show(f"sync os: {report}")
    assert report.findings.lost > 0
