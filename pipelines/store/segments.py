"""Segments on both sides: which to fetch, to send, and to remove.

    lake/<dataset>/date=…/hour=…/<name>.parquet     the same paths as in a data folder
                                 _<name>.json       the manifest, written last and removed last
    heads/<host>.json                               the ends of the chains of the routers on a host

A segment is obsolete when a derived segment's manifest holds its manifest, or a drop note names it. The
same rule holds on both sides and needs no memory of what was sent. So a round that was stopped anywhere is
finished by the next one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from pipelines.lake import compaction, reading, replacing
from router.errors import SegmentError
from router.files import make_folder, synced_together, write_atomically
from router.journal import chains
from router.journal.manifests import DERIVED_NAME, DropNote, Manifest
from router.journal.places import dated_folders, day_of, manifest_path
from router.journal.reading import replaced_names
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date, datetime
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from pipelines.store.objects import Objects

LAKE = "lake/"
HEADS = "heads/"
FETCH_BYTES = 32 << 20
"""So many bytes of fetched segments are synced together."""
_PATH = re.compile(
    rf"^({'|'.join(DATASETS)})/(date=\d{{4}}-\d{{2}}-\d{{2}})/hour=\d{{2}}"
    r"/_?((\d{8}T\d{2})-([\w-]+)-(\d{8}))\.(json|parquet)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A path of a segment's file or manifest, relative to the lake, and what its name says."""

    path: str
    dataset: str
    day: date
    name: str
    hour: str
    writer_id: str
    sequence: int
    is_manifest: bool

    @classmethod
    def parse(cls, path: str) -> Place | None:
        """None for a path that is not a segment's."""
        found = _PATH.match(path)
        day = day_of(found[2]) if found else None
        if found is None or day is None:
            return None
        return cls(
            path=path,
            dataset=found[1],
            day=day,
            name=found[3],
            hour=found[4],
            writer_id=found[5],
            sequence=int(found[6]),
            is_manifest=found[7] == "json",
        )

    @property
    def is_derived(self) -> bool:
        """Whether compaction, an erasure or retention wrote the segment."""
        return bool(DERIVED_NAME.match(f"{self.name}."))


@dataclass(slots=True, kw_only=True)
class Sides:
    """The segments of both sides, from one day on."""

    there: dict[str, dict[bool, str]] = field(default_factory=lambda: defaultdict(dict))
    """The store's keys by `dataset/name`, of the manifest (True) and of the file (False)."""
    here: dict[str, Segment] = field(default_factory=dict)
    """The folder's segments by `dataset/name`, without replaced ones."""
    replaced: set[str] = field(default_factory=set)
    """`dataset/name` of the segments that derived ones of the folder hold."""
    notes: dict[tuple[str, date], DropNote] = field(default_factory=dict)

    def is_there(self, key: str) -> bool:
        """Whether the store has the segment. It exists once its manifest does."""
        return True in self.there.get(key, {})

    def is_obsolete(self, place: Place, lake: Path) -> bool:
        """Whether a derived segment holds it, or retention dropped it."""
        if f"{place.dataset}/{place.name}" in self.replaced:
            return True
        note = self.notes.get((place.dataset, place.day))
        if note is None:
            note = self.notes[place.dataset, place.day] = DropNote.of_day(lake, place.dataset, place.day)
        if place.is_derived:
            return place.writer_id in note.positions
        return note.names(place.writer_id, hour=place.hour, sequence=place.sequence)

    def hold(self, dataset: str, manifests: Iterable[Manifest]) -> None:
        """Note the segments that these manifests hold."""
        self.replaced |= {f"{dataset}/{name}" for name in replaced_names(manifests)}


@dataclass(slots=True, kw_only=True)
class Moved:
    """The segments that one round moved."""

    fetched: int = 0
    sent: int = 0
    merged: int = 0
    """Small segments that were merged before they were sent."""
    removed_here: int = 0
    removed_there: int = 0
    problems: list[str] = field(default_factory=list)
    """Segments that stay where they are, and why."""


