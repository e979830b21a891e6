"""A StateSource on the data folder: the files that people edit, and their history next to them.

    catalog.yaml, policies.yaml, …    the documents, as people edit them
    configuration/history.jsonl       one Version a line, oldest first; lines are only added
    configuration/documents/<digest>  the content of every document of every version
    configuration/applying.json       a change whose files are not all written yet

The line of the history is the moment of a change. A change writes its documents, then `applying.json`,
then its line, then the files, and removes `applying.json` last. Before the line, everything is old. After
it, a reader takes the documents that `applying.json` lists from the history, so everything is new. The
next process that may write puts the files in place (`settle`). It leaves a file that was edited meanwhile.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from router.configuration.documents import EDITED, PRICES, Documents, digest_of
from router.configuration.forgetting import without
from router.configuration.source import Version
from router.errors import ConfigConflictError, ConfigError
from router.files import (
    TEMPORARY_PREFIX,
    append_lines,
    locked,
    make_folder,
    read_document,
    sync_folder,
    version_of,
    whole_lines,
    write_atomically,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from router.configuration.source import Draft

MAX_READS = 100
"""Reads of a set of files that change meanwhile, before the reader gives up."""
OWNER_ONLY = 0o600


class StateFolder:
    """See the module. Many processes and threads may use one folder."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._files = {name: home / name for name in (*EDITED, PRICES)}
        self._folder = home / "configuration"
        self._history = self._folder / "history.jsonl"
        self._applying = self._folder / "applying.json"
        self._known: tuple[object, tuple[Version, ...]] = (None, ())

    # The protocol. See StateSource.

    def revision(self) -> object:
        """See StateSource."""
        applying = _mark_of(self._applying)
        files = tuple(map(version_of, self._files.values()))
        return files, applying, None if applying is None else _mark_of(self._history)

    def read(self) -> Documents:
        """See StateSource."""
        for _ in range(MAX_READS):
            before = self._mark()
            change = self._committed()
            documents = self._read_files()
            for name, (base, digest) in change.items():
                if _digest(documents.get(name)) == base:
                    _put(documents, name, None if digest is None else self.document(digest))
            if self._mark() == before:
                return documents
        raise ConfigError(
            f"the configuration in `{self._home}` changes faster than it can be read: try again"
        )

    def newest(self) -> Version | None:
        """See StateSource."""
        versions = self.versions()
        return versions[-1] if versions else None

    def versions(self) -> Sequence[Version]:
        """See StateSource."""
        mark = _mark_of(self._history)
        known, versions = self._known
        if mark is None or mark != known:
            versions = tuple(self._parsed())
            self._known = (mark, versions)
        return versions

    def document(self, digest: str) -> bytes:
        """See StateSource."""
        for path in (self._place(digest), self._erased_place(digest)):
            with suppress(FileNotFoundError):
                content = path.read_bytes()
                if path.suffix or digest_of(content) == digest:
                    return content
                raise ConfigError(f"`{path}` does not match its own digest: restore the file from a backup")
        raise ConfigError(f"the history holds no document `{digest:.80}`: restore it from a backup")

    def note(self, draft: Draft, *, parent: int | None) -> Version:
        """See StateSource."""
        with self._locked():
            self._require(parent)
            self._keep(draft.documents.values())
            return self._add(draft, parent)

    def replace(self, draft: Draft, *, parent: int | None, base: Mapping[str, bytes]) -> Version:
        """See StateSource."""
        with self._locked():
            self._require(parent)
            now = self._read_files()
            for name in EDITED:
                if now.get(name) != base.get(name):
                    raise ConfigConflictError(
                        f"`{name}` was edited meanwhile: look at it, and apply your change again",
                        expected=parent,
                        newest=parent,
                    )
            self._keep(draft.documents.values())
            changed = {
                name: (_digest(now.get(name)), _digest(draft.documents.get(name)))
                for name in EDITED
                if now.get(name) != draft.documents.get(name)
            }
            number = (parent or 0) + 1
            write_atomically(self._applying, orjson.dumps({"version": number, "documents": changed}))
            version = self._add(draft, parent)
            self._settle()
            return version

    def forget(self, user: str) -> int:
        """See StateSource."""
        changed = 0
        with self._locked():
            for path in sorted(self._documents()):
                erased = without(path.read_bytes(), user)
                if erased is not None:
                    digest = path.name.partition(".")[0]
                    write_atomically(self._erased_place(digest), erased, mode=OWNER_ONLY)
                    if path != self._erased_place(digest):
                        path.unlink()
                        sync_folder(path.parent)
                    changed += 1
        return changed

    def settle(self) -> None:
        """Finish a change that a killed process began. Any process may call this at any time."""
        if self._applying.exists():
            with suppress(PermissionError), self._locked():
                pass  # the lock settles

    def close(self) -> None:
        """See StateSource. A folder has no connections."""

    def adopt(self, versions: Sequence[Version], document: Callable[[str], bytes]) -> None:
        """Copy a whole history into a folder without one. The documents in force stay as they are."""
        with self._locked():
            self._require(None)
            folder = self._folder / "documents"
            make_folder(folder)
            for digest in sorted({digest for version in versions for digest in version.documents.values()}):
                content = document(digest)
                is_whole = digest_of(content) == digest
                path = self._place(digest) if is_whole else self._erased_place(digest)
                write_atomically(path, content, mode=OWNER_ONLY)
            lines = b"".join(orjson.dumps(asdict(version)) + b"\n" for version in versions)
            write_atomically(self._history, lines, mode=OWNER_ONLY)

    # Its parts.

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self._history):
            self._settle()
            yield

    def _settle(self) -> None:
        """Under the lock: put the files of a change in place, or forget a change without a line."""
        if not self._applying.exists():
            return
        for name, (base, digest) in self._committed().items():
            path = self._files[name].resolve()  # a link stays one
            if _digest(_content(path)) != base:
                continue
            if digest is None:
                path.unlink()
                sync_folder(path.parent)
            else:
                mode = path.stat().st_mode & 0o777 if path.exists() else None
                write_atomically(path, self.document(digest), mode=mode)
        self._applying.unlink()
        sync_folder(self._folder)

    def _committed(self) -> dict[str, tuple[str | None, str | None]]:
        """(Digest before, digest after) of each document of a change that has its line."""
        content = _content(self._applying)
        if content is None:
            return {}
        change = orjson.loads(content)
        newest = self.newest()
        if newest is None or newest.number < change["version"]:
            return {}
        return {name: (base, digest) for name, (base, digest) in change["documents"].items()}

    def _mark(self) -> object:
        return _mark_of(self._applying), _mark_of(self._history)

    def _read_files(self) -> Documents:
        documents: Documents = {}
        for name, path in self._files.items():
            _put(documents, name, _content(path))
        return documents

    def _require(self, parent: int | None) -> None:
        newest = self.newest()
        number = None if newest is None else newest.number
        if number != parent:
            raise ConfigConflictError(
                f"the configuration is at version `{number or 0}`, and your change was made from version"
                f" `{parent or 0}`: look at `intellirouter config history`, and make the change again",
                expected=parent,
                newest=number,
            )

    def _keep(self, contents: Iterable[bytes]) -> None:
        """Put documents on disk that are not there yet."""
        folder = self._folder / "documents"
        make_folder(folder)
        new = False
        for content in contents:
            path = self._place(digest_of(content))
            if _content(path) != content:
                temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
                with temporary.open("wb") as file:
                    os.fchmod(file.fileno(), OWNER_ONLY)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
                new = True
        if new:
            sync_folder(folder)

    def _add(self, draft: Draft, parent: int | None) -> Version:
        version = draft.after(self.newest(), parent=parent)
        size = len(whole_lines(_content(self._history) or b""))
        append_lines(self._history, orjson.dumps(asdict(version)) + b"\n", after=size, mode=OWNER_ONLY)
        return version

    def _parsed(self) -> Iterator[Version]:
        content = _content(self._history) or b""
        for number, line in enumerate(whole_lines(content).splitlines(), 1):
            try:
                raw = orjson.loads(line)
                yield Version(**{**raw, "created_at": datetime.fromisoformat(raw["created_at"])})
            except (ValueError, TypeError, KeyError) as error:
                raise ConfigError(
                    f"line `{number}` of `{self._history}` is not a version: restore the file from a backup"
                ) from error

    def _documents(self) -> list[Path]:
        folder = self._folder / "documents"
        if not folder.is_dir():
            return []
        return [path for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)]

    def _place(self, digest: str) -> Path:
        return self._folder / "documents" / digest

    def _erased_place(self, digest: str) -> Path:
        return self._folder / "documents" / f"{digest}.erased"


def _content(path: Path) -> bytes | None:
    try:
        return read_document(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read ({error.strerror}): correct its permissions") from None


def _mark_of(path: Path) -> object:
    try:
        return version_of(path)
    except NotADirectoryError:  # a file has the name of the folder: nothing can be written there
        return None


def _digest(content: bytes | None) -> str | None:
    return None if content is None else digest_of(content)


def _put(documents: Documents, name: str, content: bytes | None) -> None:
    if content is None:
        documents.pop(name, None)
    else:
        documents[name] = content
