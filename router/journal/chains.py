"""The hash chain of each writer: no one can change or remove a sealed segment unnoticed.

    lake/chains/<dataset>/<writer>.json     the chain's head: position, SHA-256 and path of its last manifest

Every manifest holds its position in its writer's chain and the SHA-256 of the manifest before it.
The head confirms the last one. `intellirouter doctor --audit` walks the chains.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from router.errors import SegmentError
from router.files import make_folder, write_atomically
from router.journal.places import CHAINS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEALING = ".lock"
"""Lock from the read of a head to its advance, so that two processes cannot fork a writer's chain."""
REWRITING = ".rewrite-lock"
"""Lock while segments are replaced by rewritten ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last manifest of a chain."""

    position: int
    manifest_sha256: str
    """SHA-256 of the manifest file's bytes."""
    path: str
    """The manifest's path, relative to the lake."""


def head_path(lake: Path, dataset: str, writer_id: str) -> Path:
    """The path of a writer's head."""
    return lake / CHAINS / dataset / f"{writer_id}.json"


def read_head(path: Path) -> Head | None:
    """The head at `path`, None when there is none; SegmentError when it is damaged."""
    try:
        head = Head(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SegmentError(f"chain head `{path.name}` cannot be read: {error}") from error
    if not (isinstance(head.position, int) and isinstance(head.manifest_sha256, str) and head.path):
        raise SegmentError(f"chain head `{path.name}` holds values of the wrong type")
    return head


def write_head(path: Path, head: Head) -> None:
    """Advance a chain. The caller must hold the SEALING lock."""
    make_folder(path.parent)
    write_atomically(path, json.dumps(asdict(head)).encode())


@contextlib.contextmanager
def locked(lake: Path, name: str) -> Iterator[None]:
    """Hold one of the lake's locks. The kernel releases it when this process dies."""
    make_folder(lake / CHAINS)
    descriptor = os.open(lake / CHAINS / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
