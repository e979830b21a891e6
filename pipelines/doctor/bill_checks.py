"""The doctor's check of closed bills: every file is the one that the trail of changes vouches for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.billing import closed, restatements
from pipelines.doctor.findings import error, warning
from pipelines.errors import FrozenBillError
from router.errors import ConfigError
from router.files import sha256_of
from router.keys import audit_trail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.doctor.findings import Finding
    from router.config import Settings
    from router.keys.audit_trail import AuditEvent

ACTIONS = (closed.CLOSED, restatements.RESTATED)
_RESTORE = "restore it from a backup: a closed bill cannot be made again"


def bills(settings: Settings) -> Iterator[Finding]:
    """Name closed bills and restatements that were changed or removed, and what a stopped close left."""
    try:
        trail = audit_trail.read_events(settings.compliance_file)
        events = {str(event.after["path"]): event for event in trail if event.action in ACTIONS}
    except (ConfigError, KeyError) as problem:
        yield error("the trail of changes cannot be read", problem, "restore the file from a backup")
        return
    standing = set()
    for path in [*closed.files(settings), *restatements.files(settings)]:
        name = str(path.relative_to(settings.home))
        standing.add(name)
        if name not in events or events[name].after["manifest_sha256"] != sha256_of(path):
            yield error("a closed bill is not what the trail of changes says", path, _RESTORE)
    try:
        whose = set(closed.closed_bills(closed.read_closings(settings)))
        restatements.read_all(settings)
    except FrozenBillError as problem:
        yield error("a closed bill was changed", problem, _RESTORE)
        return
    left = closed.unfinished(settings)
    stopped = {str(path.with_suffix(".json").relative_to(settings.home)) for path in left}
    for name in sorted(events.keys() - standing - stopped):
        if not _is_closed_since(events[name], whose):
            yield error("a closed bill is missing", name, _RESTORE)
    for path in left:
        yield warning(
            "a stopped close left a file", path, "it is not read: close the month again, or remove the file"
        )


def _is_closed_since(event: AuditEvent, whose: set[tuple[str | None, str]]) -> bool:
    """Whether the event is of a close that was stopped, and that a later one carried out."""
    names = event.after.get("organizations")
    return names is not None and all((name, event.subject) in whose for name in names)
