"""A command on a data folder that does not exist makes none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from router.config import Settings
from router.errors import ConfigError
from router.settings.folder import existing
from tests.factories import write_catalog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.smoke
def test_a_misspelt_folder_is_named_with_the_nearest(tmp_path: Path) -> None:
    """And nothing is made."""
    write_catalog(tmp_path / "data")
    (tmp_path / "unrelated").mkdir()
    with pytest.raises(
        ConfigError, match=f"no data folder `{tmp_path}/dta`; nearest known: `{tmp_path}/data`"
    ):
        existing(Settings.load({}, home=tmp_path / "dta"))
    assert not (tmp_path / "dta").exists()


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="is no folder: name the data folder with --home"):
        existing(Settings.load({}, home=tmp_path / "data"))


def test_an_existing_folder_is_accepted(tmp_path: Path) -> None:
    settings = Settings.load({}, home=tmp_path)
    assert existing(settings) is settings


def test_an_override_with_a_typing_error_is_refused() -> None:
    """It would open another folder."""
    with pytest.raises(ConfigError, match="unknown setting `hom`: nearest known: `home`"):
        Settings.load({}, hom="elsewhere")


@pytest.mark.parametrize("name", ["a?b", "a\\b", "a[b]", "[x"])
def test_a_folder_that_a_database_cannot_lie_in_is_refused(tmp_path: Path, name: str) -> None:
    """DuckDB cannot open a database there, or Dagster reads the name as a pattern and misses its settings."""
    with pytest.raises(ConfigError, match=r"in its path.*rename it"):
        Settings.load({}, home=tmp_path / name)


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a*b", "a{b}", "a#b", "a%b", "a;b", "ä"])
def test_a_folder_of_any_other_name_is_taken(tmp_path: Path, name: str) -> None:
    assert Settings.load({}, home=tmp_path / name).home.name == name
