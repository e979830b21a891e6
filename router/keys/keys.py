"""Virtual keys: which callers may use the HTTP shim, for what, and on whose bill.

    keys.json    id, name, scopes, models, organisation, user and expiry of each key, and the SHA-256
                 of its secrets

A key is `ir_` and 32 random bytes, and is shown once. Its SHA-256 is stored instead of a slow hash. Slow
hashes protect passwords, which can be guessed. 256 random bits cannot, and a fast hash costs a
microsecond a request. `intellirouter keys` (`router.keys.changes`) changes the file, and its readers ask
a KeySource.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, get_args

from pydantic import AwareDatetime, Field, model_validator

from router.config import COMPLIANCE_FILE
from router.documents import Entry, parse_json
from router.errors import ConfigError, ForbiddenError, ForbiddenModelError, InvalidKeyError
from router.files import locked, version_of, write_atomically
from router.keys import audit_trail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from router.keys.audit_trail import AuditEvent

PREFIX = "ir_"
OWNER_ONLY = 0o600
Scope = Literal["route", "feedback", "report", "usage", "budgets", "keys", "config", "admin"]
"""`route` calls models, `feedback` judges answers, `report` reads health, metrics and decisions, `usage` and
`budgets` read the caller's own use and money, `keys` and `config` change keys and documents. `admin` may do
all that."""
EVERY_SCOPE: frozenset[Scope] = frozenset(get_args(Scope))
LOOKUP_LENGTH = 16
"""Hexadecimal digits of a digest that find its key. The whole digest is compared after that."""

Label = Annotated[str, Field(min_length=1, max_length=255)]


class SecretEntry(Entry):
    """One secret of a key. After a rotation a key has two for a while."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    """When a rotation ends it. None: it lives as long as its key."""


class KeyEntry(Entry):
    """One key. `limits.yaml` and the records use its id, through all its rotations."""

    id: Annotated[str, Field(pattern=r"^key_[0-9a-f]{12}$")]
    name: Label
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    models: Annotated[tuple[Label, ...], Field(min_length=1)] | None = None
    """Models it may use. None: any."""
    organization_id: Label | None = None
    """The subject that its requests count for, whatever they say. None: as they say."""
    user_id: Label | None = None
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    secrets: Annotated[tuple[SecretEntry, ...], Field(min_length=1)]

    def state(self, at: datetime) -> Literal["active", "expired", "revoked"]:
        """Whether the key opens anything at that moment."""
        if self.revoked_at is not None and self.revoked_at <= at:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "active"


class KeysFile(Entry):
    """The whole of `keys.json`."""

    schema_version: Literal[1] = 1
    keys: tuple[KeyEntry, ...] = ()

    @model_validator(mode="after")
    def _no_two_alike(self) -> KeysFile:
        ids = [key.id for key in self.keys]
        digests = [secret.sha256[:LOOKUP_LENGTH] for key in self.keys for secret in key.secrets]
        if len(set(ids)) < len(ids) or len(set(digests)) < len(digests):
            raise ValueError("two keys share an id or a secret: remove one of them")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The permissions and the subjects of a request."""

    key_id: str | None
    """None: a caller on this machine, let in without a key."""
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    organization_id: str | None = None
    user_id: str | None = None

    def require(self, *scopes: Scope) -> None:
        """ForbiddenError unless the key has one of the scopes."""
        if self.key_id is None and self.scopes.isdisjoint((*scopes, "admin")):
            raise ForbiddenError(
                f"a caller without a key lacks the scope `{'` or `'.join(scopes)}`: make a key with"
                f" `intellirouter keys create --scope {scopes[0]}`"
            )
        if self.scopes.isdisjoint((*scopes, "admin")):
            raise ForbiddenError(
                f"key `{self.key_id}` lacks the scope `{'` or `'.join(scopes)}`: use a key that has it,"
                f" as `intellirouter keys create --scope {scopes[0]}` makes"
            )

    def require_model(self, model: str) -> None:
        """ForbiddenError unless the key may use the model."""
        if self.models is not None and model not in self.models:
            raise ForbiddenModelError(
                f"key `{self.key_id}` may not use model `{model:.80}`: ask for `auto`, or for one of"
                f" {', '.join(f'`{name}`' for name in sorted(self.models))}"
            )


ANYONE_HERE = Caller(key_id=None, scopes=frozenset(("route", "feedback", "report", "usage", "budgets")))
"""A caller on this machine where none needs a key. Administration always needs one."""
NOBODY = Caller(key_id=None, scopes=frozenset())
"""The caller of an endpoint that needs no key."""


