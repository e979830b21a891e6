"""Walking the hash chains: which file was changed, removed, swapped or inserted first.

A chain is walked from its head backwards: the head vouches for the last manifest, each manifest for
the one before it and for its own file. Manifests that a derived segment replaced are read from it.
Whoever may write the whole lake can still forge a whole chain, or cut its end and set the head
back; against that, keep `heads` of an earlier audit somewhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines import lake as lakes
from router import chains
from router.errors import SegmentError
from router.files import TEMPORARY_PREFIX, make_folder, write_atomically
from router.manifests import Manifest
from router.records import DATASETS, RequestLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

EXPIRED = "expired"
"""Folder beside the heads: which chain positions retention dropped, by day."""
_NAME = re.compile(r"^\d{8}T\d{2}-(.+)-\d{8}\.json$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A manifest that stands, or that a derived one holds."""

    path: str
    """The manifest's file, relative to the lake; gone when the manifest is held by another."""
    digest: str
    manifest: Manifest | None
    """None when the file is no manifest any more."""
    is_standing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The first place of one chain where it does not hold."""

    dataset: str
    writer_id: str
    position: int
    path: str
    """Relative to the lake."""
    reason: str


@dataclass(slots=True, kw_only=True)
class Chains:
    """Every chain of a lake, read in one moment."""

    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=lambda: defaultdict(list))
    """By dataset and writer."""
    heads: dict[tuple[str, str], chains.Head | None] = field(default_factory=dict)
    """None: the head cannot be read."""
    dropped: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """Positions whose partition retention dropped."""
    too_young: list[str] = field(default_factory=list)
    """Drop notes of days that retention has not reached."""


def audit(home: Path, *, expired_before: date | None) -> tuple[list[Break], Chains]:
    """The first break of every chain that has one, and what was read.

    `expired_before` is retention's cutoff; None when it is not known.
    """
    root = home / "lake"
    found = read_chains(root, expired_before=expired_before)
    breaks = []
    for dataset, writer_id in sorted({*found.entries, *found.heads}):
        problems = list(_walk(home, found, dataset, writer_id))
        if problems:
            position, path, reason = min(problems)
            breaks.append(
                Break(dataset=dataset, writer_id=writer_id, position=position, path=path, reason=reason)
            )
    return breaks, found


def read_chains(root: Path, *, expired_before: date | None) -> Chains:
    """Read every manifest and head while no writer can advance a chain."""
    found = Chains()
    if not root.exists():
        return found
    with chains.locked(root, chains.REWRITING), chains.locked(root, chains.SEALING):
        for dataset in DATASETS:
            for path in sorted((root / dataset).glob("date=*/hour=*/*.json")):
                if not path.name.startswith(TEMPORARY_PREFIX):
                    _read_entry(root, dataset, path, found)
            for path in (root / chains.CHAINS / dataset).glob("*.json"):
                if path.name.startswith(TEMPORARY_PREFIX):
                    continue
                found.heads[dataset, path.stem] = None
                with contextlib.suppress(SegmentError):
                    found.heads[dataset, path.stem] = chains.read_head(path)
            for day, path in _drop_notes(root, dataset):
                is_bounded = dataset != RequestLog.DATASET  # whose period is its own, and shorter
                if is_bounded and expired_before is not None and day >= expired_before:
                    found.too_young.append(str(path.relative_to(root)))
                    continue
                for writer_id, positions in json.loads(path.read_bytes()).items():
                    found.dropped[dataset, writer_id].update(positions)
    return found


def note_drop(root: Path, folder: Path) -> None:
    """Remember which chain positions a date folder holds, before retention drops it."""
    dataset = folder.parent.name
    found = Chains()
    for path in sorted(folder.glob("hour=*/*.json")):
        _read_entry(root, dataset, path, found)
    if not found.entries:
        return
    note = _note_folder(root, dataset) / f"{folder.name}.json"
    positions: dict[str, set[int]] = defaultdict(set)
    if note.exists():  # a late segment's folder is dropped again
        positions |= {writer: set(known) for writer, known in json.loads(note.read_bytes()).items()}
    for (_, writer_id), entries in found.entries.items():
        if any(entry.manifest is not None and entry.manifest.operation != "seal" for entry in entries):
            # A derived segment is a chain of its own: nothing is left that its head could vouch for.
            chains.head_path(root, dataset, writer_id).unlink(missing_ok=True)
            continue
        known = {entry.manifest.chain_position for entry in entries if entry.manifest is not None}
        positions[writer_id] = positions.get(writer_id, set()) | known
    make_folder(note.parent)
    content = {writer_id: sorted(known) for writer_id, known in sorted(positions.items())}
    write_atomically(note, json.dumps(content).encode())


def _note_folder(root: Path, dataset: str) -> Path:
    return root / chains.CHAINS / dataset / EXPIRED


def _drop_notes(root: Path, dataset: str) -> Iterator[tuple[date, Path]]:
    for path in sorted(_note_folder(root, dataset).glob("date=*.json")):
        if (day := lakes.day_of(path.stem)) is not None:
            yield day, path


def _read_entry(root: Path, dataset: str, path: Path, found: Chains) -> None:
    content = path.read_bytes()
    named = _NAME.match(path.name)
    manifest: Manifest | None = None
    with contextlib.suppress(SegmentError):
        manifest = Manifest.parse(content, path.name)
    writer_id = named[1] if named else "" if manifest is None else manifest.writer_id
    found.entries[dataset, writer_id].append(
        Entry(
            path=str(path.relative_to(root)),
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


def _walk(home: Path, found: Chains, dataset: str, writer_id: str) -> Iterator[tuple[int, str, str]]:
    """Every (position, path, reason) where the chain does not hold."""
    root, entries = home / "lake", found.entries.get((dataset, writer_id), [])
    by_digest = {entry.digest: entry for entry in entries}
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
        # Without a link, what was found at the next position having been changed or removed, the
        # manifest that claims the position is taken for it.
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
        yield end, path, "was removed or is no chain head any more"


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
        # Replaced or expired since the chains were read: then its manifest is gone as well.
        return "was removed" if (root / entry.path).exists() else None
    return None if digest == entry.manifest.sha256 else "was changed: its manifest vouches for other bytes"


def _is_unfinished(home: Path, head: chains.Head | None, entry: Entry) -> bool:
    """Whether a crash between manifest and head explains this entry; the next sealing mends it."""
    manifest = entry.manifest
    position, digest = (0, None) if head is None else (head.position, head.manifest_sha256)
    if manifest is None or (manifest.chain_position, manifest.previous_sha256) != (position + 1, digest):
        return False
    if manifest.operation != "seal":
        return any((home / "lake" / source.path).exists() for source, _ in manifest.replaced())
    journal = home / "journal" / manifest.dataset / f"{manifest.writer_id}-{manifest.sequence:08d}"
    return any(journal.with_suffix(suffix).exists() for suffix in (".jsonl", ".bad"))
