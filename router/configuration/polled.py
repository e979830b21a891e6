"""A StateSource in PostgreSQL as a router uses it: reads come from memory, and changes go to the server.

A thread asks for the newest version (`router.stores.polling`), so neither a request nor the refresh of
the router waits for PostgreSQL. A router that starts while it is away uses the copy in the data folder.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from router.configuration.copies import write_documents
from router.configuration.database import Snapshot
from router.configuration.documents import CATALOG
from router.configuration.source import Version
from router.errors import ConfigError
from router.stores.polling import Polled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from router.configuration.database import StateDatabase
    from router.configuration.documents import Documents
    from router.configuration.source import Draft

logger = logging.getLogger("router")

COPY = "state.json"


class PolledState:
    """See the module."""

    def __init__(self, database: StateDatabase, folder: Path, *, interval_s: float) -> None:
        """`folder` holds the copy. ConfigError if the server is away and there is no copy."""
        self._database = database
        self._folder = folder
        self._polled: Polled[Snapshot] = Polled(
            self._fetch,
            what="documents",
            copy=folder / COPY,
            identity=database.database.identity,
            pack=_pack,
            unpack=_unpack,
            interval_s=interval_s,
        )

    def listen(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` after each change, from the thread that asks."""
        self._polled.on_change = on_change

    @property
    def error(self) -> ConfigError | None:
        """Why the documents may be old, and how old they are. None while the server confirms them."""
        return self._polled.error

    def revision(self) -> object:
        """See StateSource. Without a call."""
        return self._polled.revision

    def read(self) -> Documents:
        """See StateSource. ConfigError for a database without a catalog."""
        documents = self._polled.value.documents
        if CATALOG not in documents:
            raise ConfigError(
                f"the database `{self._database.database.name}` holds no catalog: `intellirouter config push`"
                " copies the documents of the data folder into it"
            )
        return dict(documents)

    def newest(self) -> Version | None:
        """See StateSource."""
        versions = self._polled.value.versions
        return versions[-1] if versions else None

    def versions(self) -> Sequence[Version]:
        """See StateSource."""
        return self._polled.value.versions

    def document(self, digest: str) -> bytes:
        """See StateSource. Documents of older versions are read from the server."""
        found = self._polled.value.contents.get(digest)
        return self._database.document(digest) if found is None else found

    def note(self, draft: Draft, *, parent: int | None) -> Version:
        """See StateSource."""
        if self._polled.error is not None:
            raise self._polled.error
        try:
            return self._database.note(draft, parent=parent)
        finally:
            self._polled.poll()  # the next look must see the newest version

    def replace(self, draft: Draft, *, parent: int | None, base: Mapping[str, bytes]) -> Version:
        """See StateSource."""
        try:
            return self._database.replace(draft, parent=parent, base=base)
        finally:
            self._polled.poll()

    def settle(self) -> None:
        """See StateSource."""

    def forget(self, user: str) -> int:
        """See StateSource."""
        try:
            return self._database.forget(user)
        finally:
            self._polled.poll()

    def _fetch(self, revision: object, known: Snapshot | None) -> tuple[object, Snapshot]:
        """Ask the server, and bring the files for jobs and reports up to date."""
        now, snapshot = self._database.fetch(revision, known)
        if snapshot is not known:
            try:
                write_documents(self._folder, snapshot.documents)
            except OSError as error:
                logger.warning("the copies of the documents were not written: %s", error)
        return now, snapshot

    def close(self) -> None:
        """Stop to ask, and close the connections."""
        self._polled.close()
        self._database.close()


def _pack(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "documents": _packed(snapshot.documents),
        "versions": [asdict(version) for version in snapshot.versions],
        "contents": _packed(snapshot.contents),
    }


def _unpack(kept: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        documents=_unpacked(kept["documents"]),
        versions=tuple(
            Version(**{**row, "created_at": datetime.fromisoformat(row["created_at"])})
            for row in kept["versions"]
        ),
        contents=_unpacked(kept["contents"]),
    )


def _packed(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in contents.items()}


def _unpacked(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: base64.b64decode(text, validate=True) for name, text in texts.items()}
