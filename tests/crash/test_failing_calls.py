"""A full or broken disk at any call of every operation."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.crash import faults, operations, points
from tests.crash.reporting import is_long

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("operation", operations.OPERATIONS)
def test_a_failing_call_is_survived(operation: str, error: int, tmp_path: Path) -> None:
    """The operation fails with an error that says so, or not at all; the next run catches up."""
    limit = None if is_long() else faults.SHORT_CALLS
    points.check(faults.explore(operation, tmp_path / operation, error, limit=limit))
