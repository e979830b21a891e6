"""A StateSource in PostgreSQL, for routers on several machines.

A change is one transaction under an advisory lock: the documents, their contents and the version's line
are there together, or not at all. The documents in force have a table of their own, so that a price book
can follow them without a change of version numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from router.configuration.documents import EDITED, PRICES, Documents, digest_of
from router.configuration.forgetting import without
from router.configuration.source import Version
from router.errors import ConfigConflictError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from router.configuration.source import Draft
    from router.stores.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a router needs, as of one moment."""

    documents: Documents
    """In force."""
    versions: tuple[Version, ...]
    contents: Mapping[str, bytes]
    """The documents of the newest version, by digest."""


class StateDatabase:
    """See the module."""

    def __init__(self, database: Database) -> None:
        import sqlalchemy
        from sqlalchemy.dialects.postgresql import insert

        from router.stores import tables

        self.database = database
        self._sa = sqlalchemy
        self._insert = insert
        self._tables = tables

    def revision(self) -> object:
        """See StateSource."""
        with self.database.transaction() as connection:
            return self._revision(connection)

    def read(self) -> Documents:
        """See StateSource."""
        with self.database.transaction() as connection:
            return self._in_force(connection)

    def newest(self) -> Version | None:
        """See StateSource."""
        with self.database.transaction() as connection:
            return self._newest(connection)

    def versions(self) -> Sequence[Version]:
        """See StateSource."""
        with self.database.transaction() as connection:
            return self._versions(connection)

    def document(self, digest: str) -> bytes:
        """See StateSource."""
        with self.database.transaction() as connection:
            return self._document(connection, digest)

    def note(self, draft: Draft, *, parent: int | None) -> Version:
        """See StateSource."""
        with self.database.transaction(is_change=True) as connection:
            self._require(connection, parent)
            return self._add(connection, draft, parent)

    def replace(self, draft: Draft, *, parent: int | None, base: Mapping[str, bytes]) -> Version:
        """See StateSource. The price book follows the draft, if it holds one."""
        with self.database.transaction(is_change=True) as connection:
            self._require(connection, parent)
            now = self._in_force(connection)
            for name in EDITED:
                if now.get(name) != base.get(name):
                    raise ConfigConflictError(
                        f"`{name}` was edited meanwhile: look at it, and apply your change again",
                        expected=parent,
                        newest=parent,
                    )
            self._put(connection, now, draft.documents)
            return self._add(connection, draft, parent)

    def settle(self) -> None:
        """See StateSource. A transaction leaves nothing to finish."""

    def forget(self, user: str) -> int:
        """See StateSource."""
        table = self._tables.contents
        changed = 0
        with self.database.transaction(is_change=True) as connection:
            for digest, content in connection.execute(self._sa.select(table.c.digest, table.c.content)):
                erased = without(bytes(content), user)
                if erased is not None:
                    connection.execute(
                        table.update().where(table.c.digest == digest).values(content=erased, is_erased=True)
                    )
                    changed += 1
        return changed

    def close(self) -> None:
        """See StateSource."""
        self.database.close()

    def adopt(
        self, versions: Sequence[Version], document: Callable[[str], bytes], in_force: Documents
    ) -> int:
        """Copy a whole history and the documents in force into an empty database. Return its length."""
        with self.database.transaction(is_change=True) as connection:
            self._require(connection, None)
            for digest in sorted({digest for version in versions for digest in version.documents.values()}):
                content = document(digest)
                statement = self._insert(self._tables.contents).values(
                    digest=digest, content=content, is_erased=digest_of(content) != digest
                )
                connection.execute(statement.on_conflict_do_nothing())
            for version in versions:
                connection.execute(self._tables.versions.insert().values(**_row(version)))
            for name, content in in_force.items():
                self._upsert(connection, name, content)
        return len(versions)

    def put_prices(self, content: bytes) -> None:
        """Replace the price book in force. Routers add the version that follows from it."""
        with self.database.transaction(is_change=True) as connection:
            self._upsert(connection, PRICES, content)

    def edit(self, name: str, content: bytes | None) -> None:
        """Replace or remove a document in force without a version, as an editor of the table does."""
        with self.database.transaction(is_change=True) as connection:
            if content is None:
                table = self._tables.in_force
                connection.execute(table.delete().where(table.c.name == name))
            else:
                self._upsert(connection, name, content)

    def fetch(self, revision: object, known: Snapshot | None) -> tuple[object, Snapshot]:
        """The revision and the snapshot now. The known one if nothing changed since its revision."""
        with self.database.transaction() as connection:
            now = (self._revision(connection), self._number(connection))
            if known is not None and now == revision:
                return revision, known
            versions = self._versions(connection)
            digests = set(versions[-1].documents.values()) if versions else set()
            kept = (
                {}
                if known is None
                else {digest: content for digest, content in known.contents.items() if digest in digests}
            )
            missing = {digest: self._document(connection, digest) for digest in sorted(digests - kept.keys())}
            return now, Snapshot(
                documents=self._in_force(connection), versions=versions, contents=kept | missing
            )

    def _revision(self, connection: sa.Connection) -> tuple[tuple[str, str], ...]:
        table = self._tables.in_force
        rows = connection.execute(
            self._sa.select(table.c.name, self._tables.row_version(table)).order_by(table.c.name)
        )
        return tuple((name, version) for name, version in rows)

    def _in_force(self, connection: sa.Connection) -> Documents:
        table = self._tables.in_force
        rows = connection.execute(self._sa.select(table.c.name, table.c.content))
        return {name: bytes(content) for name, content in rows if name in (*EDITED, PRICES)}

    def _number(self, connection: sa.Connection) -> int | None:
        table = self._tables.versions
        number: int | None = connection.execute(self._sa.select(self._sa.func.max(table.c.number))).scalar()
        return number

    def _newest(self, connection: sa.Connection) -> Version | None:
        table = self._tables.versions
        row = connection.execute(
            self._sa.select(table).order_by(table.c.number.desc()).limit(1)
        ).one_or_none()
        return None if row is None else _version(row._asdict())

    def _versions(self, connection: sa.Connection) -> tuple[Version, ...]:
        table = self._tables.versions
        rows = connection.execute(self._sa.select(table).order_by(table.c.number))
        return tuple(_version(row._asdict()) for row in rows)

    def _document(self, connection: sa.Connection, digest: str) -> bytes:
        table = self._tables.contents
        row = connection.execute(
            self._sa.select(table.c.content, table.c.is_erased).where(table.c.digest == digest)
        ).one_or_none()
        if row is None:
            raise ConfigError(f"the history holds no document `{digest:.80}`: restore it from a backup")
        content = bytes(row.content)
        if not row.is_erased and digest_of(content) != digest:
            raise ConfigError(
                f"the document `{digest}` of `{self.database.name}` does not match its own digest: restore"
                " it from a backup"
            )
        return content

    def _require(self, connection: sa.Connection, parent: int | None) -> None:
        number = self._number(connection)
        if number != parent:
            raise ConfigConflictError(
                f"the configuration is at version `{number or 0}`, and your change was made from version"
                f" `{parent or 0}`: look at `intellirouter config history`, and make the change again",
                expected=parent,
                newest=number,
            )

    def _put(self, connection: sa.Connection, now: Documents, wanted: Mapping[str, bytes]) -> None:
        for name in (*EDITED, PRICES):
            if name in wanted:
                # A version holds only the prices in use: they must not replace the whole book.
                is_new = PRICES not in now if name == PRICES else now.get(name) != wanted[name]
                if is_new:
                    self._upsert(connection, name, wanted[name])
            elif name in now and name in EDITED:
                table = self._tables.in_force
                connection.execute(table.delete().where(table.c.name == name))

    def _upsert(self, connection: sa.Connection, name: str, content: bytes) -> None:
        statement = self._insert(self._tables.in_force).values(name=name, content=content)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"content": content})
        )

    def _add(self, connection: sa.Connection, draft: Draft, parent: int | None) -> Version:
        version = draft.after(self._newest(connection), parent=parent)
        self._keep(connection, draft.documents.values())
        connection.execute(self._tables.versions.insert().values(**_row(version)))
        return version

    def _keep(self, connection: sa.Connection, contents: Iterable[bytes]) -> None:
        for content in contents:
            statement = self._insert(self._tables.contents).values(
                digest=digest_of(content), content=content, is_erased=False
            )
            # A document that was erased, and is in force again, has its content again.
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["digest"], set_={"content": content, "is_erased": False}
                )
            )


def _row(version: Version) -> dict[str, Any]:
    return {
        "number": version.number,
        "parent": version.parent,
        "environment": version.environment,
        "author": version.author,
        "origin": version.origin,
        "created_at": version.created_at,
        "config_hash": version.config_hash,
        "documents": dict(version.documents),
        "policies": dict(version.policies),
    }


def _version(row: Mapping[str, Any]) -> Version:
    return Version(
        number=row["number"],
        parent=row["parent"],
        environment=row["environment"],
        author=row["author"],
        origin=row["origin"],
        created_at=row["created_at"].astimezone(UTC),
        config_hash=row["config_hash"],
        documents=row["documents"],
        policies=row["policies"],
    )
