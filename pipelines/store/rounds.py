"""Rounds that bring a data folder and the store in line.

The order of a round loses nothing, wherever it stops:

1. List the store, then fetch the published files. A segment's files were published before it.
2. Fetch segments, and remove what they replace. So nothing that another host erased is sent again.
3. Publish this host's files (the deriving host only), then send its segments.
4. Remove obsolete segments from the store.

    hosts/<host>.json     {"host", "at", "derives"}: the end of each host's last round
"""

from __future__ import annotations

import json
import socket
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.errors import StoreError
from pipelines.store import files, lease
from pipelines.store.objects import Objects
from pipelines.store.segments import Moved, Segments
from router.errors import ConfigError
from router.files import locked, write_atomically

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from router.config import Settings

HOSTS = "hosts/"
RECENT = timedelta(days=2)
"""A round looks at these days and later ones."""
WHOLE_EVERY = timedelta(hours=1)
"""So often, and at the start, a round looks at all days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The result of one round."""

    segments: Moved
    files: int
    """Published files that changed."""
    is_whole: bool
    """Whether all days were looked at."""

    def facts(self) -> dict[str, Any]:
        """The result as plain values."""
        return {**asdict(self.segments), "files": self.files, "is_whole": self.is_whole}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRound:
    """A host's last round."""

    host: str
    at: str
    """The moment, in ISO 8601."""
    derives: bool


def last_rounds(objects: Objects) -> list[LastRound]:
    """The last round of each host that ever had one."""
    found = (objects.read(key) for key in objects.keys(HOSTS))
    return [LastRound(**json.loads(item[0])) for item in found if item is not None]


class Rounds:
    """The rounds of one host. `derives` is for the host that runs the jobs, one of all."""

    def __init__(self, settings: Settings, objects: Objects, *, derives: bool) -> None:
        self._settings = settings
        self._objects = objects
        self._derives = derives
        self._whole_at: datetime | None = None
        self._state = _read_state(settings.home)

    @classmethod
    def open(cls, settings: Settings, *, derives: bool) -> Self:
        """The rounds with LAKE_URL. ConfigError if it is not set."""
        if settings.lake_url is None:
            raise ConfigError(
                "LAKE_URL is not set: name an object store, such as LAKE_URL=s3://bucket/folder. One machine"
                " needs none"
            )
        return cls(settings, Objects.open(settings.lake_url), derives=derives)

    def run(self, now: datetime) -> Round:
        """One round. StoreError if the store cannot be reached: the next round goes on."""
        settings, objects = self._settings, self._objects
        with locked(state_file(settings.home)):
            is_whole = self._whole_at is None or now - self._whole_at >= WHOLE_EVERY
            if self._derives:
                lease.take(objects, self._state["host"], now=now)
            since = None if is_whole else (now - RECENT).date()
            segments = Segments(settings.lake, objects, since=since, host=self._state["host"])
            segments.list_store()
            changed = 0
            if not self._derives or self._state["files"] is None:  # a new host of the jobs takes over
                changed, found = files.fetch(settings.home, objects, self._state["files"] or ())
                self._state["files"] = sorted(found)
            segments.fetch()
            if self._derives:
                changed += files.send(settings.home, objects)
            segments.send(derives=self._derives, now=now)
            segments.remove_obsolete()
            if is_whole:
                self._whole_at = now
            result = Round(segments=segments.moved, files=changed, is_whole=is_whole)
            self._state["last"] = {"at": now.isoformat(timespec="seconds"), **result.facts()}
            write_atomically(state_file(settings.home), json.dumps(self._state, indent=1).encode())
            seen = LastRound(host=socket.gethostname(), at=now.isoformat(), derives=self._derives)
            objects.put(f"{HOSTS}{self._state['host']}.json", json.dumps(asdict(seen)).encode())
        return result

    def close(self) -> None:
        """Give the lease back, so that another host can derive at once."""
        if self._derives:
            lease.give_back(self._objects, self._state["host"])


def state_file(home: Path) -> Path:
    """The file with this host's name in the store, its fetched files and its last round."""
    return home / "store.json"


def _read_state(home: Path) -> dict[str, Any]:
    path = state_file(home)
    try:
        state = json.loads(path.read_bytes())
        return {"host": str(state["host"]), "files": list(state["files"]), "last": state.get("last")}
    except FileNotFoundError:
        return {"host": uuid.uuid4().hex[:12], "files": None, "last": None}
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"`{path}` cannot be read: {error!r}. Remove it: the next round looks at everything again"
        ) from error
