"""Opens the StateSource that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.configuration.folder import StateFolder

if TYPE_CHECKING:
    from router.config import Settings
    from router.configuration.source import StateSource


def open_source(settings: Settings) -> StateSource:
    """The data folder's documents and their history."""
    return StateFolder(settings.home)
