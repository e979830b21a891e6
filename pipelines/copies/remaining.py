"""Copies outside of the data folder, as an erasure meets them: brought up to date, or named.

The mirror is brought up to date at once. Exported documents cannot be, since no password of their server is
kept. They are noted in `exports.json`, and marked as behind until the next export to the same place.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.copies.mirror import checked, mirror
from router.errors import ConfigError, IntelliRouterError
from router.files import write_atomically

if TYPE_CHECKING:
    from router.config import Settings

MAX_TARGETS = 1000
"""Targets that `exports.json` remembers. The oldest goes first."""


class Copy(NamedTuple):
    """A copy after an erasure."""

    target: str
    problem: str | None
    """Why it may still hold rows of the person, and what to do. None if it is up to date."""


def after_erasure(settings: Settings, *, rows_removed: int) -> list[Copy]:
    """Bring the mirror up to date, and mark exports as behind if rows were removed."""
    found = []
    mirrored = _mirrored_target(settings)
    if settings.mirror_url is not None:
        found.append(_follow(settings))
    elif mirrored is not None:
        found.append(
            Copy(
                mirrored,
                "an earlier MIRROR_URL: set it again and run `intellirouter mirror`, or drop its schema and"
                f" remove `{settings.mirror_facts_file}`",
            )
        )
    targets = exported(settings)
    if rows_removed:
        now = datetime.now(UTC).isoformat()
        targets = {name: {**facts, "is_behind": True, "behind_at": now} for name, facts in targets.items()}
        _write(settings, targets)
    found += [
        Copy(
            name,
            "run `intellirouter export documents` to it again"
            + (f", or remove it and its entry in `{settings.exports_file}`" if facts["is_behind"] else ""),
        )
        if facts["is_behind"]
        else Copy(name, None)
        for name, facts in targets.items()
    ]
    return found


def _follow(settings: Settings) -> Copy:
    try:
        return Copy(checked(mirror(settings)).target, None)
    except IntelliRouterError as error:
        target = _mirrored_target(settings) or "MIRROR_URL"
        return Copy(target, f"{error}. Run `intellirouter mirror` when it can be reached")


def _mirrored_target(settings: Settings) -> str | None:
    try:
        return str(json.loads(settings.mirror_facts_file.read_bytes())["target"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def exported(settings: Settings) -> dict[str, dict[str, Any]]:
    """The places that documents were exported to, and whether an erasure left them behind."""
    if not settings.exports_file.exists():
        return {}
    try:
        content = json.loads(settings.exports_file.read_bytes())
        return {str(name): {"is_behind": False, **facts} for name, facts in content.items()}
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(
            f"`{settings.exports_file}` is damaged: remove it, and export documents to each place again"
        ) from None


def note_export(settings: Settings, target: str, *, complete_since: datetime | None = None) -> None:
    """Remember an export, so that erasures name its target.

    A complete export is no longer behind, unless an erasure ran after it had started.
    """
    targets = exported(settings)
    facts = targets.pop(target, {"is_behind": False})
    if complete_since is not None:
        facts["exported_at"] = datetime.now(UTC).isoformat()
        if str(facts.get("behind_at", "")) < complete_since.isoformat():
            facts["is_behind"] = False
    targets[target] = facts
    _write(settings, dict(list(targets.items())[-MAX_TARGETS:]))


def _write(settings: Settings, targets: dict[str, dict[str, Any]]) -> None:
    if targets or settings.exports_file.exists():
        write_atomically(settings.exports_file, json.dumps(targets, indent=1).encode())
