"""The statements in `sql/`: a checked header and one statement a file; the path is the name.

    -- name: usage_hourly
    -- grain: hour, environment, ...
    -- unique: hour, environment, ...
    -- reads: request_analytics, feedback
    -- One sentence that says what it is for.

Values are bound as `$name`, never formatted into the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = re.compile(r"^-- (name|grain|unique|reads): ?(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFile:
    """One statement and what its header promises."""

    key: str
    """Folder and stem: `rollups/usage_hourly`."""
    header: Mapping[str, str]
    """name, grain, unique, reads."""
    sentence: str
    """What the statement is for."""
    text: str

    @property
    def reads(self) -> frozenset[str]:
        """The tables the statement reads, as the header lists them."""
        return frozenset(part.strip() for part in self.header.get("reads", "").split(",") if part.strip())


def folder() -> Path:
    """`sql/` beside the packages in a checkout, inside this package in an installed wheel."""
    here = Path(__file__).resolve().parents[1]
    for candidate in (here / "sql", here.parent / "sql"):
        if (candidate / "migrations").is_dir():
            return candidate
    raise WarehouseError(f"no SQL files beside `{here}`: the installation is incomplete, install it again")


@cache
def load(key: str) -> SqlFile:
    """The file `sql/<key>.sql`."""
    return parse(key, (folder() / f"{key}.sql").read_text(encoding="utf-8"))


def names(room: str) -> list[str]:
    """Keys of every file in `sql/<room>`, sorted."""
    return sorted(f"{room}/{path.stem}" for path in (folder() / room).glob("*.sql"))


def parse(key: str, text: str) -> SqlFile:
    """Split a file's text into its header and its statement."""
    header: dict[str, str] = {}
    prose: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        if match := _HEADER.match(line):
            header[match[1]] = match[2].strip()
        else:
            prose.append(line.removeprefix("--").strip())
    return SqlFile(key=key, header=header, sentence=" ".join(prose).strip(), text=text)
