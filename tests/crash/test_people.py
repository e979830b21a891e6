"""What people do to data folders, in seeded sequences: every record once, every refusal named, all heals."""

from __future__ import annotations

import pytest

from tests.crash import people
from tests.crash.reporting import is_long, show

pytestmark = pytest.mark.slow
SEQUENCES = 300 if is_long() else 4


def test_people_lose_and_repeat_nothing() -> None:
    """Visitors, clocks, copies, closed files, upgrades, retention and refreshes at once keep all figures."""
    for outcome in people.run(SEQUENCES):
        show(f"seed {outcome.seed}: {', '.join(outcome.actions)}")
        assert outcome.problems == []
