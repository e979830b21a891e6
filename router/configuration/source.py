"""`StateSource`: where the documents lie, and the append-only history of their versions.

A version is one set of documents that was in force. Its number is its parent's plus one, so a history has
no gaps and no branches. A change names the version that it was made from, and is refused if another one
was added since (`ConfigConflictError`). A change is atomic: after a kill at any point, the documents and
the newest version are both the old ones or both the new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

from router.configuration.documents import digests_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.configuration.documents import Documents

Origin = Literal["edited", "applied", "rolled_back"]
"""How a version came about: found in the files, `config apply`, `config rollback`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One line of the history."""

    number: int
    parent: int | None
    """The version before. None for the first one."""
    environment: str
    """INTELLIROUTER_ENVIRONMENT of the process that added it."""
    author: str
    """The user who applied it. For `edited`: the owner of the last file that changed."""
    origin: Origin
    created_at: datetime
    """In UTC, and never before the parent's."""
    config_hash: str
    documents: Mapping[str, str]
    """The digest of each document, by name."""
    policies: Mapping[str, str]
    """The digest of each policy, by `id@version`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version before it has a number and a moment."""

    documents: Documents
    config_hash: str
    policies: Mapping[str, str]
    environment: str
    author: str
    origin: Origin

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each document, by name."""
        return digests_of(self.documents)

    def after(self, newest: Version | None, *, parent: int | None) -> Version:
        """The version that this draft becomes now, behind the newest one of the history."""
        now = datetime.now(UTC)
        return Version(
            number=(parent or 0) + 1,
            parent=parent,
            environment=self.environment,
            author=self.author,
            origin=self.origin,
            created_at=now if newest is None else max(now, newest.created_at),
            config_hash=self.config_hash,
            documents=self.digests,
            policies=dict(self.policies),
        )


class StateSource(Protocol):
    """The documents in force and their history. Safe for many processes and threads."""

    def revision(self) -> object:
        """Changes when `read` would return something else. It is cheap enough for every second."""

    def read(self) -> Documents:
        """The documents in force, unchecked, as one consistent set. A missing one has no entry.

        The price book may be the whole book, or the rows that the catalog uses.
        """

    def newest(self) -> Version | None:
        """The newest version. None without a history."""

    def versions(self) -> Sequence[Version]:
        """Every version, oldest first."""

    def document(self, digest: str) -> bytes:
        """The content of a document of any version. ConfigError if no version has it."""

    def note(self, draft: Draft, *, parent: int | None) -> Version:
        """Add a version for documents that are in force already, without a change to them.

        ConfigConflictError if `parent` is not the newest version.
        """

    def replace(self, draft: Draft, *, parent: int | None, base: Mapping[str, bytes]) -> Version:
        """Put the draft's edited documents into force, and add their version, atomically.

        ConfigConflictError if `parent` is not the newest version, or if the edited documents in force are
        no longer those of `base`.
        """

    def settle(self) -> None:
        """Finish a change that a killed process began. It costs nothing when there is none."""

    def forget(self, user: str) -> int:
        """Take a person's id out of every document of the history. Return how many held it.

        An erased document keeps its digest as its name, and its content no longer matches it.
        """

    def close(self) -> None:
        """Close connections. A second call does nothing."""
