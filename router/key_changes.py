"""Making, rotating and revoking keys: each change is one atomic replacement of `keys.json`."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from router.errors import ConfigError, nearest
from router.files import make_folder, write_atomically
from router.keys import PREFIX, KeyEntry, KeyFile, KeysFile, SecretEntry, digest_of, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from router.keys import Scope

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
) -> tuple[KeyEntry, str]:
    """A new key and its token, which is stored nowhere."""
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
    with _changing(path) as file:
        _write(path, (*file.keys, entry))
    return entry, token


def rotate(path: Path, key_id: str, *, grace: timedelta) -> tuple[KeyEntry, str]:
    """A new token for a key that keeps its id, limits and budgets; older tokens work for `grace` longer.

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

    return _change(path, key_id, rotated), token


def revoke(path: Path, key_id: str) -> KeyEntry:
    """A key that opens nothing any more; it stays in the file, so that records can be read."""

    def revoked(entry: KeyEntry) -> KeyEntry:
        return entry.model_copy(update={"revoked_at": entry.revoked_at or now()})

    return _change(path, key_id, revoked)


def _secret() -> tuple[str, SecretEntry]:
    token = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return token, SecretEntry(sha256=digest_of(token), created_at=now())


def _change(path: Path, key_id: str, change: Callable[[KeyEntry], KeyEntry]) -> KeyEntry:
    with _changing(path) as file:
        known = {entry.id: entry for entry in file.keys}
        if key_id not in known:
            raise ConfigError(f"no key `{key_id}` in `{path}`: {nearest(key_id, known)}")
        changed = change(known[key_id])
        _write(path, tuple(changed if entry.id == key_id else entry for entry in file.keys))
    return changed


def _write(path: Path, keys: tuple[KeyEntry, ...]) -> None:
    content = KeysFile(keys=keys).model_dump_json(indent=2, exclude_none=True)
    write_atomically(path, content.encode() + b"\n", mode=OWNER_ONLY)


@contextmanager
def _changing(path: Path) -> Iterator[KeysFile]:
    """The file as it is, while nobody else changes it."""
    make_folder(path.parent)
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield KeyFile(path).read()
    finally:
        os.close(lock)
