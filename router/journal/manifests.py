"""Manifests: the contents of a segment, the proof that it is unchanged, its place in its writer's chain.

    lake/chains/<dataset>/expired/date=2026-08-01.<digest>.json     a drop note

A drop note lists the segments that retention dropped with a day, so that nothing brings them back and
the audit does not miss them. A writer's numbers have few gaps, so the note keeps them as ranges and
always stays small.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from router.errors import SegmentError
from router.files import make_folder, write_atomically
from router.journal import chains
from router.journal.places import (
    CHAINS,
    EVERY_HOUR,
    date_folder,
    hour_folder,
    hour_of,
    manifest_path,
    segment_path,
    without_prefix,
)
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date
    from pathlib import Path

FORMAT = "intellirouter.segment/1"
Operation = Literal["seal", "compaction", "erasure", "retention"]
DERIVED_WRITERS = {"compaction": "compact", "erasure": "erase", "retention": "retain"}
"""The prefix of the writer id of a derived segment."""
DERIVED_NAME = re.compile(rf"^\d{{8}}T\d{{2}}-({'|'.join(DERIVED_WRITERS.values())})-[0-9a-f]+-\d{{8}}\.")
REMOVING = ("erasure", "retention")
"""Operations that remove rows."""
EXPIRED = "expired"
"""The folder of drop notes, next to the heads."""
Content = bytes  # inside the class, `bytes` is the field
_MOMENTS = ("first_at", "last_at", "sealed_at")
_INTEGERS = ("schema_version", "sequence", "rows", "bytes", "chain_position")
_TEXTS = ("dataset", "writer_id", "name", "path", "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contents of a segment, and the proof that it is unchanged."""

    format: str
    dataset: str
    schema_version: int
    writer_id: str
    sequence: int
    name: str
    """Unique over all writers. It is the key of the load ledger."""
    path: str
    """Relative to the lake's folder."""
    rows: int
    bytes: int
    sha256: str
    first_at: datetime
    last_at: datetime
    sealed_at: datetime
    chain_position: int
    """Counts a writer's segments of this dataset from 1, in the order of sealing; 0 before `commit`."""
    previous_sha256: str | None
    """SHA-256 of the bytes of the previous manifest in the chain; None for the first."""
    previous_path: str | None
    """The path of that manifest, so that it can be named even if it is missing."""
    operation: Operation = "seal"
    sources: tuple[str, ...] = ()
    """The manifests, verbatim, of the segments that this one replaces. They may have sources too."""

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest at `path`; SegmentError if it is not valid."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SegmentError(f"manifest `{path.name}` cannot be read: {error}") from error
        return cls.parse(content, path.name)

    @classmethod
    def parse(cls, content: Content, file_name: str) -> Manifest:
        """The manifest in a file's bytes; SegmentError, naming the file, if they are not valid."""
        try:
            raw = json.loads(content)
            moments = {key: datetime.fromisoformat(raw[key]) for key in _MOMENTS}
            manifest = cls(**{**raw, **moments, "sources": _unpack(raw["sources"])})
            problem = manifest._problem()
        except (ValueError, TypeError, KeyError, zlib.error) as error:
            raise SegmentError(f"manifest `{file_name}` cannot be read: {error}") from error
        if problem:
            raise SegmentError(f"manifest `{file_name}` {problem}")
        return manifest

    def content(self) -> Content:
        """The bytes of the manifest's file."""
        raw = asdict(self) | {"sources": _pack(self.sources)}
        for key in _MOMENTS:
            raw[key] = raw[key].isoformat()
        return json.dumps(raw, indent=1).encode()

    def write(self, path: Path) -> None:
        """Put the manifest at `path`, whole or not at all."""
        write_atomically(path, self.content())

    def replaced(self) -> Iterator[tuple[Manifest, str]]:
        """Every segment that this one replaces, with its text: its sources, their sources, and so on."""
        for text in self.sources:
            source = Manifest.parse(text.encode(), f"a source of {self.name}")
            yield source, text
            yield from source.replaced()

    def tree(self) -> Iterator[Manifest]:
        """This manifest and all manifests that it replaces."""
        yield self
        yield from (source for source, _ in self.replaced())

    def direct_sources(self) -> list[Manifest]:
        """The manifests that this one replaced directly."""
        return [Manifest.parse(text.encode(), self.name) for text in self.sources]

    @property
    def hour(self) -> datetime:
        """The hour of its rows."""
        return hour_of(self.first_at)

    def _problem(self) -> str | None:
        if self.format != FORMAT:
            return f"has format `{self.format}`, expected `{FORMAT}`"
        for names, kind in ((_INTEGERS, int), (_TEXTS, str)):
            for name in names:
                if not isinstance(getattr(self, name), kind):
                    return f"has `{name}`: `{getattr(self, name)}`, which is not of type {kind.__name__}"
        if any(getattr(self, name).tzinfo is None for name in _MOMENTS):
            return "has a moment without a time zone"
        if self.dataset not in DATASETS:
            return f"names the unknown dataset `{self.dataset}`"
        if self.operation not in get_args(Operation) or (self.operation == "seal") != (not self.sources):
            return f"has operation `{self.operation}` with {len(self.sources)} sources"
        if (self.chain_position == 1) != (self.previous_sha256 is None):
            return f"is number {self.chain_position} of its chain, which its link contradicts"
        return None


