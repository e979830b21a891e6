"""The files that the deriving host publishes for the others, as one snapshot.

    files.json            {"files": {path in the data folder: SHA-256}}
    files/<SHA-256>       a file's content

A reader sees all files of one round or all of the one before. The folders hold the scores, the usage that
`/v1/usage` shows, the shares that erasures leave in budgets, archived rollups, bills, reconciliations, and
retention's notes of what it dropped.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from pipelines.errors import StoreError
from router.files import TEMPORARY_PREFIX, make_folder, write_atomically
from router.journal.manifests import EXPIRED
from router.journal.places import ARCHIVE, BILLS, CHAINS, RECONCILIATIONS, REMOVALS
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pipelines.store.objects import Objects

INDEX = "files.json"
CONTENTS = "files/"
FOLDERS = (
    *(f"lake/{CHAINS}/{dataset}/{EXPIRED}" for dataset in DATASETS),
    *(f"lake/{name}" for name in (REMOVALS, ARCHIVE, BILLS, RECONCILIATIONS)),
    "usage",
    "scores",
)
LAST = "scores/current.json"
"""It names the other files of its snapshot, so it is written after them."""
ATTEMPTS = 3
_DIGEST = re.compile(r"[0-9a-f]{64}")


def send(home: Path, objects: Objects) -> int:
    """Put the folders' files into the store. Returns the number of new contents."""
    contents = {}
    for folder in FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                contents[str(path.relative_to(home))] = path.read_bytes()
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    found = objects.read(INDEX)
    known = {} if found is None else _parsed(found[0])
    if files == known:
        return 0
    new = {files[name]: content for name, content in contents.items()}
    for digest in known.values():
        new.pop(digest, None)
    for digest, content in new.items():
        objects.put(CONTENTS + digest, content)
    index = json.dumps({"files": files}, indent=1).encode()
    if not objects.swap(INDEX, index, None if found is None else found[1]):
        raise StoreError(f"another host published to `{objects.url}` in this moment: one host may derive")
    kept = set(files.values())
    objects.remove(key for key in objects.keys(CONTENTS) if key.removeprefix(CONTENTS) not in kept)
    return len(new)


def fetch(home: Path, objects: Objects, known: Iterable[str]) -> tuple[int, Mapping[str, str]]:
    """Bring the folders in line with the store, and remove those of `known` that it no longer has.

    Returns the number of changed files, and the files with their digests.
    """
    for attempt in range(ATTEMPTS):
        found = objects.read(INDEX)
        files = {} if found is None else _parsed(found[0])
        try:
            changed = _fetch_changed(home, objects, files)
            break
        except _MissingError as missing:  # the index was replaced since it was read
            if attempt == ATTEMPTS - 1:
                raise StoreError(
                    f"`{objects.url}`: the content of `{missing}` is missing or damaged. A later round of the"
                    " host that derives replaces it"
                ) from None
    for name in set(known) - files.keys():
        if _is_ours(name):
            (home / name).unlink(missing_ok=True)
            changed += 1
    return changed, files


class _MissingError(Exception):
    """A content that the index names is not there."""


def _fetch_changed(home: Path, objects: Objects, files: Mapping[str, str]) -> int:
    changed = 0
    for name in sorted(files, key=lambda item: (item == LAST, item)):
        path = home / name
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == files[name]:
            continue
        content = objects.read(CONTENTS + files[name])
        if content is None or hashlib.sha256(content[0]).hexdigest() != files[name]:
            raise _MissingError(name)
        make_folder(path.parent)
        write_atomically(path, content[0])
        changed += 1
    return changed


def _parsed(content: bytes) -> dict[str, str]:
    try:
        files = dict(json.loads(content)["files"])
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"the index `{INDEX}` of the store cannot be read: {error!r}") from error
    for name, digest in files.items():
        if not _is_ours(name) or not _DIGEST.fullmatch(str(digest)):
            raise StoreError(f"the index `{INDEX}` of the store names `{name:.120}`, which no host publishes")
    return files


def _is_ours(name: str) -> bool:
    """Whether a path is below one of FOLDERS. Nothing that a store says may write elsewhere."""
    return (
        any(name.startswith(f"{folder}/") for folder in FOLDERS)
        and not any(part in {"", ".", ".."} for part in name.split("/"))
        and TEMPORARY_PREFIX not in name
    )
