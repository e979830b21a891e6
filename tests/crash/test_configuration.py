"""A change of the configuration that is killed leaves the old set or the new one, never a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import configuration
from tests.crash.reporting import show

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]


@pytest.mark.parametrize("with_power_cut", [False, True], ids=["kill", "power"])
@pytest.mark.parametrize("operation", configuration.OPERATIONS)
def test_a_change_is_old_or_new(operation: str, with_power_cut: bool, tmp_path: Path) -> None:
    """Killed before, within or after any call, readers get one whole set, and the history agrees."""
    outcome = configuration.explore(operation, tmp_path, with_power_cut=with_power_cut)
    show(f"{outcome}")
    assert outcome.problems == []
    assert outcome.old > 0
    assert outcome.new > 0
