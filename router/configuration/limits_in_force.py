"""The limits among the documents in force, for a router whose documents are not files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.configuration.documents import LIMITS
from router.documents import parse_yaml
from router.limits.book import LimitBook, LimitsFile

if TYPE_CHECKING:
    from pathlib import Path

    from router.configuration.source import StateSource


class LimitsInForce:
    """A LimitsSource on a StateSource."""

    def __init__(self, source: StateSource, home: Path) -> None:
        self.home = home
        self._source = source

    def version(self) -> object:
        """See LimitsSource."""
        return self._source.read().get(LIMITS)

    def load(self) -> LimitBook:
        """See LimitsSource."""
        content = self._source.read().get(LIMITS)
        return (
            LimitBook() if content is None else LimitBook(parse_yaml(content, LimitsFile, self.home / LIMITS))
        )
