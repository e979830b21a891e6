"""Create, rotate and revoke keys, in `keys.json` or in another KeyStore. Each change is atomic.

The audit trail of the machine (`router.keys.audit_trail`) records every change and its actor.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from router.documents import REFUSAL
from router.errors import ConfigError, has_secret, nearest
from router.keys import audit_trail
from router.keys.keys import PREFIX, KeyEntry, KeyFile, SecretEntry, digest_of, now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from router.keys.keys import Held, KeyStore, Scope

    Place = Path | KeyStore

SECRET_BYTES = 32


def create(
    place: Place,
    *,
    name: str,
    scopes: Sequence[Scope],
    models: Sequence[str] | None = None,
    organization_id: str | None = None,
    user_id: str | None = None,
    expires_at: datetime | None = None,
    actor: str | None = None,
) -> tuple[KeyEntry, str]:
    """A new key and its token, which is stored nowhere.

    `place` is a KeyStore, or the path of `keys.json`. `actor` None: the operating system's user.
    """
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
    store = _store(place)
    with store.held() as held:
        _write(store, held, (*held.entries, entry), "key.created", None, entry, actor)
    return entry, token


def rotate(place: Place, key_id: str, *, grace: timedelta, actor: str | None = None) -> tuple[KeyEntry, str]:
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

    return _change(place, key_id, rotated, "key.rotated", actor), token


def revoke(place: Place, key_id: str, *, actor: str | None = None) -> KeyEntry:
    """Revoke a key, so that it opens nothing. It stays in the file, so that records can be read.

    A key that is revoked already is not changed.
    """

    def revoked(entry: KeyEntry) -> KeyEntry:
        return entry.model_copy(update={"revoked_at": entry.revoked_at or now()})

    return _change(place, key_id, revoked, "key.revoked", actor)


def _secret() -> tuple[str, SecretEntry]:
    token = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return token, SecretEntry(sha256=digest_of(token), created_at=now())


def _store(place: Place) -> KeyStore:
    return KeyFile(place) if isinstance(place, PurePath) else place


def _change(
    place: Place, key_id: str, change: Callable[[KeyEntry], KeyEntry], action: str, actor: str | None
) -> KeyEntry:
    store = _store(place)
    with store.held() as held:
        known = {entry.id: entry for entry in held.entries}
        if key_id not in known:
            raise ConfigError(f"no key `{key_id}` in `{store}`: {nearest(key_id, known)}")
        old = known[key_id]
        changed = change(old)
        if changed != old:
            keys = tuple(changed if entry is old else entry for entry in held.entries)
            _write(store, held, keys, action, old, changed, actor)
    return changed


def _write(
    store: KeyStore,
    held: Held,
    keys: tuple[KeyEntry, ...],
    action: str,
    before: KeyEntry | None,
    after: KeyEntry,
    actor: str | None,
) -> None:
    event = audit_trail.new_event(
        action,
        after.id,
        before=None if before is None else _without_secrets(before),
        after=_without_secrets(after),
        actor=actor,
    )
    with audit_trail.recorded(store.trail, event):
        held.write(keys, event)


def _without_secrets(entry: KeyEntry) -> dict[str, Any]:
    """A key as the trail keeps it. Of its secrets it holds only their period of validity."""
    return entry.model_dump(mode="json", exclude_none=True, exclude={"secrets": {"__all__": {"sha256"}}})
