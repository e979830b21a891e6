"""Where `limits.yaml` comes from: the data folder's file, or another `LimitsSource`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from router.files import version_of
from router.limits.book import LimitBook

if TYPE_CHECKING:
    from pathlib import Path


class LimitsSource(Protocol):
    """The limits and budgets in force."""

    @property
    def home(self) -> Path:
        """The data folder, where reservations are logged."""

    def version(self) -> object:
        """Changes when `load` would return something else. It is cheap enough to read every second."""

    def load(self) -> LimitBook:
        """The book now. ConfigError when it is not usable."""


class FileOfLimits:
    """A LimitsSource on the file, which may be missing."""

    def __init__(self, path: Path) -> None:
        self.home = path.parent
        self._path = path

    def version(self) -> object:
        """See LimitsSource."""
        return version_of(self._path)

    def load(self) -> LimitBook:
        """See LimitsSource."""
        return LimitBook.load(self._path)
