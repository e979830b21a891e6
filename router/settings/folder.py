"""The data folder of a command: it must exist, so that a misspelt name makes no new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from router.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Home(Protocol):
    @property
    def home(self) -> Path: ...


Found = TypeVar("Found", bound=_Home)
MARKS = ("catalog.yaml", "lake", "journal", "warehouse", "database")
"""A folder that holds one of these is a data folder."""


def existing(settings: Found) -> Found:
    """The settings, if their data folder exists. ConfigError names the nearest folders that do."""
    home = settings.home
    if home.is_dir():
        return settings
    if home.exists():
        raise ConfigError(f"`{home}` is no folder: name the data folder with --home or INTELLIROUTER_HOME")
    others = [str(path) for path in _data_folders(home.parent)]
    advice = f"; {nearest(str(home), others)}" if others else ""
    raise ConfigError(
        f"there is no data folder `{home}`{advice}. Name one with --home or INTELLIROUTER_HOME, or make it"
        f" with `intellirouter init --home {home}`"
    )


def _data_folders(parent: Path) -> Iterator[Path]:
    try:
        folders = sorted(path for path in parent.iterdir() if path.is_dir())
    except OSError:  # it does not exist, or may not be listed
        return
    for folder in folders[:1000]:
        if any((folder / mark).exists() for mark in MARKS):
            yield folder