class Segments:
    """One round of a lake's segments, from `since` on (None: all)."""

    def __init__(self, lake: Path, objects: Objects, *, since: date | None, host: str) -> None:
        self._lake = lake
        self._objects = objects
        self._since = since
        self._heads_key = f"{HEADS}{host}.json"
        self._sides = Sides()
        self.moved = Moved()

    def list_store(self) -> None:
        """List the store's segments. The files that they need must be fetched after this."""
        self._heads = [self._objects.read(key) for key in self._objects.keys(HEADS)]
        for dataset in DATASETS:
            prefix = f"{LAKE}{dataset}/"
            after = None if self._since is None else f"{prefix}date={self._since:%Y-%m-%d}"
            for key in self._objects.keys(prefix, after=after):
                place = Place.parse(key.removeprefix(LAKE))
                if place is not None:
                    self._sides.there[f"{dataset}/{place.name}"][place.is_manifest] = place.path

    def fetch(self) -> None:
        """Bring the store's segments that the folder lacks, derived ones first: they hold others."""
        self._list_here()
        wanted = [
            place
            for key, paths in self._sides.there.items()
            if key not in self._sides.here and (place := Place.parse(paths.get(True, ""))) is not None
        ]
        batch: list[tuple[Manifest, bytes, bytes]] = []
        size = 0
        for place in sorted(wanted, key=lambda item: (not item.is_derived, item.path)):
            if self._sides.is_obsolete(place, self._lake):
                continue
            found = self._read(place)
            if found is None:
                continue
            self._sides.hold(place.dataset, [found[0]])
            batch.append(found)
            size += len(found[2])
            if size > FETCH_BYTES:
                self._write(batch)
                batch, size = [], 0
        self._write(batch)
        self._advance_heads()
        self._forget()

    def send(self, *, derives: bool, now: datetime) -> None:
        """Send the folder's segments that the store lacks, small ones of an hour as one."""
        new = [item for key, item in self._sides.here.items() if not self._sides.is_there(key)]
        result = compaction.CompactionResult()
        raw = [item for item in new if item.manifest.operation == "seal"]
        compaction.merge_small(self._lake, raw, now=now, result=result)
        self.moved.merged = result.merged
        if result.written:
            self._list_here()
        sent = []
        for key, segment in sorted(self._sides.here.items(), key=lambda item: _order(item[1])):
            if self._sides.is_there(key):
                continue
            manifest = segment.manifest
            others = [
                source.name
                for source in manifest.direct_sources()
                if self._sides.is_there(f"{manifest.dataset}/{source.name}")
            ]
            if others and not derives:
                self.moved.problems.append(
                    f"`{manifest.name}` replaces `{others[0]}` of the store, and this host does not derive:"
                    " compact, erase and retain on the host of `intellirouter sync --derive`"
                )
                continue
            if self._send(segment):
                sent.append(manifest)
        self._send_heads(sent)

    def remove_obsolete(self) -> None:
        """Remove obsolete segments from the store: the file first, then its manifest.

        A derived segment makes others obsolete once the store has it.
        """
        self._sides.replaced = set()
        for key, segment in self._sides.here.items():
            if self._sides.is_there(key):
                self._sides.hold(segment.manifest.dataset, [segment.manifest])
        for key, paths in list(self._sides.there.items()):
            place = Place.parse(next(iter(paths.values())))
            assert place is not None  # noqa: S101 - `list_store` keeps only paths of segments
            if key in self._sides.here or not self._sides.is_obsolete(place, self._lake):
                continue
            self._objects.remove(LAKE + paths[kind] for kind in (False, True) if kind in paths)
            del self._sides.there[key]
            self.moved.removed_there += 1

    def _list_here(self) -> None:
        self._sides.here = {}
        for dataset in DATASETS:
            for day, _ in dated_folders(self._lake / dataset):
                if self._since is not None and day < self._since:
                    continue
                segments = reading.scan(self._lake, dataset, day=day).segments
                self._sides.here |= {f"{dataset}/{item.manifest.name}": item for item in segments}
                self._sides.hold(dataset, (item.manifest for item in segments))

    def _read(self, place: Place) -> tuple[Manifest, bytes, bytes] | None:
        """A segment's manifest, the manifest's bytes and the file's bytes. None if it is not whole."""
        described = self._objects.read(LAKE + place.path)
        if described is None:
            return None  # removed since it was listed
        try:
            manifest = Manifest.parse(described[0], place.path)
            file = Place.parse(manifest.path)
            if file is None or (file.name, file.dataset, file.day) != (place.name, place.dataset, place.day):
                raise SegmentError(f"describes `{manifest.path:.120}`")
            found = self._objects.read(LAKE + manifest.path)
            if found is None:
                raise SegmentError("has no file")
            if hashlib.sha256(found[0]).hexdigest() != manifest.sha256:
                raise SegmentError("does not agree with its file's bytes")
        except SegmentError as error:
            if self._objects.read(LAKE + place.path) is not None:
                self.moved.problems.append(f"`{place.path}` in the store is not fetched: {error}")
            return None
        return manifest, described[0], found[0]

    def _write(self, batch: Sequence[tuple[Manifest, bytes, bytes]]) -> None:
        with synced_together():
            for manifest, _, content in batch:
                path = self._lake / manifest.path
                make_folder(path.parent)
                write_atomically(path, content)
        with synced_together():
            for manifest, text, _ in batch:
                write_atomically(manifest_path(self._lake / manifest.path), text)
        for manifest, text, _ in batch:
            self._advance(manifest, text)
            for source, source_text in manifest.replaced():
                self._advance(source, source_text.encode())
        self.moved.fetched += len(batch)
        for dataset in {manifest.dataset for manifest, _, _ in batch if manifest.sources}:
            replacing.remove_leftovers(self._lake, dataset)
        if batch:
            self._list_here()

    def _advance(self, manifest: Manifest, text: bytes) -> None:
        head = chains.Head(
            position=manifest.chain_position,
            manifest_sha256=hashlib.sha256(text).hexdigest(),
            path=manifest.path.removesuffix(".parquet") + ".json",
        )
        self._advance_to(manifest.dataset, manifest.writer_id, head)

    def _advance_to(self, dataset: str, writer_id: str, head: chains.Head) -> None:
        path = chains.head_path(self._lake, dataset, writer_id)
        with chains.locked(self._lake, chains.SEALING):
            known = chains.read_head(path)
            if known is None or known.position < head.position:
                chains.write_head(path, head)

    def _advance_heads(self) -> None:
        for found in self._heads:
            for dataset, writer_id, head in _heads_in(found[0] if found else b"{}"):
                self._advance_to(dataset, writer_id, head)

    def _forget(self) -> None:
        """Remove the folder's segments that retention dropped on another host."""
        for key, segment in list(self._sides.here.items()):
            manifest = segment.manifest
            place = Place.parse(manifest.path)
            if place is None or key in self._sides.replaced:
                continue
            if not self._sides.is_obsolete(place, self._lake):
                continue
            segment.path.unlink(missing_ok=True)
            manifest_path(segment.path).unlink(missing_ok=True)
            if place.is_derived:
                chains.head_path(self._lake, manifest.dataset, manifest.writer_id).unlink(missing_ok=True)
            del self._sides.here[key]
            self.moved.removed_here += 1

    def _send(self, segment: Segment) -> bool:
        manifest = segment.manifest
        try:
            content = segment.path.read_bytes()
            text = manifest_path(segment.path).read_bytes()
        except FileNotFoundError:
            return False  # replaced since it was listed: its replacement goes in the next round
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            self.moved.problems.append(f"`{manifest.path}` does not agree with its manifest and is not sent")
            return False
        path = str(manifest_path(segment.path).relative_to(self._lake))
        self._objects.put(LAKE + manifest.path, content)
        self._objects.create(LAKE + path, text)
        self._sides.there[f"{manifest.dataset}/{manifest.name}"] |= {False: manifest.path, True: path}
        self.moved.sent += 1
        return True

    def _send_heads(self, sent: Sequence[Manifest]) -> None:
        """Keep the ends of this host's chains in the store: without one, a cut end could not be seen."""
        found = self._objects.read(self._heads_key)
        writers = {
            (part.dataset, part.writer_id)
            for manifest in sent
            for part in manifest.tree()
            if part.operation == "seal"
        }
        known = {(dataset, writer): head for dataset, writer, head in _heads_in(found[0] if found else b"{}")}
        heads = dict(known)
        for dataset, writer_id in writers | known.keys():
            head = chains.read_head(chains.head_path(self._lake, dataset, writer_id))
            if head is not None:
                heads[dataset, writer_id] = head
        if heads != known:
            content = {f"{dataset}/{writer}": asdict(head) for (dataset, writer), head in heads.items()}
            self._objects.put(self._heads_key, json.dumps(content).encode())


def _heads_in(content: bytes) -> Iterator[tuple[str, str, chains.Head]]:
    try:
        for key, head in json.loads(content).items():
            dataset, _, writer_id = key.partition("/")
            if dataset in DATASETS and re.fullmatch(r"[\w-]+", writer_id):
                yield dataset, writer_id, chains.Head(**head)
    except (ValueError, TypeError, AttributeError) as error:
        raise SegmentError(f"the heads of chains in the store cannot be read: {error}") from error


def _order(segment: Segment) -> tuple[str, str, int]:
    manifest = segment.manifest
    return manifest.dataset, manifest.writer_id, manifest.chain_position
