"""Kills at any call of every operation: nothing lost, nothing twice.

A sample of each operation's calls by default, every one with INTELLIROUTER_LONG=1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import operations, points
from tests.crash.reporting import is_long

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]


@pytest.mark.parametrize("operation", operations.OPERATIONS)
def test_a_kill_at_any_call_loses_and_repeats_nothing(operation: str, tmp_path: Path) -> None:
    """Killed before, within or after a call, the next start has every acknowledged record once."""
    limit = None if is_long() else points.SHORT_POINTS
    points.check(points.explore(operation, tmp_path / operation, limit=limit))
