"""`backup` and `restore`: the data folder in one file, without the lake.

A backup holds the documents, their history, the keys, the trail of changes, prices, scores, open journals,
budgets in flight, certificates of erasures and Dagster's runs. Left out are the lake, which is copied as it
is, the warehouse, which `intellirouter rebuild` makes from the lake, and files that only running processes
use. With DATABASE_URL, the documents, their history and the keys are those of the database, as files: a
restored folder serves without it, and `intellirouter config push` puts them into another database.

Each file is in the backup as it was at one moment, and with its SHA-256 in the manifest, which comes
last: a backup that was cut is refused. The file holds the hashes of keys, so only its owner may read it.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as release_of
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import orjson

from router.config import COMPLIANCE_FILE, DATABASE_COPIES
from router.configuration.documents import EDITED, PRICES
from router.configuration.folder import StateFolder
from router.configuration.moving import save
from router.errors import ConfigError
from router.files import TEMPORARY_PREFIX, locked, sync_folder, whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.config import Settings

SCHEMA_VERSION = 1
MANIFEST = f"{TEMPORARY_PREFIX}backup.json"
"""No file of a backup has such a name."""
LEFT_OUT = ("lake", "warehouse", "workers")
"""Folders that a backup leaves out: see the module."""
KEYS = "keys.json"
_COUNTERS = "budgets/counters"
"""The files in which running processes count. The records hold the same."""
_SQLITE = b"SQLite format 3\0"
_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The content of a backup."""

    files: int
    bytes: int
    created_at: datetime


def backup(settings: Settings, target: Path) -> Backup:
    """Write the data folder to a new file. ConfigError if the file exists or the folder does not."""
    home = settings.home
    if not home.is_dir():
        raise ConfigError(f"there is no data folder `{home}`: set INTELLIROUTER_HOME to the folder")
    if target.exists():
        raise ConfigError(f"`{target}` exists: name a new file for the backup")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder `{target.parent}`: create it first")
    now = datetime.now(UTC)
    StateFolder(home).settle()
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}-{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), _OWNER_ONLY)
            # No change of documents or keys in between: they, their history and their trail agree.
            with (
                locked(home / "configuration" / "history.jsonl"),
                locked(settings.compliance_file),
                tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive,
                _saved(settings) as saved,
            ):
                places = {
                    name: home
                    for name in _names(home, {temporary, target})
                    if saved is None or not _is_saved(name)
                }
                if saved is not None:
                    places |= dict.fromkeys(_names(saved, set()), saved)
                files = {name: _add(archive, place, name) for name, place in places.items()}
                kept = {name: digest for name, digest in files.items() if digest is not None}
                manifest = {
                    "schema_version": SCHEMA_VERSION,
                    "release": release_of("intellirouter"),
                    "created_at": now.isoformat(),
                    "files": kept,
                }
                _put(archive, MANIFEST, orjson.dumps(manifest), _OWNER_ONLY, now.timestamp())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return Backup(files=len(kept), bytes=target.stat().st_size, created_at=now)


def restore(source: Path, home: Path) -> Backup:
    """Put a backup into an empty data folder, whole or not at all. ConfigError says why it is refused."""
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise ConfigError(
            f"`{home}` is not empty: a backup is restored into an empty folder only. Name another one, and"
            " move it when you are satisfied"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}restore-", dir=home.parent))
    try:
        manifest = _extract(source, temporary)
        mode = home.stat().st_mode & 0o777 if home.exists() else 0o777 & ~_umask()
        temporary.chmod(mode)
        temporary.replace(home)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(home.parent)
    return Backup(
        files=len(manifest["files"]),
        bytes=source.stat().st_size,
        created_at=datetime.fromisoformat(manifest["created_at"]),
    )


@contextmanager
def _saved(settings: Settings) -> Iterator[Path | None]:
    """A folder with the content of DATABASE_URL, while it is entered. None without a database."""
    if settings.database_url is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY_PREFIX}saved-", dir=settings.home) as folder:
        yield Path(folder) if save(settings, Path(folder)) else None


def _is_saved(name: str) -> bool:
    """Whether the database's content replaces a file: one of an earlier time, or a copy."""
    return name in (*EDITED, PRICES, KEYS, COMPLIANCE_FILE) or name.startswith(
        ("configuration/", f"{DATABASE_COPIES}/")
    )


def _names(home: Path, own: set[Path]) -> Iterator[str]:
    """The files to keep, relative to the folder. The history comes before its documents."""
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(home, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if Path(folder) == home:
            subfolders[:] = [name for name in subfolders if name not in LEFT_OUT]
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(TEMPORARY_PREFIX))
        for name in sorted(files):
            path = Path(folder) / name
            relative = path.relative_to(home).as_posix()
            is_live = relative.startswith(_COUNTERS) or name.endswith((".lock", "-wal", "-shm", "-journal"))
            if not is_live and not name.startswith(TEMPORARY_PREFIX) and path not in own and path.is_file():
                yield relative


def _add(archive: tarfile.TarFile, home: Path, name: str) -> str | None:
    """Add a file, and return its SHA-256. None if it is gone."""
    path = home / name
    try:
        status = path.stat()
        content = path.read_bytes()
    except FileNotFoundError:
        return None  # a journal that was sealed meanwhile
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read ({error.strerror}): correct its permissions") from None
    if content.startswith(_SQLITE):
        content = _database(path)
    elif name.startswith("journal/") and name.endswith(".jsonl"):
        content = whole_lines(content)  # a router is in the middle of a line
    _put(archive, name, content, status.st_mode & 0o777, status.st_mtime)
    return hashlib.sha256(content).hexdigest()


def _put(archive: tarfile.TarFile, name: str, content: bytes, mode: int, changed: float) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), mode, int(changed)
    archive.addfile(entry, io.BytesIO(content))


def _database(path: Path) -> bytes:
    """A SQLite file as of one moment, with what its log holds."""
    with (
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as opened,
        closing(sqlite3.connect(":memory:")) as copy,
    ):
        opened.backup(copy)
        return copy.serialize()


def _extract(source: Path, folder: Path) -> dict[str, Any]:
    """Unpack into a folder, and compare every file with the manifest."""
    found: dict[str, str] = {}
    manifest: dict[str, Any]
    try:
        with tarfile.open(source, "r:gz") as archive:
            for entry in archive:
                name = PurePosixPath(entry.name)
                if not entry.isreg() or name.is_absolute() or ".." in name.parts:
                    raise ConfigError(f"`{source}` is not a backup: it holds `{entry.name:.80}`")
                file = archive.extractfile(entry)
                content = b"" if file is None else file.read()
                if entry.name == MANIFEST:
                    manifest = orjson.loads(content)
                    break
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, content, entry)
                found[entry.name] = hashlib.sha256(content).hexdigest()
            else:
                raise ConfigError(f"`{source}` is cut: it has no manifest. Use another backup")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ConfigError(f"`{source}` is not a whole backup: use another one") from error
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(f"`{source}` was written by another release: restore it with that release")
    if found != manifest["files"]:
        changed = sorted(name for name, _ in found.items() ^ manifest["files"].items())
        raise ConfigError(f"`{source}` is damaged: `{changed[0]}` differs from its manifest. Use another one")
    return manifest


def _write(path: Path, content: bytes, entry: tarfile.TarInfo) -> None:
    with path.open("xb") as file:
        os.fchmod(file.fileno(), entry.mode & 0o777)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(OSError):
        os.utime(path, (entry.mtime, entry.mtime))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
