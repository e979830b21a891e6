"""Power cuts at any call of every operation: what was synced is there, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import operations, points
from tests.crash.reporting import is_long, show

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]
POINTS = 6
DURABLE = [name for name in operations.OPERATIONS if name != "append"]
"""`append` is with `JOURNAL_SYNC=os`, which promises nothing about a power cut."""


@pytest.mark.parametrize("operation", DURABLE)
def test_a_power_cut_at_any_call_loses_and_repeats_nothing(operation: str, tmp_path: Path) -> None:
    """The next start has every acknowledged record once when everything is gone that was not synced."""
    limit = None if is_long() else POINTS
    points.check(points.explore(operation, tmp_path / operation, limit=limit, with_power_cut=True))


def test_what_a_killed_refresh_left_is_durable_after_the_next(tmp_path: Path) -> None:
    """A file that the killed run renamed and did not sync is not taken as safe because it is there."""
    limit = None if is_long() else POINTS
    scratch = tmp_path / "refresh"
    points.check(points.explore("refresh", scratch, limit=limit, with_power_cut=True, runs_again=True))


def test_a_power_cut_shows_what_os_does_not_promise(tmp_path: Path) -> None:
    """The control: with `os`, acknowledged records are lost, so the test above can fail."""
    outcome = points.explore("append", tmp_path / "append", limit=POINTS, with_power_cut=True)
    show(f"{points.HEADER}\n{outcome}")
    assert outcome.lost > 0
