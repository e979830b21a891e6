"""What a power cut leaves: the model of a disk that keeps only what was synced.

The interposer notes each creation, link, rename, removal and finished sync under a root. From these notes
the durable state is built: a file has the size of its last finished sync, a folder the entries of
its last finished sync. With a random generator, a random part of what came after is kept as well,
in order, as a disk may do. Bytes written again in place (only DuckDB's build file, a cache) are
taken as durable.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash.preload import Control

if TYPE_CHECKING:
    import random

Entries = dict[str, int]
DUCKDB_NAMES = (".duckdb", ".wal")


@dataclass
class _Folder:
    durable: Entries = field(default_factory=dict)
    batches: list[tuple[tuple[str, int | None], ...]] = field(default_factory=list)
    """What changed since: (name, number), without a number for a removal. A rename is one of each,
    which happen together or not at all."""
    synced: int = 0

    @property
    def changes(self) -> int:
        """How often the folder has changed."""
        return self.synced + len(self.batches)

    def change(self, *entries: tuple[str, int | None]) -> None:
        self.batches.append(entries)

    def sync(self, count: int) -> None:
        count = max(0, count)  # a sync that began later may have ended before
        for name, number in (entry for batch in self.batches[:count] for entry in batch):
            if number is None:
                self.durable.pop(name, None)
            else:
                self.durable[name] = number
        del self.batches[:count]
        self.synced += count


class Disk:
    """Folders and files, as far as the notes say that they are durable.

    Each has a number of its own: the inode of a removed folder may soon be another file's.
    """

    def __init__(self, root: Path, notes: Path) -> None:
        """`notes` is the folder given to `watch`."""
        self._graveyard = notes / "graveyard"
        self._root = 0
        self._numbers = {root.stat().st_ino: self._root}
        self._inodes = {self._root: root.stat().st_ino}
        self._folders: dict[int, _Folder] = {self._root: _Folder()}
        self._current: dict[int, Entries] = {self._root: {}}
        self._sizes: dict[int, int] = {}
        self._rebuilt: dict[int, Path] = {}
        """Where the rebuilt files are, of which there may be a second name."""
        self._begun: dict[str, tuple[int, int, int]] = {}
        for name in ("before", "events"):
            content = (notes / name).read_text() if (notes / name).exists() else ""
            for line in content.split("\n")[:-1]:
                self._apply(line.split("\t"))
            if name == "before":
                for folder in self._folders.values():
                    folder.sync(len(folder.batches))

    def _apply(self, event: list[str]) -> None:
        match event:
            case ["create", parent, name, inode, kind]:
                self._create(self._number(parent), name, int(inode), kind)
            case ["size", inode, size]:
                self._sizes[self._number(inode)] = int(size)
            case ["remove", parent, name] if self._number(parent) in self._folders:
                self._current[self._number(parent)].pop(name, None)
                self._folders[self._number(parent)].change((name, None))
            case ["rename", old_parent, old_name, new_parent, new_name]:
                self._rename(self._number(old_parent), old_name, self._number(new_parent), new_name)
            case ["begin", token, inode, size]:
                number = self._number(inode)
                changes = self._folders[number].changes if number in self._folders else 0
                self._begun[token] = (number, int(size), changes)
            case ["end", token] if token in self._begun:
                number, byte_count, changes = self._begun.pop(token)
                if number in self._folders:
                    folder = self._folders[number]
                    folder.sync(changes - folder.synced)
                else:
                    self._sizes[number] = max(byte_count, self._sizes.get(number, 0))
                    self._keep_name(number)

    def _keep_name(self, number: int) -> None:
        """DuckDB syncs its files and not their folder, which suffices on ext4, XFS and btrfs."""
        for parent, entries in self._current.items():
            for name in (name for name in entries if name.endswith(DUCKDB_NAMES) and entries[name] == number):
                self._folders[parent].durable[name] = number

    def _number(self, inode: str) -> int:
        return self._numbers.get(int(inode), -1)

    def _create(self, parent: int, name: str, inode: int, kind: str) -> None:
        if parent not in self._folders:
            return
        if kind == "link" and inode in self._numbers:
            number = self._numbers[inode]  # a second name of the same file
        else:
            number = len(self._inodes)
            self._numbers[inode], self._inodes[number] = number, inode
        if kind == "folder":
            self._folders[number], self._current[number] = _Folder(), {}
        self._current[parent][name] = number
        self._folders[parent].change((name, number))

    def _rename(self, old_parent: int, old_name: str, new_parent: int, new_name: str) -> None:
        number = self._current.get(old_parent, {}).pop(old_name, None)
        if number is None or new_parent not in self._folders:
            return
        self._current[new_parent][new_name] = number
        if old_parent == new_parent:
            self._folders[old_parent].change((old_name, None), (new_name, number))
        else:
            self._folders[new_parent].change((new_name, number))
            self._folders[old_parent].change((old_name, None))

    def rebuild(self, target: Path, rng: random.Random | None = None) -> None:
        """Write the durable state to a new folder; with `rng`, and some of what was not synced."""
        self._rebuilt.clear()
        self._rebuild(self._root, target, rng)

    def _rebuild(self, number: int, target: Path, rng: random.Random | None) -> None:
        target.mkdir()
        folder = self._folders[number]
        if rng is not None:
            folder.sync(rng.randint(0, len(folder.batches)))
        for name, child in folder.durable.items():
            if child in self._folders:
                self._rebuild(child, target / name, rng)
            else:
                self._copy(child, target / name, rng)

    def _copy(self, number: int, target: Path, rng: random.Random | None) -> None:
        if number in self._rebuilt:
            os.link(self._rebuilt[number], target)
            return
        kept = self._graveyard / str(self._inodes[number])
        if not kept.exists():
            return  # killed between its creation and the note of it
        written = kept.stat().st_size
        size = min(written, self._sizes.get(number, 0))
        if rng is not None:
            size = rng.randint(size, written)
        if size == written:
            os.link(kept, target)
        else:
            shutil.copy2(kept, target)
            os.truncate(target, size)
        self._rebuilt[number] = target


def cut(root: Path, notes: Path, rng: random.Random | None = None) -> None:
    """Put the durable state in place of `root`; every process that wrote there must be dead."""
    left = root.with_name(f"{root.name}.left")
    Disk(root, notes).rebuild(left, rng)
    shutil.rmtree(root)
    shutil.rmtree(notes)
    left.rename(root)


def watch(control: Control, root: Path, notes: Path) -> None:
    """Take what is under `root` as durable, and note what happens to it from now on."""
    graveyard = notes / "graveyard"
    graveyard.mkdir(parents=True)
    with (notes / "before").open("w") as before:
        for folder, folders, files in os.walk(root):
            parent = Path(folder).stat().st_ino
            for name in folders:
                inode = (Path(folder) / name).stat().st_ino
                before.write(f"create\t{parent}\t{name}\t{inode}\tfolder\n")
            for name in files:
                status = (Path(folder) / name).stat()
                kept = graveyard / str(status.st_ino)
                kind = "link" if kept.exists() else "file"
                before.write(f"create\t{parent}\t{name}\t{status.st_ino}\t{kind}\n")
                before.write(f"size\t{status.st_ino}\t{status.st_size}\n")
                if kind == "file":
                    os.link(Path(folder) / name, kept)
    control.block.graveyard = os.fsencode(graveyard)
    control.block.events = os.fsencode(notes / "events")
