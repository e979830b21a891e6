"""An alert that is raised while its process is killed is neither lost nor doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import alerts
from tests.crash.reporting import show

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]


@pytest.mark.parametrize("with_power_cut", [False, True], ids=["kill", "power"])
def test_an_alert_outlives_every_kill(with_power_cut: bool, tmp_path: Path) -> None:
    """Killed before, within or after any call, the next refresh has each alert once, and the webhook too."""
    outcome = alerts.explore(tmp_path, with_power_cut=with_power_cut)
    show(f"{outcome}")
    assert outcome.problems == []
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.points > 20
