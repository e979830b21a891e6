"""Manifests: what a segment holds, how to tell whether it was changed, its place in its writer's chain."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from router.errors import SegmentError
from router.files import write_atomically
from router.journal import chains
from router.journal.drops import DropNote, note_path
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = "intellirouter.segment/1"
Operation = Literal["seal", "compaction", "erasure", "retention"]
DERIVED_WRITERS = {"compaction": "compact", "erasure": "erase", "retention": "retain"}
"""What the id of a derived segment's writer starts with."""
DERIVED_NAME = re.compile(rf"^\d{{8}}T\d{{2}}-({'|'.join(DERIVED_WRITERS.values())})-[0-9a-f]+-\d{{8}}\.")
Content = bytes  # inside the class, `bytes` is the field
_MOMENTS = ("first_at", "last_at", "sealed_at")
_INTEGERS = ("schema_version", "sequence", "rows", "bytes", "chain_position")
_TEXTS = ("dataset", "writer_id", "name", "path", "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a segment holds and how to tell that it was not changed."""

    format: str
    dataset: str
    schema_version: int
    writer_id: str
    sequence: int
    name: str
    """Unique over all writers; the key of the load ledger."""
    path: str
    """Relative to the lake's folder."""
    rows: int
    bytes: int
    sha256: str
    first_at: datetime
    last_at: datetime
    sealed_at: datetime
    chain_position: int
    """Counts a writer's segments of this dataset from 1, in the order they were sealed; 0 before `commit`."""
    previous_sha256: str | None
    """Of the bytes of the manifest before it in the chain; None for the first."""
    previous_path: str | None
    """That manifest's path, so that it can be named when it is gone."""
    operation: Operation = "seal"
    sources: tuple[str, ...] = ()
    """The manifests, verbatim, of the segments that this one replaces; they may have sources too."""

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest at `path`; SegmentError when it is not one."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SegmentError(f"manifest `{path.name}` cannot be read: {error}") from error
        return cls.parse(content, path.name)

    @classmethod
    def parse(cls, content: Content, file_name: str) -> Manifest:
        """The manifest that a file's bytes hold; SegmentError, naming the file, when it is none."""
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
        """Every segment that this one stands for, with its text: its sources, theirs, and so on."""
        for text in self.sources:
            source = Manifest.parse(text.encode(), f"a source of {self.name}")
            yield source, text
            yield from source.replaced()

    def _problem(self) -> str | None:
        if self.format != FORMAT:
            return f"has format `{self.format}`, expected `{FORMAT}`"
        for names, kind in ((_INTEGERS, int), (_TEXTS, str)):
            for name in names:
                if not isinstance(getattr(self, name), kind):
                    return f"has `{name}`: `{getattr(self, name)}`, which is no {kind.__name__}"
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
    # Compressed: escaped as plain JSON strings, texts within texts would double with every rewriting.
    return base64.b64encode(zlib.compress(json.dumps(sources).encode(), 9)).decode() if sources else ""


def _unpack(packed: str) -> tuple[str, ...]:
    return tuple(json.loads(zlib.decompress(base64.b64decode(packed, validate=True)))) if packed else ()


def commit(lake: Path, manifest: Manifest) -> Manifest:
    """Link a manifest to its writer's chain and put it beside its file: from here on the segment exists.

    A manifest that stands already is kept, and the chain's head, which a crash may have left behind
    it, is brought up to it.
    """
    path = (lake / manifest.path).with_suffix(".json")
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
    """Whether a journal's segment of this hour stood and was replaced or dropped since.

    Its caller holds the REWRITING lock. A head that a crash left behind the segment is brought up to
    it. SegmentError when a derived manifest of the hour cannot be read, and so nobody can tell.
    """
    prefix = f"{hour:%Y%m%dT%H}"
    folder = lake / dataset / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}"
    path = folder / f"{prefix}-{writer_id}-{sequence:08d}.json"
    if path.exists():
        return False  # not replaced, or not removed yet: sealing again changes nothing
    for beside in sorted(folder.glob(f"{prefix}-*.json")):
        if not DERIVED_NAME.match(beside.name):
            continue
        for source, text in Manifest.read(beside).replaced():
            if f"{source.name}.json" == path.name:
                with chains.locked(lake, chains.SEALING):
                    if _follows(source, _head(lake, source)):
                        _advance(lake, source, text.encode())
                return True
    note = DropNote.read(note_path(lake, dataset, f"{hour:%Y-%m-%d}"))
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
    # Lost or damaged, which no crash does: the records are sealed all the same, after the last
    # manifest there is, and the audit names what is missing.
    best: chains.Head | None = None
    for path in (lake / manifest.dataset).glob(f"date=*/hour=*/*-{manifest.writer_id}-*.json"):
        content = path.read_bytes()
        try:
            position = Manifest.parse(content, path.name).chain_position
        except SegmentError:
            continue
        if path.name != f"{manifest.name}.json" and (best is None or position > best.position):
            best = chains.Head(
                position=position,
                manifest_sha256=hashlib.sha256(content).hexdigest(),
                path=str(path.relative_to(lake)),
            )
    return best
