"""Changes the configuration by a command: `apply` and `rollback`.

A change is checked as a whole set before anything is written. Documents that people edited before are
added to the history first, so that no edit is lost in a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.configuration.checking import check, require_new_versions
from router.configuration.documents import EDITED, POLICIES
from router.configuration.source import Draft
from router.configuration.watching import known_policies, look
from router.errors import ConfigConflictError, ConfigError, UnknownPolicyError, nearest
from router.keys.audit_trail import system_user
from router.policies.policy import check_baseline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.config import Settings
    from router.configuration.checking import Deciding
    from router.configuration.documents import Documents
    from router.configuration.source import Origin, StateSource, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that may be made."""

    before: Version | None
    """The version that it starts from."""
    raw: Documents
    """The documents as they lie there."""
    checked: Deciding
    """The set after the change."""
    is_empty: bool


def apply(
    source: StateSource,
    settings: Settings,
    changes: Mapping[str, bytes | None],
    *,
    expected: int | None = None,
    author: str | None = None,
    origin: Origin = "applied",
) -> Version:
    """Put documents into force, by name; None removes one. Return the version that now has them.

    `expected` is the version that the change was made from: ConfigConflictError if it is not the newest
    one. None: the newest one as this call finds it. `author` None: the operating system's user.
    ConfigError for a set that cannot be used. A change that changes nothing adds no version.
    """
    change = checked_change(source, settings, changes, expected=expected)
    if change.is_empty and change.before is not None:
        return change.before
    draft = Draft(
        documents=change.checked.documents,
        config_hash=change.checked.config_hash,
        policies=change.checked.policy_digests,
        environment=settings.environment,
        author=author or system_user(),
        origin=origin,
    )
    parent = None if change.before is None else change.before.number
    return source.replace(draft, parent=parent, base=change.raw)


def checked_change(
    source: StateSource,
    settings: Settings,
    changes: Mapping[str, bytes | None],
    *,
    expected: int | None = None,
) -> Change:
    """A change, checked against the documents in force. See `apply`. Only earlier edits are written."""
    unknown = changes.keys() - set(EDITED)
    if unknown:
        raise ConfigError(f"there is no document `{min(unknown):.80}`: {nearest(min(unknown), EDITED)}")
    source.settle()
    seen = look(source, settings)
    if seen.history_error is not None:
        raise seen.history_error
    parent = None if seen.version is None else seen.version.number
    if expected is not None and expected != (parent or 0):
        raise ConfigConflictError(
            f"the configuration is at version `{parent or 0}`, and your change was made from version"
            f" `{expected}`: look at `intellirouter config diff {expected} {parent or 0}`, and make the"
            " change again",
            expected=expected,
            newest=parent,
        )
    wanted: Documents = dict(seen.raw)
    for name, content in changes.items():
        wanted.pop(name, None)
        if content is not None:
            wanted[name] = content
    checked = check(wanted, settings.home)
    _check_settings(checked, settings)
    known = known_policies(source.versions())
    require_new_versions(checked.policy_digests, known, settings.home / POLICIES)
    return Change(before=seen.version, raw=seen.raw, checked=checked, is_empty=wanted == seen.raw)


def rollback(
    source: StateSource,
    settings: Settings,
    number: int,
    *,
    expected: int | None = None,
    author: str | None = None,
) -> Version:
    """Put the documents of an earlier version into force, as a new version.

    Prices stay: the rows of the price book are never taken back.
    """
    version = version_of_number(source, number)
    changes = {
        name: source.document(version.documents[name]) if name in version.documents else None
        for name in EDITED
    }
    return apply(source, settings, changes, expected=expected, author=author, origin="rolled_back")


def version_of_number(source: StateSource, number: int) -> Version:
    """The version of this number. ConfigError names the versions that there are."""
    versions = source.versions()
    for version in versions:
        if version.number == number:
            return version
    known = f"versions 1 to {versions[-1].number} exist" if versions else "there is no history yet"
    raise ConfigError(f"there is no version `{number}` of the configuration: {known}")


def _check_settings(checked: Deciding, settings: Settings) -> None:
    """A router with these settings could not start with a set that lacks their policy or model."""
    if settings.default_policy not in checked.policies.by_id:
        raise UnknownPolicyError(settings.default_policy, checked.policies.by_id, setting="DEFAULT_POLICY")
    check_baseline(settings.baseline_model, checked.policies, checked.catalog)
