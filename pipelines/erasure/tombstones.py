"""Remembers the erased persons as hashes, so that data that arrives late is erased too.

    erasures/key                                   32 random bytes, made by the first erasure
    erasures/<time>-<person>.tombstone.json        the person, the moment, the removed requests

A person and each of their requests is stored as an HMAC-SHA-256 with that key. Without the key, a
tombstone cannot be linked to a person, not even by trying names. If you remove the key, late segments are
not recognised and certificates cannot be checked. Records made after the moment are not erased.
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
"""Hex digits of a request's HMAC that are kept: 96 bits, so that the file stays small."""


class Tombstone(BaseModel):
    """One erased person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["intellirouter.tombstone/1"] = "intellirouter.tombstone/1"
    person: str
    """HMAC-SHA-256 of the user id."""
    organization: str | None
    """The person is erased in this organisation only. None means in all."""
    erased_at: datetime
    requests: tuple[str, ...] = ()
    """HMAC-SHA-256 of the ids of the removed requests, cut to REQUEST_DIGITS."""
    moments: tuple[datetime, ...] = ()
    """Earlier attempts of this erasure that did not reach their certificate."""

    @property
    def name(self) -> str:
        """The stem of the tombstone's file and of its certificate."""
        return f"{self.erased_at:%Y%m%dT%H%M%S%f}-{self.person[:16]}"

    def write(self, folder: Path) -> None:
        """Write the tombstone into the folder of erasures."""
        write_atomically(folder / f"{self.name}{SUFFIX}", self.model_dump_json(indent=1).encode())


@dataclass(frozen=True, slots=True)
class Key:
    """The key of the hashes."""

    content: bytes

    @classmethod
    def of(cls, settings: Settings) -> Key:
        """Read the data folder's key, or make one if it has none."""
        path = settings.erasures / "key"
        make_folder(settings.erasures)
        if not path.exists():
            write_atomically(path, os.urandom(32))
            path.chmod(0o600)
        return cls(path.read_bytes())

    @classmethod
    def throwaway(cls) -> Key:
        """A key without a file, for hashes that are not kept."""
        return cls(os.urandom(32))

    def hash(self, text: str) -> str:
        """The hexadecimal HMAC-SHA-256 of a name."""
        return hmac.digest(self.content, text.encode(), hashlib.sha256).hex()

    def hash_request(self, request_id: str) -> str:
        """The hash of a request's id, cut to REQUEST_DIGITS."""
        return self.hash(request_id)[:REQUEST_DIGITS]


def standing(settings: Settings) -> list[Tombstone]:
    """Every tombstone, oldest first."""
    paths = sorted(settings.erasures.glob(f"*{SUFFIX}")) if settings.erasures.is_dir() else []
    return [Tombstone.model_validate_json(path.read_bytes()) for path in paths]


def forget_tombstone(settings: Settings, tombstone: Tombstone) -> None:
    """Remove a tombstone that another one replaces."""
    (settings.erasures / f"{tombstone.name}{SUFFIX}").unlink(missing_ok=True)
