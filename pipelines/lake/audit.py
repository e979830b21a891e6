"""Walks the hash chains to find the first file that was changed, removed, swapped or inserted.

The walk starts at a chain's head and goes backwards. The head holds the digest of the last manifest. Each
manifest holds the digests of the one before it and of its own file. A derived segment holds the manifests
that it replaced. A person with write access to the whole lake can still forge a chain, or cut its end and
set the head back. To detect that, keep the heads of an audit elsewhere and pass them to the next audit.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.errors import SegmentError
from router.files import TEMPORARY_PREFIX
from router.journal import chains
from router.journal.manifests import EXPIRED, DropNote, Manifest
from router.journal.places import CHAINS, EVERY_HOUR, day_of, manifest_path, without_prefix
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date
    from pathlib import Path

_NAME = re.compile(r"^\d{8}T\d{2}-(.+)-\d{8}\.json$")
_KEPT_HEAD = re.compile(rf"\b({'|'.join(DATASETS)})/([\w.-]+)=(\d+):([0-9a-f]{{64}})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A manifest: a file of the lake, or a text inside a derived manifest."""

    path: str
    """The manifest's file, relative to the lake. It no longer exists if a derived manifest holds the text."""
    digest: str
    manifest: Manifest | None
    """None if the file cannot be read as a manifest."""
    is_standing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The first position at which a chain is broken."""

    dataset: str
    writer_id: str
    position: int
    path: str
    """Relative to the lake."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptHead:
    """A chain's head as an audit prints it. A later audit compares it, to detect that the end was cut."""

    dataset: str
    writer_id: str
    position: int
    manifest_sha256: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.writer_id}={self.position}:{self.manifest_sha256}"

    @classmethod
    def find_all(cls, text: str) -> list[KeptHead]:
        """Find every head in the output of an earlier audit, in any format."""
        return [
            cls(dataset=found[1], writer_id=found[2], position=int(found[3]), manifest_sha256=found[4])
            for found in _KEPT_HEAD.finditer(text)
        ]


@dataclass(slots=True, kw_only=True)
class Chains:
    """Every chain of a lake, read in one moment."""

    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=lambda: defaultdict(list))
    """By dataset and writer."""
    heads: dict[tuple[str, str], chains.Head | None] = field(default_factory=dict)
    """None if the head cannot be read."""
    dropped: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """Positions in partitions that retention dropped."""
    too_young: list[str] = field(default_factory=list)
    """Drop notes of days that retention has not reached."""
    damaged: list[str] = field(default_factory=list)
    """Drop notes that cannot be read, and why."""

    def kept_heads(self) -> list[KeptHead]:
        """Every head that can be read. Keep them outside of the lake."""
        return [
            KeptHead(
                dataset=dataset,
                writer_id=writer_id,
                position=head.position,
                manifest_sha256=head.manifest_sha256,
            )
            for (dataset, writer_id), head in sorted(self.heads.items())
            if head is not None
        ]


def audit(
    home: Path,
    *,
    expired_before: Mapping[str, date] | None = None,
    expected: Iterable[KeptHead] = (),
) -> tuple[list[Break], Chains]:
    """Return the first break of every broken chain, and the chains that were read.

    `expired_before` is retention's cutoff by dataset, where it is known. `expected` are heads of
    earlier audits.
    """
    root = home / "lake"
    found = read_chains(root, expired_before=expired_before)
    kept: dict[tuple[str, str], list[KeptHead]] = defaultdict(list)
    for item in expected:
        kept[item.dataset, item.writer_id].append(item)
    breaks = []
    for dataset, writer_id in sorted({*found.entries, *found.heads, *kept}):
        problems = [
            *_walk(home, found, dataset, writer_id),
            *_cut(found, dataset, writer_id, kept[dataset, writer_id]),
        ]
        if problems:
            position, path, reason = min(problems)
            breaks.append(
                Break(dataset=dataset, writer_id=writer_id, position=position, path=path, reason=reason)
            )
    return breaks, found