def _pack(sources: tuple[str, ...]) -> str:
    # Compressed, since escaped JSON strings within strings would double with every rewriting.
    return base64.b64encode(zlib.compress(json.dumps(sources).encode(), 9)).decode() if sources else ""


def _unpack(packed: str) -> tuple[str, ...]:
    return tuple(json.loads(zlib.decompress(base64.b64decode(packed, validate=True)))) if packed else ()


def commit(lake: Path, manifest: Manifest) -> Manifest:
    """Link a manifest to its writer's chain and put it next to its file. Then the segment exists.

    An existing manifest is kept. If a crash left the chain's head behind it, the head advances to it.
    """
    path = manifest_path(lake / manifest.path)
    with chains.locked(lake, chains.SEALING):
        head = _head(lake, manifest)
        position, digest = _end(head)
        if path.exists():
            content = path.read_bytes()
            manifest = Manifest.parse(content, path.name)
            if manifest.chain_position <= position:
                return manifest
            if not _follows(manifest, head):
                raise SegmentError(
                    f"manifest `{path.name}` is number {manifest.chain_position} of its chain and does not"
                    f" follow number {position}, the head; run `intellirouter doctor --audit`"
                )
        else:
            manifest = replace(
                manifest,
                chain_position=position + 1,
                previous_sha256=digest,
                previous_path=None if head is None else head.path,
            )
            content = manifest.content()
            write_atomically(path, content)
        _advance(lake, manifest, content)
    return manifest


def was_sealed(lake: Path, *, dataset: str, writer_id: str, sequence: int, hour: datetime) -> bool:
    """Whether a journal's segment of this hour existed and was replaced or dropped since.

    The caller must hold the REWRITING lock. If a crash left the chain's head behind the segment, the head
    advances to it. SegmentError if a derived manifest of the hour cannot be read: the answer is unknown.
    """
    prefix = f"{hour:%Y%m%dT%H}"
    folder = hour_folder(lake, dataset, hour)
    name = f"{prefix}-{writer_id}-{sequence:08d}"
    if manifest_path(folder / f"{name}.parquet").exists():
        return False  # not replaced, or not removed yet: sealing again changes nothing
    for beside in sorted(folder.glob(f"*{prefix}-*.json")):
        if not DERIVED_NAME.match(without_prefix(beside).name):
            continue
        for source, text in Manifest.read(beside).replaced():
            if source.name == name:
                with chains.locked(lake, chains.SEALING):
                    if _follows(source, _head(lake, source)):
                        _advance(lake, source, text.encode())
                return True
    note = DropNote.of_day(lake, dataset, hour)
    return note.names(writer_id, hour=prefix, sequence=sequence)


def _end(head: chains.Head | None) -> tuple[int, str | None]:
    return (0, None) if head is None else (head.position, head.manifest_sha256)


def _follows(manifest: Manifest, head: chains.Head | None) -> bool:
    position, digest = _end(head)
    return (manifest.chain_position, manifest.previous_sha256) == (position + 1, digest)


def _advance(lake: Path, manifest: Manifest, content: Content) -> None:
    chains.write_head(
        chains.head_path(lake, manifest.dataset, manifest.writer_id),
        chains.Head(
            position=manifest.chain_position,
            manifest_sha256=hashlib.sha256(content).hexdigest(),
            path=manifest.path.removesuffix(".parquet") + ".json",
        ),
    )


