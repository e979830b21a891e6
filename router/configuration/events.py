"""The changes of the configuration as events of the trail: made from the history, so that none is missing.

Each document that a version changed is one event, `config.edited`, `config.applied` or
`config.rolled_back`. `before` and `after` hold the version, the digest, and the parts that differ. A legal
hold is an event of its own too: `hold.placed` or `hold.lifted`. Documents hold no secrets, so neither do
events.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

from router.configuration.documents import RETENTION
from router.configuration.resolving import changed_documents
from router.keys.audit_trail import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from router.configuration.source import StateSource, Version

NAMES = ("id", "name")
"""Members that name an entry of a list, so that two lists are compared entry by entry."""


def events_of(source: StateSource, *, known: Collection[str] = ()) -> Iterator[AuditEvent]:
    """The events of every version, oldest first, without those whose id is among `known`."""
    before: Version | None = None
    for version in source.versions():
        for name in changed_documents(before, version):
            event_id = id_of(version.created_at, version.number, name)
            if event_id not in known:
                yield _changed(source, before, version, name, event_id)
            if name == RETENTION:
                yield from _holds(source, before, version, known)
        before = version


def id_of(moment: datetime, *parts: object) -> str:
    """A UUIDv7 of the moment that is the same whenever it is made."""
    bits = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:10], "big")
    millis = int(moment.timestamp() * 1000)
    value = millis << 80 | 0x7 << 76 | (bits >> 64 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    return str(UUID(int=value))


def _changed(
    source: StateSource, before: Version | None, version: Version, name: str, event_id: str
) -> AuditEvent:
    old, new = _tree(source, before, name), _tree(source, version, name)
    old_part, new_part = (None, None) if before is None else changed_parts(old, new)
    return AuditEvent(
        id=event_id,
        timestamp=version.created_at,
        actor=version.author,
        action=f"config.{version.origin}",
        subject=name,
        before=None if before is None or name not in before.documents else _state(before, name, old_part),
        after=_state(version, name, new_part),
    )


def _state(version: Version, name: str, part: Any) -> dict[str, Any]:
    state: dict[str, Any] = {
        "version": version.number,
        "config_hash": version.config_hash,
        "digest": version.documents.get(name),
    }
    return state if part is None else {**state, "changed": part}


def changed_parts(before: Any, after: Any) -> tuple[Any, Any]:
    """The parts of two trees that differ. Entries of a list are found by their `id` or `name`."""
    before, after = _keyed(before), _keyed(after)
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return before, after
    old, new = {}, {}
    for name in (*before, *(name for name in after if name not in before)):
        if name not in after:
            old[name] = before[name]
        elif name not in before:
            new[name] = after[name]
        elif before[name] != after[name]:
            old[name], new[name] = changed_parts(before[name], after[name])
    return old, new


def _keyed(tree: Any) -> Any:
    if isinstance(tree, list) and tree and all(isinstance(item, dict) for item in tree):
        for name in NAMES:
            keys = [item.get(name) for item in tree]
            if None not in keys and len(set(map(str, keys))) == len(keys):
                return {str(key): item for key, item in zip(keys, tree, strict=True)}
    return tree


def _holds(
    source: StateSource, before: Version | None, version: Version, known: Collection[str]
) -> Iterator[AuditEvent]:
    old, new = (_holds_of(_tree(source, item, RETENTION)) for item in (before, version))
    for action, holds, others in (("hold.lifted", old, new), ("hold.placed", new, old)):
        for hold in holds:
            event_id = id_of(version.created_at, version.number, action, sorted(hold.items()))
            if hold not in others and event_id not in known:
                is_placed = action == "hold.placed"
                yield AuditEvent(
                    id=event_id,
                    timestamp=version.created_at,
                    actor=version.author,
                    action=action,
                    subject=f"version {version.number}",
                    before=None if is_placed else hold,
                    after=hold if is_placed else {},
                )


def _holds_of(tree: Any) -> list[dict[str, Any]]:
    holds = tree.get("legal_holds") if isinstance(tree, dict) else None
    return [hold for hold in holds or () if isinstance(hold, dict)]


def _tree(source: StateSource, version: Version | None, name: str) -> Any:
    """A document as JSON values. None if the version has none; its text if it can no longer be read."""
    import yaml

    digest = None if version is None else version.documents.get(name)
    if digest is None:
        return None
    content = source.document(digest)
    try:
        return _plain(yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 - safe
    except (yaml.YAMLError, ValueError, RecursionError):
        return content.decode("utf-8", errors="replace")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
