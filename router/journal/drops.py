"""Which segments retention dropped with a day, so that nothing brings them back and the audit misses none.

    lake/chains/<dataset>/expired/date=2026-08-01.json

A writer's numbers are nearly gapless, so they are kept as ranges: a note stays small, and for ever.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.errors import SegmentError
from router.files import make_folder, write_atomically
from router.journal.chains import CHAINS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EXPIRED = "expired"
"""Folder beside the heads."""


@dataclass(slots=True, kw_only=True)
class DropNote:
    """What one day's folder of a dataset held."""

    positions: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By writer: positions in its chain."""
    sequences: dict[str, dict[str, set[int]]] = field(default_factory=lambda: defaultdict(dict))
    """By writer and hour (`20260801T04`): sequences of the journals that were sealed into it."""

    @classmethod
    def read(cls, path: Path) -> DropNote:
        """The note at `path`, an empty one when there is none; SegmentError when it is damaged."""
        note = cls()
        try:
            raw = json.loads(path.read_bytes())
            for writer_id, ranges in raw["positions"].items():
                note.positions[writer_id] = _numbers(ranges)
            for writer_id, hours in raw["sequences"].items():
                note.sequences[writer_id] = {hour: _numbers(ranges) for hour, ranges in hours.items()}
        except FileNotFoundError:
            return note
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SegmentError(f"drop note `{path.name}` cannot be read: {error!r}") from error
        return note

    def write(self, path: Path) -> None:
        """Put the note at `path`, whole or not at all."""
        make_folder(path.parent)
        content = {
            "positions": {writer_id: _ranges(found) for writer_id, found in sorted(self.positions.items())},
            "sequences": {
                writer_id: {hour: _ranges(found) for hour, found in sorted(hours.items())}
                for writer_id, hours in sorted(self.sequences.items())
            },
        }
        write_atomically(path, json.dumps(content).encode())

    def add(self, writer_id: str, position: int, *, hour: str, sequence: int | None) -> None:
        """Note a segment; `sequence` is None of one that no journal was sealed into."""
        self.positions[writer_id].add(position)
        if sequence is not None:
            self.sequences[writer_id].setdefault(hour, set()).add(sequence)

    def names(self, writer_id: str, *, hour: str, sequence: int) -> bool:
        """Whether the segment of that journal and hour was dropped."""
        return sequence in self.sequences.get(writer_id, {}).get(hour, ())


def note_path(lake: Path, dataset: str, day: str) -> Path:
    """Where the note of a day, as `2026-08-01`, stands."""
    return lake / CHAINS / dataset / EXPIRED / f"date={day}.json"


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def _numbers(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}
