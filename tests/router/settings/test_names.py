"""Names of variables: the older ones work, and contradictions are refused."""

from __future__ import annotations

import pytest

from router.config import Settings
from router.errors import ConfigError


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["REQUEST_LOGGING", "ENABLE_REQUEST_LOGGING"])
def test_both_names_of_the_audit_trail_turn_it_off(name: str) -> None:
    """Neither of them is ignored."""
    assert Settings.load({name: "false"}).request_logging is False


def test_two_names_with_two_values_are_refused() -> None:
    """Nothing is guessed about which of them counts."""
    with pytest.raises(ConfigError, match="`REQUEST_LOGGING` and `ENABLE_REQUEST_LOGGING`"):
        Settings.load({"REQUEST_LOGGING": "true", "ENABLE_REQUEST_LOGGING": "false"})
    assert Settings.load({"REQUEST_LOGGING": "true", "ENABLE_REQUEST_LOGGING": "True"}).request_logging


def test_performance_tracking_cannot_be_turned_off() -> None:
    """The router would have nothing to choose by. The refusal names the settings that keep less."""
    assert Settings.load({"ENABLE_PERFORMANCE_TRACKING": "true"}).performance_tracking
    with pytest.raises(ConfigError, match=r"ENABLE_PERFORMANCE_TRACKING.*ANALYTICS_RETENTION_DAYS"):
        Settings.load({"ENABLE_PERFORMANCE_TRACKING": "false"})