def _head(lake: Path, manifest: Manifest) -> chains.Head | None:
    try:
        head = chains.read_head(chains.head_path(lake, manifest.dataset, manifest.writer_id))
        if head is not None or manifest.sequence == 1:
            return head
    except SegmentError:
        pass
    # The head is lost or damaged, which no crash does. The records are still sealed, after the last
    # existing manifest, and the audit names the missing ones.
    best: chains.Head | None = None
    for path in (lake / manifest.dataset).glob(f"{EVERY_HOUR}/*-{manifest.writer_id}-*.json"):
        content = path.read_bytes()
        try:
            position = Manifest.parse(content, path.name).chain_position
        except SegmentError:
            continue
        if segment_path(path).stem != manifest.name and (best is None or position > best.position):
            best = chains.Head(
                position=position,
                manifest_sha256=hashlib.sha256(content).hexdigest(),
                path=str(without_prefix(path).relative_to(lake)),
            )
    return best


@dataclass(slots=True, kw_only=True)
class DropNote:
    """The segments that one day's folder of a dataset held."""

    positions: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Positions in the chain, by writer."""
    sequences: dict[str, dict[str, set[int]]] = field(default_factory=lambda: defaultdict(dict))
    """Sequences of the journals that were sealed, by writer and hour (`20260801T04`)."""

    @classmethod
    def read(cls, path: Path) -> DropNote:
        """The note at `path`, an empty one if there is none; SegmentError if it is damaged."""
        note = cls()
        try:
            raw = json.loads(path.read_bytes())
            for writer_id, found in raw["positions"].items():
                note.positions[writer_id] = numbers_in(found)
            for writer_id, hours in raw["sequences"].items():
                note.sequences[writer_id] = {hour: numbers_in(found) for hour, found in hours.items()}
        except FileNotFoundError:
            return note
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SegmentError(f"drop note `{path.name}` cannot be read: {error!r}") from error
        return note

    @classmethod
    def of_day(cls, lake: Path, dataset: str, day: date) -> DropNote:
        """All notes of a day, or of a moment's day, as one; SegmentError if one is damaged.

        A lake that was merged from several folders has one note of each.
        """
        whole = cls()
        for path in note_paths(lake, dataset, day):
            note = cls.read(path)
            for writer_id, positions in note.positions.items():
                whole.positions[writer_id] |= positions
            for writer_id, hours in note.sequences.items():
                for hour, found in hours.items():
                    whole.sequences[writer_id].setdefault(hour, set()).update(found)
        return whole

    def write(self, lake: Path, dataset: str, day: date) -> None:
        """Make this the only note of a day, whole or not at all. Its name says its content."""
        content = json.dumps(
            {
                "positions": {
                    writer_id: ranges(found) for writer_id, found in sorted(self.positions.items())
                },
                "sequences": {
                    writer_id: {hour: ranges(found) for hour, found in sorted(hours.items())}
                    for writer_id, hours in sorted(self.sequences.items())
                },
            }
        ).encode()
        before = note_paths(lake, dataset, day)
        digest = hashlib.sha256(content).hexdigest()[:12]
        path = date_folder(lake / CHAINS / dataset / EXPIRED, day)
        path = path.with_name(f"{path.name}.{digest}.json")
        make_folder(path.parent)
        write_atomically(path, content)
        for old in before:
            if old != path:
                old.unlink()

    def add(self, writer_id: str, position: int, *, hour: str, sequence: int | None) -> None:
        """Note a segment. `sequence` is None if no journal was sealed into it."""
        self.positions[writer_id].add(position)
        if sequence is not None:
            self.sequences[writer_id].setdefault(hour, set()).add(sequence)

    def names(self, writer_id: str, *, hour: str, sequence: int) -> bool:
        """Whether the segment of that journal and hour was dropped."""
        return sequence in self.sequences.get(writer_id, {}).get(hour, ())


def note_paths(lake: Path, dataset: str, day: date) -> list[Path]:
    """The notes of a day, or of a moment's day. Earlier releases wrote one without a digest in its name."""
    folder = date_folder(lake / CHAINS / dataset / EXPIRED, day)
    return sorted(folder.parent.glob(f"{folder.name}*.json"))


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Numbers as sorted ranges, both ends included."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def numbers_in(found: Iterable[Sequence[int]]) -> set[int]:
    """The numbers of ranges with both ends included."""
    return {number for first, last in found for number in range(first, last + 1)}
