"""A StateSource of each kind, with a usable set of documents in force.

Another implementation joins the contract suite with a class that has these three methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from router.config import Settings
from router.configuration.folder import StateFolder
from router.configuration.opening import open_source_database
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.configuration.database import StateDatabase
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


class InDatabase:
    """A PostgreSQL database. Close it."""

    def __init__(self, home: Path, url: str) -> None:
        variables = {"INTELLIROUTER_ENVIRONMENT": "test", "DATABASE_URL": url}
        self.settings = Settings.load(variables, home=home)
        self._opened: list[StateDatabase] = []
        write_catalog(home)
        self.edit("catalog.yaml", (home / "catalog.yaml").read_text())

    def source(self) -> StateDatabase:
        """See Place."""
        self._opened.append(open_source_database(self.settings))
        return self._opened[-1]

    def edit(self, name: str, content: str | None) -> None:
        """See Place."""
        self.source().edit(name, None if content is None else content.encode())

    def close(self) -> None:
        """Close the connections of every source."""
        for source in self._opened:
            source.database.close()


@pytest.fixture(params=["folder", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each kind of StateSource."""
    if request.param == "folder":
        yield Folder(tmp_path / "home")
        return
    found = InDatabase(tmp_path / "home", request.getfixturevalue("postgres_url"))
    yield found
    found.close()
