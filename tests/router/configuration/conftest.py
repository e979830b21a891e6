"""A StateSource of each kind, with a usable set of documents in force.

Another implementation joins the contract suite with a class that has these three methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from router.config import Settings
from router.configuration.folder import StateFolder
from tests.factories import write_catalog

if TYPE_CHECKING:
    from pathlib import Path

    from router.configuration.source import StateSource


class Place(Protocol):
    """Where documents lie, for tests."""

    settings: Settings

    def source(self) -> StateSource:
        """A new StateSource on the place, as another process would open it."""

    def edit(self, name: str, content: str | None) -> None:
        """Change a document as a person does, without the history. None removes it."""


class Folder:
    """A data folder."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings.load({"INTELLIROUTER_ENVIRONMENT": "test"}, home=home)
        write_catalog(home)

    def source(self) -> StateFolder:
        """See Place."""
        return StateFolder(self.settings.home)

    def edit(self, name: str, content: str | None) -> None:
        """See Place."""
        path = self.settings.home / name
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)


@pytest.fixture(params=["folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each kind of StateSource."""
    return Folder(tmp_path / "home")