class KeyRing:
    """An immutable view of the keys."""

    def __init__(self, file: KeysFile | None = None) -> None:
        self.entries = file.keys if file is not None else ()
        self._by_digest = {
            secret.sha256[:LOOKUP_LENGTH]: (entry, secret)
            for entry in self.entries
            for secret in entry.secrets
        }
        self._callers = {entry.id: _caller(entry) for entry in self.entries}

    def active(self, at: datetime) -> int:
        """How many keys open anything at that moment."""
        return sum(entry.state(at) == "active" for entry in self.entries)

    def knows(self, token: str) -> bool:
        """Whether it is the token of a key, in force or not. Imported keys have other shapes than ours."""
        digest = digest_of(token)
        _, secret = self._by_digest.get(digest[:LOOKUP_LENGTH], (None, None))
        return secret is not None and hmac.compare_digest(secret.sha256, digest)

    def caller(self, token: str, *, at: datetime) -> Caller:
        """The caller that owns the token. Otherwise InvalidKeyError, which never repeats the token."""
        digest = digest_of(token)
        entry, secret = self._by_digest.get(digest[:LOOKUP_LENGTH], (None, None))
        if entry is None or secret is None or not hmac.compare_digest(secret.sha256, digest):
            raise InvalidKeyError("the key is not known: check it, or ask for a new one")
        state = entry.state(at)
        if state != "active":
            raise InvalidKeyError(f"key `{entry.id}` is {state}: ask for a new one", **_owner(entry))
        if secret.expires_at is not None and secret.expires_at <= at:
            raise InvalidKeyError(f"key `{entry.id}` was rotated: use its new secret", **_owner(entry))
        return self._callers[entry.id]


class KeySource(Protocol):
    """Where the keys come from."""

    def load(self) -> KeyRing:
        """The keys now. ConfigError when they are not usable."""

    def version(self) -> object:
        """Changes when `load` would return something else. Cheap enough to ask every second."""


class Held(Protocol):
    """The keys while no other process changes them."""

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """The keys now."""

    def write(self, entries: Sequence[KeyEntry], event: AuditEvent | None = None) -> None:
        """Replace the keys, atomically. `event` is in the trail already, and a database keeps it too."""


class KeyStore(KeySource, Protocol):
    """A KeySource that can be changed."""

    @property
    def trail(self) -> Path:
        """The audit trail of its changes."""

    def read(self) -> KeysFile:
        """The keys with the digests of their secrets. ConfigError when they are not usable."""

    def held(self) -> AbstractContextManager[Held]:
        """The keys, for one change by one process at a time."""

    def events(self) -> list[AuditEvent]:
        """The trail with every change of a key on any machine, oldest first. ConfigError if it is damaged."""

    def forget(self, user: str, organization: str | None = None) -> None:
        """Take a person's id out of the trail, in one organisation or in all."""

    def close(self) -> None:
        """Release the connections."""


class KeyFile:
    """A KeyStore on `keys.json`, which may be missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trail = path.with_name(COMPLIANCE_FILE)

    def __str__(self) -> str:
        return str(self.path)

    def load(self) -> KeyRing:
        """See KeySource."""
        return KeyRing(self.read())

    def version(self) -> object:
        """See KeySource."""
        return version_of(self.path)

    def read(self) -> KeysFile:
        """The file's content. ConfigError, which never repeats a value of it, when it is not usable."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return KeysFile()
        except OSError as error:
            raise ConfigError(
                f"`{self.path}` cannot be read ({error.strerror}): give it to the user who serves"
            ) from error
        return parse_json(content, KeysFile, self.path)

    @contextmanager
    def held(self) -> Iterator[HeldFile]:
        """See KeyStore."""
        with locked(self.path):
            yield HeldFile(self.path, self.read().keys)

    def events(self) -> list[AuditEvent]:
        """See KeyStore."""
        return audit_trail.read_events(self.trail)

    def forget(self, user: str, organization: str | None = None) -> None:
        """See KeyStore."""
        audit_trail.forget(self.trail, user, organization=organization)

    def close(self) -> None:
        """See KeyStore; there is nothing to release."""


class HeldFile:
    """See Held."""

    def __init__(self, path: Path, entries: tuple[KeyEntry, ...]) -> None:
        self._path = path
        self.entries = entries

    def write(self, entries: Sequence[KeyEntry], event: AuditEvent | None = None) -> None:  # noqa: ARG002 - in the file
        """See Held."""
        content = KeysFile(keys=tuple(entries)).model_dump_json(indent=2, exclude_none=True)
        write_atomically(self._path, content.encode() + b"\n", mode=OWNER_ONLY)


def digest_of(token: str) -> str:
    """The stored part of a key."""
    return hashlib.sha256(token.encode()).hexdigest()


def now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


def _owner(entry: KeyEntry) -> dict[str, str | None]:
    return {"key_id": entry.id, "organization_id": entry.organization_id, "user_id": entry.user_id}


def _caller(entry: KeyEntry) -> Caller:
    return Caller(
        key_id=entry.id,
        scopes=frozenset(entry.scopes),
        models=None if entry.models is None else frozenset(entry.models),
        organization_id=entry.organization_id,
        user_id=entry.user_id,
    )
