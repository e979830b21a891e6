"""Crash points, power cuts and failing calls in every operation: nothing lost, nothing twice.

A sample of each operation's calls by default, every one with INTELLIROUTER_LONG=1.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.crash import faults, operations, points
from tests.crash.reporting import is_long, show

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]
POWER_POINTS = 10
DURABLE = [name for name in operations.OPERATIONS if name != "append"]
"""`append` is with `JOURNAL_SYNC=os`, which promises nothing about a power cut."""


def _check(outcome: points.Outcome) -> None:
    show(f"{points.HEADER}\n{outcome}")
    assert outcome.problems == []
    assert (outcome.lost, outcome.twice, outcome.unopenable) == (0, 0, 0)
    assert outcome.points > 0


@pytest.mark.parametrize("operation", operations.OPERATIONS)
def test_a_kill_at_any_call_loses_and_repeats_nothing(operation: str, tmp_path: Path) -> None:
    """Killed before, within or after a call, the next start has every acknowledged record once."""
    limit = None if is_long() else points.SHORT_POINTS
    _check(points.explore(operation, tmp_path / operation, limit=limit))


@pytest.mark.parametrize("operation", DURABLE)
def test_a_power_cut_at_any_call_loses_and_repeats_nothing(operation: str, tmp_path: Path) -> None:
    """The same when everything is gone that was not synced."""
    limit = None if is_long() else POWER_POINTS
    _check(points.explore(operation, tmp_path / operation, limit=limit, with_power_cut=True))


def test_a_power_cut_shows_what_os_does_not_promise(tmp_path: Path) -> None:
    """The control: with `os`, acknowledged records are lost, so the test above can fail."""
    outcome = points.explore("append", tmp_path / "append", limit=POWER_POINTS, with_power_cut=True)
    show(f"{points.HEADER}\n{outcome}")
    assert outcome.lost > 0


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("operation", operations.OPERATIONS)
def test_a_failing_call_is_survived(operation: str, error: int, tmp_path: Path) -> None:
    """The operation fails with an error that says so, or not at all; the next run catches up."""
    limit = None if is_long() else faults.SHORT_CALLS
    _check(faults.explore(operation, tmp_path / operation, error, limit=limit))
