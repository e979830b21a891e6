"""Keys in PostgreSQL, so that a key made or revoked on one machine holds on the others."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from router.errors import ConfigError
from router.keys import audit_trail
from router.keys.keys import KeyEntry, KeyRing, KeysFile
from router.stores.polling import Polled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from router.keys.audit_trail import AuditEvent
    from router.stores.database import Database

COPY = "keys.json"


class KeyDatabase:
    """A KeyStore on the table of keys."""

    def __init__(self, database: Database, trail: Path) -> None:
        """`trail` is the audit trail of this machine."""
        import sqlalchemy
        from sqlalchemy.dialects.postgresql import insert

        from router.stores import tables

        self.database = database
        self.trail = trail
        self._sa = sqlalchemy
        self._insert = insert
        self._tables = tables

    def __str__(self) -> str:
        return self.database.name

    def load(self) -> KeyRing:
        """See KeySource."""
        return KeyRing(self.read())

    def version(self) -> object:
        """See KeySource."""
        with self.database.transaction() as connection:
            return self._version(connection)

    def read(self) -> KeysFile:
        """See KeyStore."""
        with self.database.transaction() as connection:
            return self._read(connection)

    def catalog(self) -> bytes:
        """The catalog in force, whose models a key may name. ConfigError if there is none."""
        table = self._tables.in_force
        with self.database.transaction() as connection:
            content = connection.execute(
                self._sa.select(table.c.content).where(table.c.name == "catalog.yaml")
            ).scalar()
        if content is None:
            raise ConfigError(
                f"the database `{self.database.name}` holds no catalog: `intellirouter config push` copies"
                " the documents of the data folder into it"
            )
        return bytes(content)

    def events(self) -> list[AuditEvent]:
        """See KeyStore."""
        own = {event.id: event for event in audit_trail.read_events(self.trail)}
        with self.database.transaction() as connection:
            shared = {event.id: event for event in self._events(connection)}
        return sorted((own | shared).values(), key=lambda event: event.id)

    def forget(self, user: str, organization: str | None = None) -> None:
        """See KeyStore."""
        audit_trail.forget(self.trail, user, organization=organization)
        table = self._tables.key_events
        with self.database.transaction(is_change=True) as connection:
            for event in self._events(connection):
                kept = audit_trail.without(event, user, organization)
                if kept != event:
                    statement = table.update().where(table.c.id == event.id)
                    connection.execute(statement.values(event=_row(kept)))

    def close(self) -> None:
        """See KeyStore."""
        self.database.close()

    @contextmanager
    def held(self) -> Iterator[HeldKeys]:
        """See KeyStore."""
        with self.database.transaction(is_change=True) as connection:
            yield HeldKeys(self, connection)

    def fetch(self, revision: object, known: KeysFile | None) -> tuple[object, KeysFile]:
        """The version and the keys now. The known ones if nothing changed since their version."""
        with self.database.transaction() as connection:
            now = self._version(connection)
            if known is not None and now == revision:
                return revision, known
            return now, self._read(connection)

    def _version(self, connection: sa.Connection) -> tuple[tuple[str, str], ...]:
        table = self._tables.keys
        rows = connection.execute(
            self._sa.select(table.c.id, self._tables.row_version(table)).order_by(table.c.id)
        )
        return tuple((key_id, version) for key_id, version in rows)

    def _events(self, connection: sa.Connection) -> list[AuditEvent]:
        rows = connection.execute(self._sa.select(self._tables.key_events.c.event))
        return [audit_trail.event_of(event) for (event,) in rows]

    def _note(self, connection: sa.Connection, event: AuditEvent) -> None:
        connection.execute(self._insert(self._tables.key_events).values(id=event.id, event=_row(event)))

    def _read(self, connection: sa.Connection) -> KeysFile:
        table = self._tables.keys
        rows = connection.execute(self._sa.select(table.c.entry).order_by(table.c.created_at, table.c.id))
        return parse([entry for (entry,) in rows], self.database.name)

    def _write(self, connection: sa.Connection, entries: Sequence[KeyEntry]) -> None:
        table = self._tables.keys
        before = {entry.id: entry for entry in self._read(connection).keys}
        for entry in entries:
            if before.get(entry.id) != entry:
                content = entry.model_dump(mode="json", exclude_none=True)
                statement = self._insert(table).values(
                    id=entry.id, created_at=entry.created_at, entry=content
                )
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["id"], set_={"entry": content})
                )
        gone = before.keys() - {entry.id for entry in entries}
        if gone:
            connection.execute(table.delete().where(table.c.id.in_(sorted(gone))))


class HeldKeys:
    """The keys while no other process changes them."""

    def __init__(self, store: KeyDatabase, connection: sa.Connection) -> None:
        self._store = store
        self._connection = connection
        self.entries = store._read(connection).keys

    def write(self, entries: Sequence[KeyEntry], event: AuditEvent | None = None) -> None:
        """See Held."""
        self._store._write(self._connection, entries)
        if event is not None:
            self._store._note(self._connection, event)
        self._connection.commit()


class PolledKeys:
    """A KeySource in memory: a thread asks PostgreSQL, and a copy serves starts without it."""

    def __init__(self, store: KeyDatabase, folder: Path, *, interval_s: float) -> None:
        """`folder` holds the copy. ConfigError if the server is away and there is no copy."""
        self._store = store
        self._polled: Polled[KeysFile] = Polled(
            store.fetch,
            what="keys",
            copy=folder / COPY,
            identity=store.database.identity,
            pack=lambda file: [entry.model_dump(mode="json", exclude_none=True) for entry in file.keys],
            unpack=lambda rows: parse(rows, store.database.name),
            interval_s=interval_s,
        )
        self._has_loaded = False

    def load(self) -> KeyRing:
        """See KeySource. Without a call."""
        self._has_loaded = True
        return KeyRing(self._polled.value)

    def version(self) -> object:
        """See KeySource. Without a call. ConfigError while the server is away, once keys are loaded."""
        if self._has_loaded and (error := self._polled.error) is not None:
            raise error
        return self._polled.revision

    def close(self) -> None:
        """Stop to ask, and close the connections."""
        self._polled.close()
        self._store.database.close()


def _row(event: AuditEvent) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(orjson.dumps(event))
    return row


def parse(rows: Sequence[Any], name: str) -> KeysFile:
    """Keys from their rows. ConfigError, which never repeats a value of them, when one is not usable."""
    fault = ""
    try:
        return KeysFile(keys=tuple(KeyEntry.model_validate(row, strict=False) for row in rows))
    except ValidationError as error:
        fault = ".".join(str(part) for part in error.errors()[0]["loc"])
    raise ConfigError(f"the keys in `{name}` are not usable at `{fault}`: restore them from a backup")