def read_chains(root: Path, *, expired_before: Mapping[str, date] | None = None) -> Chains:
    """Read every manifest and head, under the locks that keep writers from advancing a chain."""
    found = Chains()
    if not root.exists():
        return found
    with chains.locked(root, chains.REWRITING), chains.locked(root, chains.SEALING):
        for dataset in DATASETS:
            for path in sorted((root / dataset).glob(f"{EVERY_HOUR}/*.json")):
                if not path.name.startswith(TEMPORARY_PREFIX):
                    _read_entry(root, dataset, path, found)
            for path in (root / CHAINS / dataset).glob("*.json"):
                if path.name.startswith(TEMPORARY_PREFIX):
                    continue
                found.heads[dataset, path.stem] = None
                with contextlib.suppress(SegmentError):
                    found.heads[dataset, path.stem] = chains.read_head(path)
            _read_drop_notes(root, dataset, (expired_before or {}).get(dataset), found)
    return found


def note_drop(root: Path, folder: Path) -> None:
    """Write down which segments a date folder holds, before retention drops it."""
    dataset = folder.parent.name
    day = day_of(folder.name)
    assert day is not None  # noqa: S101 - retention drops the folders of days only
    note = DropNote.of_day(root, dataset, day)  # the folder of a late segment is dropped a second time
    manifests = _manifests_in(root, folder)
    for manifest in manifests:
        note.add(
            manifest.writer_id,
            manifest.chain_position,
            hour=manifest.name.partition("-")[0],
            sequence=manifest.sequence if manifest.operation == "seal" else None,
        )
    if manifests:
        note.write(root, dataset, day)


def forget_heads(root: Path, folder: Path) -> None:
    """Remove the heads of derived segments in a folder that is dropped.

    Each derived segment is a chain of its own, so its head would point at nothing.
    """
    for manifest in _manifests_in(root, folder):
        if manifest.operation != "seal":
            chains.head_path(root, manifest.dataset, manifest.writer_id).unlink(missing_ok=True)


def _manifests_in(root: Path, folder: Path) -> list[Manifest]:
    found = Chains()
    for path in sorted(folder.glob("hour=*/*.json")):
        _read_entry(root, folder.parent.name, path, found)
    entries = (entry for entries in found.entries.values() for entry in entries)
    return [entry.manifest for entry in entries if entry.manifest is not None]


def _read_drop_notes(root: Path, dataset: str, expired_before: date | None, found: Chains) -> None:
    for path in sorted((root / CHAINS / dataset / EXPIRED).glob("date=*.json")):
        relative = str(path.relative_to(root))
        day = day_of(path.name.partition(".")[0])
        if day is None:
            continue
        if expired_before is not None and day >= expired_before:
            found.too_young.append(relative)
            continue
        try:
            note = DropNote.read(path)
        except SegmentError as error:
            found.damaged.append(f"{relative} {error}")
            continue
        for writer_id, positions in note.positions.items():
            found.dropped[dataset, writer_id].update(positions)


def _read_entry(root: Path, dataset: str, path: Path, found: Chains) -> None:
    content = path.read_bytes()
    named = _NAME.match(without_prefix(path).name)
    manifest: Manifest | None = None
    with contextlib.suppress(SegmentError):
        manifest = Manifest.parse(content, path.name)
    writer_id = named[1] if named else "" if manifest is None else manifest.writer_id
    found.entries[dataset, writer_id].append(
        Entry(
            path=str(without_prefix(path).relative_to(root)),
            digest=hashlib.sha256(content).hexdigest(),
            manifest=manifest,
            is_standing=True,
        )
    )
    if manifest is None:
        return
    with contextlib.suppress(SegmentError):
        for source, text in manifest.replaced():
            found.entries[dataset, source.writer_id].append(
                Entry(
                    path=source.path.removesuffix(".parquet") + ".json",
                    digest=hashlib.sha256(text.encode()).hexdigest(),
                    manifest=source,
                    is_standing=False,
                )
            )


def _cut(
    found: Chains, dataset: str, writer_id: str, kept: Iterable[KeptHead]
) -> Iterator[tuple[int, str, str]]:
    """Every (position, path, reason) at which the chain differs from the heads of an earlier audit."""
    there = {
        (entry.manifest.chain_position, entry.digest): entry
        for entry in found.entries.get((dataset, writer_id), ())
        if entry.manifest is not None
    }
    for item in kept:
        if item.position in found.dropped.get((dataset, writer_id), ()):
            continue
        if (item.position, item.manifest_sha256) not in there:
            name = f"number {item.position} of writer {writer_id}"
            yield item.position, name, "is not what an earlier audit saw: the chain's end was cut or replaced"


