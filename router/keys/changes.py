"""Create, rotate and revoke keys: each change is one atomic replacement of `keys.json`.

The audit trail in the same folder (`router.keys.audit_trail`) records every change and its actor.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from router.config import COMPLIANCE_FILE
from router.documents import REFUSAL
from router.errors import ConfigError, has_secret, nearest
from router.files import locked, write_atomically
from router.keys import audit_trail
from router.keys.keys import PREFIX, KeyEntry, KeyFile, KeysFile, SecretEntry, digest_of, now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from router.keys.keys import Scope

SECRET_BYTES = 32
OWNER_ONLY = 0o600


def create(
    path: Path,
    *,
    name: str,
    scopes: Sequence[Scope],
    models: Sequence[str] | None = None,
    organization_id: str | None = None,
    user_id: str | None = None,
    expires_at: datetime | None = None,
    actor: str | None = None,
) -> tuple[KeyEntry, str]:
    """A new key and its token, which is stored nowhere. `actor` None: the operating system's user."""
    if any(has_secret(text) for text in (name, organization_id, user_id, *(models or ())) if text):
        raise ConfigError(f"the description of a key {REFUSAL}")
    token, secret = _secret()
    entry = KeyEntry(
        id=f"key_{secrets.token_hex(6)}",
        name=name,
        scopes=tuple(dict.fromkeys(scopes)),
        models=None if models is None else tuple(dict.fromkeys(models)),
        organization_id=organization_id,
        user_id=user_id,
        created_at=secret.created_at,
        expires_at=expires_at,
        secrets=(secret,),
    )
    with locked(path):
        _write(path, (*KeyFile(path).read().keys, entry), "key.created", None, entry, actor)
    return entry, token


def rotate(path: Path, key_id: str, *, grace: timedelta, actor: str | None = None) -> tuple[KeyEntry, str]:
    """A new token for a key that keeps its id, limits and budgets. Older tokens work for `grace` longer.

    ConfigError for a key that is unknown, expired or revoked.
    """
    token, secret = _secret()
    ends_at = secret.created_at + grace

    def rotated(entry: KeyEntry) -> KeyEntry:
        if (state := entry.state(secret.created_at)) != "active":
            raise ConfigError(f"key `{key_id}` is {state} and cannot be rotated: create a new one")
        old = [
            item.model_copy(update={"expires_at": min(item.expires_at or ends_at, ends_at)})
            for item in entry.secrets
            if item.expires_at is None or item.expires_at > secret.created_at
        ]
        return entry.model_copy(update={"secrets": (*old, secret)})

    return _change(path, key_id, rotated, "key.rotated", actor), token


def revoke(path: Path, key_id: str, *, actor: str | None = None) -> KeyEntry:
    """Revoke a key, so that it opens nothing. It stays in the file, so that records can be read.

    A key that is revoked already is not changed.
    """

    def revoked(entry: KeyEntry) -> KeyEntry:
        return entry.model_copy(update={"revoked_at": entry.revoked_at or now()})

    return _change(path, key_id, revoked, "key.revoked", actor)


def _secret() -> tuple[str, SecretEntry]:
    token = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return token, SecretEntry(sha256=digest_of(token), created_at=now())


def _change(
    path: Path, key_id: str, change: Callable[[KeyEntry], KeyEntry], action: str, actor: str | None
) -> KeyEntry:
    with locked(path):
        entries = KeyFile(path).read().keys
        known = {entry.id: entry for entry in entries}
        if key_id not in known:
            raise ConfigError(f"no key `{key_id}` in `{path}`: {nearest(key_id, known)}")
        old = known[key_id]
        changed = change(old)
        if changed != old:
            keys = tuple(changed if entry is old else entry for entry in entries)
            _write(path, keys, action, old, changed, actor)
    return changed


def _write(
    path: Path,
    keys: tuple[KeyEntry, ...],
    action: str,
    before: KeyEntry | None,
    after: KeyEntry,
    actor: str | None,
) -> None:
    content = KeysFile(keys=keys).model_dump_json(indent=2, exclude_none=True)
    event = audit_trail.new_event(
        action,
        after.id,
        before=None if before is None else _without_secrets(before),
        after=_without_secrets(after),
        actor=actor,
    )
    with audit_trail.recorded(path.with_name(COMPLIANCE_FILE), event):
        write_atomically(path, content.encode() + b"\n", mode=OWNER_ONLY)


def _without_secrets(entry: KeyEntry) -> dict[str, Any]:
    """A key as the trail keeps it. Of its secrets it holds only their period of validity."""
    return entry.model_dump(mode="json", exclude_none=True, exclude={"secrets": {"__all__": {"sha256"}}})
