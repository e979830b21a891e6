"""Settings, and that the documentation names every one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config import Settings, read_environment
from router.errors import ConfigError
from tests.places import ROOT

README = ROOT / "router" / "README.md"


def test_the_readme_lists_every_setting_with_its_default() -> None:
    """The settings table is the code's."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {text} |"
        for name, default, text in Settings.describe()
    ]
    assert [row for row in rows if row not in README.read_text()] == []


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env file fills in what the environment leaves unset."""
    path = tmp_path / ".env"
    path.write_text("INTELLIROUTER_PORT=1000\nMAX_ATTEMPTS=7\n")
    monkeypatch.setenv("INTELLIROUTER_PORT", "2000")
    settings = Settings.load(read_environment(path))
    assert (settings.port, settings.max_attempts) == (2000, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTELLIROUTER_PORT", "70000"),
        ("ANALYTICS_RETENTION_DAYS", "0"),
        ("ANALYTICS_RETENTION_DAYS", "ninety"),
        ("DUCKDB_MEMORY_LIMIT", "lots"),
        ("REQUEST_TIMEOUT_S", "-1"),
    ],
)
def test_a_bad_setting_names_its_variable_and_value(name: str, value: str) -> None:
    """Nothing starts on a setting out of its bounds."""
    with pytest.raises(ConfigError, match=f"{name}=`{value}`"):
        Settings.load({name: value})
