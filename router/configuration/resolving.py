"""From a record's `config_hash`, or a version's number, to the documents, and the difference of two sets."""

from __future__ import annotations

import difflib
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from router.configuration.changing import version_of_number
from router.configuration.documents import HASH_CHARS
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.configuration.documents import Documents
    from router.configuration.source import StateSource, Version

MIN_PREFIX = 6
"""The fewest characters of a hash that name it."""
NEWEST = "newest"


def resolve(source: StateSource, name: str) -> Version:
    """The version that `name` means: a number, `newest`, or a config_hash or the start of one.

    Versions that decide alike have one hash: the newest of them. ConfigError says why there is none.
    """
    versions = source.versions()
    if name == NEWEST and versions:
        return versions[-1]
    if name.isdecimal() and len(name) < MIN_PREFIX:
        return version_of_number(source, int(name))
    if len(name) >= MIN_PREFIX:
        found = [version for version in versions if version.config_hash.startswith(name.lower())]
        hashes = sorted({version.config_hash for version in found})
        if len(hashes) > 1:
            raise ConfigError(f"`{name:.80}` is the start of {len(hashes)} hashes: {', '.join(hashes)}")
        if found:
            return found[-1]
    raise ConfigError(_unknown(name, versions[0] if versions else None))


def alike(source: StateSource, version: Version) -> list[int]:
    """The numbers of all versions with the hash of this one."""
    return [other.number for other in source.versions() if other.config_hash == version.config_hash]


def documents_of(source: StateSource, version: Version) -> Documents:
    """The content of every document of a version."""
    return {name: source.document(digest) for name, digest in sorted(version.documents.items())}


def differences(before: Documents, after: Documents, labels: tuple[str, str]) -> Iterator[str]:
    """The lines of a unified diff of two sets, document by document. `labels` name the two."""
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield from difflib.unified_diff(
                text_of(before.get(name, b"")).splitlines(),
                text_of(after.get(name, b"")).splitlines(),
                f"{name} ({labels[0]})",
                f"{name} ({labels[1]})",
                lineterm="",
            )


def changed_documents(before: Version | None, after: Version) -> list[str]:
    """The names of the documents that two versions do not share."""
    old = {} if before is None else before.documents
    return [name for name in sorted({*old, *after.documents}) if old.get(name) != after.documents.get(name)]


def text_of(content: bytes) -> str:
    """A document as text. JSON is indented, so that people can read and compare it."""
    if content[:1] in (b"{", b"["):
        with suppress(orjson.JSONDecodeError):
            content = orjson.dumps(orjson.loads(content), option=orjson.OPT_INDENT_2)
    return content.decode("utf-8", errors="replace")


def _unknown(name: str, first: Version | None) -> str:
    if first is None:
        return (
            f"`{name:.80}` cannot be resolved: this data folder has no history of its configuration yet."
            " A router, a refresh or `intellirouter config history` begins it"
        )
    is_short = len(name) < MIN_PREFIX
    reason = (
        f"a hash has {HASH_CHARS} characters, and at least {MIN_PREFIX} of them name it"
        if is_short
        else f"the history begins at {first.created_at:%Y-%m-%d %H:%M} UTC with version 1, and the hash is"
        " older, or of another data folder"
    )
    return f"no version of the configuration has the hash `{name:.80}`: {reason}"
