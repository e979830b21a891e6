"""A replay's refreshes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import pipelines.refresh
from pipelines.replay import run
from pipelines.replay.errors import ReplayError

if TYPE_CHECKING:
    from collections.abc import Mapping


def refresh(
    monkeypatch: pytest.MonkeyPatch, failed_checks: Mapping[str, str], change: Any = None
) -> list[str]:
    """The warnings of a refresh whose checks found something."""
    result = SimpleNamespace(success=True, failed_checks=failed_checks)
    monkeypatch.setattr(pipelines.refresh, "refresh", lambda _: result)
    found: list[str] = []
    plan: Any = SimpleNamespace(change=change)
    observer: Any = SimpleNamespace(on_warning=found.append)
    run._refresh(plan, None, observer)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("name", ["rollup_cost_matches", "provider_costs_match", "models_are_not_redirected"])
def test_a_check_of_records_and_costs_ends_a_replay(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The fake provider's costs are known, so that even a check that only warns elsewhere shows a fault."""
    with pytest.raises(ReplayError, match=f"`{name}` failed: 1 row"):
        refresh(monkeypatch, {"traffic_is_usual": "2 hours", name: "1 row"})


def test_only_a_drop_where_nothing_changed_is_called_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unusual traffic may be the trace's, and a change of the replay is a real drop."""
    drop, unusual = {"quality_has_not_dropped": "math"}, {"traffic_is_usual": "2 hours"}
    assert refresh(monkeypatch, drop) == [f"check `quality_has_not_dropped` warns: math {run.NO_CHANGE}"]
    assert refresh(monkeypatch, drop, "a swap") == ["check `quality_has_not_dropped` warns: math"]
    assert refresh(monkeypatch, unusual) == ["check `traffic_is_usual` warns: 2 hours"]
