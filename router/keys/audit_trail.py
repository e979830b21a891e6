"""The audit trail of changes: the actor, the change, its time, and the state before and after.

    compliance_logs.jsonl    one AuditEvent a line, oldest first, in the folder of the files that change

An event is on disk before its change is. No change lacks an event, and a crash between the two leaves an
event without a change. An event holds no secret, not even hashed. Lines are only added, except that
erasing a person removes their id. The pipelines load the file as the table `compliance_logs`, with the
changes of documents, which their own history holds (`router.configuration.events`).
"""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import ConfigError
from router.files import append_lines, locked, whole_lines, write_atomically
from router.records import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

ERASED = "[erased]"
"""Replaces an erased person's id."""
OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change."""

    id: str
    """UUIDv7."""
    timestamp: datetime
    actor: str
    """The user who made it: for the command line, the operating system's user."""
    action: str
    """`key.created`, `key.rotated`, `key.revoked`, `price.accepted`, `person.erased`, `records.expired`,
    `bill.closed`, `bill.restated`.
    Of the configuration: `config.edited`, `config.applied`, `config.rolled_back`, `hold.placed`,
    `hold.lifted`."""
    subject: str
    """The id of the changed key, the model of a price, the name of a document, the id of a tombstone."""
    before: Mapping[str, Any] | None
    """The state before. None where the subject is new."""
    after: Mapping[str, Any]


def new_event(
    action: str,
    subject: str,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    actor: str | None = None,
) -> AuditEvent:
    """An event of now. `actor` None: the operating system's user."""
    event_id, timestamp = new_id()
    return AuditEvent(
        id=event_id,
        timestamp=timestamp,
        actor=actor or system_user(),
        action=action,
        subject=subject,
        before=before,
        after=after,
    )


@contextmanager
def recorded(path: Path, *events: AuditEvent) -> Iterator[None]:
    """Put the events on disk, then run the change. A failed change removes them. OSError leaves neither."""
    with locked(path):
        size = len(_whole(path))
        try:
            lines = b"".join(orjson.dumps(event) + b"\n" for event in events)
            append_lines(path, lines, after=size, mode=OWNER_ONLY)
            yield
        except BaseException:
            with suppress(FileNotFoundError):
                os.truncate(path, size)
            raise


def note(path: Path, event: AuditEvent) -> None:
    """Put an event on disk before a long change, which then runs without the lock of the trail."""
    with recorded(path, event):
        pass


def read_events(path: Path) -> list[AuditEvent]:
    """The events, oldest first. None without a file. ConfigError names a line that is not an event."""
    events = []
    for number, line in enumerate(_whole(path).splitlines(), 1):
        try:
            events.append(event_of(orjson.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"line `{number}` of `{path}` is not an audit event: restore the file from a backup"
            ) from error
    return events


def event_of(raw: Mapping[str, Any]) -> AuditEvent:
    """An event from its JSON. ValueError, TypeError or KeyError if it is none."""
    return AuditEvent(**{**raw, "timestamp": datetime.fromisoformat(raw["timestamp"])})


def forget(path: Path, user: str, *, organization: str | None = None) -> int:
    """Take a person's id out of the events, in one organisation or in all. Return how many held it."""
    with locked(path):
        events = read_events(path)
        kept = [without(event, user, organization) for event in events]
        changed = sum(old != new for old, new in zip(events, kept, strict=True))
        if changed:
            write(path, kept)
    return changed


def write(path: Path, events: Iterable[AuditEvent]) -> None:
    """Replace the trail, atomically."""
    write_atomically(path, b"".join(orjson.dumps(event) + b"\n" for event in events), mode=OWNER_ONLY)


def without(event: AuditEvent, user: str, organization: str | None) -> AuditEvent:
    """An event without the id of a person, in one organisation or in all."""
    states = [event.before, event.after]
    for place, state in enumerate(states):
        if state is not None and organization in (None, state.get("organization_id")):
            said = {name: ERASED for name in ("user_id", "name") if state.get(name) == user}
            states[place] = {**state, **said}
    before, after = states
    return replace(event, before=before, after=after or {})


def _whole(path: Path) -> bytes:
    """The lines that are there to their end."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(
            f"`{path}` cannot be read ({error.strerror}): give it to the user who serves"
        ) from error
    return whole_lines(content)


def system_user() -> str:
    """The user's name as the system has it, whatever the environment says."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"
