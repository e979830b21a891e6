"""`push` and `pull`: the documents and their history, and the keys, between the data folder and PostgreSQL.

An empty destination gets the whole history, so that the `config_hash` of every older record resolves
there too. A destination with a history of its own gets the documents as its next version. A key that is
revoked on either side stays revoked, and a key that only the destination has stays there.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.configuration.changing import apply
from router.configuration.copies import write_documents
from router.configuration.documents import EDITED, PRICES
from router.configuration.folder import StateFolder
from router.configuration.opening import open_source_database
from router.configuration.watching import look
from router.errors import ConfigConflictError, ConfigError
from router.files import locked, make_folder, write_atomically
from router.keys import audit_trail
from router.keys.keys import KeyFile
from router.keys.opening import open_key_database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router.config import Settings
    from router.configuration.database import StateDatabase
    from router.configuration.documents import Documents
    from router.configuration.source import Version
    from router.keys.keys import KeyEntry, KeyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The result of a push or a pull."""

    version: Version
    """The destination's newest version, which has the documents."""
    versions: int
    """Versions of the history that were copied. 0 where the destination has a history of its own."""
    keys: int
    """Keys that were added or changed."""


def push(settings: Settings, *, author: str | None = None, is_forced: bool = False) -> Moved:
    """Copy the data folder's documents, history and keys into the database.

    ConfigConflictError if the database has documents that the folder never had, unless `is_forced`.
    """
    folder, database = StateFolder(settings.home), open_source_database(settings)
    try:
        folder.settle()
        seen = look(folder, settings)
        if seen.deciding is None and seen.fault is not None:
            raise seen.fault
        if seen.history_error is not None:
            raise seen.history_error
        copied = 0
        newest = database.newest()
        if newest is not None and not is_forced:
            _require_known(newest, folder.versions())
        if newest is None:
            copied = database.adopt(folder.versions(), folder.document, seen.raw)
        elif PRICES in seen.raw:
            database.put_prices(seen.raw[PRICES])
        changes = {name: seen.raw.get(name) for name in EDITED}
        version = apply(database, settings, changes, author=author)
    finally:
        database.database.close()
    keys = open_key_database(settings)
    try:
        return Moved(version=version, versions=copied, keys=_move_keys(KeyFile(settings.keys_file), keys))
    finally:
        keys.close()


def pull(settings: Settings, *, author: str | None = None) -> Moved:
    """Copy the database's documents, history, keys and changes of keys into the data folder."""
    folder, database = StateFolder(settings.home), open_source_database(settings)
    try:
        documents = database.read()
        if database.newest() is None and not documents:
            raise ConfigError(
                f"the database `{database.database.name}` holds no configuration: `intellirouter config push`"
                " copies the data folder's into it"
            )
        make_folder(settings.home)
        copied = _prepare(folder, database, documents, settings)
        changes = {name: documents.get(name) for name in EDITED}
        version = apply(folder, settings, changes, author=author)
    finally:
        database.database.close()
    keys = open_key_database(settings)
    try:
        moved = _move_keys(keys, KeyFile(settings.keys_file))
        with locked(settings.compliance_file):
            audit_trail.write(settings.compliance_file, keys.events())
        return Moved(version=version, versions=copied, keys=moved)
    finally:
        keys.close()


def save(settings: Settings, folder: Path) -> bool:
    """Write the database's documents, history and keys as files into an empty folder. False: it has none.

    The trail there has the changes of keys on every machine.
    """
    with closing(open_source_database(settings)) as database:
        _, snapshot = database.fetch(None, None)
        write_documents(folder, snapshot.documents)
        if snapshot.versions:
            StateFolder(folder).adopt(snapshot.versions, database.document)
    with closing(open_key_database(settings)) as keys:
        copy = KeyFile(folder / settings.keys_file.name)
        is_empty = not (_move_keys(keys, copy) or snapshot.documents)
        audit_trail.write(copy.trail, keys.events())
    return not is_empty


def _require_known(newest: Version, own: Sequence[Version]) -> None:
    """A push must not take back a change that was made on the database."""

    def edited(version: Version) -> dict[str, str]:
        return {name: digest for name, digest in version.documents.items() if name in EDITED}

    if edited(newest) not in map(edited, own):
        raise ConfigConflictError(
            f"version `{newest.number}` of the database has documents that the data folder never had:"
            " `intellirouter config pull` brings them, and `config push --force` replaces them",
            expected=own[-1].number if own else None,
            newest=newest.number,
        )


def _prepare(folder: StateFolder, database: StateDatabase, documents: Documents, settings: Settings) -> int:
    """Note the folder's own documents. A folder without any gets the history: return its length."""
    folder.settle()
    own = folder.read()
    if own:
        seen = look(folder, settings)
        if folder.newest() is None:
            raise seen.fault or ConfigError(f"the documents in `{settings.home}` cannot be noted: move them")
    if PRICES in documents:
        _write(settings.home / PRICES, documents[PRICES])
    if own or folder.newest() is not None:
        return 0
    for name in EDITED:
        if name in documents:
            _write(settings.home / name, documents[name])
    versions = database.versions()
    folder.adopt(versions, database.document)
    return len(versions)


def _write(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    write_atomically(path, content)


def _move_keys(source: KeyStore, destination: KeyStore) -> int:
    coming = {entry.id: entry for entry in source.read().keys}
    if not coming:
        return 0
    with destination.held() as held:
        before = {entry.id: entry for entry in held.entries}
        after = before | {key_id: _newer(before.get(key_id), entry) for key_id, entry in coming.items()}
        changed = sum(before.get(key_id) != entry for key_id, entry in after.items())
        if changed:
            held.write(tuple(after.values()))
    return changed


def _newer(old: KeyEntry | None, new: KeyEntry) -> KeyEntry:
    if old is None or old.revoked_at is None:
        return new
    return new.model_copy(update={"revoked_at": min(old.revoked_at, new.revoked_at or old.revoked_at)})