def _walk(home: Path, found: Chains, dataset: str, writer_id: str) -> Iterator[tuple[int, str, str]]:
    """Every (position, path, reason) at which the chain is broken."""
    root, entries = home / "lake", found.entries.get((dataset, writer_id), [])
    # Prefer the text in a derived manifest: the replaced manifest's own files are about to be removed.
    by_digest = {entry.digest: entry for entry in sorted(entries, key=lambda item: not item.is_standing)}
    in_place = {
        entry.manifest.chain_position: entry
        for entry in entries
        if entry.manifest is not None and _is_in_place(entry)
    }
    paths = {entry.path for entry in entries}
    last = max(in_place, default=0)
    head = found.heads.get((dataset, writer_id))
    expected = None if head is None else (head.path, head.manifest_sha256)
    position = last if head is None else head.position
    walked: set[str] = set()
    while position > 0:
        # If the manifest at the next position was changed or removed, no link leads here. Then take the
        # manifest that claims this position.
        guess = in_place.get(position)
        path, digest = expected or ((guess.path, guess.digest) if guess else ("", ""))
        walked.add(path)
        expected = None
        entry = by_digest.get(digest)
        manifest = None if entry is None else entry.manifest
        if entry is not None and manifest is not None and manifest.chain_position == position:
            if manifest.previous_path is not None and manifest.previous_sha256 is not None:
                expected = manifest.previous_path, manifest.previous_sha256
            if entry.path != path:
                yield position, path, f"was swapped: `{entry.path}` holds what belongs here"
            elif reason := _problem_of_file(root, entry):
                yield position, manifest.path, reason
        elif path in paths:
            yield position, path, "was changed: the chain vouches for other bytes"
        elif position not in found.dropped.get((dataset, writer_id), ()):
            yield position, path or f"number {position} of writer {writer_id}", "was removed"
        position -= 1
    end = last + 1 if head is None else head.position + 1
    beyond = [entry for entry in entries if entry.path not in walked]
    for entry in beyond:
        if not _is_unfinished(home, head, entry):
            place = end if entry.manifest is None else entry.manifest.chain_position
            yield place, entry.path, "was inserted, or the chain's head was set back"
    if head is None and not all(_is_unfinished(home, None, entry) for entry in entries):
        path = str(chains.head_path(root, dataset, writer_id).relative_to(root))
        yield end, path, "was removed, or is not a readable chain head"


def _is_in_place(entry: Entry) -> bool:
    return entry.manifest is not None and entry.path.removesuffix(
        ".json"
    ) == entry.manifest.path.removesuffix(".parquet")


def _problem_of_file(root: Path, entry: Entry) -> str | None:
    if not entry.is_standing or entry.manifest is None:
        return None
    try:
        digest = hashlib.sha256((root / entry.manifest.path).read_bytes()).hexdigest()
    except OSError:
        # If the segment was replaced or expired since the chains were read, its manifest is gone as well.
        return "was removed" if manifest_path(root / entry.manifest.path).exists() else None
    return None if digest == entry.manifest.sha256 else "was changed: its manifest vouches for other bytes"


def _is_unfinished(home: Path, head: chains.Head | None, entry: Entry) -> bool:
    """Whether a crash between manifest and head explains this entry. The next sealing repairs it."""
    manifest = entry.manifest
    position, digest = (0, None) if head is None else (head.position, head.manifest_sha256)
    if manifest is None or (manifest.chain_position, manifest.previous_sha256) != (position + 1, digest):
        return False
    if manifest.operation != "seal":
        return any((home / "lake" / source.path).exists() for source, _ in manifest.replaced())
    journal = home / "journal" / manifest.dataset / f"{manifest.writer_id}-{manifest.sequence:08d}"
    return any(journal.with_suffix(suffix).exists() for suffix in (".jsonl", ".bad"))
