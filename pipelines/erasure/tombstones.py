"""Who was erased, told without naming them, so that what arrives late is erased too.

    erasures/key                                   32 random bytes, made by the first erasure
    erasures/<time>-<person>.tombstone.json        the person, the moment, the requests that went

A person, and each of their requests, stands here as an HMAC-SHA-256 with that key. Without the key
no one can tell whose tombstone it is, nor try names; remove the key, and late segments are no longer
recognised and certificates no longer checkable. Records made after the moment are not erased.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from router.files import make_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from router.config import Settings

SUFFIX = ".tombstone.json"
REQUEST_DIGITS = 24
"""Hex digits kept of a request's HMAC: 96 bits, so that a busy person's file stays small."""


class Tombstone(BaseModel):
    """One erased person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["intellirouter.tombstone/1"] = "intellirouter.tombstone/1"
    person: str
    """HMAC-SHA-256 of the user id."""
    organization: str | None
    """Erased in this organisation only; None: in all."""
    erased_at: datetime
    requests: tuple[str, ...] = ()
    """HMAC-SHA-256 of the ids of the requests that went, cut to REQUEST_DIGITS."""
    moments: tuple[datetime, ...] = ()
    """Earlier attempts of this erasure that did not reach their certificate."""

    @property
    def name(self) -> str:
        """The stem of its file and of its certificate."""
        return f"{self.erased_at:%Y%m%dT%H%M%S%f}-{self.person[:16]}"

    def write(self, folder: Path) -> None:
        """Put it into the folder of erasures."""
        write_atomically(folder / f"{self.name}{SUFFIX}", self.model_dump_json(indent=1).encode())


@dataclass(frozen=True, slots=True)
class Key:
    """The key that names are hashed with."""

    content: bytes

    @classmethod
    def of(cls, settings: Settings) -> Key:
        """The data folder's key, made when there is none."""
        path = settings.erasures / "key"
        make_folder(settings.erasures)
        if not path.exists():
            write_atomically(path, os.urandom(32))
            path.chmod(0o600)
        return cls(path.read_bytes())

    @classmethod
    def throwaway(cls) -> Key:
        """A key that leaves no file behind, for hashes that nobody keeps."""
        return cls(os.urandom(32))

    def hash(self, text: str) -> str:
        """Hex HMAC-SHA-256 of a name."""
        return hmac.digest(self.content, text.encode(), hashlib.sha256).hex()

    def hash_request(self, request_id: str) -> str:
        """The same of a request's id, cut."""
        return self.hash(request_id)[:REQUEST_DIGITS]


def standing(settings: Settings) -> list[Tombstone]:
    """Every tombstone, oldest first."""
    paths = sorted(settings.erasures.glob(f"*{SUFFIX}")) if settings.erasures.is_dir() else []
    return [Tombstone.model_validate_json(path.read_bytes()) for path in paths]


def forget_tombstone(settings: Settings, tombstone: Tombstone) -> None:
    """Forget a tombstone that another one covers."""
    (settings.erasures / f"{tombstone.name}{SUFFIX}").unlink(missing_ok=True)
