"""Sees a changed set of documents, and adds it to the history once, whoever sees it first.

A part of the set that cannot be used is not in force: the version keeps the part of its parent.
"""

from __future__ import annotations

import pwd
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from router.configuration.checking import OTHERS, deciding, require_new_versions
from router.configuration.documents import DECIDING, EDITED, POLICIES, config_hash_of, digests_of
from router.configuration.source import Draft
from router.errors import ConfigConflictError, ConfigError
from router.keys.audit_trail import system_user

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from router.config import Settings
    from router.configuration.checking import Deciding
    from router.configuration.documents import Documents
    from router.configuration.source import StateSource, Version

MAX_CONFLICTS = 50
"""Other processes' versions that one look may run into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The result of one look at the documents."""

    raw: Documents
    """The documents as they lie there."""
    deciding: Deciding | None
    version: Version | None
    """The newest version, which now has the documents in force. None if there is none."""
    fault: ConfigError | None
    """Why the documents that decide cannot be used. None if they can."""
    other_faults: dict[str, ConfigError]
    """The same by name of every other document."""
    history_error: OSError | ConfigError | None = None
    """Why the set could not be added to the history. None if it was, or is there already."""


def look(source: StateSource, settings: Settings) -> Seen:
    """Look at the documents in force, and add them to the history if they are not its newest version.

    Many processes may look at once: one adds the version. A history that cannot be written does not raise.
    """
    for _ in range(MAX_CONFLICTS):
        problem: OSError | ConfigError | None = None
        try:
            parent = source.newest()  # before the documents: a version in between is a conflict
            known = known_policies(source.versions())
        except (OSError, ConfigError) as error:
            parent, known, problem = None, {}, error
        raw = source.read()
        found, fault, other_faults = _parse(raw, settings.home, known)
        seen = Seen(
            raw=raw,
            deciding=found,
            version=parent,
            fault=fault,
            other_faults=other_faults,
            history_error=problem,
        )
        if problem is not None or (found is None and parent is None):
            return seen
        try:
            documents = _in_force(source, seen)
            if _is_known(source, documents, parent):
                return seen
            added = source.note(_draft(settings, seen, documents), parent=_number(parent))
        except ConfigConflictError:
            continue
        except (OSError, ConfigError) as error:
            return replace(seen, history_error=error)
        return replace(seen, version=added)
    return replace(seen, history_error=ConfigError("the configuration changes faster than it can be noted"))


def known_policies(versions: Iterable[Version]) -> dict[str, str]:
    """The digest of each policy of the history, by `id@version`."""
    known: dict[str, str] = {}
    for version in versions:
        for name, digest in version.policies.items():
            known.setdefault(name, digest)
    return known


def _parse(
    raw: Documents, home: Path, known: dict[str, str]
) -> tuple[Deciding | None, ConfigError | None, dict[str, ConfigError]]:
    found, fault, other_faults = None, None, {}
    try:
        found = deciding(raw, home)
        require_new_versions(found.policy_digests, known, home / POLICIES)
    except ConfigError as error:
        found, fault = None, error
    for name, parse in OTHERS.items():
        if name in raw:
            try:
                parse(raw[name], home / name)
            except ConfigError as error:
                other_faults[name] = error
    return found, fault, other_faults


def _in_force(source: StateSource, seen: Seen) -> Documents:
    """The usable parts of the set, and those of the newest version for the others."""
    documents: Documents = {} if seen.deciding is None else dict(seen.deciding.documents)
    documents |= {name: seen.raw[name] for name in OTHERS if name in seen.raw.keys() - seen.other_faults}
    if seen.version is not None:
        kept = set(seen.other_faults) | (set(DECIDING) if seen.deciding is None else set())
        for name in kept & seen.version.documents.keys():
            documents[name] = source.document(seen.version.documents[name])
    return documents


def _is_known(source: StateSource, documents: Documents, newest: Version | None) -> bool:
    """Whether the newest version is this set.

    Routers of two releases may have other built-in policies. They share a version of the documents, and
    each adds one with its own hash, once.
    """
    if newest is None:
        return False
    digests = digests_of(documents)
    return digests == newest.documents or (
        all(digests.get(name) == newest.documents.get(name) for name in EDITED)
        and any(version.documents == digests for version in _same_edits(source, newest))
    )


def _same_edits(source: StateSource, newest: Version) -> list[Version]:
    """The last versions whose edited documents are those of the newest one."""
    found = []
    for version in reversed(source.versions()):
        if any(version.documents.get(name) != newest.documents.get(name) for name in EDITED):
            break
        found.append(version)
    return found


def _draft(settings: Settings, seen: Seen, documents: Documents) -> Draft:
    digests = digests_of(documents)
    before = {} if seen.version is None else seen.version.documents
    changed = [name for name in EDITED if digests.get(name) != before.get(name)]
    policies = (
        seen.deciding.policy_digests if seen.deciding else seen.version.policies if seen.version else {}
    )
    return Draft(
        documents=documents,
        config_hash=config_hash_of(digests),
        policies=policies,
        environment=settings.environment,
        author=_owner(settings.home, changed),
        origin="edited",
    )


def _owner(home: Path, changed: list[str]) -> str:
    """The owner of the last of these files that changed: the best evidence of its editor."""
    found = []
    for name in changed:
        try:
            status = (home / name).stat()
        except OSError:
            continue
        found.append((status.st_mtime_ns, status.st_uid))
    if not found:
        return system_user()
    number = max(found)[1]
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _number(version: Version | None) -> int | None:
    return None if version is None else version.number
